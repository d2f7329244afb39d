"""Encoders on disk: `encoder.safetensors` with the backbone's own names, `encoder.json` with how to build it.

A timm backbone loads without hcbench:

    facts = json.load(open("encoder.json"))
    model = timm.create_model(facts["timm"]["model"], **facts["timm"]["arguments"])
    model.load_state_dict(safetensors.torch.load_file("encoder.safetensors"))

A backbone with a stem of ours ("stem" in the json) also needs `embed_layer=` that class. An encoder with a controller
(SOLIDER) has its weights as `controller.*` among the others: timm takes the rest (`methods/solider/networks.py`).

Where a text tower was trained beside it ("text" in the json), two files more: `text.safetensors` with the tower and the
image's projection, and `tokenizer.json`, which the tokenizers library reads.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hcbench.errors import WeightsError
from hcbench.methods.parts.backbones import PRESETS, TimmEncoder, timm_call
from hcbench.methods.parts.encoder import Encoder

_WEIGHTS, _FACTS = "encoder.safetensors", "encoder.json"
_TEXT, _TOKENIZER = "text.safetensors", "tokenizer.json"
# Named, not imported: image-only cells neither load nor depend on the text side.
_TEXT_SIDE = "hcbench.methods.parts.text"


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the files into `folder`, replacing older ones at once (temporary names, then renamed)."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = type(encoder)
    facts: dict[str, Any] = {
        "format": 1,
        "implementation": f"{kind.__module__}:{kind.__qualname__}",
        "arguments": encoder.arguments(),
        "dim": encoder.dim,
        "grid_size": encoder.grid_size,
    }
    if isinstance(encoder, TimmEncoder):
        model, arguments = timm_call(encoder.spec)
        facts["timm"] = {"model": model, "arguments": arguments}
        preset = PRESETS.get(encoder.spec.backbone)
        if preset and preset.stem:
            facts["stem"] = f"{preset.stem.__module__}:{preset.stem.__qualname__}"
    written = [_WEIGHTS, _FACTS]
    if encoder.text is not None:
        tower, projection = encoder.towers()
        facts["text"] = {
            "spec": asdict(tower.spec),
            "tokenizer_sha256": tower.tokenizer.sha256,
            "image_projection": projection.arguments(),
        }
        (folder / f"{_TOKENIZER}.tmp").write_text(tower.tokenizer.to_json(), encoding="utf-8")
        save_file(_storable(_text_side(encoder).state_dict()), folder / f"{_TEXT}.tmp")
        written = [_TOKENIZER, _TEXT, *written]
    save_file(_storable(encoder.weights()), folder / f"{_WEIGHTS}.tmp")
    (folder / f"{_FACTS}.tmp").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for name in written:
        os.replace(folder / f"{name}.tmp", folder / name)


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder back, in evaluation mode on the CPU.

    Raises:
        WeightsError: A file is missing or damaged, or the files do not fit each other.
    """
    _require(folder, _WEIGHTS, _FACTS)
    facts = _read_facts(folder / _FACTS)
    kind = _encoder_class(str(facts["implementation"]))
    try:
        encoder = kind.from_arguments(facts["arguments"])
    except (KeyError, TypeError) as error:
        raise _damaged(folder / _FACTS, f"its arguments build no {kind.__name__} ({error})") from error
    weights = _read_tensors(folder / _WEIGHTS)
    try:
        encoder.load_weights(weights)
    except RuntimeError as error:
        raise _unfit(folder / _WEIGHTS, "encoder", error) from error
    if "text" in facts:
        try:
            _load_text(encoder, folder, facts["text"])
        except (KeyError, TypeError) as error:
            raise _damaged(folder / _FACTS, f"its entry text builds no text tower ({error})") from error
    return encoder.eval()


def _read_facts(path: Path) -> dict[str, Any]:
    """What `encoder.json` holds, with the entries that every one has."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    lacking = [name for name in ("implementation", "arguments") if not isinstance(facts, dict) or name not in facts]
    if lacking:
        raise _damaged(path, f"it has no entry {' and no entry '.join(lacking)}")
    return dict(facts)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    return tensors


def _load_text(encoder: Encoder, folder: Path, facts: dict[str, Any]) -> None:
    """Build the text side that `facts` describe and read its weights."""
    _require(folder, _TEXT, _TOKENIZER)
    side = importlib.import_module(_TEXT_SIDE)
    tokenizer = side.Tokenizer.from_json((folder / _TOKENIZER).read_text(encoding="utf-8"))
    if tokenizer.sha256 != facts["tokenizer_sha256"]:
        raise WeightsError(
            f"{folder / _TOKENIZER} is not the tokenizer that the text tower was trained with.",
            "Restore the file of the same run: the weights belong to its numbers.",
        )
    tower = side.TextTower(side.TextSpec(**facts["spec"]), tokenizer)
    encoder.join_text(tower, side.ImageProjection(**facts["image_projection"]))
    weights = _read_tensors(folder / _TEXT)
    try:
        _text_side(encoder).load_state_dict(weights)
    except RuntimeError as error:
        raise _unfit(folder / _TEXT, "text tower", error) from error


def _text_side(encoder: Encoder) -> nn.ModuleDict:
    """The modules of the text file, under the names that they have there."""
    tower, projection = encoder.towers()
    return nn.ModuleDict({"text": tower, "image_projection": projection})


def _storable(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def _require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise WeightsError(f"There is no {name} in {folder}.", "Name a folder that a finished cell has written.")


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read: {what}.", "It is damaged or cut short: train the cell again, or restore the file."
    )


def _unfit(path: Path, what: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} does not fit the {what} that {_FACTS} describes: {error}",
        "Train the cell again, or restore all files from one run.",
    )


def _encoder_class(implementation: str) -> type[Encoder]:
    module, _, name = implementation.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise WeightsError(
            f"The encoder class {implementation} cannot be imported.",
            "Install the plugin or the hcbench version that wrote the checkpoint.",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        raise WeightsError(f"{implementation} is no encoder class.", "The checkpoint is damaged or not ours.")
    return found
