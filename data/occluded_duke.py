"""Occluded-Duke: DukeMTMC-reID split anew, so that every query is occluded (Miao et al., 2019)."""

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
    name="occluded-duke",
    title="Occluded-Duke",
    homepage="https://github.com/lightas/Occluded-DukeMTMC-Dataset",
    terms=duke_files.NOTICE,
    obtain="The authors publish lists of names alone, to part a copy of DukeMTMC-reID, which is no longer given out.",
    tree=duke_files.tree("Occluded_Duke"),
    counts=duke_files.OCCLUDED_COUNTS,
    fields=reid_splits.FIELDS,
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of Occluded-Duke; logs that its source was withdrawn.

    Fields, arguments and errors are those of `dukemtmc.load`.
    """
    return load_split(duke_files.read(root, CARD), split, height, width, cache)


def verify(root: Path) -> VerifyReport:
    """Check a copy: names, every image's decoding, counts, and that no person is queried whom the gallery lacks.

    Raises:
        DataError: The root is no folder, or is not in the form of Occluded-Duke.
    """
    found = duke_files.read(root, CARD)
    problems = duke_files.twin_problem(found, duke_files.DUKE_COUNTS, "DukeMTMC-reID")
    absent = sorted(set(found.query.pids.tolist()) - set(found.gallery.pids.tolist()))
    if absent:
        problems.append(f"{len(absent)} persons of query are not in the gallery, the first is {absent[0]:04d}")
    return verify_set(found, root, notes=[duke_files.NOTICE], problems=problems)


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED)
