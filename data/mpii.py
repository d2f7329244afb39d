"""MPII Human Pose as person crops: sixteen joints, scored by PCKh.

The files count pixels from 1. Here everything counts from 0: one is taken off centres, joints and head boxes alike.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.crops import CropPlan, cached_crops
from hcbench.data.dataset import Dataset
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.findings import checked_images
from hcbench.data.formats.listing import find_annotated, list_files
from hcbench.data.formats.loading import (
    check_cache,
    check_split,
    digest,
    found_splits,
    listing_notes,
    make_report,
    missing_files,
    numbered,
)
from hcbench.data.formats.mpii_files import Persons, Scored, read_persons, read_scored
from hcbench.data.pixels import picture_size
from hcbench.data.samples import Samples
from hcbench.data.skeletons import MPII
from hcbench.data.task_splits import TaskSplits
from hcbench.data.windows import crop_windows, to_crop
from hcbench.errors import DataError

log = logging.getLogger(__name__)

CARD = DatasetCard(
    name="mpii",
    title="MPII Human Pose",
    homepage="http://human-pose.mpi-inf.mpg.de",
    terms="Research (not verified: read it on the homepage).",
    obtain="Download the images (mpii_human_pose_v1.tar.gz) from http://human-pose.mpi-inf.mpg.de.\n"
    "Take the json and mat files as HRNet or mmpose publish them, in one of the trees below.",
    tree="""\
ROOT/                                     one of three layouts, with or without folders around it
  annotations/mpii_train.json  annotations/mpii_val.json  annotations/mpii_gt_val.mat
  images/*.jpg
ROOT/
  annot/train.json  annot/valid.json  annot/gt_valid.mat
  images/*.jpg
ROOT/
  mpii_train.json  mpii_val.json  mpii_gt_val.mat
  images/*.jpg""",
    counts={"train": {"persons": 22_246}, "val": {"persons": 2_958}},
    unverified=frozenset({"persons"}),
    fields=frozenset({"images", "keypoints", "boxes", "head_boxes", "image_id", "crop_center", "crop_size"}),
)
SPLITS = ("train", "val")
TASK_SPLITS = TaskSplits(train="train", val=None, test="val")

_PERSON_PX = 200.0
"""`scale` is a person's height in units of so many pixels."""
_LEAST_SCALE = 0.01
"""Of a smaller person the positions of joints are finer than float32 can tell apart."""
_DOWN_PX = 15.0
"""How far the window is moved down, per unit of `scale`: annotators clicked above the middle (HRNet, mmpose)."""


class _Layout(NamedTuple):
    base: Path
    annotations: Path
    scored: Path | None

    @property
    def name(self) -> str:
        return f"{self.annotations.relative_to(self.base).as_posix()} and images/"


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Crops of all persons of a split.

    The window is the square of 200 * scale pixels around the centre, which is first moved down by 15 * scale; as for
    all pose sets it is then widened to the input's aspect, times 1.25. A square is wide for an upright person:
    an input of 1 : 1, on which the field reports MPII, wastes the least.

    The positions of `val`, and which of its joints count, are those of the mat file, since PCKh is defined by it: v = 1
    where it counts a joint that the json calls invisible.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: `train` or `val`. The joints of the official test split are not public.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Returns:
        Samples in the order of the file. `ids` are `images/015601864.jpg#<split><row of the file, from 0>`; `boxes`
        are the squares; `head_boxes` are known of `val`. MPII has no areas, and OKS is not defined on it.

    Raises:
        DataError: The folder, a file or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    layout, persons, scored = _read(root, split)
    check_cache(layout.base, cache)
    boxes = _boxes(persons)
    rows = np.flatnonzero(_placed(persons))
    for note in _left_out(persons):
        log.warning("mpii %s: %s", split, note)
    files = [persons.images[row] for row in rows]
    missing = missing_files(layout.base / "images", files)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(set(files))} images are missing in {layout.base / 'images'}: {some(missing)}.",
            "Copy them, or take their persons out of json and mat.",
        )
    center, size = crop_windows(boxes[rows], height, width)
    plan = CropPlan(folder=layout.base / "images", files=files, center=center, size=size, height=height, width=width)
    crops, pixels = cached_crops(plan, cache)
    points, visibility = _joints(persons, scored)
    xy = to_crop(points[rows], center[:, None], size[:, None], height, width)
    seen = visibility[rows][..., None]
    keypoints = np.concatenate([np.where(seen > 0, xy, 0), seen], axis=2).astype(np.float32)
    ids = np.array([f"images/{file}#{split}{row}" for file, row in zip(files, rows, strict=True)])
    heads = None if scored is None else _head_boxes(scored)[rows]
    return Samples(
        name=f"mpii {split}",
        fingerprint=digest(pixels, ids, keypoints, boxes[rows], heads),
        images=crops,
        ids=ids,
        keypoints=keypoints,
        skeleton=MPII,
        boxes=boxes[rows].astype(np.float32),
        head_boxes=heads,
        image_id=numbered(files),
        crop_center=center,
        crop_size=size,
        notes=tuple(f"mpii {split}: {note}" for note in _left_out(persons)),
    )


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, json, mat, every image's presence and decoding, and the number of persons.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    found: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    notes: list[str] = []
    layouts, absent = found_splits(SPLITS, lambda split: _find(root, split))
    for split, layout in layouts.items():
        try:
            _, persons, scored = _read(root, split)
        except DataError as error:
            problems.append(error.message)
            continue
        found[split] = _count(persons, scored)
        files = sorted({f"images/{name}" for name in persons.images})
        damage, oddities = checked_images(layout.base, files)
        problems += [f"{split}: {problem}" for problem in damage]
        notes += [
            f"{split}: {note}" for note in (*_left_out(persons), *_outside(layout.base, persons, scored), *oddities)
        ]
    notes += [f"{split} was not found" for split in absent]
    folders = sorted({layout.base / "images" for layout in layouts.values()})
    notes += listing_notes(*(list_files(folder, refuse=False) for folder in folders))
    names = "; ".join(layout.name for layout in layouts.values())
    return make_report(CARD, root, names, found, problems=problems, notes=notes)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json and mat files that decide what `load` gives, of every split that is there, sorted.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    layouts, _ = found_splits(SPLITS, lambda split: _find(root, split))
    several = {path for layout in layouts.values() for path in (layout.annotations, layout.scored)}
    return tuple(sorted(path for path in several if path is not None and path.is_file()))


def _find(root: Path, split: str) -> _Layout:
    check_split(CARD, split, SPLITS)
    short = {"train": "train", "val": "valid"}[split]
    layouts: Sequence[tuple[str, str]] = (
        (f"annotations/mpii_{split}.json", "annotations/mpii_gt_val.mat"),
        (f"annot/{short}.json", "annot/gt_valid.mat"),
        (f"mpii_{split}.json", "mpii_gt_val.mat"),
    )
    base, (annotations, _) = find_annotated(root, CARD, split, [(file, "images") for file, _ in layouts])
    return _Layout(base, base / annotations, base / dict(layouts)[annotations] if split == "val" else None)


def _read(root: Path, split: str) -> tuple[_Layout, Persons, Scored | None]:
    layout = _find(root, split)
    persons = read_persons(layout.annotations)
    check_names(layout.base / "images", persons.images, lambda row: f"{layout.annotations}: person {row} has the image")
    if layout.scored is None:
        return layout, persons, None
    if not layout.scored.is_file():
        raise DataError(
            f"{layout.scored} is missing.",
            "PCKh takes head sizes and the joints that count from it; it comes with the json files.",
        )
    return layout, persons, read_scored(layout.scored, persons, layout.annotations)


def _placed(persons: Persons) -> NDArray[np.bool_]:
    """Whether a person has a window at all: HRNet's files mark a lacking centre with -1."""
    return np.asarray((persons.scale >= _LEAST_SCALE) & (persons.center != -1).all(axis=1))


def _left_out(persons: Persons) -> tuple[str, ...]:
    """What is said of persons without a window; nothing where there are none."""
    count = int((~_placed(persons)).sum())
    return (f"{count} persons have no centre or scale and are left out",) if count else ()


def _boxes(persons: Persons) -> NDArray[np.float64]:
    """The square around each person, x, y, w, h from 0."""
    side = (_PERSON_PX * persons.scale)[:, None]
    center = persons.center + np.array([0.0, _DOWN_PX]) * persons.scale[:, None] - 1
    return np.concatenate([center - side / 2, side, side], axis=1)


def _joints(persons: Persons, scored: Scored | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (N, 16, 2) from 0, and visibility (N, 16)."""
    # DEVIATION (open-mmlab/mmpose mpii_dataset.py): 1.x takes one pixel off the centre, but not off the joints; HRNet
    # and mmpose 0.x take it off both, and so does this.
    if scored is None:
        return persons.joints - 1, np.where(persons.visible, 2.0, 0.0)
    return scored.joints - 1, np.where(scored.missing, 0.0, np.where(persons.visible, 2.0, 1.0))


def _head_boxes(scored: Scored) -> NDArray[np.float32]:
    low, high = scored.heads.min(axis=1), scored.heads.max(axis=1)
    return np.concatenate([low - 1, high - low], axis=1).astype(np.float32)


def _count(persons: Persons, scored: Scored | None) -> dict[str, int]:
    _, visibility = _joints(persons, scored)
    return {
        "persons": len(persons),
        "images with a person": len(set(persons.images)),
        "joints": int((visibility > 0).sum()),
        "persons without a window": int((~_placed(persons)).sum()),
    }


def _outside(base: Path, persons: Persons, scored: Scored | None) -> list[str]:
    """A note on joints that lie outside their image; they stay, and no head learns them."""
    sizes: dict[str, tuple[int, int]] = {}
    for name in sorted(set(persons.images)):
        try:
            sizes[name] = picture_size(base / "images" / name, name)
        except DataError:
            continue  # told as a problem already
    points, visibility = _joints(persons, scored)
    limit = np.array([sizes.get(name, (np.inf, np.inf)) for name in persons.images], np.float64)[:, None]
    beyond = (visibility > 0) & ((points < -0.5) | (points >= limit - 0.5)).any(axis=2)
    if not beyond.any():
        return []
    first = persons.images[int(beyond.any(axis=1).argmax())]
    return [f"{beyond.sum()} joints lie outside their image, as in {first}; no head learns them"]


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    sometimes=frozenset({"head_boxes"}),  # of the split that is scored
    task_splits=TASK_SPLITS,
    annotation_files=annotation_files,
)
