"""What loaders of person crops share: a checked request, a fingerprint, a look at every image, the report.

Such datasets hold one person per image, so there is no box to cut: annotations name files, and the whole image counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import Counts, DatasetCard, Report, compare
from hcbench.data.crops import in_threads, read_image
from hcbench.data.listing import list_files
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError, did_you_mean

VAL_EVERY = 10
"""One in so many of the sorted names goes into a validation split where the owners made none."""
_SHOWN = 5


def check_request(card: DatasetCard, splits: Sequence[str], split: str, base: Path, cache: Path) -> None:
    """Refuse a split that there is not, and a cache inside the dataset.

    Raises:
        DataError: One of the two.
    """
    if split not in splits:
        raise DataError(f"{card.title} has no split {split!r}.", did_you_mean(split, splits))
    if cache.resolve().is_relative_to(base.resolve()):
        raise DataError(
            f"The cache {cache} lies inside the dataset {base}, where nothing is ever written.",
            "Choose a workspace outside of it (--workspace).",
        )


def sealed(samples: Samples) -> Samples:
    """The samples with a fingerprint of all that decides a number: pixels (its present one), ids, labels, captions."""
    digest = hashlib.sha256("\n".join((samples.fingerprint, *samples.ids)).encode())
    arrays = {"identity": samples.identity, "camera": samples.camera, "attributes": samples.attributes}
    for name, array in {**arrays, **samples.slices}.items():
        if array is not None:
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps([samples.captions, samples.attribute_names]).encode())
    return replace(samples, fingerprint=digest.hexdigest()[:16])


def numbered(identity: Int) -> Int:
    """Identities as 0..N-1 in the order of the raw ids, int64, as a classifier over the training persons wants them."""
    return np.unique(identity, return_inverse=True)[1].astype(np.int64)


def every_tenth(count: int) -> NDArray[np.bool_]:
    """Which of `count` sorted things make a validation split that the owners did not: the 10th, 20th ..., bool."""
    held_out: NDArray[np.bool_] = np.arange(count) % VAL_EVERY == VAL_EVERY - 1
    return held_out


def image_problems(folder: Path, files: Sequence[str]) -> list[str]:
    """Images that are missing or do not decode; reads every one of them."""
    names = sorted(set(files))
    missing = [name for name in names if not (folder / name).is_file()]
    problems = [f"{len(missing)} of {len(names)} images are missing in {folder}: {some(missing)}"] if missing else []

    def check(name: str) -> str | None:
        try:
            read_image(folder / name)
        except DataError as error:
            return error.message
        return None

    gone = set(missing)
    there = [name for name in names if name not in gone]
    broken = [problem for problem in in_threads(check, there, f"images of {folder.name}") if problem]
    return problems + broken[:_SHOWN] + ([f"{len(broken)} images in all cannot be decoded"] if broken else [])


def folder_notes(folder: Path, files: Sequence[str]) -> list[str]:
    """What else lies among the images: files of operating systems, images that no annotation names."""
    listing = list_files(folder, deep=True)
    further = sorted(set(listing.files) - set(files))
    notes = [f"{listing.junk} files of operating systems were skipped"] if listing.junk else []
    return notes + ([f"{len(further)} images are not annotated and not used: {some(further)}"] if further else [])


def report(
    card: DatasetCard,
    root: Path,
    layout: str,
    found: Counts,
    *,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    variants: Mapping[str, str] | None = None,
) -> Report:
    """Hold what was found against the card.

    Args:
        card: The dataset's card.
        root: The folder that was looked at.
        layout: Name of the layout that was recognised.
        found: Counts by the splits of `card.counts`; a split without images is left out.
        problems: What makes it a mismatch whatever the counts.
        notes: What is worth knowing.
        variants: Splits whose counts are those of a known variant, and its name: no error, yet not the official set.
    """
    known = variants or {}
    found = {split: counts for split, counts in found.items() if any(counts.values())}
    level, excess, differences = compare(card, {split: counts for split, counts in found.items() if split not in known})
    absent = [f"{split} was not found" for split in card.counts if split not in found]
    if not found:  # nothing was counted, so nothing is said about counts
        differences, absent = [], []
    return Report(
        dataset=card.name,
        root=root,
        level="mismatch" if problems else level,
        layout=layout,
        found=found,
        expected={split: card.counts[split] for split in found},
        problems=(*problems, *excess),
        notes=(*differences, *(f"{split}: {name}" for split, name in known.items()), *absent, *notes),
    )


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
