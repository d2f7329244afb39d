"""Datasets whose images are persons already, with splits that are named in a file: joined splits, and their samples.

`trainval` is all that the owners give for training. Where they set nothing aside, `val` is carved out of it: every
tenth of the sorted names. `all` is every image of every split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hcbench.data.card import Counts, DatasetCard, VerifyReport
from hcbench.data.files.names import some
from hcbench.data.formats.listing import list_files
from hcbench.data.formats.loading import digest, listing_notes, make_report
from hcbench.data.samples import Samples

PARTS = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test",),
    "trainval": ("train", "val"),
    "all": ("train", "val", "test"),
}
"""What each split is made of."""


def sealed(samples: Samples) -> Samples:
    """The samples with a fingerprint of all that decides a number: pixels (its present one), ids, labels, captions."""
    labels = (samples.identity, samples.camera, samples.attributes, samples.attribute_names, samples.captions)
    slices = (part for name in sorted(samples.slices) for part in (name, samples.slices[name]))
    return replace(samples, fingerprint=digest(samples.fingerprint, samples.ids, *labels, *slices))


def folder_notes(folder: Path, files: Sequence[str]) -> list[str]:
    """What else lies among the images: files of operating systems, images that no annotation names."""
    listing = list_files(folder, deep=True, refuse=False)
    further = sorted(set(listing.files) - set(files))
    strangers = [f"{len(further)} images are not annotated and not used: {some(further)}"] if further else []
    return listing_notes(listing) + strangers


def report(
    card: DatasetCard,
    root: Path,
    layout: str,
    found: Counts,
    *,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    variants: Mapping[str, str] | None = None,
) -> VerifyReport:
    """`make_report` that says which splits are absent and which are known variants.

    Args:
        card: The dataset's card.
        root: The folder that was looked at.
        layout: Which layout was recognised.
        found: Counts by split; where nothing could be counted, the problems say it all.
        problems: What makes it a mismatch whatever the counts.
        notes: What is worth knowing.
        variants: Splits whose counts are those of a known variant, and its name: no error, yet not the official set.
    """
    known = variants or {}
    present = {split: counts for split, counts in found.items() if any(counts.values())}
    official = {split: counts for split, counts in present.items() if split not in known}
    whole = make_report(card, root, layout, official, problems=problems, notes=notes)
    if not found:
        return replace(whole, notes=tuple(notes))
    split_notes = [f"{split}: {name}" for split, name in known.items()]
    split_notes += [f"{split} was not found" for split in card.counts if split not in present]
    expected = {split: card.counts[split] for split in present}
    return replace(whole, found=present, expected=expected, notes=(*whole.notes, *split_notes))
