"""The files of MPII Human Pose: the json of a split, row by row, and the mat file that scores are taken from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.loading import read_json
from hcbench.data.formats.mat_files import read_mat, text_cells
from hcbench.data.skeletons import MPII
from hcbench.errors import DataError

Double = NDArray[np.float64]

JOINTS = len(MPII)
_MAT_JOINTS = (
    "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head",
    "rwri", "relb", "rsho", "lsho", "lelb", "lwri",
)  # fmt: skip
"""What the mat file calls the joints of `MPII`."""
_KEYS = frozenset({"image", "center", "scale", "joints", "joints_vis"})
_LARGEST_SCALE, _LARGEST_PX = 100.0, 1e5
_SAME_PX = 2.0
"""How far apart a joint of the json and of the mat may lie and still be the same click."""


@dataclass(frozen=True, slots=True, eq=False)
class Persons:
    """The rows of a split's json, as the file counts: pixels from 1.

    Attributes:
        images: File name of each row's image, N of them.
        center: float64 (N, 2), rough middle of the person.
        scale: float64 (N,), height of the person / 200 pixels.
        joints: float64 (N, 16, 2); (-1, -1) where not annotated.
        visible: bool (N, 16).
    """

    images: tuple[str, ...]
    center: Double
    scale: Double
    joints: Double
    visible: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What PCKh of the validation split is measured against, as the mat file counts: pixels from 1.

    Attributes:
        joints: float64 (N, 16, 2).
        missing: bool (N, 16), joints that do not count.
        heads: float64 (N, 2, 2), corners [[x1, y1], [x2, y2]] of the head.
    """

    joints: Double
    missing: NDArray[np.bool_]
    heads: Double


def read_persons(path: Path) -> Persons:
    """Read and check the json of a split.

    Raises:
        DataError: The file is no json, has other keys, or a row contradicts itself; the row is named.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        held = "an empty list" if rows == [] else f"a json {type(rows).__name__}"
        raise DataError(f"{path} holds {held}.", "Expected the list of persons that HRNet and mmpose publish for MPII.")
    for number, row in enumerate(rows):
        _check_row(row, f"{path}: person {number}")
    return Persons(
        images=tuple(str(row["image"]) for row in rows),
        center=np.array([row["center"] for row in rows], np.float64),
        scale=np.array([row["scale"] for row in rows], np.float64),
        joints=np.array([row["joints"] for row in rows], np.float64),
        visible=np.array([row["joints_vis"] for row in rows], np.float64) > 0,
    )


def read_scored(path: Path, persons: Persons, json_path: Path) -> Scored:
    """Read and check the mat file, whose entries stand in the order of the json's rows.

    Raises:
        DataError: The file is none, or is of other persons than the json.
    """
    names = ("headboxes_src", "jnt_missing", "pos_gt_src", "dataset_joints")
    mat = read_mat(path, names)
    count = len(persons)
    for name, shape in (("headboxes_src", (2, 2, count)), ("jnt_missing", (JOINTS, count)),
                        ("pos_gt_src", (JOINTS, 2, count))):  # fmt: skip
        if mat[name].shape != shape:
            raise DataError(
                f"{path}: {name} is {' x '.join(map(str, mat[name].shape))}, expected {' x '.join(map(str, shape))} "
                f"for the {count} persons of {json_path.name}.",
                "Take json and mat from the same release; the mat belongs to the validation split.",
            )
        if mat[name].dtype.kind not in "biuf":
            raise DataError(f"{path}: {name} holds no numbers.", "Take the mat of the release.")
    called = text_cells(mat["dataset_joints"])
    if called != _MAT_JOINTS:
        raise DataError(
            f"{path} orders its joints {', '.join(called)}.", f"Expected {', '.join(_MAT_JOINTS)}: another release."
        )
    scored = Scored(
        joints=mat["pos_gt_src"].transpose(2, 0, 1).astype(np.float64),
        missing=mat["jnt_missing"].T.astype(np.float64) != 0,
        heads=mat["headboxes_src"].transpose(2, 0, 1).astype(np.float64),
    )
    _check_scored(scored, path)
    _check_same(scored, persons, path, json_path)
    return scored


def _check_row(row: Any, what: str) -> None:
    absent = sorted(_KEYS - row.keys()) if isinstance(row, dict) else sorted(_KEYS)
    if absent:
        held = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        hint = "Expected center, image, joints, joints_vis, scale."
        if absent == ["joints", "joints_vis"]:
            hint += " The official test split has no joints: they are kept by its owners. Use the validation split."
        raise DataError(f"{what} has no {', '.join(absent)}; it has {held or 'nothing'}.", hint)
    try:
        joints, visible = np.array(row["joints"], np.float64), np.array(row["joints_vis"], np.float64)
        place = np.array([*row["center"], row["scale"]], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} holds something that is no number: {error}.", "Mend the json.") from error
    if joints.shape != (JOINTS, 2) or visible.shape != (JOINTS,) or place.shape != (3,):
        raise DataError(
            f"{what} has joints {joints.shape}, joints_vis {visible.shape} and {place.size - 1} numbers as center.",
            "Expected (16, 2), (16,) and 2.",
        )
    if not (np.isfinite(joints).all() and np.isfinite(place).all() and np.isin(visible, (0, 1)).all()):
        raise DataError(
            f"{what} holds a coordinate that is not finite, or a joints_vis other than 0 and 1.", "Mend the json."
        )
    _check_place(place.tolist(), what)


def _check_place(place: list[float], what: str) -> None:
    """A window that is out of all proportion to any photograph is no person's."""
    x, y, scale = place
    if scale > _LARGEST_SCALE or max(abs(x), abs(y)) > _LARGEST_PX:
        raise DataError(
            f"{what} has the scale {scale:g} and the centre ({x:g}, {y:g}).",
            f"Expected a scale (height / 200 pixels) up to {_LARGEST_SCALE:g} and pixels up to {_LARGEST_PX:g}.",
        )


def _check_scored(scored: Scored, path: Path) -> None:
    """What PCKh is measured with: places of the joints that count, and heads of some size."""
    counted = ~scored.missing
    lost = ~np.isfinite(scored.joints).all(axis=2) & counted
    size = np.linalg.norm(scored.heads[:, 1] - scored.heads[:, 0], axis=1)
    headless = ~(np.isfinite(size) & (size > 0)) & counted.any(axis=1)
    for wrong, what in ((lost.any(axis=1), "a joint that counts and has no place"), (headless, "a head without size")):
        if wrong.any():
            raise DataError(
                f"{path}: {wrong.sum()} persons have {what}, first in row {wrong.argmax()}.",
                "Mark such joints as missing (jnt_missing), all of them where the head is not known.",
            )
    if not counted.any():
        raise DataError(f"{path}: no joint counts, all are marked as missing.", "Take the mat of the release.")


def _check_same(scored: Scored, persons: Persons, path: Path, json_path: Path) -> None:
    """Rows of another order have the right shapes, and every score would be wrong."""
    both = persons.visible & ~scored.missing
    near = np.linalg.norm(scored.joints - persons.joints, axis=2) <= _SAME_PX
    apart = np.flatnonzero((both & ~near).sum(axis=1) > both.sum(axis=1) / 2)
    if len(apart):
        raise DataError(
            f"{path} and {json_path.name} are about different persons in {len(apart)} of {len(persons)} rows, "
            f"first in row {apart[0]}.",
            "Take both from the same release, in their own order.",
        )
