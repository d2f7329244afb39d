"""Encoders on disk: `encoder.safetensors` with the backbone's own names, `encoder.json` with how to build it.

A timm backbone loads without hcbench:

    facts = json.load(open("encoder.json"))
    model = timm.create_model(facts["timm"]["model"], **facts["timm"]["arguments"])
    model.load_state_dict(safetensors.torch.load_file("encoder.safetensors"))

A backbone with a stem of ours ("stem" in the json) also needs `embed_layer=` that class.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from hcbench.errors import WeightsError
from hcbench.methods.parts.backbones import PRESETS, TimmEncoder, timm_call
from hcbench.methods.parts.encoder import Encoder

_WEIGHTS, _FACTS = "encoder.safetensors", "encoder.json"


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the two files into `folder`, replacing older ones at once (temporary names, then renamed)."""
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
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.weights().items()}
    save_file(weights, folder / f"{_WEIGHTS}.tmp")
    (folder / f"{_FACTS}.tmp").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for name in (_WEIGHTS, _FACTS):
        os.replace(folder / f"{name}.tmp", folder / name)


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder back, in evaluation mode on the CPU.

    Raises:
        WeightsError: A file is missing, or the files do not fit each other.
    """
    for name in (_WEIGHTS, _FACTS):
        if not (folder / name).is_file():
            raise WeightsError(f"There is no {name} in {folder}.", "Name a folder that a finished cell has written.")
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    encoder = _encoder_class(facts["implementation"]).from_arguments(facts["arguments"])
    try:
        encoder.load_weights(load_file(folder / _WEIGHTS))
    except RuntimeError as error:
        raise WeightsError(
            f"{folder / _WEIGHTS} does not fit the encoder that {_FACTS} describes: {error}",
            "Train the cell again, or restore both files from one run.",
        ) from error
    return encoder.eval()


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
