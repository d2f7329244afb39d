"""What reports are told of a cell's method."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from hcbench.harness.planning.card_facts import CardFacts, card_facts, method_facts, read_facts
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


def test_facts_go_through_json_and_those_of_older_versions_may_lack_some() -> None:
    registry = load_registry()
    named = [Override("run.methods", ("mae",), "test"), Override("run.benchmarks", ("pose",), "test")]
    matrix = make_plan(resolve(registry, named), registry, Machine(cuda=False, bf16=False, cores=2))
    cell = matrix.cells[-1]
    facts = card_facts(cell, matrix.evaluations[cell.fingerprint], registry)
    assert facts.default_evaluations
    assert read_facts(json.loads(json.dumps(asdict(facts)))) == facts
    metric = {"name": "AP", "title": "AP", "main": True, "higher_is_better": False, "percent": True}
    old = read_facts({"benchmarks": {"pose": {"title": "Pose", "metrics": [metric]}}})
    assert [one.higher_is_better for one in old.benchmarks["pose"].metrics_of("people", "test")] == [False]
    assert read_facts({}) == CardFacts()
