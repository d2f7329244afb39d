"""Which settings of a cell the user changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry

CPU = Machine(cuda=False, bf16=False, cores=2)


def cells(*sets: str, methods: tuple[str, ...] = ("mae",), **named: Path) -> list[Cell]:
    registry = load_registry(())
    options = [Override("run.methods", methods, "--methods"), Override("run.benchmarks", ("reid",), "--benchmarks")]
    return list(make_plan(resolve(registry, options, sets=sets, **named), registry, CPU).cells)


def changed(*sets: str, **named: Path) -> dict[str, str]:
    (mae,) = [cell for cell in cells(*sets, **named) if cell.method == "mae"]
    return dict(mae.overrides)


def test_nothing_is_changed_by_itself() -> None:
    assert changed() == {}


def test_what_is_set_to_what_it_is_anyway_is_no_change() -> None:
    assert changed("pretrain.height=128", "mae.mask_ratio=0.75") == {}


def test_settings_from_the_line_and_from_a_file_are_changes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("pretrain: {passes: 4}\nmae: {mask_ratio: 0.6}\nevaluate: {epochs: 2}\n")
    found = changed("mae.mask_ratio=0.5", "stablerep.temperature=0.3", "corpus.noise=0", config=mine)
    assert found == {"pretrain.passes": "3.0", "mae.mask_ratio": "0.75", "corpus.noise": "1.0"}


@pytest.mark.parametrize("profile", ["gpu", "paper"])
def test_what_a_profile_or_recipe_chooses_is_no_change(profile: str) -> None:
    assert changed(f"run.profile={profile}") == {}


def test_what_a_search_chose_is_no_change_until_the_user_changes_it(tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text("mae: {mask_ratio: 0.6, lr: 0.002}\n")
    assert changed(tuned=tuned) == {}
    assert changed("mae.mask_ratio=0.75", tuned=tuned) == {"mae.mask_ratio": "0.6"}


def test_of_a_sweep_the_usual_point_is_no_change() -> None:
    swept = [cell for cell in cells("mae.mask_ratio=0.75,0.5") if cell.method == "mae"]
    assert [dict(cell.overrides) for cell in swept] == [{}, {"mae.mask_ratio": "0.75"}]


def test_settings_of_training_change_no_control_and_the_input_size_does() -> None:
    found = {cell.method: dict(cell.overrides) for cell in cells("pretrain.passes=4", "pretrain.height=96")}
    assert found["mae"] == {"pretrain.passes": "3.0", "pretrain.height": "128"}
    assert found["random"] == found["pixels"] == {"pretrain.height": "128"}


def test_who_chose_a_setting_changes_no_fingerprint(tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text("mae: {mask_ratio: 0.6}\n")
    searched, said = cells(tuned=tuned), cells("mae.mask_ratio=0.6")
    assert [cell.fingerprint for cell in searched] == [cell.fingerprint for cell in said]
