"""`verify` for a manifest: images that cannot be read, groups of one, poses that differ, held-out images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from hcbench.data.card import Report
from hcbench.data.crops import in_threads
from hcbench.data.manifest import Manifest, check_images, open_manifest
from hcbench.data.manifest_images import from_bytes, from_files
from hcbench.data.overlaps import is_held_out
from hcbench.data.samples import Int
from hcbench.errors import DataError

_AT_ONCE = 1_024
_NAMED = 5


def verify_manifest(path: Path, root: Path | None = None) -> Report:
    """Open a manifest, hold its labels against each other, decode every image once.

    Raises:
        DataError: It is no manifest, or none of its images is where it says.
    """
    manifest = open_manifest(path, root)
    check_images(manifest)
    problems = [*_broken(manifest), *_poses(manifest)]
    counts = {"images": len(manifest)}
    notes: list[str] = []
    for layout, what in (("captions", "groups"), ("poses", "poses"), ("identities", "identities")):
        units = manifest.units(layout)
        if units is None:
            continue
        _, sizes = np.unique(units, return_counts=True)
        counts[what] = len(sizes)
        alone = int((sizes == 1).sum())
        told = f"{alone:,} of {len(sizes):,} {what} have one image, which makes no positive pair"
        (problems if alone and what == "groups" else notes).extend([told] if alone else [])
    columns = ("captions", "identity", "keypoints", "pose_id", "camera", "group_id")
    partly = {name: lacking for name in columns if 0 < (lacking := manifest.lacking[name]) < len(manifest)}
    without = {name: "" if name == "keypoints" else ", so methods that need it are skipped" for name in partly}
    notes += [f"{lacking:,} rows have no {name}{without[name]}" for name, lacking in partly.items()]
    held = [split for split in manifest.values("split") if is_held_out(split)]
    told = f"it holds images (or poses) of {', '.join(held)}, which are for scoring: do not pre-train on it"
    notes += [told] if held else []
    return Report(
        dataset="manifest",
        root=path,
        level="mismatch" if problems else "exact",
        layout="packed images" if manifest.packed else f"images below {manifest.root}",
        found={"all": counts},
        expected={},
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _broken(manifest: Manifest) -> list[str]:
    """Images that are missing, cannot be decoded, or have another size than their row says."""
    found: list[str] = []
    for start in range(0, len(manifest), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(manifest)))
        found += _broken_among(manifest, rows)
    more = [f"and {len(found) - _NAMED:,} more images"] if len(found) > _NAMED else []
    return [*found[:_NAMED], *more]


def _broken_among(manifest: Manifest, rows: Int) -> list[str]:
    packed = ["image_bytes"] if manifest.packed else []
    table = manifest.take(["image_path", "width", "height", *packed], rows)
    names = [name or f"row {row}" for name, row in zip(table["image_path"].to_pylist(), rows.tolist(), strict=True)]
    if manifest.packed:
        content = table["image_bytes"].combine_chunks()
        read = from_bytes(lambda row: content[row].as_py())
    else:
        read = from_files(manifest.root, names)
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))

    def check(row: int) -> str | None:
        try:
            size = read(row).size
        except DataError as error:
            return f"{names[row]}: {error.message}"
        told = sizes[row]
        if None in told or size == told:
            return None
        return f"{names[row]} is {size[0]} x {size[1]}, its row says {told[0]} x {told[1]}"

    return [problem for problem in in_threads(check, range(len(rows)), "images") if problem]


def _poses(manifest: Manifest) -> list[str]:
    """Poses whose images have different keypoints: they must share a skeleton to the pixel."""
    if not manifest.complete("pose_id") or manifest.lacking["keypoints"]:
        return []
    poses = manifest.units("poses")
    if poses is None:
        return []
    first: dict[int, bytes] = {}
    differ: set[int] = set()
    for start in range(0, len(manifest), 1 << 16):
        rows = np.arange(start, min(start + (1 << 16), len(manifest)))
        table = manifest.take(["keypoints"], rows)
        numbers = pc.list_flatten(table["keypoints"]).to_numpy().reshape(len(rows), -1)
        for pose, one in zip(poses[rows].tolist(), numbers, strict=True):
            if first.setdefault(pose, one.tobytes()) != one.tobytes():
                differ.add(pose)
    return [f"{len(differ):,} poses have images with different keypoints, for example pose {min(differ)}"] if differ \
        else []  # fmt: skip
