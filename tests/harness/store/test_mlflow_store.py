from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest

from hcbench.errors import CacheError
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, EXPERIMENT, SCHEMA, StoredRun, Tracker
from hcbench.harness.store.results import finished, tables
from hcbench.harness.store.workspace import Workspace


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One store for the tests that only add to it: making MLflow's tables takes seconds."""
    place = Workspace(tmp_path_factory.mktemp("runs"))
    place.make()
    return Tracker(place)


def cell(fingerprint, **more):
    params = {
        "method": "m", "budget": "1pct", "budget_images": 5855, "seed": 3, "backbone": "b", "profile": "cpu",
        "corpus.name": "people", "corpus.layout": "poses", "pretrain.precision": "fp32",
    }  # fmt: skip
    values = {"name": fingerprint, "params": params, "metrics": {"ledger.flops": 1e18}, "tags": {"status": "done"}}
    return StoredRun(kind=CELL, fingerprint=fingerprint, **{**values, **more})


def evaluation(fingerprint, parent, of, **more):
    values = {
        "name": fingerprint,
        "params": {"benchmark": "reid", "version": "1", "data": "people", "protocol": "frozen"},
        "metrics": {"mAP": 1 / 3, "mINP": math.nan},
        "tags": {
            "status": "done", "cell": of, "config": "{}", "benchmark_title": "ReID", "readout": "cls",
            "metrics": '[{"name": "mAP", "title": "mAP", "main": true, "higher_is_better": true, "percent": true}]',
        },
    }  # fmt: skip
    return StoredRun(kind=EVALUATION, fingerprint=fingerprint, parent=parent, **{**values, **more})


def test_what_is_written_is_read_back_to_the_last_digit(shared, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").write_text("more")
    metrics = {"third": 1 / 3, "undefined": math.nan, "flops": 6.02e23}
    series = [("train.main.loss", 1 / (k + 1), k) for k in range(2500)]
    run = shared.write(
        cell("round", metrics=metrics, series=series, artifacts=[tmp_path / "a.txt", tmp_path / "folder"])
    )
    (record,) = shared.records(CELL, "round")
    assert record.run == run
    assert record.metrics["third"] == 1 / 3
    assert math.isnan(record.metrics["undefined"])
    assert record.metrics["flops"] == 6.02e23
    assert record.metrics["train.main.loss"] == 1 / 2500
    assert len(shared._client.get_metric_history(run, "train.main.loss")) == 2500
    assert record.params["budget_images"] == "5855"
    assert abs(record.created - time.time()) < 60
    assert shared.artifact(record, "a.txt").read_text() == "text"
    assert (shared.artifact(record, "folder") / "b.txt").read_text() == "more"
    assert shared.artifact(record, "nothing") is None


def test_a_second_record_replaces_the_first_and_keeps_its_evaluations(shared):
    first = shared.write(cell("twice", tags={"status": "failed", "reason": "once"}))
    shared.write(evaluation("twice-e", first, "twice"))
    second = shared.write(cell("twice"))
    (record,) = shared.records(CELL, "twice")
    assert (record.run, record.status) == (second, "done")
    (child,) = shared.records(EVALUATION, "twice-e")
    assert child.parent == second


def test_half_written_runs_are_invisible_and_replaced(shared, monkeypatch):
    def dies(*args):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(shared._client, "set_terminated", dies)
        with pytest.raises(RuntimeError, match="killed"):
            shared.write(cell("half"))
    assert shared.records(CELL, "half") == []
    assert "half" not in finished(shared).cells
    shared.write(cell("half"))
    assert len(shared.records(CELL, "half")) == 1
    assert len(shared._search("tags.`hcbench.fingerprint` = 'half'")) == 1, "the first half is gone"


def test_only_what_is_done_is_finished(shared):
    for status in ("failed", "diverged", "skipped", "out-of-memory", "interrupted", "done"):
        shared.write(cell(f"status-{status}", tags={"status": status, "reason": "r"}))
    found = {name for name in finished(shared).cells if name.startswith("status-")}
    assert found == {"status-done"}


def test_tables_have_the_columns_that_reports_read(shared, tmp_path):
    pd.DataFrame({"mAP": np.arange(4.0)}).to_parquet(tmp_path / "replicates.parquet")
    run = shared.write(cell("t"))
    shared.write(evaluation("t-done", run, "t", artifacts=[tmp_path / "replicates.parquet"]))
    bad = evaluation("t-bad", run, "t", metrics={})
    shared.write(evaluation("t-bad", run, "t", metrics={}, tags={**bad.tags, "status": "failed", "reason": "why"}))
    table = tables(shared)
    row = table.cells.set_index("cell").loc["t"]
    assert (row.budget_images, row.seed, row.layout, row["ledger.flops"]) == (5855, 3, "poses", 1e18)
    scores = table.scores[table.scores.cell == "t"].set_index(["evaluation", "metric"])
    assert scores.loc[("t-done", "mAP"), "value"] == 1 / 3
    assert scores.loc[("t-done", "mAP"), "main"]
    assert np.isnan(scores.loc[("t-done", "mINP"), "value"])
    assert not scores.loc[("t-done", "mINP"), "main"]
    assert scores.loc[("t-bad", ""), ["status", "reason"]].tolist() == ["failed", "why"]
    assert table.replicates["t-done", "mAP"].tolist() == [0, 1, 2, 3]
    assert ("t-done", "mAP") in table.replicates
    assert ("t-done", "R1") not in table.replicates
    assert ("t-bad", "mAP") not in table.replicates
    assert {"version", "python", "workspace"} <= set(table.footer)


def test_an_empty_store_gives_empty_tables_with_columns(tmp_path):
    place = Workspace(tmp_path / "runs")
    place.make()
    table = tables(Tracker(place))
    assert table.cells.empty
    assert "status" in table.cells
    assert table.scores.empty
    assert "value" in table.scores


def test_a_store_of_a_newer_schema_is_left_alone(shared):
    client = shared._client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    client.set_experiment_tag(experiment.experiment_id, "hcbench.schema", str(SCHEMA + 1))
    try:
        with pytest.raises(CacheError, match=f"schema {SCHEMA + 1}; this hcbench knows schema {SCHEMA}") as error:
            Tracker(shared.workspace)
        assert "newer hcbench" in error.value.hint
    finally:
        client.set_experiment_tag(experiment.experiment_id, "hcbench.schema", str(SCHEMA))


def test_a_file_that_is_no_database_is_told_of(tmp_path):
    place = Workspace(tmp_path)
    place.make()
    place.database.write_bytes(b"this is no database, and long enough to be noticed" * 100)
    with pytest.raises(CacheError, match="cannot be opened"):
        Tracker(place)


def test_a_server_that_is_down_is_told_of_quickly(tmp_path):
    place = Workspace(tmp_path)
    place.make()
    start = time.monotonic()
    with pytest.raises(CacheError, match=r"127.0.0.1:9") as error:
        Tracker(place, "http://127.0.0.1:9")
    assert time.monotonic() - start < 20
    assert "--tracking-uri" in error.value.hint


def test_results_from_before_facts_were_stored_have_those_of_today(shared):
    """Older cells hold neither the order of their group, nor the passes they need, nor what the user changed."""
    params = cell("x").params
    shared.write(cell("before", tags={"status": "done", "supervision": "images"}))
    shared.write(cell("foreign", tags={"status": "done", "supervision": "of a plugin"}))
    own = {"supervision": "images", "supervision_order": "7", "least_passes": "3.5", "override.corpus.name": "coco"}
    shared.write(cell("today", params={**params, "corpus.name": "people"}, tags={"status": "done", **own}))
    rows = tables(shared).cells.set_index("cell")[["supervision_order", "least_passes", "overrides"]]
    assert rows.loc["before"].tolist() == [1.0, 2.0, "{}"]
    assert rows.loc["today"].tolist() == [7.0, 3.5, '{"corpus.name": "people"}']
    assert math.isnan(rows.loc["foreign", "supervision_order"])


def test_a_metric_whose_direction_is_down_stays_so_in_the_table(shared):
    run = shared.write(cell("down"))
    metric = '[{"name": "mAP", "title": "mAP", "main": true, "higher_is_better": false, "percent": true}]'
    tags = {**evaluation("x", run, "down").tags, "metrics": metric}
    shared.write(evaluation("down-e", run, "down", tags=tags))
    rows = tables(shared).scores.set_index(["cell", "metric"]).loc["down"]
    assert rows["higher_is_better"].tolist() == [False, True], "a metric that no card names goes up"
    assert rows["main"].tolist() == [True, False]
