"""Look into Person (LIP): twenty classes on images of single persons."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.files.under_root import check_names
from hcbench.data.formats.listing import find_base, list_files
from hcbench.data.formats.parsing_files import Pairs, ParsingSet, read_stems
from hcbench.data.part_names import LIP
from hcbench.data.task_splits import TaskSplits
from hcbench.errors import DataError

CARD = DatasetCard(
    name="lip",
    title="Look into Person (LIP)",
    homepage="http://sysu-hcp.net/lip/",
    terms="Non-commercial research (not verified: read it on the homepage).",
    obtain="Download the images and parsing annotations of the single-person track from the homepage. The labels of\n"
    "the test split are not public.",
    tree="""\
ROOT/                                     with or without folders around it
  train_images/*.jpg  val_images/*.jpg                 (or in TrainVal_images/)
  train_segmentations/*.png  val_segmentations/*.png   (or in TrainVal_parsing_annotations/)
  train_id.txt  val_id.txt                             (or beside the images)""",
    counts={"train": {"images": 30_462}, "val": {"images": 10_000}},
    unverified=frozenset({"images"}),
    fields=frozenset({"images", "parts", "crop_center", "crop_size"}),
)
SPLITS = ("train", "val")
TASK_SPLITS = TaskSplits(train="train", val=None, test="val")

# Archives are unpacked into folders of their own names, often twice.
_AROUND = ("", "TrainVal_images/", "TrainVal_images/TrainVal_images/")
_AROUND_LABELS = (
    "",
    "TrainVal_parsing_annotations/",
    "TrainVal_parsing_annotations/TrainVal_parsing_annotations/",
)


def _find(root: Path, split: str) -> Pairs:
    layouts = [
        (f"{images}{split}_images", f"{labels}{split}_segmentations")
        for images, labels in product(_AROUND, _AROUND_LABELS)
    ]
    base, (images, labels) = find_base(root, CARD, layouts)
    places = [base / f"{split}_id.txt", (base / images).parent / f"{split}_id.txt"]
    listed = next((place for place in places if place.is_file()), None)
    if listed is None:
        raise DataError(
            f"{places[0]} is missing.", f"It names the images of the split, one per line. Expected:\n{CARD.tree}"
        )
    stems = sorted(read_stems(listed))
    for folder, ending in ((images, ".jpg"), (labels, ".png")):
        names = [f"{stem}{ending}" for stem in stems]
        check_names(base / folder, names, lambda place: f"{listed}: the line {stems[place]!r} names")
    there = list_files(base / images, refuse=False)
    return Pairs(
        base=base,
        layout=f"{images}/ and {labels}/",
        image_folder=base / images,
        label_folder=base / labels,
        images=tuple(f"{stem}.jpg" for stem in stems),
        labels=tuple(f"{stem}.png" for stem in stems),
        ids=tuple(f"{split}_images/{stem}.jpg" for stem in stems),
        unlisted=len(set(there.files) - {f"{stem}.jpg" for stem in stems}),
        listing=there,
    )


_OWN = ParsingSet(card=CARD, splits=SPLITS, names=LIP, find=_find)

load = _OWN.load
label_map = _OWN.label_map
verify = _OWN.verify

DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, task_splits=TASK_SPLITS)
