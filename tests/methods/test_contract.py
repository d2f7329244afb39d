"""What every method promises the loop (`hcbench.harness.contract.contract`), over every folder that has a card."""

from __future__ import annotations

import dataclasses

import pytest

from hcbench.harness.contract.contract import CHECKS, examine
from hcbench.harness.contract.method_under_test import MethodUnderTest, trial_cell
from hcbench.harness.planning.registry import load_registry

REGISTRY = load_registry(())
SMALL = {
    "dino": ("head_hidden=32", "head_bottleneck=16", "head_outputs=64", "local_crops=2"),
    "solider": ("head_hidden=32", "head_bottleneck=16", "head_outputs=64", "local_crops=2"),
    "gan-invariance": ("dim=2", "n_res=1", "mlp_dim=8", "dis_dim=4", "dis_res=1", "gan_height=16", "gan_width=8"),
    "plip": ("text_dim=32", "text_layers=1", "tic_dim=16"),
}
"""Heads in proportion to twenty steps."""
MAY_SKIP = {"figures"}
FROM_FILES = {"checkpoint", "imagenet"}
"""Methods of which there is nothing to check without a file."""
WITHOUT_FEATURES = {"oracle"}


@pytest.mark.parametrize("name", REGISTRY.methods)
def test_a_built_in_keeps_the_contract(name, tmp_path):
    card = REGISTRY.methods[name]
    cell = trial_cell(card, REGISTRY, [f"{name}.{setting}" for setting in SMALL.get(name, ())])
    results = list(examine(MethodUnderTest(card, cell, tmp_path)))
    assert [result.check for result in results] == list(CHECKS)
    for result in results:
        assert result.status != "failed", f"{result.check.promise}: {result.note} {result.hint}"
        if result.status == "skipped":
            fine = result.check.name in MAY_SKIP or not (card.trains or result.check.controls)
            assert fine or name in WITHOUT_FEATURES or name in FROM_FILES, result.note


@pytest.mark.parametrize("name", REGISTRY.methods)
def test_a_built_in_names_its_source_and_its_rates(name):
    card = REGISTRY.methods[name]
    assert REGISTRY.origins[f"methods:{name}"].rpartition(".")[2] == name.replace("-", "_")
    if card.trains:
        assert card.paper
        assert card.year
        assert {"lr", "weight_decay", "augmentation"} <= {field.name for field in dataclasses.fields(card.config)}
        assert card.config().lr is None
