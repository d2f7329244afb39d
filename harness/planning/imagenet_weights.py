"""What the user has beside corpora: hashes of files, and where weights of a timm model lie. Loads no torch, no network.

The method `imagenet` takes the weights of its backbone from `--data imagenet=PATH` (a file, or a folder with a file per
model), else from the cache in which timm and huggingface_hub keep what they have downloaded before. Nothing is fetched.

Settings that name files, folders or entry points (`Source` in a card's rules) count by what is there, not by where.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hcbench.errors import WeightsError
from hcbench.harness.planning.backbones import presets
from hcbench.harness.planning.cell import Cell
from hcbench.methods.checkpoint.card import CARD as CHECKPOINT
from hcbench.methods.checkpoint.card import TIMM, WEIGHTS
from hcbench.methods.imagenet.card import CARD
from hcbench.methods.rules import Rules, Source

IMAGENET = CARD.name
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
_IN_CACHE = ("model.safetensors", "pytorch_model.bin")


def given_to(cell: Cell, rules: Rules, roots: Mapping[str, str]) -> Cell:
    """The cell with the files that its method reads and their hashes, or skipped where there is none.

    Args:
        cell: Of any method; those that read no file stay as they are.
        rules: Of the method's settings.
        roots: What the user said of where things lie (`--data`).

    Raises:
        WeightsError: The user named a place, and there is nothing.
    """
    cell = _by_content(cell, rules)
    if cell.method == CHECKPOINT.name and not cell.skip:
        return replace(cell, skip="it scores a file: hcbench evaluate FILE")
    if cell.method != IMAGENET or cell.skip:
        return cell
    found = timm_weights(cell.backbone, roots.get(IMAGENET))
    if isinstance(found, str):
        return replace(cell, skip=found)
    config = {**cell.method_config, "sha256": sha256(found)}
    return replace(cell, method_config=config, roots={**cell.roots, WEIGHTS: str(found)})


def _by_content(cell: Cell, rules: Rules) -> Cell:
    """The cell with hashes in the settings that name files; `Cell.settings` has them as they were written."""
    config, places = dict(cell.method_config), {}
    for name, rule in rules.items():
        kind, colon, where = str(config.get(name)).partition(":")
        if isinstance(rule, Source) and colon and (kind in rule.files or kind in rule.named):
            content = sha256(Path(where).expanduser()) if kind in rule.files else _installed(where, rule.named[kind])
            places[f"{cell.method}.{name}"] = config[name]
            config[name] = f"{kind}:{content}"
    return replace(cell, method_config=config, roots={**cell.roots, **places}) if places else cell


def _installed(name: str, group: str) -> str:
    """An entry point with the package that it is of, and its version; the name alone where no package has it."""
    for point in importlib.metadata.entry_points(group=group, name=name):
        if point.dist is not None:
            return f"{name} ({point.dist.name} {point.dist.version})"
    return name


def timm_weights(backbone: str, place: str | None) -> Path | str:
    """The file with timm's weights of a backbone, or why there is none.

    Args:
        backbone: Name, plain or as `timm:NAME`, with or without a tag of timm's (`NAME.TAG`).
        place: A file or a folder of the user; None looks into the cache of earlier downloads.

    Raises:
        WeightsError: `place` is neither file nor folder.
    """
    name = backbone.removeprefix(TIMM)
    if name in presets():
        return f"{name} is hcbench's own network, of which there are no published weights; name a backbone of timm's"
    if place is None:
        return _in_cache(name)
    path = Path(place).expanduser()
    if path.is_file():
        return path.absolute()  # not resolved: a link's own name says what kind of file it is
    if not path.is_dir():
        raise WeightsError(
            f"--data {IMAGENET}={place}: there is no such file or folder.",
            f"Give a file with the weights of the backbone, or a folder with {name}.safetensors.",
        )
    files = [path / f"{name}{ending}" for ending in ENDINGS] + [path / name / file for file in _IN_CACHE]
    found = next((file for file in files if file.is_file()), None)
    return f"{path} holds no {name}.safetensors (or .pth, .pt, .bin)" if found is None else found.absolute()


def cache_folder() -> Path:
    """Where huggingface_hub keeps what was downloaded; the environment says so as it does for that library."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _in_cache(name: str) -> Path | str:
    model, _, tag = name.partition(".")
    folders = sorted(cache_folder().glob(f"models--timm--{model}.{tag or '*'}"))
    files = {
        folder.name.removeprefix("models--timm--"): file
        for folder in folders
        for kind in reversed(_IN_CACHE)
        for file in sorted(folder.glob(f"snapshots/*/{kind}"))
    }
    if len(files) == 1:
        return next(iter(files.values()))
    if files:
        names = " or ".join(f"{TIMM}{one}" for one in files)
        return f"there are several weights of {name}: name one with --backbones {names}"
    return f"there are no weights of {name} on this machine; give them with --data {IMAGENET}=FILE"


def sha256(path: Path) -> str:
    """The first 16 digits of a file's hash; of a folder's, those of all files in it with their names below it.

    Read once for as long as neither names, sizes nor times change.
    """
    if not path.is_dir():
        return _sha256(path, _state(path))
    files = [Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names]
    return _folder(path, tuple((file.relative_to(path), _state(file)) for file in sorted(files) if file.is_file()))


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, state: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@functools.lru_cache(maxsize=8)
def _folder(path: Path, files: tuple[tuple[Path, tuple[int, int]], ...]) -> str:
    hashes = [f"{name.as_posix()}:{_sha256(path / name, state)}" for name, state in files]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]
