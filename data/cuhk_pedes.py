"""CUHK-PEDES: persons of several ReID sets, each image with two sentences that describe the person.

Ids count from 1. A few images have more than two captions.
"""

from __future__ import annotations

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats import text_reid_files
from hcbench.data.formats.text_reid_files import TextReidSet

CARD = DatasetCard(
    name="cuhk-pedes",
    title="CUHK-PEDES",
    homepage="https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
    terms="Academic use only, no redistribution. The images come from other datasets, whose terms apply too\n"
    "(not verified).",
    obtain="Ask the authors (address on the homepage) with a university e-mail address; unpack what they send.\n"
    "The table of 238,768 rows with this name on the Hugging Face Hub mixes other data and is not this benchmark.",
    tree="""\
ROOT/                                     with or without folders around it
  reid_raw.json                           a list of {"split", "file_path", "id", "captions"}
  imgs/cam_a/*  cam_b/*  CUHK01/*  CUHK03/*  Market/*  test_query/*  train_query/*""",
    counts={
        "train": {"images": 34_054, "identities": 11_003, "captions": 68_126},
        "val": {"images": 3_078, "identities": 1_000, "captions": 6_158},
        "test": {"images": 3_074, "identities": 1_000, "captions": 6_156},
    },
    unverified=frozenset({"train captions", "val captions"}),
    fields=frozenset({"images", "identity", "captions"}),
)
SPLITS = text_reid_files.SPLITS
RENUMBERED = text_reid_files.RENUMBERED

_OWN = TextReidSet(
    card=CARD,
    annotations=("reid_raw.json",),
    first_id=1,
    variants=(
        (
            "train",
            {"images": 34_051, "identities": 11_000, "captions": 68_120},
            "the filtered list that HAP trains on (three persons fewer than the official one)",
        ),
    ),
)

load = _OWN.load
annotation_files = _OWN.annotation_files
verify = _OWN.verify

DATASET = Dataset(
    card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED, annotation_files=annotation_files
)
