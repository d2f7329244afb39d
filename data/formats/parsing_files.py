"""Human-parsing sets: photographs with label maps of the same size, one class number per pixel.

Images keep their aspect: the window is the whole image, widened to the input's aspect, black outside and without a
label there, as SCHP and SOLIDER's parsing code transform them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.crops import CropPlan, cached_crops, cached_labels, whole_images
from hcbench.data.files.names import some
from hcbench.data.findings import checked_images
from hcbench.data.formats.listing import Listing
from hcbench.data.formats.loading import (
    check_cache,
    check_split,
    digest,
    found_splits,
    listing_notes,
    make_report,
    missing_files,
)
from hcbench.data.label_maps import read_labels
from hcbench.data.pixels import picture_size
from hcbench.data.samples import Samples
from hcbench.data.threads import in_threads
from hcbench.data.windows import crop_windows
from hcbench.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Images of a split and their label maps, in the same order, sorted.

    Attributes:
        base: The data set's own folder.
        layout: What the layout is called in reports.
        image_folder: Where images lie.
        label_folder: Where label maps lie.
        images: N paths below `image_folder`.
        labels: N paths below `label_folder`.
        ids: N names for results.
        unlisted: Images that lie beside them and are on no list.
        listing: What lies in the folder of the images, and what of it was left out.
    """

    base: Path
    layout: str
    image_folder: Path
    label_folder: Path
    images: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    unlisted: int = 0
    listing: Listing = field(default_factory=lambda: Listing(()))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsingSet:
    """A parsing data set, and what every one of them does the same way.

    Attributes:
        card: Its card.
        splits: Its splits.
        names: Names of its classes.
        find: Finds the files of a split below a root; a DataError where they are not.
    """

    card: DatasetCard
    splits: tuple[str, ...]
    names: tuple[str, ...]
    find: Callable[[Path, str], Pairs]

    def load(self, root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
        """All images of a split, whole, with their label maps.

        Args:
            root: Folder with one of the layouts of the card's `tree`.
            split: One of `splits`.
            height: Height of images and label maps, pixels.
            width: Width of images and label maps, pixels.
            cache: Folder outside of `root` that keeps the resized pixels.

        Returns:
            Samples in the order of their names. `parts` are at the input's size, by the nearest pixel;
            `label_map` gives a photograph's own.

        Raises:
            DataError: The folder, a list, an image or a label map is not as it should be.
            CacheError: The cache folder cannot be written.
        """
        check_split(self.card, split, self.splits)
        pairs = self.find(root, split)
        check_cache(pairs.base, cache)
        gone = _missing(pairs)
        if gone:
            raise DataError(f"{pairs.base}: {'; '.join(gone)}.", "Copy them again, or take their names off the list.")
        plan = whole_images(pairs.image_folder, pairs.images, height, width)
        label_plan = whole_images(pairs.label_folder, pairs.labels, height, width)
        unlike = np.flatnonzero((plan.size != label_plan.size).any(axis=1))
        if len(unlike):
            raise DataError(
                f"{len(unlike)} of {len(pairs.images)} label maps in {pairs.label_folder} have another size than their "
                f"image: {some([pairs.labels[row] for row in unlike])}.",
                "Take images and label maps of the same release.",
            )
        corner = np.full_like(plan.size, -0.5, np.float64)  # pixel centres lie at integers, so an image begins there
        center, size = crop_windows(np.concatenate([corner, plan.size], axis=1), height, width, scale=1.0)
        plan, label_plan = (replace(one, center=center, size=size) for one in (plan, label_plan))
        crops, pixels = cached_crops(plan, cache)
        parts, maps = _labels(label_plan, cache, self.names)
        ids = np.array(pairs.ids)
        return Samples(
            name=f"{self.card.name} {split}",
            fingerprint=digest(pixels, maps, ids, self.names),
            images=crops,
            ids=ids,
            parts=parts,
            part_names=self.names,
            crop_center=center,
            crop_size=size,
        )

    def label_map(self, root: Path, split: str, name: str) -> NDArray[np.uint8]:
        """The label map of one sample at its photograph's size, uint8 (h, w): what the field's mIoU is measured on.

        Args:
            root: The data set's folder.
            split: The split of the sample.
            name: Its id.

        Raises:
            DataError: No sample is called so, or its label map is none.
        """
        check_split(self.card, split, self.splits)
        pairs = self.find(root, split)
        try:
            place = pairs.ids.index(name)
        except ValueError as error:
            raise DataError(
                f"{self.card.title} {split} has no image {name!r}.", f"Ids look like {pairs.ids[0]!r}."
            ) from error
        return read_labels(pairs.label_folder / pairs.labels[place], self.names)

    def verify(self, root: Path) -> VerifyReport:
        """Check a copy: layout, lists, every image and label map, their sizes and numbers, the counts of each split.

        Raises:
            DataError: The root is no folder, or holds no split.
        """
        found: dict[str, dict[str, int]] = {}
        problems: list[str] = []
        notes: list[str] = []
        listings: dict[Path, Listing] = {}  # by folder: some layouts keep all splits in one
        there, absent = found_splits(self.splits, lambda split: self.find(root, split))
        for split, pairs in there.items():
            found[split] = {"images": len(pairs.images)}
            listings[pairs.image_folder] = pairs.listing
            damage, oddities = checked_images(pairs.image_folder, pairs.images)
            problems += [f"{split}: {problem}" for problem in (*damage, *_label_problems(pairs, self.names))]
            notes += [f"{split}: {note}" for note in oddities]
            notes += [f"{split}: {pairs.unlisted} images are on no list"] if pairs.unlisted else []
        notes += [f"{split} was not found: {error.message}" for split, error in absent.items()]
        layouts = "; ".join(dict.fromkeys(pairs.layout for pairs in there.values()))
        return make_report(
            self.card, root, layouts, found, problems=problems, notes=[*notes, *listing_notes(*listings.values())]
        )


def read_stems(path: Path) -> list[str]:
    """The lines of a list, empty ones left out.

    Raises:
        DataError: The list is missing, is no text, or names an entry twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Copy it again from its source.") from error
    if not lines:
        raise DataError(f"{path} is empty.", "Copy it again from its source.")
    if len(set(lines)) != len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise DataError(f"{path} names {twice} twice.", "Mend the list, or copy it again from its source.")
    return lines


def _labels(plan: CropPlan, cache: Path, names: Sequence[str]) -> tuple[NDArray[np.uint8], str]:
    return cached_labels(plan, cache, lambda path: read_labels(path, names))


def _missing(pairs: Pairs) -> list[str]:
    """One sentence each on images and label maps that are not there."""
    sentences = []
    for what, folder, files in (
        ("images", pairs.image_folder, pairs.images),
        ("label maps", pairs.label_folder, pairs.labels),
    ):
        gone = missing_files(folder, files)
        if gone:
            sentences.append(f"{len(gone)} of {len(files):,} {what} are missing: {some(gone)}")
    return sentences


def _label_problems(pairs: Pairs, names: Sequence[str]) -> list[str]:
    """What is wrong with label maps, one sentence for each kind of trouble."""

    def check(row: int) -> str | None:
        image, labels = pairs.image_folder / pairs.images[row], pairs.label_folder / pairs.labels[row]
        if not labels.is_file():
            return None  # reported by `_missing`
        try:
            shape = read_labels(labels, names).shape
        except DataError as error:
            return error.message
        try:
            size = picture_size(image, pairs.images[row])
        except DataError:
            return None  # reported by `checked_images`
        if shape == size[::-1]:
            return None
        return f"{pairs.labels[row]} is {shape[1]} x {shape[0]}, its image {size[0]} x {size[1]}."

    broken = [problem for problem in in_threads(check, range(len(pairs.images)), "label maps") if problem]
    gone = [sentence for sentence in _missing(pairs) if "label maps" in sentence]
    unusable = [f"{len(broken)} of {len(pairs.labels):,} label maps cannot be used: {' '.join(broken[:3])}"]
    return gone + (unusable if broken else [])
