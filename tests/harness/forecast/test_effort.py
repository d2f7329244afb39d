"""Equal compute: who sees how many images, what is measured, and what users are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hcbench.errors import ConfigError
from hcbench.harness.forecast import effort
from hcbench.harness.forecast.effort import Cost, EqualCompute, comparison_group, kind, measure
from hcbench.harness.forecast.flops import flops_per_image, repeated, stand_in
from hcbench.harness.jobs.atomic_files import read_json
from hcbench.harness.jobs.cell_folder import LEDGER
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.training.pretrain import build_method, pretrain
from hcbench.harness.training.train import train

CPU = torch.device("cpu")
FP32 = Machine(cuda=False, bf16=False, cores=2)


def quiet(text: str) -> None:
    """A listener that does not listen."""


def equal(cells, costs, reference="dummy-plain"):
    named = {kind(cell): Cost(costs[cell.method]) for cell in cells}
    return EqualCompute(cells, named, reference)


def test_images_seen_cost_what_the_reference_costs(make_cell):
    plain, gan = make_cell("dummy-plain", images_seen=8001), make_cell("dummy-gan", images_seen=8001)
    rule = equal((plain, gan), {"dummy-plain": 3.0, "dummy-gan": 7.0})
    assert rule(plain) == replace(plain, effort="compute"), "the reference's own cell is that of equal images"
    dear = rule(gan)
    assert dear.images_seen == 3432  # 8000 * 3 / 7 = 3428.6, in batches of 4 x 2
    assert rule.flops(dear) == pytest.approx(rule.flops(plain), rel=8 / 3432)
    assert rule.flops(plain) == 8000 * 3.0, "images are drawn in whole groups"


def test_a_method_without_end_still_sees_a_batch(make_cell):
    plain, gan = make_cell("dummy-plain"), make_cell("dummy-gan")
    assert equal((plain, gan), {"dummy-plain": 1.0, "dummy-gan": 1e9})(gan).images_seen == 8


def test_seeds_share_a_cost_and_budgets_do_not(make_cell):
    one = make_cell(seed=0)
    assert kind(one) == kind(make_cell(seed=1, images_seen=7, fingerprint="other"))
    assert kind(one) != kind(replace(one, budget_images=72))
    assert kind(one) != kind(make_cell(config={"lr": 0.1}))
    assert comparison_group(one) == comparison_group(
        replace(make_cell("dummy-plain"), corpus=replace(one.corpus, layout="captions"))
    )
    assert comparison_group(one) != comparison_group(make_cell(height=64))


def test_what_cannot_be_measured_is_skipped_with_the_reason(make_cell):
    plain, gan = make_cell("dummy-plain"), make_cell("dummy-gan")
    costs = {kind(plain): Cost(1.0), kind(gan): Cost(reason="ValueError: a bug")}
    assert EqualCompute((plain, gan), costs, "dummy-plain")(gan).skip.endswith("measured: ValueError: a bug")
    with pytest.raises(ConfigError, match="dummy-gan, which cannot be measured here: ValueError: a bug") as error:
        EqualCompute((plain, gan), costs, "dummy-gan")
    assert "run.effort_reference=" in error.value.hint
    lacking = replace(plain, skip="noise does not know group")
    with pytest.raises(ConfigError, match="does not know group"):
        EqualCompute((lacking, gan), {}, "dummy-plain")
    assert equal((gan,), {"dummy-gan": 1.0}, "dummy-gan")(lacking).skip == "noise does not know group"


@pytest.mark.parametrize("method", ["dummy-gan", "dummy-plain"])
def test_what_is_measured_is_what_the_ledger_says(method, make_cell, view, plugins, tmp_path):
    cell = make_cell(method, images_seen=160)
    cost = flops_per_image(build_method(cell, view), view, cell, CPU)
    ledger = train(build_method(cell, view), view, cell, folder=tmp_path, device=CPU).ledger
    assert cost > 0
    # Stages end on whole groups, so shares are not quite those of the plan.
    assert ledger.flops == pytest.approx(cost * ledger.images_seen, rel=0.02)


def test_a_stand_in_has_the_size_and_the_labels_of_the_view(make_cell, plugins, tmp_path, monkeypatch):
    monkeypatch.setattr("hcbench.harness.forecast.flops.DISTINCT_IMAGES", 12)
    view = stand_in(make_cell(), tmp_path)
    assert len(view) == 36
    assert len(set(view.ids)) == 36
    assert len(set(view.group.tolist())) == len(set(view.identity.tolist())) == 12
    assert (view.images[slice(0, 12)] == view.images[slice(24, 36)]).all()


def test_distractors_stay_distractors(view):
    some = replace(view, identity=view.identity - 1, pose_id=None)
    many = repeated(some, 50)
    assert (many.identity[32:] < 0).sum() == (some.identity[:18] < 0).sum() == 3
    assert many.pose_id is None


def test_costs_are_measured_once_and_failures_again(make_cell, plugins, tmp_path, caplog):
    place, told = Workspace(tmp_path / "ws"), []
    good, bad = make_cell("dummy-plain"), make_cell("dummy-crashes")
    costs = measure((good, bad), place, told.append)
    assert costs[kind(good)].flops > 0
    assert "3" in costs[kind(bad)].reason  # its exit code
    assert measure((good,), place, told.append) == {kind(good): costs[kind(good)]}
    assert len(told) == 1
    assert "dummy-plain, dummy-crashes" in told[0]
    assert measure((bad,), place, told.append)[kind(bad)].reason
    assert len(told) == 2


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """One workspace, so that each method is measured once."""
    return tmp_path_factory.mktemp("measured")


def compute_plan(registry, workspace: Path, methods: str, root: Path, reference="dummy-plain", precision="auto", **run):
    options = {
        "methods": methods, "effort": "compute", "effort_reference": reference, "controls": False,
        "budgets": ("36",), "data": {"noise": str(root)}, "benchmarks": "dummy-score", **run,
    }  # fmt: skip
    sets = (
        "corpus.name=noise", "pretrain.min_images_seen=480", "pretrain.groups_per_batch=4",
        "pretrain.images_per_group=2", "pretrain.height=32", "pretrain.width=16", f"pretrain.precision={precision}",
    )  # fmt: skip
    overrides = [Override(f"run.{name}", value, "test") for name, value in options.items()]
    overrides.append(Override("run.backbones", ("timm:test_vit",), "test"))
    return effort.plan(resolve(registry, overrides, sets=sets), registry, FP32, workspace, quiet)


def test_two_methods_end_with_equal_flops(registry, plugins, place, tmp_path):
    """Planned, then really trained: the ledgers agree."""
    matrix = compute_plan(registry, place, "dummy-gan,dummy-plain", tmp_path)
    gan, plain = sorted(matrix.cells, key=lambda cell: cell.method)
    assert (gan.effort, plain.effort) == ("compute", "compute")
    assert gan.images_seen < plain.images_seen == 480
    flops = {}
    for cell in (gan, plain):
        pretrain(cell, tmp_path / cell.method, cache=tmp_path, device=CPU)
        flops[cell.method] = read_json(tmp_path / cell.method / LEDGER)["flops"]
        assert flops[cell.method] == pytest.approx(matrix.flops[cell.fingerprint], rel=0.02)
    assert flops["dummy-gan"] == pytest.approx(flops["dummy-plain"], rel=0.05)


def test_a_precision_that_is_left_to_the_machine_is_the_one_that_is_measured(registry, plugins, place, tmp_path):
    plans = [compute_plan(registry, place, "dummy-gan", tmp_path, precision=name) for name in ("auto", "fp32")]
    assert plans[0].cells[0].images_seen == plans[1].cells[0].images_seen
    assert [cell.fingerprint for cell in plans[0].cells] == [cell.fingerprint for cell in plans[1].cells]


def test_a_cell_does_not_depend_on_what_it_is_compared_with(registry, plugins, place, tmp_path):
    both = compute_plan(registry, place, "dummy-gan,dummy-plain", tmp_path)
    alone = compute_plan(registry, place, "dummy-gan", tmp_path)
    assert {cell.fingerprint for cell in alone.cells} < {cell.fingerprint for cell in both.cells}
    seeds = compute_plan(registry, place, "dummy-gan", tmp_path, seeds=(3, 4))
    assert {cell.images_seen for cell in (*seeds.cells, *alone.cells)} == {alone.cells[0].images_seen}


def test_wrong_efforts_and_references_are_named(registry, plugins, place, tmp_path):
    with pytest.raises(ConfigError, match=r"run\.effort is 'computer'"):
        compute_plan(registry, tmp_path, "dummy-plain", tmp_path, effort="computer")
    with pytest.raises(ConfigError, match="does not train"):
        compute_plan(registry, tmp_path, "dummy-plain", tmp_path, reference="random")
    with pytest.raises(ConfigError, match="No method was named"):
        compute_plan(registry, tmp_path, "", tmp_path)
    unmeasured = resolve(registry, [Override("run.effort", "compute", "test"), Override("run.methods", "mae", "test")])
    with pytest.raises(ConfigError, match="planned from measured costs"):
        make_plan(unmeasured, registry, FP32)
