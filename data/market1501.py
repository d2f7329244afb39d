"""Market-1501: re-identification across six cameras of a market, with attributes where their file is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats.identity_attributes import files, splits
from hcbench.data.formats.market_files import MARKET
from hcbench.data.formats.reid_splits import ReidSet, read_market_like, verify_set
from hcbench.data.samples import Samples

SPLITS = splits.SPLITS
RENUMBERED = splits.RENUMBERED
DROPPED = -1
"""Detections that are neither a person of the test nor anybody else: dropped, as keeping them costs 7 points of R1."""
DISTRACTOR = 0
"""Persons of no query: they stay in the gallery and match nobody."""

CARD = DatasetCard(
    name="market1501",
    title="Market-1501",
    homepage="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    terms="Free for academic, non-commercial use (not verified: read the terms of the project page).",
    obtain="Ask on the project page, or of a colleague who has Market-1501-v15.09.15.zip; official links move.\n"
    "Attributes (optional): market_attribute.mat of https://github.com/vana77/Market-1501_Attribute",
    tree="""\
ROOT/                                     with or without a folder Market-1501-v15.09.15 around it
  bounding_box_train/0002_c1s1_000451_03.jpg ...
  query/0001_c1s1_001051_00.jpg ...
  bounding_box_test/0001_c1s1_001051_03.jpg ...     0000_* match nobody, -1_* do not count
  market_attribute.mat                    (optional)
gt_bbox/, gt_query/ and the 500k distractors are not looked at.""",
    counts={
        "trainval": {"images": 12_936, "identities": 751},
        "query": {"images": 3_368, "identities": 750},
        "gallery": {
            "files": 19_732,
            "persons' images": 13_115,
            "distractors": 2_798,
            "dropped": 3_819,
            "images": 15_913,
        },
    },
    split_rule="reid: every image of query is searched in the gallery, whose -1_* do not count.\n"
    "attributes (with market_attribute.mat): the labels are the persons'. It learns from bounding_box_train without "
    "every tenth person, who is for validation, and is scored on the 13,115 images of 750 persons of "
    "bounding_box_test: neither 0000_* nor -1_* nor queries count, as in evaluate_market_attribute.m of its authors.",
    fields=splits.FIELDS,
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of Market-1501.

    Args:
        root: The folder of `CARD.tree`.
        split: One of `SPLITS` (see `hcbench.data.formats.reid_splits` and `identity_attributes.splits`).
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the decoded pixels.

    Returns:
        Samples sorted by file name. `ids` are `query/0001_c1s1_001051_00.jpg`; cameras are 0..5; files of person -1
        are left out, person 0 has the identity -1. Where `market_attribute.mat` is there, `attributes` are those of
        the person, 30 columns (`identity_attributes.files.NAMES`), -1 for distractors; `attributes/*` hold only
        persons who have some.

    Raises:
        DataError: The folder, a name, an image or the mat is not as it should be; or the mat is not there, for a split
            that needs it.
        CacheError: The cache folder cannot be written.
    """
    return splits.load_any(_read(root), root, split, height, width, cache, files.MARKET)


def verify(root: Path) -> VerifyReport:
    """Check a copy: names, every image's decoding, the counts of each split, and the attributes where they are there.

    Reads every image once. Nothing is written.

    Raises:
        DataError: The root is no folder, is not Market-1501, or holds names that are none of its.
    """
    found = _read(root)
    problems, notes = splits.compared(found, root, files.MARKET)
    return verify_set(found, root, notes=notes, problems=problems)


def lacking(root: Path, benchmark: str) -> str:
    """Why a copy cannot be used for a benchmark; empty where it can.

    Raises:
        DataError: The root is no folder, or is not Market-1501.
    """
    return splits.lacking(root, CARD, files.MARKET, benchmark)


def _read(root: Path) -> ReidSet:
    return replace(read_market_like(root, CARD, (MARKET,)), dropped=DROPPED, distractor=DISTRACTOR)


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
