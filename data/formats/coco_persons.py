"""Persons of a json in COCO's format as samples: which count, their crops, and what `verify` says of a copy.

What data sets in this format do alike stands here; `coco_files` reads their json, and their own modules say where the
files lie and what differs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.crops import CropPlan, cached_crops
from hcbench.data.files.names import some
from hcbench.data.findings import checked_images
from hcbench.data.formats.coco_files import COCO_FORMAT, Format, Layout, left_out_notes, outside_joints, read_truth
from hcbench.data.formats.coco_people import OWN_ID, clipped, labelled_joints
from hcbench.data.formats.listing import list_files
from hcbench.data.formats.loading import (
    check_cache,
    check_split,
    digest,
    found_splits,
    listing_notes,
    make_report,
    missing_files,
)
from hcbench.data.samples import Samples
from hcbench.data.windows import crop_windows, to_crop
from hcbench.errors import DataError

log = logging.getLogger(__name__)

Person = Mapping[str, Any]
"""An annotation as the json has it."""
Keep = Callable[[Person, NDArray[np.float64]], bool]
"""Whether a person counts, given the annotation and its box (x, y, w, h) inside the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonSet:
    """A data set in COCO's format, and what every one of them does the same way.

    Attributes:
        card: Its card.
        splits: Its splits.
        find: Recognises the layout of one split below a root; a DataError where there is none.
        format: What its json differs in from COCO's.
    """

    card: DatasetCard
    splits: tuple[str, ...]
    find: Callable[[Path, str], Layout]
    format: Format = COCO_FORMAT

    def load(self, root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
        """Crops of all persons with labelled keypoints, by the rules of `coco.load`.

        Where the json has no areas, `Format.area_of_box` of the box stands in.

        Args:
            root: Folder with one of the layouts of the card's `tree`.
            split: One of `splits`.
            height: Height of the crops, pixels.
            width: Width of the crops, pixels.
            cache: Folder outside of `root` that keeps the cut pixels.

        Returns:
            Samples in the order of image and annotation ids; `ids` are paths below the data set's folder `#` annotation
            id, `coco_truth` is the json of the whole split with areas, to be scored with `skeleton.sigmas`.

        Raises:
            DataError: The folder, the json or an image is not as it should be.
            CacheError: The cache folder cannot be written.
        """
        layout, truth = open_split(self, root, split, cache)
        folder = layout.images.relative_to(layout.base).as_posix()
        return finish(cut(self, layout, truth, (split, folder), labelled, (height, width), cache), truth=truth)

    def verify(self, root: Path) -> VerifyReport:
        """Check a copy: layout, json, every image's presence, decoding and size, and the counts of each split.

        Raises:
            DataError: The root is no folder, or holds no split.
        """
        found: dict[str, dict[str, int]] = {}
        problems: list[str] = []
        notes: list[str] = []
        layouts, absent = found_splits(self.splits, lambda split: self.find(root, split))
        for split, layout in layouts.items():
            try:
                truth = read_truth(layout, split, self.format)
            except DataError as error:
                problems.append(error.message)
                continue
            found[split] = _count(truth)
            sizes = {image["file_name"]: (image["width"], image["height"]) for image in truth["images"]}
            damage, oddities = checked_images(layout.images, list(sizes), sizes, source="the json says")
            problems += [f"{split}: {problem}" for problem in damage]
            if found[split]["persons"] and not any(labelled(person) for person in truth["annotations"]):
                problems.append(f"{split}: no person can be scored")
            notes += [f"{split}: {note}" for note in (*left_out_notes(truth), *outside_joints(truth), *oddities)]
        notes += [f"{split} was not found" for split in absent]
        found = {split: counts for split, counts in found.items() if counts["images"]}
        folders = {layout.images for layout in layouts.values()}  # of a merged json one folder holds both splits
        notes += listing_notes(*(list_files(folder, refuse=False) for folder in sorted(folders)))
        names = dict.fromkeys(layout.name for layout in layouts.values())
        return make_report(
            self.card, root, "; ".join(names), found, problems=list(dict.fromkeys(problems)), notes=notes
        )

    def annotation_files(self, root: Path) -> tuple[Path, ...]:
        """The json files that decide what `load` gives, of every split that is there, sorted.

        Raises:
            DataError: The root is no folder, or holds no split.
        """
        layouts, _ = found_splits(self.splits, lambda split: self.find(root, split))
        files = {path for layout in layouts.values() for path in (layout.annotations, layout.captions)}
        return tuple(sorted(path for path in files if path is not None))

    def image_folders(self, root: Path) -> tuple[Path, ...]:
        """The folders of images of every split that is there, sorted; errors as `annotation_files`."""
        layouts, _ = found_splits(self.splits, lambda split: self.find(root, split))
        return tuple(sorted({layout.images for layout in layouts.values()}))


def open_split(own: PersonSet, root: Path, split: str, cache: Path) -> tuple[Layout, dict[str, Any]]:
    """The layout of a split and its checked json.

    Raises:
        DataError: There is no such split, the cache lies inside the data set, or the json is not as it should be.
    """
    check_split(own.card, split, own.splits)
    layout = own.find(root, split)
    check_cache(layout.base, cache)
    truth = read_truth(layout, split, own.format)
    for note in left_out_notes(truth):
        log.warning("%s %s: %s", own.card.title, split, note)
    return layout, truth


def labelled(person: Person, box: NDArray[np.float64] | None = None) -> bool:
    """Whether a person can be scored: the truth has `num_keypoints` above 0 of such persons alone (`coco_people`)."""
    return bool(not person["iscrowd"] and person["num_keypoints"] > 0)


def persons_of(truth: Mapping[str, Any], keep: Keep) -> list[tuple[Person, NDArray[np.float64]]]:
    """Persons that `keep` takes with their boxes inside the image, by image and annotation id."""
    images = {image["id"]: image for image in truth["images"]}
    ordered = sorted(truth["annotations"], key=lambda person: (person["image_id"], person["id"]))
    inside = ((person, clipped(person["bbox"], images[person["image_id"]])) for person in ordered)
    return [(person, box) for person, box in inside if keep(person, box)]


def cut(
    own: PersonSet,
    layout: Layout,
    truth: Mapping[str, Any],
    named: tuple[str, str],
    keep: Keep,
    input_size: tuple[int, int],
    cache: Path,
) -> Samples:
    """Samples of the persons that `keep` takes; their fingerprint is that of the pixels alone.

    Args:
        own: The data set.
        layout: Where the split lies.
        truth: Its json.
        named: The split, and what ids begin with.
        keep: Which persons count.
        input_size: Height and width of the crops, pixels.
        cache: Folder that keeps the cut pixels.
    """
    split, prefix = named
    kept = persons_of(truth, keep)
    if not kept:
        raise DataError(
            f"{layout.annotations} holds no usable person in {split}, out of {len(truth['annotations'])} annotations.",
            "A person needs iscrowd 0, an area above 0, a box inside the image and, for pose, labelled keypoints.",
        )
    persons = [person for person, _ in kept]
    center, size = crop_windows(np.stack([box for _, box in kept]), *input_size)
    files, crops, pixels = cut_windows(layout, truth, [person["image_id"] for person in persons], (center, size),
                                       input_size, cache)  # fmt: skip
    joints = len(own.format.skeleton)
    original = np.array([person["keypoints"] for person in persons], np.float64).reshape(-1, joints, 3)
    xy = to_crop(original[..., :2], center[:, None], size[:, None], *input_size)
    visible = original[..., 2:]
    return Samples(
        name=f"{own.card.name} {split}",
        fingerprint=pixels,
        images=crops,
        ids=np.array(
            [f"{prefix}/{file}#{person.get(OWN_ID, person['id'])}" for file, person in zip(files, persons, strict=True)]
        ),
        keypoints=np.concatenate([np.where(visible > 0, xy, 0), visible], axis=2).astype(np.float32),
        skeleton=own.format.skeleton,
        area=np.array([person["area"] for person in persons], np.float32),
        boxes=np.array([person["bbox"] for person in persons], np.float32),
        image_id=np.array([person["image_id"] for person in persons], np.int64),
        crop_center=center,
        crop_size=size,
        notes=tuple(f"{own.card.name} {split}: {note}" for note in left_out_notes(truth)),
    )


def cut_windows(
    layout: Layout,
    truth: Mapping[str, Any],
    images: list[int],
    windows: tuple[NDArray[np.float32], NDArray[np.float32]],
    input_size: tuple[int, int],
    cache: Path,
) -> tuple[list[str], NDArray[np.uint8], str]:
    """Cut one window (centres, sizes) out of each of the images named by id: their files, the crops and their key.

    Raises:
        DataError: Images are missing or damaged; they are named.
        CacheError: The cache folder cannot be written.
    """
    names = {image["id"]: str(image["file_name"]) for image in truth["images"]}
    files = [names[image] for image in images]
    missing = missing_files(layout.images, files)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(set(files))} images are missing in {layout.images}: {some(missing)}.",
            "Copy them, or take their annotations out of the json.",
        )
    (center, size), (height, width) = windows, input_size
    sides = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    plan = CropPlan(
        folder=layout.images, files=files, center=center, size=size, height=height, width=width,
        image_sizes=[sides[image] for image in images],
    )  # fmt: skip
    return files, *cached_crops(plan, cache)


def finish(
    samples: Samples, captions: tuple[tuple[str, ...], ...] | None = None, truth: Mapping[str, Any] | None = None
) -> Samples:
    """The samples with captions and truth, and a fingerprint of all that decides a number."""
    # Of an image only its id takes part in scoring; its other entries differ between official and merged files.
    scored = truth and [sorted(image["id"] for image in truth["images"]), truth["annotations"]]
    arrays = (samples.keypoints, samples.area, samples.boxes, samples.box_scores)
    whole = digest(samples.fingerprint, samples.ids, *arrays, json.dumps([captions, scored], sort_keys=True))
    return replace(samples, fingerprint=whole, captions=captions, coco_truth=truth)


def _count(truth: Mapping[str, Any]) -> dict[str, int]:
    persons = truth["annotations"]
    return {
        "images": len(truth["images"]),
        "images with a person": len({person["image_id"] for person in persons}),
        "persons": sum(not person["iscrowd"] for person in persons),
        "persons with keypoints": sum(not person["iscrowd"] and labelled_joints(person) > 0 for person in persons),
        "crowds": sum(bool(person["iscrowd"]) for person in persons),
    }
