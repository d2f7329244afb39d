"""DukeMTMC-reID and its re-split Occluded-Duke: one form of names, one notice, two tables of counts."""

from __future__ import annotations

import logging
from pathlib import Path

from hcbench.data.card import Counts, DatasetCard
from hcbench.data.formats.market_files import DUKE
from hcbench.data.formats.reid_splits import ReidSet, counts, read_market_like

log = logging.getLogger(__name__)

NOTICE = (
    "DukeMTMC-reID was withdrawn by its owners in 2019 over consent and privacy (as reported). It is never part of "
    "default tables; think twice before publishing results on it."
)
DUKE_COUNTS: Counts = {
    "trainval": {"images": 16_522, "identities": 702},
    "query": {"images": 2_228, "identities": 702},
    "gallery": {"images": 17_661, "identities": 1_110},
}
OCCLUDED_COUNTS: Counts = {
    "trainval": {"images": 15_618, "identities": 702},
    "query": {"images": 2_210, "identities": 519},
    "gallery": {"images": 17_661, "identities": 1_110},
}


def tree(wrapper: str) -> str:
    """The expected folders, for a card."""
    return f"""\
ROOT/                                     with or without a folder {wrapper} around it
  bounding_box_train/0001_c2_f0046182.jpg ...
  query/0005_c2_f0046985.jpg ...
  bounding_box_test/0002_c1_f0044158.jpg ..."""


def read(root: Path, card: DatasetCard) -> ReidSet:
    """The files of either set; the notice goes to the log.

    Raises:
        DataError: The folder has not the expected form.
    """
    found = read_market_like(root, card, (DUKE,))
    log.warning("%s", NOTICE)
    return found


def twin_problem(found: ReidSet, counts_of_other: Counts, other: str) -> list[str]:
    """The problem that a folder holds the other of the two sets, recognised by its counts; none where it does not."""
    return [f"these are the counts of {other}"] if counts(found) == counts_of_other else []
