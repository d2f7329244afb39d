"""`verify` for a manifest: images that cannot be read, groups of one, poses that differ, poses that are scored on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from hcbench.data.card import VerifyReport
from hcbench.data.files.under_root import OutsideError
from hcbench.data.findings import Findings
from hcbench.data.formats.coco_files import find_layout, read_truth
from hcbench.data.manifest.images import another_size, from_bytes, from_files
from hcbench.data.manifest.manifest import GROUP_COLUMNS, Manifest, check_images, open_manifest
from hcbench.data.overlaps import is_held_out, plain
from hcbench.data.pixels import Picture
from hcbench.data.samples import Int
from hcbench.data.threads import in_threads
from hcbench.errors import DataError

_AT_ONCE = 1_024
_PIECE = 65_536
_NAMED = 5
_NOISY = "people"
"""The source whose keypoints differ inside a pose by intent."""


def verify_manifest(path: Path, root: Path | None = None, coco: Path | None = None) -> VerifyReport:
    """Open a manifest, hold its labels against each other, decode every image once.

    Args:
        path: The manifest.
        root: Folder of its images; None takes the one that it names.
        coco: COCO's folder, where it is known: annotations that poses come from are held against those of val2017.

    Raises:
        DataError: It is no manifest, or none of its images is where it says.
    """
    manifest = open_manifest(path, root)
    try:
        check_images(manifest)
        problems, notes = _images(manifest)
    except OutsideError as error:
        return _refused(manifest, error)
    counts = {"images": len(manifest)}
    problems += _poses(manifest)
    for layout, what in (("captions", "groups"), ("poses", "poses"), ("identities", "identities")):
        values = manifest.integers(GROUP_COLUMNS[layout])
        rows = np.flatnonzero(values >= 0)  # null, or nobody
        if not len(rows):
            continue
        _, first, sizes = np.unique(values[rows], return_index=True, return_counts=True)
        counts[what] = len(sizes)
        if (sizes == 1).any():
            alone = np.sort(rows[first[sizes == 1]])
            finding = f"{len(alone):,} of {len(sizes):,} {what} have one image, which makes no positive pair"
            (problems if what == "groups" else notes).append(f"{finding}: {_named(manifest, alone)}")
    scored, unsure = _scored(manifest, coco)
    problems, notes = problems + scored, notes + unsure
    columns = ("captions", "identity", "keypoints", "pose_id", "camera", "group_id")
    partly = {name: lacking for name in columns if 0 < (lacking := manifest.lacking[name]) < len(manifest)}
    without = {name: "" if name == "keypoints" else ", so methods that need it are skipped" for name in partly}
    notes += [f"{lacking:,} rows have no {name}{without[name]}" for name, lacking in partly.items()]
    held = [split for split in manifest.values("split") if is_held_out(split)]
    warning = f"it holds images (or poses) of {', '.join(held)}, which are for scoring: do not pre-train on it"
    notes += [warning] if held else []
    return VerifyReport(
        dataset="manifest",
        root=path,
        level="mismatch" if problems else "exact",
        layout="packed images" if manifest.packed else f"images below {manifest.root}",
        found={"all": counts},
        expected={},
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _refused(manifest: Manifest, error: OutsideError) -> VerifyReport:
    """The report on a manifest that names what lies outside: what it holds is not looked at."""
    return VerifyReport(
        dataset="manifest",
        root=manifest.path,
        level="mismatch",
        layout=f"images below {manifest.root}",
        found={"all": {"images": len(manifest)}},
        expected={},
        problems=(error.message,),
        notes=(error.hint,),
    )


def _images(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Images that are missing, cannot be decoded, or have another size than their row says; notes on the others."""
    findings = Findings()
    for start in range(0, len(manifest), _AT_ONCE):
        _look_at(manifest, np.arange(start, min(start + _AT_ONCE, len(manifest))), findings)
    found = list(findings.broken.values())
    more = [f"and {len(found) - _NAMED:,} more images"] if len(found) > _NAMED else []
    return [*found[:_NAMED], *more], findings.remarks


def _look_at(manifest: Manifest, rows: Int, findings: Findings) -> None:
    packed = ["image_bytes"] if manifest.packed else []
    table = manifest.take(["image_path", "width", "height", *packed], rows)
    names = [name or f"row {row}" for name, row in zip(table["image_path"].to_pylist(), rows.tolist(), strict=True)]
    if manifest.packed:
        content = table["image_bytes"].combine_chunks()
        read = from_bytes(lambda row: content[row].as_py())
    else:
        read = from_files(
            manifest.root, names, links=manifest.links, called=lambda row: f"{manifest.path}: row {rows[row]}"
        )
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))

    def check(row: int) -> Picture | DataError:
        try:
            picture = read(row)
        except OutsideError:
            raise
        except DataError as error:
            return DataError(f"{names[row]}: {error.message}")
        problem = another_size(picture.image.size, sizes[row])
        return DataError(f"{names[row]} {problem}") if problem else picture

    for row, found in enumerate(in_threads(check, range(len(rows)), "images")):
        findings.add(names[row], found)


def _poses(manifest: Manifest) -> list[str]:
    """Images that have not the keypoints of their pose, or of their group: each must share a skeleton to the pixel.

    Those of the embedded people do so as well, but their keypoints are labels with the corpus's noise.
    """
    if manifest.lacking["keypoints"] == len(manifest):
        return []
    kinds = {"pose": manifest.integers("pose_id"), "group": manifest.integers("group_id")}
    first: dict[tuple[str, int], bytes] = {}
    differ: dict[str, list[int]] = {kind: [] for kind in kinds}
    for rows in _pieces(len(manifest)):
        table = manifest.take(["keypoints", "source"], rows)
        lists, noisy = table["keypoints"].combine_chunks(), pc.equal(table["source"], _NOISY).to_pylist()
        ends = np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False))
        numbers = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
        for row, rendered, one in zip(rows.tolist(), noisy, np.split(numbers, ends[:-1]), strict=True):
            for kind, values in kinds.items():
                value = int(values[row])
                if value >= 0 and not rendered and first.setdefault((kind, value), one.tobytes()) != one.tobytes():
                    differ[kind].append(row)
    return [
        f"{len(some):,} images have other keypoints than the first image of their {kind}: "
        f"{_named(manifest, np.array(some))}"
        for kind, some in differ.items()
        if some
    ]


def _scored(manifest: Manifest, coco: Path | None) -> tuple[list[str], list[str]]:
    """Problems: generated images whose poses models are scored on, COCO's val2017. Notes: images that may be such."""
    if all(_coco_split(source, "") is None for source in manifest.values("source")):
        return [], []
    held = _Held.of(coco)
    poses = manifest.integers("pose_id")
    validation: list[int] = []
    found: list[int] = []
    unsure = 0
    for rows in _pieces(len(manifest)):
        table = manifest.take(["source", "split", "group_id", "seed"], rows)
        generated = pc.or_(table["group_id"].is_valid(), table["seed"].is_valid()).to_pylist()
        sources = zip(table["source"].to_pylist(), table["split"].to_pylist(), strict=True)
        for row, made, (source, split) in zip(rows.tolist(), generated, sources, strict=True):
            kind = _coco_split(source or "", split or "") if made else None
            if kind == "val":
                validation.append(row)
            elif kind is not None and poses[row] >= 0:
                found += [row] if int(poses[row]) in held.ids else []
                unsure += held.why != "" and kind == ""
    problems = [
        f"{len(some):,} images are made of COCO's val2017, which models are scored on ({how}): "
        f"{_named(manifest, np.array(some))}"
        for some, how in ((validation, "by source and split"), (found, "by the annotation that pose_id names"))
        if some
    ]
    return problems, [f"{unsure:,} images of COCO's poses name no split: {held.why}"] if unsure else []


@dataclass(frozen=True, slots=True)
class _Held:
    """Annotations of val2017, and why they are not known; empty where they are."""

    ids: frozenset[int]
    why: str = ""

    @classmethod
    def of(cls, coco: Path | None) -> _Held:
        hint = "say where COCO lies (HCBENCH_DATA_COCO), and their pose_id is held against val2017"
        if coco is None:
            return cls(frozenset(), hint)
        try:
            truth = read_truth(find_layout(coco, "val2017"), "val2017")
        except DataError as error:
            return cls(frozenset(), f"{hint}; {error.message}")
        return cls(frozenset(person["id"] for person in truth["annotations"]))


@functools.cache
def _coco_split(source: str, split: str) -> str | None:
    """What is told of COCO's split: `val`, `train` or nothing; None for others. `coco:val2017` is understood, too."""
    name, _, rest = source.replace("/", ":").partition(":")
    if plain(name) != "coco":
        return None
    return next((one for one in ("val", "train") if (rest or split).startswith(one)), "")


def _pieces(count: int) -> Iterator[Int]:
    return (np.arange(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE))


def _named(manifest: Manifest, rows: Int) -> str:
    """The first few of some rows, ascending, with their images, and how many more there are."""
    shown = rows[:_NAMED]
    paths = manifest.take(["image_path"], shown)["image_path"].to_pylist()
    names = [f"row {row} ({path})" if path else f"row {row}" for row, path in zip(shown.tolist(), paths, strict=True)]
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return ", ".join(names) + more
