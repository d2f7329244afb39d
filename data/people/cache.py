"""Rendered pictures on disk: shards that are written once, checked when opened and mapped into memory.

A shard is a folder `<key>/` with `images.npy`, `parts.npy`, `labels.npz` and a sidecar `shard.json` of sizes and
checksums. It is rendered into a temporary folder and renamed, under a file lock, so two processes never render the same
shard twice and never see half of one. A shard that does not match its sidecar is rendered again, with a warning.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.spec import PeopleSpec
from hcbench.errors import CacheError

log = logging.getLogger(__name__)

_NOT_PIXELS: Final = ("__init__", "attributes", "cache", "captions", "dataset", "descriptions", "fit", "preview")
"""Modules that change no pixel; an edit there renders nothing again."""
_FILES: Final = ("images.npy", "parts.npy", "labels.npz")


@dataclass(frozen=True, slots=True)
class Shard:
    """A unit of rendering work: all variants of a run of groups.

    Attributes:
        spec: What to render.
        groups: int64 (G,) group numbers.
        variants: Images per group.
    """

    spec: PeopleSpec
    groups: NDArray[np.int64]
    variants: int

    def __len__(self) -> int:
        return len(self.groups) * self.variants

    @property
    def key(self) -> str:
        """Folder name: a hash of what decides the pixels."""
        spec = replace(self.spec, noise=0.0)
        if spec.layout == "identities":  # captions of this layout decide nothing about the pixels
            spec = replace(spec, caption_detail="action")
        text = json.dumps([asdict(spec), self.variants, source_hash()], sort_keys=True)
        digest = hashlib.sha256(text.encode() + np.ascontiguousarray(self.groups, np.int64).tobytes())
        return f"people-{self.spec.split}-{self.spec.layout}-{digest.hexdigest()[:20]}"


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Hash of the renderer's syntax trees, comments and docstrings left out."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in _NOT_PIXELS:
            continue
        digest.update(path.name.encode() + normalised(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def normalised(source: str) -> str:
    """The syntax tree of a module as text, without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ]
    return ast.dump(tree)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Pixels and labels of one shard; images and parts are memory maps when they come from a cache."""

    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    labels: dict[str, NDArray[Any]]


def _render(shard: Shard) -> Rendered:
    from hcbench.data.people.render import render  # torch is only needed to paint

    groups = np.repeat(shard.groups, shard.variants)
    variants = np.tile(np.arange(shard.variants, dtype=np.int64), len(shard.groups))
    pictures = render(shard.spec, groups, variants)
    labels = {
        name: getattr(pictures, name) for name in ("keypoints", "skeleton", "area", "full_area", "boxes", "stature")
    }
    return Rendered(pictures.images, pictures.parts, labels)


def obtain(shard: Shard, cache: Path | None) -> Rendered:
    """The shard's pictures, from the cache or freshly rendered (and kept, where there is a cache)."""
    if cache is None:
        return _render(shard)
    folder = cache / shard.key
    found = _open(folder)
    if found is not None:
        return found
    with _locked(cache, shard.key):
        found = _open(folder)  # another process may have been faster
        if found is None:
            _write(shard, folder)
            found = _open(folder)
    if found is None:
        raise CacheError(
            f"Pictures written to {folder} could not be read back.", "Check the disk, or choose another workspace."
        )
    return found


def _write(shard: Shard, folder: Path) -> None:
    rendered = _render(shard)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "images.npy", rendered.images)
    np.save(partial / "parts.npy", rendered.parts)
    np.savez(partial / "labels.npz", **rendered.labels)  # type: ignore[arg-type]
    (partial / "shard.json").write_text(json.dumps({name: _stamp(partial / name) for name in _FILES}, indent=1))
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _stamp(path: Path) -> list[int]:
    """Size and CRC-32 of a file."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return [path.stat().st_size, checksum]


def _open(folder: Path) -> Rendered | None:
    """The shard in `folder`, None where there is none or a damaged one."""
    if not folder.is_dir():
        return None
    try:
        stamps = json.loads((folder / "shard.json").read_text())
        for name in _FILES:
            if _stamp(folder / name) != stamps[name]:
                raise ValueError(f"{name} differs from its checksum")
        with np.load(folder / "labels.npz") as archive:
            labels = {name: archive[name] for name in archive.files}
        return Rendered(
            np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "parts.npy", mmap_mode="r"), labels
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("Cached pictures in %s are damaged (%s); rendering them again.", folder, error)
        return None


@contextmanager
def _locked(cache: Path, key: str) -> Iterator[None]:
    """One process at a time per key; the system releases the lock of a process that dies."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = (cache / f".{key}.lock").open("w")
    except OSError as error:
        raise CacheError(f"Cannot write to the cache {cache}: {error}.", "Choose a writable workspace.") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
