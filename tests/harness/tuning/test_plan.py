"""What a search would run, and what it refuses; nothing is computed."""

from __future__ import annotations

import pytest
from mpii_tree import MpiiTree

from hcbench.errors import ConfigError
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.tuning.plan import plan_tuning


def test_trials_are_short_cells_of_equal_number_and_conditions(plan, settings, registry, machine):
    found = plan("tunable,simple", trials=4)
    assert {search.method: len(search.trials) for search in found.searches} == {"tunable": 4, "simple": 4}
    cells = [trial.cell for search in found.searches for trial in search.trials]
    assert len({cell.fingerprint for cell in cells}) == 8
    assert {(cell.images_seen, cell.budget_images, cell.seed) for cell in cells} == {(24, 24, 0)}
    assert found.full_images == 48
    assert [cell.tuning for cell in cells[:2]] == ["trial 0", "trial 1"]
    for search in found.searches:
        for trial in search.trials[1:]:
            assert {name: trial.cell.method_config[name] for name in trial.settings} == trial.settings
    # The first is the cell of a plain run of that length, and so shares its checkpoint.
    plain = settings("tunable", "pretrain.min_images_seen=24", "pretrain.passes=0.5")
    cell = next(one for one in make_plan(plain, registry, machine).cells if one.method == "tunable")
    assert cells[0].fingerprint == cell.fingerprint
    assert cells[0].method_config["lr"] is None


def test_images_go_before_the_share(plan):
    assert plan(images=16).searches[0].trials[0].cell.images_seen == 16


def test_studies_are_named_by_what_their_numbers_stand_on(plan):
    (study,) = {plan().searches[0].study, plan(trials=5).searches[0].study}
    others = [
        plan("tunable", "pretrain.weight_decay=0.1"), plan("tunable", "evaluate.readout=cls"), plan(sampler_seed=1),
        plan(images=16), plan("tunable", "run.seeds=1"),
    ]  # fmt: skip
    assert len({study, *(one.searches[0].study for one in others)}) == 6


@pytest.mark.parametrize(
    ("methods", "sets", "named", "expected"),
    [
        ("tunabel", (), {}, "Did you mean 'tunable'?"),
        ("random", (), {}, "random is not trained"),
        ("fixed", (), {}, "fixed has nothing to search"),
        ("", (), {}, "No method was named"),
        ("tunable", ("run.seeds=0,1",), {}, "one of the seeds, found 0, 1"),
        ("tunable", ("run.budgets=8,24",), {}, "one of the budgets"),
        ("tunable", ("pretrain.lr=1e-3,1e-4",), {}, "pretrain.lr has 2 values"),
        ("tunable", ("tunable.weight=1,2",), {}, "tunable.weight has 2 values"),
        ("tunable", ("tunable.power=3",), {}, "power is 3, outside"),
        ("tunable", (), {"images": 4}, "fewer than one batch of 8"),
        ("tunable", (), {"images": 100}, "at most 1"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_tuned_is_explained(plan, methods, sets, named, expected):
    with pytest.raises(ConfigError) as found:
        plan(methods, *sets, **named)
    assert expected in f"{found.value.message} {found.value.hint}"


def test_a_sweep_of_a_method_that_takes_no_part_does_not_matter(plan):
    assert plan("simple", "tunable.weight=1,2").searches[0].method == "simple"


@pytest.mark.parametrize(("method", "lacks"), [("plip", "captions, phrases"), ("gan-invariance", "joints")])
def test_a_method_that_the_corpus_cannot_serve_is_named(plan, method, lacks):
    with pytest.raises(ConfigError, match=f"{method} cannot be tuned here: guarded does not know {lacks}"):
        plan(f"tunable,{method}")


def test_a_method_that_reads_a_file_is_tuned_like_any_other(plan, tmp_path):
    (tmp_path / "joints.npz").write_bytes(b"any")
    text = f"params:{tmp_path / 'joints.npz'}"
    (search,) = plan("gan-invariance", f"gan-invariance.structure={text}").searches
    assert {trial.cell.settings["structure"] for trial in search.trials} == {text}


def test_trials_on_mpii_are_ordered_by_what_its_held_out_images_define(tmp_path, machine):
    """They have no heads, so PCKh, the main metric of its test split, is not defined on them."""
    registry, root = load_registry(()), MpiiTree(tmp_path / "mpii").write().root
    run = {"methods": "mae", "budgets": "600", "benchmarks": "pose:mpii,pose:people", "data": {"mpii": str(root)}}
    resolved = resolve(registry, [Override(f"run.{key}", value, "test") for key, value in run.items()])
    found = plan_tuning(resolved, registry, machine, trials=1)
    assert found.metrics == {"pose on mpii": {"PCK05": True}, "pose": {"AP50": True}}
