"""Recipes of fine-tuning, from `configs/protocols/<benchmark>.yaml`; readable without torch.

Every file holds the recipe `field`, what the field uses for that task, and `short`, the same idea in minutes on a few
cores; some hold further ones under names of their own. `evaluate.recipe` chooses.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from hcbench.errors import ConfigError, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneRecipe:
    """How an encoder is trained for a benchmark.

    Attributes:
        epochs: Passes over the training split; `evaluate.epochs` is a factor on them.
        batch_size: Images in a batch.
        lrs: Learning rates of the encoder that are tried; validation chooses.
        head_factor: Factor on the learning rate for what is not pre-trained.
        optimiser: timm's name.
        weight_decay: None on vectors: biases, norms.
        layer_decay: Factor on the learning rate per layer, from the last one backwards; 1 = none.
        warmup: Share of the steps with linear warm-up.
        drops: Shares of the steps at which the learning rate falls to a tenth; empty = half a cosine to 0.
        clip_norm: Gradient norm that is clipped to; 0 leaves gradients alone.
        precision: fp32, or bf16 for the networks.
        validations: How often the run is looked at on validation, in equal steps; the best look is kept.
        flip: Probability of a horizontal flip.
        shift: Farthest move in each direction, share of the height ("pad and crop").
        rotate: Largest turn, degrees.
        zoom: Sizes from 1 - zoom to 1 + zoom.
        erase: Probability of erasing a rectangle.
        instances: Images of an identity in a batch (PK sampling); 0 draws images alone.
        readout: What the head sees where `evaluate.readout` is auto: `cls`, `mean` or `cls+stripes`; of no matter to
            heads on the token grid.
        head: Name of the head, where a benchmark has several.
        loss: Name of the loss, where a benchmark has several.
        smoothing: Label smoothing of a classification of identities.
        flip_test: Average what an image and its mirror image give.
        freeze_knobs: Leave what a knob of the encoder drives (SOLIDER's controller) as pre-training left it.
    """

    epochs: float
    batch_size: int
    lrs: tuple[float, ...]
    head_factor: float = 1.0
    optimiser: str = "adamw"
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup: float = 0.1
    drops: tuple[float, ...] = ()
    clip_norm: float = 1.0
    precision: str = "fp32"
    validations: int = 4
    flip: float = 0.5
    shift: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    erase: float = 0.0
    instances: int = 0
    readout: str = "cls"
    head: str = ""
    loss: str = ""
    smoothing: float = 0.0
    flip_test: bool = False
    freeze_knobs: bool = False


def read_recipe(benchmark: str, name: str) -> FinetuneRecipe:
    """The recipe of a benchmark.

    Raises:
        ConfigError: There is none of this name, or its file holds what is no setting.
    """
    recipes = _recipes()
    if benchmark not in recipes:
        where = _folder().joinpath(f"{benchmark}.yaml")
        raise ConfigError(f"There is no recipe for fine-tuning on {benchmark}.", f"It would stand in {where}.")
    content = recipes[benchmark]
    if name not in content:
        others = [other for other, its_own in recipes.items() if name in its_own]
        alone = f" It is a recipe of {', '.join(others)}: fine-tune on that alone (--benchmarks)." if others else ""
        raise ConfigError(f"{benchmark} has no recipe {name!r} (evaluate.recipe).", did_you_mean(name, content) + alone)
    known = {item.name for item in fields(FinetuneRecipe)}
    for key in content[name]:
        if key not in known:
            raise ConfigError(f"The recipe {name} of {benchmark} sets {key!r}.", did_you_mean(key, known))
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content[name].items()
    }
    return FinetuneRecipe(**values)


def recipe_names() -> tuple[str, ...]:
    """The names of all recipes, each one's of some benchmark."""
    return tuple(dict.fromkeys(name for content in _recipes().values() for name in content))


def _folder() -> Traversable:
    return files("hcbench.configs").joinpath("protocols")


@functools.cache
def _recipes() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """What the files hold, by benchmark and name."""
    found = sorted((file for file in _folder().iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8")) for file in found}


def recipe_facts(benchmark: str, name: str) -> dict[str, Any]:
    """The recipe as plain data, for fingerprints and records."""
    return asdict(read_recipe(benchmark, name))
