"""Where the weights of a timm model lie on this machine. Loads no torch, no network.

The method `imagenet` takes the weights of its backbone from `--data imagenet=PATH` (a file, or a folder with a file per
model), else from the cache in which timm and huggingface_hub keep what they have downloaded before. Nothing is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hcbench.errors import WeightsError
from hcbench.harness.planning.backbones import presets
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.content_hashes import weights_hash
from hcbench.methods.checkpoint.card import CARD as CHECKPOINT
from hcbench.methods.checkpoint.card import TIMM, WEIGHTS
from hcbench.methods.imagenet.card import CARD

IMAGENET = CARD.name
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
_IN_CACHE = ("model.safetensors", "pytorch_model.bin")


def with_weights(cell: Cell, roots: Mapping[str, str]) -> Cell:
    """The cell with the file of weights that its method reads and its hash, or skipped where there is none.

    Args:
        cell: Of any method; those that read no weights stay as they are.
        roots: What the user said of where things lie (`--data`).

    Raises:
        WeightsError: The user named a place, and there is nothing.
    """
    if cell.method == CHECKPOINT.name and not cell.skip:
        return replace(cell, skip="it scores a file: hcbench evaluate FILE")
    if cell.method != IMAGENET or cell.skip:
        return cell
    found = timm_weights(cell.backbone, roots.get(IMAGENET))
    if isinstance(found, str):
        return replace(cell, skip=found)
    config = {**cell.method_config, "sha256": weights_hash(found)}
    return replace(cell, method_config=config, roots={**cell.roots, WEIGHTS: str(found)})


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
