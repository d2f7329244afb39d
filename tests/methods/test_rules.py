from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from hcbench.errors import ConfigError
from hcbench.harness.planning.config import resolve
from hcbench.harness.planning.registry import load_registry
from hcbench.methods.rules import POSITIVE, SHARE, WEIGHT, OneOf, Source, Within, check_config

REGISTRY = load_registry(())


@dataclass
class Config:
    kind: str = "sort"
    weight: float = 0.0
    count: int = 2


RULES = {"kind": OneOf(("sort", "order")), "weight": WEIGHT, "count": Within(2, 8, "[)")}


def test_defaults_fit():
    check_config("toy", RULES, Config())


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"kind": "ordr"}, "toy: kind is 'ordr'.", "Did you mean 'order'? Known: order, sort."),
        ({"weight": -0.1}, "toy: weight is -0.1.", "Use a number at least 0 (0 leaves it out)."),
        ({"weight": float("nan")}, "toy: weight is nan.", "Use a number at least 0 (0 leaves it out)."),
        ({"count": 8}, "toy: count is 8.", "Use a number at least 2 and below 8."),
    ],
)
def test_what_does_not_fit_is_explained(change, message, hint):
    with pytest.raises(ConfigError) as error:
        check_config("toy", RULES, replace(Config(), **change))
    assert (error.value.message, error.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [(SHARE, (0, 0.5, 1), (-0.1, 1.1)), (POSITIVE, (1e-9, 9), (0, -1)), (Within(0, 1, "()"), (0.5,), (0, 1))],
)
def test_bounds(rule, inside, outside):
    assert all(map(rule.fits, inside))
    assert not any(map(rule.fits, outside))


@pytest.mark.parametrize("name", REGISTRY.methods)
def test_rules_are_about_settings(name):
    card = REGISTRY.methods[name]
    assert set(card.rules) <= {field.name for field in fields(card.config)}


@pytest.mark.parametrize("text", ["plip.pool=avg", "solider.koleo=-1", "gcl.eps=1", "hap.mask_ratio=1", "mae.mask=x"])
def test_a_plan_refuses_what_breaks_a_rule(text):
    with pytest.raises(ConfigError, match=r" is .*\."):
        resolve(REGISTRY, sets=[text])


def test_a_source_is_a_name_or_something_that_is_there(tmp_path):
    rule = Source(("capsule", "none"), files=("rendered",), named={"entrypoint": "group"})
    (tmp_path / "maps").mkdir()
    assert all(map(rule.fits, ("none", f"rendered:{tmp_path}/maps", "entrypoint:mine")))
    assert not any(map(rule.fits, ("capsul", "rendered:", f"rendered:{tmp_path}/gone", "entrypoint:", "other:x")))
    assert "'capsule'" in rule.hint("capsul")
    assert rule.hint("rendered:/gone") == "There is nothing at /gone."
