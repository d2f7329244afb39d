"""DukeMTMC-reID, which its owners withdrew: for those who have it and must compare with older results.

With attributes where their file is there.
"""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import duke_files
from hcbench.data.formats.identity_attributes import files, splits
from hcbench.data.formats.reid_splits import verify_set
from hcbench.data.samples import Samples

SPLITS = splits.SPLITS
RENUMBERED = splits.RENUMBERED

CARD = DatasetCard(
    name="dukemtmc",
    title="DukeMTMC-reID",
    homepage="",
    terms=duke_files.NOTICE,
    obtain="It is no longer given out, and hcbench does not say where copies are.",
    tree=duke_files.tree("DukeMTMC-reID")
    + "\n  duke_attribute.mat                      (optional) of https://github.com/vana77/DukeMTMC-attribute",
    counts=duke_files.DUKE_COUNTS,
    split_rule="reid: every image of query is searched in the gallery.\n"
    "attributes (with duke_attribute.mat): the labels are the persons'. It learns from bounding_box_train without "
    "every tenth person, who is for validation, and is scored on the 17,661 images of 1,110 persons of "
    "bounding_box_test, whom the file all knows; queries do not count, as in its authors' code for Market-1501.",
    fields=splits.FIELDS,
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of DukeMTMC-reID; logs that it was withdrawn.

    Args:
        root: The folder of `CARD.tree`.
        split: One of `SPLITS` (see `hcbench.data.formats.reid_splits` and `identity_attributes.splits`).
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the decoded pixels.

    Returns:
        Samples sorted by file name; cameras are 0..7. Persons of the gallery whom nobody queries keep their numbers.
        Where `duke_attribute.mat` is there, `attributes` are those of the person, 23 columns
        (`identity_attributes.files.DUKE`), -1 for what it leaves open; `attributes/*` hold only persons who have some.

    Raises:
        DataError: The folder, a name, an image or the mat is not as it should be; or the mat is not there, for a split
            that needs it.
        CacheError: The cache folder cannot be written.
    """
    found = duke_files.read(root, CARD)
    return splits.load_any(found, root, split, height, width, cache, files.DUKE)


def verify(root: Path) -> VerifyReport:
    """Check a copy: names, every image's decoding, the counts of each split, and the attributes where they are there.

    Nothing is written.

    Raises:
        DataError: The root is no folder, or is not in the form of DukeMTMC-reID.
    """
    found = duke_files.read(root, CARD)
    problems = duke_files.twin_problem(found, duke_files.OCCLUDED_COUNTS, "Occluded-Duke")
    of_labels, notes = splits.compared(found, root, files.DUKE)
    return verify_set(found, root, notes=[duke_files.NOTICE, *notes], problems=[*problems, *of_labels])


def lacking(root: Path, benchmark: str) -> str:
    """Why a copy cannot be used for a benchmark; empty where it can.

    Raises:
        DataError: The root is no folder, or is not in the form of DukeMTMC-reID.
    """
    return splits.lacking(root, CARD, files.DUKE, benchmark)


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=RENUMBERED,
    sometimes=splits.SOMETIMES,
    benchmark_splits=splits.BENCHMARK_SPLITS,
    lacking=lacking,
)
