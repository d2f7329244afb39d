"""Nothing that is read back is cut; what an older hcbench has cut is read as far as it can be, and named."""

from __future__ import annotations

import json
import math

import pytest

from hcbench.errors import CacheError
from hcbench.harness.cli.cell import show_cell
from hcbench.harness.store.long_facts import whole_items
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.harness.store.results import tables
from hcbench.harness.store.workspace import Workspace

METRICS = '[{"name": "mAP", "title": "mAP", "main": true, "higher_is_better": true, "percent": true}]'
LONG = json.dumps([f"set-{number}:train" for number in range(2000)])
CUT = LONG[:4897] + "..."


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    place = Workspace(tmp_path_factory.mktemp("runs"))
    place.make()
    return Tracker(place)


def cell(name, tags=None, **more):
    params = {
        "method": "m", "budget": "1pct", "budget_images": 5855, "seed": 3, "backbone": "b", "profile": "cpu",
        "corpus.name": "mine.parquet", "corpus.layout": "poses", "pretrain.precision": "fp32",
    } | more.pop("params", {})  # fmt: skip
    values = {"metrics": {}, **more}
    return StoredRun(kind=CELL, fingerprint=name, name=f"cell {name}", params=params,
                     tags={"status": "done", "supervision": "images", **(tags or {})}, **values)  # fmt: skip


def evaluation(parent, of, **tags):
    return StoredRun(
        kind=EVALUATION, fingerprint=f"{of}-e", name=f"reid {of}", parent=parent, metrics={"mAP": 0.5},
        params={"benchmark": "reid", "version": "1", "data": "market1501", "protocol": "frozen"},
        tags={"status": "done", "cell": of, "config": "{}", "benchmark_title": "ReID", "metrics": METRICS, **tags},
    )  # fmt: skip


def cut(tracker, run, name, text):
    """What an older hcbench has left."""
    tracker._client.set_tag(run, f"hcbench.{name}", text)


def test_long_facts_come_back_whole(tracker):
    texts = {"trained_on": LONG, "warnings": LONG, "sources": json.dumps({"images": LONG}), "reason": "é" * 9000}
    tracker.write(cell("long", texts, params={"m.files": "f" * 20_000}))
    (found,) = tracker.records(CELL, "long")
    assert {name: found.tags[name] for name in texts} == texts
    assert found.params["m.files"] == "f" * 20_000
    tracker.set_tags(found, {"trained_on": LONG + " "})
    (found,) = tracker.records(CELL, "long")
    assert (found.tags["trained_on"], found.tags["warnings"]) == (LONG + " ", LONG)
    tracker.set_tags(found, {"trained_on": "[]"})
    assert tracker.records(CELL, "long")[0].tags["trained_on"] == "[]"


def test_odd_texts_and_numbers(tracker):
    metrics = {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "huge": 10**400, "none": None, "p@1": 0.25,
               "tiny": 5e-324, "n" * 300: 1.0}  # fmt: skip
    tracker.write(cell("odd", {"reason": "name \udcff and \0"}, metrics=metrics, series=[("train.p@1", 0.5, 3)]))
    (found,) = tracker.records(CELL, "odd")
    assert found.metrics["p@1"] == 0.25
    assert found.metrics["train.p@1"] == 0.5
    assert (found.metrics["inf"], found.metrics["minus"], found.metrics["huge"]) == (math.inf, -math.inf, math.inf)
    assert math.isnan(found.metrics["nan"])
    assert math.isnan(found.metrics["none"])
    assert found.metrics["tiny"] == 5e-324
    assert found.metrics["n" * 300] == 1.0
    assert found.tags["reason"] == "name \\udcff and \\x00"


def test_what_an_older_version_has_cut_is_taken_from_the_job_beside_it(tracker, tmp_path):
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"facts": {"method": {"trained_on": LONG}}}))
    run = tracker.write(cell("healed", artifacts=[job]))
    cut(tracker, run, "trained_on", CUT)
    assert tracker.records(CELL, "healed")[0].tags["trained_on"] == LONG


def test_a_spoilt_workspace_is_read_but_for_what_is_spoilt(tmp_path, capsys):
    place = Workspace(tmp_path)
    place.make()
    tracker = Tracker(place)
    runs = {name: tracker.write(cell(name, {"trained_on": '["people"]'})) for name in ("good", "bad", "unknown")}
    for name, run in runs.items():
        tracker.write(evaluation(run, name, **({"metrics": METRICS} if name != "bad" else {})))
    cut(tracker, runs["unknown"], "trained_on", CUT)
    cut(tracker, runs["unknown"], "warnings", CUT)
    cut(tracker, runs["bad"], "sources", CUT)
    found = tables(tracker)
    assert set(found.cells.cell) == {"good", "unknown"}
    assert found.scores.set_index("cell")["leak"].to_dict() == {"good": "clean", "unknown": "unknown"}
    (told,) = (text for key, text in found.footer.items() if key.startswith("left out (1"))
    assert "cell bad" in told
    assert "sources was cut by an older hcbench" in told
    from rich.console import Console

    show_cell(Console(width=200), "unknown", tmp_path, None)
    shown = capsys.readouterr().out
    assert "warning: set-0:train" in shown
    assert "further warnings were cut" in shown


def test_an_evaluation_that_cannot_be_read_is_named_alone(tracker):
    run = tracker.write(cell("half"))
    tracker.write(evaluation(run, "half", metrics=METRICS[:30]))
    found = tables(tracker)
    assert "half" in set(found.cells.cell)
    assert "half" not in set(found.scores.cell)
    assert any("evaluation reid half (half-e)" in text for text in found.footer.values())


def test_lost_facts_and_lost_replicates_are_told(tmp_path):
    place = Workspace(tmp_path)
    place.make()
    tracker = Tracker(place)
    (tmp_path / "replicates.parquet").write_text("no table")
    run = tracker.write(cell("x", {"warnings": LONG}))
    tracker.write(StoredRun(**{
        **{name: getattr(evaluation(run, "x"), name) for name in StoredRun.__slots__},
        "artifacts": [tmp_path / "replicates.parquet"],
    }))  # fmt: skip
    with pytest.raises(CacheError, match=r"replicates.parquet .* is damaged"):
        tables(tracker).replicates["x-e", "mAP"]
    (path,) = (tmp_path / "artifacts").rglob("replicates.parquet")
    path.unlink()
    with pytest.raises(CacheError, match=r"replicates.parquet of 'reid x' \(x-e\) is lost"):
        tables(tracker).replicates["x-e", "mAP"]
    (path,) = (tmp_path / "artifacts").rglob("facts.json")
    path.unlink()
    found = tables(tracker)
    assert found.cells.empty
    assert any("its facts.json is lost" in text for text in found.footer.values())


def test_whole_items_of_lists():
    assert whole_items('["a", "b"]') == (["a", "b"], True)
    assert whole_items("[]") == ([], True)
    assert whole_items('["a, [", "b"') == (["a, [", "b"], False)
    assert whole_items("x") == ([], False)
