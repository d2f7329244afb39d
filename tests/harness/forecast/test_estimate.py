from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hcbench.harness.forecast import estimate as module
from hcbench.harness.forecast.estimate import Measured, estimate, read_measured
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun

A = Cell(
    method="stablerep", budget="1pct", budget_images=5855, images_seen=36000, seed=0, backbone="vit-mini16",
    corpus=CorpusConfig(layout="captions"), pretrain=PretrainConfig(precision="fp32"), method_config={},
    fingerprint="a",
)  # fmt: skip
B = replace(A, method="mae", fingerprint="b")
CONTROL = replace(A, method="random", budget="-", budget_images=0, images_seen=0, fingerprint="c")
REID = Evaluation(
    benchmark="reid", version="1", data="people", protocol="frozen", config={"scale": 1.0, "epochs": 1.0},
    fingerprint="e",
)  # fmt: skip


def matrix(*cells: Cell, scored: bool = True) -> Matrix:
    scores = {
        cell.fingerprint: (replace(REID, fingerprint=f"e{cell.fingerprint}"),) if scored else () for cell in cells
    }
    return Matrix(cells=cells, evaluations=scores)


def record(kind: str, params: dict[str, Any], **named: Any) -> StoredRun:
    facts = {"fingerprint": "x", "name": "x", "metrics": {}, "tags": {}}
    return StoredRun(kind=kind, params=params, **{**facts, **named})


CELL_PARAMS = {
    "method": "stablerep", "backbone": "vit-mini16", "pretrain.height": "128", "pretrain.width": "64",
    "pretrain.precision": "fp32",
}  # fmt: skip
REID_PARAMS = {
    "benchmark": "reid",
    "data": "people",
    "protocol": "frozen",
    "evaluate.scale": "1.0",
    "evaluate.epochs": "1.0",
}


def measured() -> Measured:
    ledgers = [
        record(CELL, CELL_PARAMS, metrics={"ledger.images_per_s": speed, "ledger.peak_memory_bytes": 2e9})
        for speed in (90.0, 100.0, 500.0)
    ]
    return read_measured(ledgers, [record(EVALUATION, REID_PARAMS, tags={"seconds": "7.5"})])


def test_the_workspaces_own_ledgers_decide() -> None:
    found = estimate(matrix(A), (), measured(), workers=1).cells["a"]
    assert found.measured
    assert found.seconds == pytest.approx(36000 / 100 + 7.5 + module.SECONDS_OF_FEATURES)


def test_without_ledgers_the_table_decides_and_says_so() -> None:
    found = estimate(matrix(A, B, scored=False), (), Measured(), workers=1).cells
    assert not found["a"].measured
    assert found["a"].seconds == pytest.approx(36000 / module.IMAGES_PER_S["stablerep"])
    assert found["b"].seconds == pytest.approx(36000 / module.IMAGES_PER_S["mae"])


def test_another_kind_of_cell_is_not_taken_for_measured() -> None:
    other = replace(A, pretrain=replace(A.pretrain, precision="bf16"))
    found = estimate(matrix(other, scored=False), (), measured(), workers=1).cells["a"]
    assert not found.measured
    assert found.seconds == pytest.approx(36000 / module.IMAGES_PER_S["stablerep"] / module.BF16_SPEED_UP)


def test_larger_inputs_cost_more_and_unknown_backbones_are_unknown() -> None:
    large = replace(A, pretrain=replace(A.pretrain, height=256, width=128))
    small, big = (estimate(matrix(c, scored=False), (), Measured(), workers=1).cells["a"].seconds for c in (A, large))
    assert small is not None
    assert big == pytest.approx(4 * small)
    strange = estimate(matrix(replace(A, backbone="resnet200d")), (), Measured(), workers=1)
    assert strange.seconds is None


def test_what_is_known_costs_nothing() -> None:
    everything = estimate(matrix(A, CONTROL), ("a", "ea", "c", "ec"), measured(), workers=2)
    assert (everything.seconds, everything.disk_bytes, everything.memory_bytes) == (0.0, 0.0, 0.0)
    score = estimate(matrix(A), ("a",), measured(), workers=1).cells["a"]
    assert score.seconds == pytest.approx(7.5 + module.SECONDS_OF_FEATURES)


def test_workers_share_the_time_and_add_up_the_memory() -> None:
    one = estimate(matrix(A, replace(A, fingerprint="b")), (), measured(), workers=1)
    two = estimate(matrix(A, replace(A, fingerprint="b")), (), measured(), workers=2)
    assert one.seconds is not None
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert (one.memory_bytes, two.memory_bytes) == (2e9, 4e9)
    alone = estimate(matrix(A), (), measured(), workers=8)
    assert alone.seconds is not None
    assert alone.seconds > 36000 / 100, "one cell is not split"


def test_nested_budgets_share_their_pixels() -> None:
    small = replace(A, budget_images=585, fingerprint="b")
    alone, both = (estimate(matrix(*c, scored=False), (), measured(), workers=1).disk_bytes for c in ((A,), (A, small)))
    assert 0 < both - alone < 585 * 128 * 64 * 4, "the smaller budget adds a checkpoint, no pixels"


def test_skipped_cells_cost_nothing() -> None:
    skipped = replace(A, skip="no groups")
    found = estimate(Matrix(cells=(skipped,), evaluations={"a": ()}), (), Measured(), workers=1)
    assert (found.seconds, dict(found.cells)) == (0.0, {})
