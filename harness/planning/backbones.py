"""Backbones by name, read from source texts: building one takes torch, knowing its name must not.

Presets are those of `methods/parts/backbones.py`; every other name is one that timm registers.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.planning.code_hash import find_source

FAMILIES = {
    "vision_transformer": "vit",
    "vision_transformer_hybrid": "vit",
    "swin_transformer": "swin",
    "swin_transformer_v2": "swin",
    "resnet": "resnet",
}
"""timm module to the family that method cards name."""

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """A preset: its name, the timm model behind it, and one sentence."""

    name: str
    model: str
    note: str


@functools.cache
def presets() -> dict[str, BackboneFacts]:
    """The project's own backbones by name."""
    tree = ast.parse(_text("hcbench.methods.parts.backbones"))
    table = _assigned(tree, "PRESETS")
    if not isinstance(table, ast.Dict):
        raise TypeError("PRESETS in methods/parts/backbones.py is no dictionary literal.")
    found = {}
    for key, call in zip(table.keys, table.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(call, ast.Call):
            raise TypeError("PRESETS in methods/parts/backbones.py must map names to Preset(...).")
        words = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
        found[str(key.value)] = BackboneFacts(str(key.value), str(words["model"]), str(words.get("note", "")))
    return found


@functools.cache
def readouts() -> tuple[str, ...]:
    """Names of the readouts that encoders offer, those that only some have last."""
    tree = ast.parse(_text("hcbench.methods.parts.encoder"))
    return tuple(name for table in ("READOUTS", "TOKEN_READOUTS") for name in ast.literal_eval(_assigned(tree, table)))


@functools.cache
def timm_models() -> dict[str, str]:
    """Every model name that the installed timm registers in a family that is supported, and the family."""
    package = find_source("timm")
    if package is None:
        return {}
    found = {}
    for module, family in FAMILIES.items():
        text = (package.parent / "models" / f"{module}.py").read_text(encoding="utf-8")
        found.update(dict.fromkeys(_REGISTERED.findall(text), family))
    return found


def backbone_family(name: str) -> str:
    """vit, swin or resnet.

    Raises:
        ConfigError: No preset and no supported timm model has this name.
    """
    own = presets()
    models = timm_models()
    model = own[name].model if name in own else name.removeprefix("timm:").partition(".")[0]
    if model not in models:
        raise ConfigError(
            f"No backbone is called {name!r}.",
            f"{did_you_mean(name, own)} Or a ViT, Swin or ResNet of timm, such as vit_small_patch16_224 or resnet50.",
        )
    return models[model]


def _text(module: str) -> str:
    path = find_source(module)
    if path is None:
        raise FileNotFoundError(f"{module} has no source file.")
    return Path(path).read_text(encoding="utf-8")


def _assigned(tree: ast.Module, name: str) -> Any:
    for statement in tree.body:
        targets: list[Any] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return statement.value  # type: ignore[attr-defined]
    raise LookupError(f"{name} is not assigned at the top of its module.")
