"""The part of the contract that a card can break alone, checked without torch."""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

from hcbench.data.samples import Samples
from hcbench.errors import MethodError, did_you_mean
from hcbench.harness.planning.corpora import LAYOUTS
from hcbench.harness.planning.parse import parse_value
from hcbench.methods.card import SUPERVISION, MethodCard


def check_card(card: MethodCard) -> str:
    """The card alone, without the class.

    Raises:
        MethodError: A fact is missing or is none that hcbench knows.
    """
    for name, value, known in (
        ("supervision", card.supervision, SUPERVISION),
        ("layout", card.layout, LAYOUTS),
        ("sampling", card.sampling, ("groups", "images")),
    ):
        if value not in known:
            raise MethodError(f"The card's {name} is {value!r}.", did_you_mean(str(value), known))
    fields = {item.name for item in dataclasses.fields(Samples)} - {"name", "fingerprint", "ids"}
    for need in sorted(card.needs):
        if need not in fields:
            raise MethodError(f"The card needs {need!r}, which no corpus can know.", did_you_mean(need, fields))
    if "images" not in card.needs:
        raise MethodError("The card's needs do not name images.", 'Write needs=frozenset({"images", ...}).')
    if unknown := set(card.optional) - card.needs:
        name = min(unknown)
        raise MethodError(f"The card's optional names {name!r}, no need.", did_you_mean(name, card.needs))
    if not card.summary.endswith("."):
        raise MethodError(f"The card's summary is {card.summary!r}; expected one sentence.", "End it with a full stop.")
    return _check_config(card)


def _check_config(card: MethodCard) -> str:
    kind = card.config
    frozen = "Write @dataclass(frozen=True, kw_only=True, slots=True) above it."
    if not dataclasses.is_dataclass(kind):
        raise MethodError(f"The card's config is {kind!r}, which is no dataclass.", frozen)
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise MethodError(
            f"{kind.__name__} is not frozen, so a result's settings could change behind its back.", frozen
        )
    try:
        config = kind()
    except TypeError as error:
        raise MethodError(f"{kind.__name__}() fails: {error}.", "Give every setting a default value.") from error
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        value, where = getattr(config, item.name), f"the defaults of {kind.__name__}"
        try:
            parse_value(item.name, value, hints[item.name], where)
        except TypeError as error:
            raise MethodError(
                f"{kind.__name__}.{item.name} is a {hints[item.name]}: {error}",
                "Use bool, int, float, str, tuples of these, or one of them or None.",
            ) from error
    spared = {setting for ways in card.optional.values() for setting in ways}
    for what, named in (("defaults", set(card.defaults)), ("optional", spared)):
        if unknown := named - set(hints):
            name = min(unknown)
            raise MethodError(f"The card's {what} names {name!r}, no setting.", did_you_mean(name, hints))
    return f"{len(hints)} settings" if hints else "no settings"
