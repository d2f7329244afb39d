"""`MethodCard`: the facts of a method, readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hcbench.methods.rules import Rules, Source
from hcbench.methods.space import LEARNING_RATE, Space
from hcbench.methods.weight_layout import WeightLayout

SUPERVISION = {
    "control": "controls (no pre-training)",
    "images": "images only",
    "structure": "images with poses or structure",
    "generated": "generated groups",
    "captions": "captions and identities",
    "labels": "labels (reference)",
    "given": "given weights (other data, no equal budget)",
    "truth": "ground truth (not a method)",
}
"""Supervision groups in report order: they stand beside names; groups of two or more are compared inside as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """One departure from the paper or its code."""

    point: str
    official: str
    ours: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodCard:
    """Facts of one pre-training method.

    Attributes:
        name: Registry and CLI name (hyphens, lower case).
        title: Name as the field writes it.
        titles: Other names that it has where a switch of its Config is on: setting to name.
        summary: One sentence for `hcbench list methods`.
        paper: Reference, with arXiv number where there is one; empty for controls.
        year: Year of publication; 0 for controls.
        needs: Fields of `Samples` that must be known ("images", "captions", "keypoints", "group" ...).
        optional: Those of `needs` that some settings do without, handed out wherever they are known: field to setting
            to the values with which it need not be known. `kind:<what>` stands for every value of that kind.
        layout: Default corpus layout: captions, poses or identities.
        supervision: A key of `SUPERVISION`.
        config: The method's frozen Config dataclass.
        implementation: "module:Class", imported only when a cell runs.
        defaults: Overrides of Config defaults that make a relative out of shared code.
        sampling: "groups" draws whole groups into a batch, "images" draws single images.
        least_per_group: Images of a group that a batch must hold; 2 where images of a group are each other's positives.
        trains: False for controls, which have no stages.
        backbones: timm families it works on; "any" where the idea allows it.
        licence: Licence of the official code.
        deviations: Every departure from paper or official code.
        trained_on: Data sets behind the weights of a method that trains nothing; empty where nobody says.
        weight_layouts: Layouts of released weights that `hcbench evaluate` reads; their adapters stand in weights.py.
        nameless: Settings that never name a row of a report: of two values the newer one counts.
        layout_setting: Setting that names the layout of given weights, of a method that takes its encoder from them.
        knobs: Settings of the trained encoder's forward pass (`Encoder.forward`), from 0 to 1: name of the knob to
            benchmark to the value recommended for it. Users set them as `evaluate.<knob>` or `<method>.<knob>`.
        knobs_with: The setting that must not be 0 for the encoder to have its knobs; empty = it always has them.
        text_tower: The setting with which the encoder keeps a text tower; "always", or empty where none does.
        rules: What each setting may be; checked when a run is planned and when the method is built.
        space: What `hcbench tune` tries beside the learning rate, which it tries for every method that trains.
    """

    name: str
    title: str
    summary: str
    needs: frozenset[str]
    layout: str
    supervision: str
    config: type
    implementation: str
    paper: str = ""
    year: int = 0
    titles: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    optional: Mapping[str, Mapping[str, tuple[bool | str, ...]]] = field(default_factory=dict)
    sampling: str = "groups"
    least_per_group: int = 1
    trains: bool = True
    backbones: tuple[str, ...] = ("any",)
    licence: str = ""
    deviations: tuple[Deviation, ...] = ()
    trained_on: tuple[str, ...] = ()
    weight_layouts: tuple[WeightLayout, ...] = ()
    nameless: frozenset[str] = frozenset()
    layout_setting: str = ""
    knobs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    knobs_with: str = ""
    text_tower: str = ""
    rules: Rules = field(default_factory=dict)
    space: Space = field(default_factory=dict)

    def required(self, config: Mapping[str, Any]) -> frozenset[str]:
        """Fields of `Samples` without which the method cannot run with these settings."""
        return self.needs - {what for what in self.optional if self._sparing(what, config)}

    def sources(self, config: Mapping[str, Any]) -> dict[str, str]:
        """What each setting names as the source of something (`rules.Source`).

        "unused" where another setting does without what the source is made of.
        """
        named = {}
        for setting, rule in self.rules.items():
            if isinstance(rule, Source):
                kinds = [what for what, ways in self.optional.items() if setting in ways]
                unused = any(self._sparing(what, config) - {setting} for what in kinds)
                named[setting] = "unused" if unused else str(config[setting])
        return named

    def _sparing(self, what: str, config: Mapping[str, Any]) -> set[str]:
        """The settings with which a field of `needs` need not be known, as they are."""
        ways = self.optional.get(what, {})
        return {name for name, forms in ways.items() if any(_stands_for(form, config[name]) for form in forms)}

    def knobs_of(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the knobs that an encoder trained with these settings has."""
        return () if self.knobs_with and not config[self.knobs_with] else tuple(self.knobs)

    def has_text_tower(self, config: Mapping[str, Any]) -> bool:
        """Whether an encoder trained with these settings can compare images with texts by itself."""
        return self.text_tower == "always" or bool(self.text_tower and config[self.text_tower])

    @property
    def search_space(self) -> Space:
        """All that `hcbench tune` tries; empty where nothing is trained."""
        return {**LEARNING_RATE, **self.space} if self.trains else {}


def _stands_for(form: bool | str, value: Any) -> bool:
    """Whether a setting's value is what `MethodCard.optional` writes as `form`."""
    kind, colon, _ = str(form).partition(":")
    return str(value).startswith(kind + colon) if colon else bool(value == form)
