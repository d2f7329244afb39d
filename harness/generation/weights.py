"""Model folders on this machine: whether all that a pipeline needs lies in them and fits together. No torch here.

Nothing is ever downloaded. Everything that can be read from the folders' json files is checked before torch is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hcbench.data.files.walk import is_hidden
from hcbench.errors import ConfigError, WeightsError
from hcbench.harness.generation.recipe import ADAPTER, CONTROLNET, SD

NETWORKS: Final = ("unet", "vae", "text_encoder")
"""Parts with weights that every Stable Diffusion folder has."""
_TREE: Final = """\
It must be a Stable Diffusion 1.x folder in diffusers' layout:
  model_index.json
  unet/          config.json and diffusion_pytorch_model.safetensors (or .bin)
  vae/           config.json and diffusion_pytorch_model.safetensors (or .bin)
  text_encoder/  config.json and model.safetensors (or pytorch_model.bin)
  tokenizer/     tokenizer.json, or vocab.json and merges.txt
  scheduler/     scheduler_config.json
  safety_checker/, feature_extractor/   (optional)"""
_EXTRA_TREE: Final = "It must hold config.json and diffusion_pytorch_model.safetensors (or .bin) of {what}."
_NOTHING_LOADED: Final = "Nothing is downloaded: fetch it where there is a network, and give its folder with {option}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Folders that were looked at.

    Attributes:
        base: The Stable Diffusion folder.
        extra: The folder of the adapter or ControlNet; None without one.
        variant: "fp16" where the base has its weights in files of that name alone.
        extra_variant: Likewise of the adapter or ControlNet.
        safety_checker: Whether the base has one; then what it blackens is left out.
        factor: Pixels of the canvas per latent.
        ids: Role to `folder name@hash of its files`.
    """

    base: Path
    extra: Path | None
    variant: str | None
    extra_variant: str | None
    safety_checker: bool
    factor: int
    ids: Mapping[str, str]


def look_at(backend: str, base: Path | None, extra: Path | None) -> Models:
    """Check the folders of a backend.

    Args:
        backend: sd, t2i-adapter or controlnet.
        base: Folder of Stable Diffusion.
        extra: Folder of the adapter or ControlNet.

    Raises:
        ConfigError: A folder was not named, or one that is not used was.
        WeightsError: A folder or a part of it is missing, or the two do not fit together.
    """
    folder = _named(base, "--model", "a Stable Diffusion folder", _TREE)
    index = _read(folder / "model_index.json", _TREE)
    checker = (index.get("safety_checker") or [None])[0] is not None
    parts = [*NETWORKS, "tokenizer", "scheduler", *(["safety_checker", "feature_extractor"] if checker else [])]
    for part in parts:
        if not (folder / part).is_dir():
            raise WeightsError(f"{folder} has no folder {part}.", _TREE)
    variants = {_variant(folder / part, _TREE) for part in NETWORKS}
    unet, vae = (_read(folder / part / "config.json", _TREE) for part in ("unet", "vae"))
    ids = {"model": f"{folder.resolve().name}@{_digest(folder, parts)}"}
    blocks = len(vae.get("block_out_channels", (64,)))  # diffusers' own default
    other, extra_variant = None, None
    if backend != SD:
        option = f"--{'adapter' if backend == ADAPTER else CONTROLNET}"
        tree = _EXTRA_TREE.format(what="a T2I-Adapter" if backend == ADAPTER else "a ControlNet")
        other = _named(extra, option, "a T2I-Adapter" if backend == ADAPTER else "a ControlNet", tree)
        extra_variant = _variant(other, tree)
        config = _read(other / "config.json", tree)
        (_check_adapter if backend == ADAPTER else _check_controlnet)(other, config, unet, blocks)
        ids[option[2:]] = f"{other.resolve().name}@{_digest(other, ['.'])}"
    if len(variants) != 1:
        raise WeightsError(f"{folder} mixes weight files with and without fp16 in their names.", _TREE)
    return Models(
        base=folder, extra=other, variant=variants.pop(), extra_variant=extra_variant, safety_checker=checker,
        factor=2 ** (blocks - 1), ids=ids,
    )  # fmt: skip


def _named(folder: Path | None, option: str, what: str, tree: str) -> Path:
    if folder is None:
        raise ConfigError(f"{option} was not given; this backend needs {what}.", f"Add {option} FOLDER.\n{tree}")
    path = folder.expanduser()
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise WeightsError(
            f"{option} {folder}: {found} is there; expected a folder.",
            f"{_NOTHING_LOADED.format(option=option)}\n{tree}",
        )
    return path


def _read(path: Path, tree: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent} has no {path.name}.", tree) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Copy the folder again from its source.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a json {type(content).__name__}, expected an object.", tree)
    return content


def _weight_files(folder: Path) -> list[Path]:
    """The weight files that diffusers would take: safetensors before pickles, plain names before variants."""
    for ending in (".safetensors", ".bin"):
        files = sorted(path for path in folder.glob(f"*{ending}") if not is_hidden(path.name))
        if files:
            return [path for path in files if ".fp16" not in path.name] or files
    return []


def _variant(folder: Path, tree: str) -> str | None:
    """The variant in the names of a part's weight files.

    Raises:
        WeightsError: There are none.
    """
    files = _weight_files(folder)
    if not files:
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
        raise WeightsError(f"{folder} has no weights (.safetensors or .bin); it holds {found}.", tree)
    return "fp16" if ".fp16" in files[0].name else None


def _check_controlnet(folder: Path, config: Mapping[str, Any], unet: Mapping[str, Any], blocks: int) -> None:
    """Raise unless a ControlNet was made for this UNet and a VAE of so many blocks."""
    for key in ("block_out_channels", "cross_attention_dim", "layers_per_block", "in_channels"):
        _same(folder, key, config.get(key), unet.get(key))
    condition = config.get("conditioning_embedding_out_channels", (16, 32, 96, 256))  # diffusers' own default
    if len(condition) != blocks:
        raise WeightsError(
            f"{folder.name}: conditioning_embedding_out_channels has {len(condition)} entries, the VAE {blocks} "
            "blocks; both must reduce the picture equally.",
            "Use a ControlNet that was trained for this Stable Diffusion.",
        )


def _check_adapter(folder: Path, config: Mapping[str, Any], unet: Mapping[str, Any], blocks: int) -> None:
    """Raise unless a T2I-Adapter fits this UNet: a width per level, the VAE's factor, attention blocks first."""
    factor = 2 ** (blocks - 1)
    _same(folder, "channels", config.get("channels"), unet.get("block_out_channels"), "block_out_channels")
    if config.get("downscale_factor", 8) != factor:
        raise WeightsError(
            f"{folder.name}: downscale_factor is {config.get('downscale_factor')}, the VAE's factor {factor}.",
            "Use an adapter that was trained for this Stable Diffusion.",
        )
    downs: Sequence[str] = unet.get("down_block_types", ())
    if not downs or downs[-1] != "DownBlock2D" or "DownBlock2D" in downs[:-1]:
        raise WeightsError(
            f"The UNet's down blocks are {', '.join(downs)}; an adapter needs a plain DownBlock2D last and alone.",
            "Use a Stable Diffusion 1.x model, or the backend controlnet.",
        )


def _same(folder: Path, key: str, found: Any, expected: Any, theirs: str | None = None) -> None:
    if found != expected:
        raise WeightsError(
            f"{folder.name}: {key} is {found}, the UNet's {theirs or key} {expected}.",
            "Use weights that were trained for this Stable Diffusion.",
        )


def _digest(folder: Path, parts: Sequence[str]) -> str:
    """Hash of names and contents of the files that a pipeline is made from, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        for path in _files(folder / part):
            with path.open("rb") as file:
                digest.update(f"{part}/{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()[:12]


def _files(folder: Path) -> Iterator[Path]:
    yield from _weight_files(folder)
    yield from sorted(path for path in folder.glob("*")
                      if path.suffix in (".json", ".txt") and path.is_file() and not is_hidden(path.name))  # fmt: skip
