"""The job: units of images made one after the other into a folder, resumable at any moment, then one manifest.

    OUT/manifest.parquet              a row per image, written when all are there
    OUT/images/0000/000012-3.png      image 3 of group 12
    OUT/units/0000/000004.json        a unit that is complete: its rows, its files' sizes, what it cost
    OUT/settings.json                 what decides the bytes; another run into the folder must agree
    OUT/ledger.json                   what all of it cost

A unit is what a generator makes at once. Its record is written last, so a unit without one, or whose files are not all
there in their size, is made again from its seeds, into the same bytes.
"""

from __future__ import annotations

import fcntl
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.data.files.under_root import UnderRoot, why_outside
from hcbench.errors import CacheError, ConfigError, DataError
from hcbench.harness.jobs.atomic_files import read_json, remove, replacing, write_json

MANIFEST, SETTINGS, LEDGER = "manifest.parquet", "settings.json", "ledger.json"
_PER_FOLDER: Final = 1000
_MOST_DIFFERENCES: Final = 6


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that was made.

    Attributes:
        row: Its columns of the manifest, but for path and size; `group_id` and `variant` name its file. What is no
            column (`joints`) stays in the unit's record.
        pixels: uint8 (H, W, 3), RGB.
        rejected: Why it is left out; empty where it is not.
    """

    row: Mapping[str, Any]
    pixels: NDArray[np.uint8]
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What a unit gave.

    Attributes:
        pictures: Its images.
        generator: The record of what made them, plain data.
    """

    pictures: Sequence[Picture]
    generator: Mapping[str, Any]


class Maker(Protocol):
    """Makes images unit by unit; a unit is a pure function of the settings and its number."""

    def flops_per_image(self) -> float:
        """Floating-point operations of an image; 0 where they cannot be counted."""

    def make(self, unit: int) -> Made:
        """Make a unit."""


@dataclass(slots=True)
class Progress:
    """How far the job is: images that are there, of how many, and the seconds and images of this run alone."""

    done: int
    total: int
    made: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job left behind.

    Attributes:
        manifest: The manifest.
        made: Images made by this run.
        skipped: Images that were there before.
        ledger: Cost and counts of all runs together, as in `LEDGER`.
    """

    manifest: Path
    made: int
    skipped: int
    ledger: Mapping[str, Any] = field(default_factory=dict)


def run_job(
    folder: Path, settings: Mapping[str, Any], open_maker: Callable[[], Maker], images: Sequence[int],
    facts: Mapping[str, Any], report_progress: Callable[[Progress], None] = lambda progress: None,
) -> JobResult:  # fmt: skip
    """Make all units that are not there yet, and the manifest.

    Args:
        folder: Where everything goes; made where it is missing.
        settings: What decides the bytes.
        open_maker: Loads the generator; not called where nothing is left to make.
        images: Images of every unit.
        facts: What else the ledger shall hold.
        report_progress: Called after every unit.

    Raises:
        ConfigError: The folder holds something else, or images of other settings.
        CacheError: The folder cannot be written, or another process is at work in it.
        DataError: Every image was left out.
    """
    _check_folder(folder)
    with _owned(folder):
        _settle(folder, settings)
        missing = [unit for unit in range(len(images)) if _record(folder, unit) is None]
        skipped = sum(images) - sum(images[unit] for unit in missing)
        progress = Progress(done=skipped, total=sum(images))
        if missing:
            _sweep(folder)
            remove(folder / MANIFEST)  # a manifest stands for a folder that is complete
            maker = open_maker()
            flops = maker.flops_per_image()
            started = time.perf_counter()
            for unit in missing:
                _make(folder, maker, unit, flops)
                progress.done += images[unit]
                progress.made += images[unit]
                progress.seconds = time.perf_counter() - started
                report_progress(progress)
        if not (folder / MANIFEST).is_file():
            _write_manifest(folder, len(images))
        ledger = {**facts, **_ledger(folder, len(images))}
        write_json(folder / LEDGER, ledger)
    return JobResult(folder / MANIFEST, progress.made, skipped, ledger)


def image_path(group: int, variant: int) -> str:
    """Name of an image under the folder.

    >>> image_path(1012, 3)
    'images/0001/001012-3.png'
    """
    return f"images/{group // _PER_FOLDER:04d}/{group:06d}-{variant}.png"


def _make(folder: Path, maker: Maker, unit: int, flops_per_image: float) -> None:
    """Make a unit, its files first and its record last."""
    started = time.perf_counter()
    made = maker.make(unit)
    sampled = time.perf_counter()
    rows, sizes, rejected = [], [], Counter[str]()
    for picture in made.pictures:
        name = image_path(int(picture.row["group_id"]), int(picture.row["variant"]))
        if picture.rejected:
            rejected[picture.rejected] += 1
            remove(folder / name)
            continue
        sizes.append(_save(folder / name, picture.pixels))
        height, width = picture.pixels.shape[:2]
        rows.append({**picture.row, "image_path": name, "width": width, "height": height})
    write_json(
        _record_path(folder, unit),
        {
            "rows": rows, "bytes": sizes, "generator": dict(made.generator), "rejected": dict(rejected),
            "flops": flops_per_image * len(made.pictures), "images": len(made.pictures), "seconds": sampled - started,
            "saving_s": time.perf_counter() - sampled,
        },
    )  # fmt: skip


def _save(path: Path, pixels: NDArray[np.uint8]) -> int:
    """Write a PNG; gives its number of bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return buffer.tell()


def _sweep(folder: Path) -> None:
    """Remove the halves of files that a killed run may have left."""
    for left in folder.rglob(".*.tmp"):
        left.unlink(missing_ok=True)


def _record_path(folder: Path, unit: int) -> Path:
    return folder / "units" / f"{unit // _PER_FOLDER:04d}" / f"{unit:06d}.json"


def _record(folder: Path, unit: int) -> dict[str, Any] | None:
    """The record of a unit whose files are all there; None elsewhere."""
    path = _record_path(folder, unit)
    try:
        record: dict[str, Any] = read_json(path)
        if any(why_outside(str(row["image_path"])) for row in record["rows"]):
            return None  # nobody but this module writes records, and it names files of its own folder
        sizes = [(folder / row["image_path"]).stat().st_size for row in record["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if sizes == record["bytes"] else None


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a complete folder in the manifest's order, with what its columns have no place for.

    Raises:
        OutsideError: A record names a file outside of the folder: it was changed, and files are written by its names.
    """
    inside = UnderRoot(folder)
    for path in sorted(folder.glob("units/*/*.json")):
        for row in read_json(path)["rows"]:
            inside.check(str(row["image_path"]), f"{path} names")
            yield row


def _records(folder: Path, units: int) -> Iterator[dict[str, Any]]:
    yield from (record for unit in range(units) if (record := _record(folder, unit)) is not None)


def _write_manifest(folder: Path, units: int) -> None:
    """The rows of all records, in order; the same images give the same bytes.

    Raises:
        DataError: Every image was left out.
    """
    from hcbench.data.manifest.schema import COLUMNS
    from hcbench.data.manifest.write import ManifestWriter

    left_out: Counter[str] = Counter()
    with ManifestWriter(folder / MANIFEST) as writer:
        for record in _records(folder, units):
            left_out.update(record["rejected"])
            made = {"generator": json.dumps(record["generator"], sort_keys=True)}
            rows = [row | made for row in record["rows"]]
            if rows:
                writer.add({name: [row.get(name) for row in rows] for name in COLUMNS})
        if not writer.rows:
            counts = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(left_out.items()))
            raise DataError(f"Every image was left out: {counts}.", "Look at the model, or ask for other prompts.")


def _ledger(folder: Path, units: int) -> dict[str, Any]:
    """Sums over all units, whenever they were made."""
    rejected: Counter[str] = Counter()
    groups: set[int] = set()
    images, sampling, saving, flops = 0, 0.0, 0.0, 0.0
    kept = 0
    for record in _records(folder, units):
        images += record["images"]
        kept += len(record["rows"])
        groups.update(row["group_id"] for row in record["rows"])
        rejected.update(record["rejected"])
        sampling += record["seconds"]
        saving += record["saving_s"]
        flops += record["flops"]
    return {
        "images": kept, "groups": len(groups), "images_rejected": dict(rejected), "generator_s": sampling,
        "saving_s": saving, "images_per_s": images / sampling if sampling else 0.0,
        "flops_per_image": flops / images if images else 0.0, "flops": flops,
    }  # fmt: skip


def _check_folder(folder: Path) -> None:
    """Raise if the folder cannot be made, or holds things of somebody else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
    except OSError as error:
        raise CacheError(f"{folder} cannot be written: {error.strerror or error}.", "Choose another --out.") from error
    if content and SETTINGS not in content:
        raise ConfigError(
            f"{folder} is not empty, and not a folder of generated images: it holds {', '.join(content[:5])}.",
            "Choose a new or an empty folder with --out.",
        )


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of one that dies."""
    try:
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise CacheError(f"{folder} cannot be written: {error.strerror or error}.", "Choose another --out.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacheError(
                f"Another process is generating into {folder}.", "Wait for it, or choose another --out."
            ) from error
        yield


def _settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings, or hold them against those of the images that are there."""
    path = folder / SETTINGS
    plain = dict(settings)
    made = next(folder.glob("units/*/*.json"), None)
    if path.is_file() and made is not None:
        before = _flat(read_json(path))
        after = _flat(plain)
        differences = [
            f"{key} {before.get(key, 'nothing')}, now {after.get(key, 'nothing')}"
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        ]
        if differences:
            more = f" and {len(differences) - _MOST_DIFFERENCES} more" if len(differences) > _MOST_DIFFERENCES else ""
            raise ConfigError(
                f"{folder} holds images of other settings: {'; '.join(differences[:_MOST_DIFFERENCES])}{more}.",
                "Choose another --out, or ask for the same settings to go on.",
            )
        return
    write_json(path, plain)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        return {
            key: text
            for name, inner in value.items()
            for key, text in _flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    return {prefix: str(list(value) if isinstance(value, tuple) else value)}
