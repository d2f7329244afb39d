"""DukeMTMC-reID, which its owners withdrew: for those who have it and must compare with older results."""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import duke_files, reid_splits
from hcbench.data.formats.reid_splits import load_split, verify_set
from hcbench.data.samples import Samples

SPLITS = reid_splits.SPLITS
RENUMBERED = reid_splits.RENUMBERED

CARD = DatasetCard(
    name="dukemtmc",
    title="DukeMTMC-reID",
    homepage="",
    terms=duke_files.NOTICE,
    obtain="It is no longer given out, and hcbench does not say where copies are.",
    tree=duke_files.tree("DukeMTMC-reID"),
    counts=duke_files.DUKE_COUNTS,
    fields=reid_splits.FIELDS,
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of DukeMTMC-reID; logs that it was withdrawn.

    Args:
        root: The folder of `CARD.tree`.
        split: One of `SPLITS` (see `hcbench.data.formats.reid_splits`).
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the decoded pixels.

    Returns:
        Samples sorted by file name; cameras are 0..7. Persons of the gallery whom nobody queries keep their numbers.

    Raises:
        DataError: The folder, a name or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    return load_split(duke_files.read(root, CARD), split, height, width, cache)


def verify(root: Path) -> VerifyReport:
    """Check a copy: names, every image's decoding, and the counts of each split. Nothing is written.

    Raises:
        DataError: The root is no folder, or is not in the form of DukeMTMC-reID.
    """
    found = duke_files.read(root, CARD)
    problems = duke_files.twin_problem(found, duke_files.OCCLUDED_COUNTS, "Occluded-Duke")
    return verify_set(found, root, notes=[duke_files.NOTICE], problems=problems)


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED)
