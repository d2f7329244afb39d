"""ICFG-PEDES: images of MSMT17, each with one long sentence that describes the person.

Ids count from 0, and there is no official `val`.
"""

from __future__ import annotations

import re

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats import text_reid_files
from hcbench.data.formats.text_reid_files import TextReidSet

CARD = DatasetCard(
    name="icfg-pedes",
    title="ICFG-PEDES",
    homepage="https://github.com/zifyloo/SSAN",
    terms="On request, research only; the images are those of MSMT17, whose terms apply to them (not verified).",
    obtain="Ask the authors (form on the homepage); unpack what they send.",
    tree="""\
ROOT/                                     with or without folders around it
  ICFG-PEDES.json                         or: ICFG_PEDES.json; a list of {"split", "file_path", "id", "captions"}
  imgs/train/<person>/*.jpg  imgs/test/<person>/*.jpg     MSMT17's folders: the json alone tells the split""",
    counts={
        "trainval": {"images": 34_674, "identities": 3_102, "captions": 34_674},
        "test": {"images": 19_848, "identities": 1_000, "captions": 19_848},
    },
    unverified=frozenset({"trainval identities"}),
    fields=frozenset({"images", "identity", "camera", "captions"}),
)
SPLITS = text_reid_files.SPLITS
RENUMBERED = text_reid_files.RENUMBERED

_OWN = TextReidSet(
    card=CARD,
    annotations=("ICFG-PEDES.json", "ICFG_PEDES.json"),
    splits=("train", "test"),
    camera=re.compile(r"\d{4}_\d{3}_(\d{2})_"),
)

load = _OWN.load
annotation_files = _OWN.annotation_files
verify = _OWN.verify

DATASET = Dataset(
    card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED, annotation_files=annotation_files
)
