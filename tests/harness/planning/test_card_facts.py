"""What reports are told of a cell's method."""

from __future__ import annotations

import json

import pytest

from hcbench.harness.planning.card_facts import method_facts
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry


@pytest.mark.parametrize(("sets", "title"), [((), "StableRep"), (("stablerep.language=true",), "StableRep+")])
def test_a_setting_may_change_the_title(sets: tuple[str, ...], title: str) -> None:
    registry = load_registry()
    named = [Override("run.methods", ("stablerep",), "test")]
    matrix = make_plan(resolve(registry, named, sets=sets), registry, Machine(cuda=False, bf16=False, cores=2))
    facts = {cell.method: method_facts(registry, cell) for cell in matrix.cells}
    assert facts["stablerep"]["title"] == title
    assert facts["random"]["title"] == registry.method("random").title


@pytest.mark.parametrize(
    ("sets", "source"),
    [
        ((), "capsule"),
        (("gan-invariance.structure=none",), "none"),
        (("gan-invariance.generation=false",), "unused"),
        (("gan-invariance.generation=false", "gan-invariance.structure=none"), "unused"),
    ],
)
def test_the_source_of_what_a_method_is_given(sets: tuple[str, ...], source: str) -> None:
    registry = load_registry()
    named = [Override("run.methods", ("gan-invariance",), "test")]
    matrix = make_plan(resolve(registry, named, sets=sets), registry, Machine(cuda=False, bf16=False, cores=2))
    sources = {cell.method: json.loads(method_facts(registry, cell)["sources"]) for cell in matrix.cells}
    assert sources["gan-invariance"] == {"structure": source}
    assert sources["random"] == {}
