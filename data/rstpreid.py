"""RSTPReid: five images of MSMT17 for each of 4,101 persons, each with two sentences that describe the person.

Ids count from 0.
"""

from __future__ import annotations

import re

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats import text_reid_files
from hcbench.data.formats.text_reid_files import TextReidSet

CARD = DatasetCard(
    name="rstpreid",
    title="RSTPReid",
    homepage="https://github.com/NjtechCVLab/RSTPReid-Dataset",
    terms="The repository carries the MIT licence; the images are those of MSMT17, whose terms apply to them\n"
    "(not verified).",
    obtain="Follow the link on the homepage; unpack images and json side by side.",
    tree="""\
ROOT/                                     with or without folders around it
  data_captions.json                      a list of {"split", "img_path", "id", "captions"}
  imgs/0000_c14_0005.jpg ...              <person>_c<camera>_<number>.jpg, no folders below""",
    counts={
        "train": {"images": 18_505, "identities": 3_701, "captions": 37_010},
        "val": {"images": 1_000, "identities": 200, "captions": 2_000},
        "test": {"images": 1_000, "identities": 200, "captions": 2_000},
    },
    fields=frozenset({"images", "identity", "camera", "captions"}),
)
SPLITS = text_reid_files.SPLITS
RENUMBERED = text_reid_files.RENUMBERED

_OWN = TextReidSet(
    card=CARD,
    annotations=("data_captions.json",),
    image_key="img_path",
    camera=re.compile(r"\d{4}_c(\d{1,2})_\d{4}\.jpg$"),
    variants=(
        (
            "train",
            {"images": 19_505, "identities": 3_901, "captions": 39_010},
            "train and val together, as HAP trains on them",
        ),
    ),
)

load = _OWN.load
annotation_files = _OWN.annotation_files
verify = _OWN.verify

DATASET = Dataset(
    card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED, annotation_files=annotation_files
)
