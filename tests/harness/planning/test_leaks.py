from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from manifest_files import write

from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.corpora import corpus_facts
from hcbench.harness.planning.leaks import TAG, of_card, verdict
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.reports.build import build_report
from hcbench.reports.results import Results

REGISTRY = load_registry(())


def test_a_manifest_says_where_its_images_come_from(tmp_path: Path) -> None:
    def sources(path: Path) -> tuple[str, ...]:
        return corpus_facts(CorpusConfig(name=str(path)), PretrainConfig(), {}).sources

    assert sources(write(tmp_path)) == ("coco:train",)
    mixed = {"source": ["coco"] * 30 + ["msmt17"] * 29 + [None], "split": ["val2017"] * 30 + ["train"] * 29 + [None]}
    assert sources(write(tmp_path / "b", **mixed)) == ("", "coco:val2017", "msmt17:train")
    assert sources(write(tmp_path / "c", **dict.fromkeys(("source", "split")))) == ("",)


def _cell(method: str, **config: str) -> Cell:
    return Cell(
        method=method, budget="-", budget_images=0, images_seen=0, seed=0, backbone="x", corpus=CorpusConfig(),
        pretrain=PretrainConfig(), method_config=config,
    )  # fmt: skip


def test_what_trains_nothing_is_told_by_its_card() -> None:
    assert of_card(_cell("random"), REGISTRY) == {TAG: '["nothing"]'}
    assert of_card(_cell("checkpoint", sha256="ab" * 8), REGISTRY) == {TAG: "[]"}, "nobody says: unknown"
    assert of_card(_cell("mae"), REGISTRY) == {}, "the plan says it"


def test_older_results_are_told_by_their_settings() -> None:
    assert (
        verdict({"supervision": "control"}, {"budget_images": "0", "corpus.name": "people"}, "coco").status == "clean"
    )
    assert verdict({}, {"budget_images": "50", "corpus.name": "people"}, "coco").status == "clean"
    assert verdict({}, {"budget_images": "50", "corpus.name": "x.parquet"}, "coco").status == "unknown"
    assert verdict({TAG: json.dumps(["prw"])}, {}, "market1501").status == "overlap"


def test_heads_may_leak_as_well() -> None:
    def found(sources: list[str], data: str) -> tuple[str, str]:
        judged = verdict({TAG: json.dumps(sources)}, {}, data)
        return judged.status, judged.why

    assert found(["people"], "market1501>msmt17") == ("clean", "")
    assert found(["people"], "coco>ochuman") == ("clean", "")
    status, why = found(["nothing"], "msmt17>icfg-pedes")
    assert status == "overlap"
    assert "msmt17 and icfg-pedes" in why
    assert found(["icfg-pedes:train"], "market1501>msmt17")[0] == "overlap"
    assert found([], "market1501>msmt17")[0] == "unknown"
    assert found(["nothing"], "peta")[0] == "overlap", "its random partitions, whatever was trained"
    assert found(["nothing"], "peta-persons")[0] == "clean"


@pytest.mark.parametrize("leaks", [("clean", "clean"), ("overlap", "clean"), ("clean", "unknown")])
def test_the_report_warns_in_a_column(leaks: tuple[str, str]) -> None:
    def cell(name: str) -> dict[str, object]:
        return {
            "cell": name, "method": name, "title": name, "supervision": "images", "supervision_title": "images only",
            "budget": "1pct", "budget_images": 10, "seed": 0, "backbone": "b", "corpus": "c", "layout": "identities",
            "profile": "cpu", "precision": "fp32", "status": "done", "reason": "",
            "created": pd.Timestamp("2026-01-01"),
        }  # fmt: skip

    def score(name: str, leak: str) -> dict[str, object]:
        return {
            "cell": name, "evaluation": f"e{name}", "benchmark": "reid", "benchmark_title": "Person ReID",
            "version": "1", "data": "market1501", "protocol": "frozen", "config": "{}", "readout": "cls",
            "metric": "mAP", "metric_title": "mAP", "value": 0.5, "main": True, "higher_is_better": True,
            "percent": True, "status": "done", "reason": "", "leak": leak, "leak_reason": "its own reason",
        }  # fmt: skip

    results = Results(
        cells=pd.DataFrame([cell("one"), cell("two")]),
        scores=pd.DataFrame([score("one", leaks[0]), score("two", leaks[1])]),
        replicates={(f"e{name}", "mAP"): np.full(10, 0.5) for name in ("one", "two")},
    )
    table = build_report(results, formats=("md",), out=None).tables[0]
    titles = [column.title for column in table.columns]
    if set(leaks) == {"clean"}:
        assert "leaks" not in titles
        return
    assert titles[-1] == "leaks"
    assert [row.cells[-1].text for row in table.rows] == list(leaks)
    told = next(row.cells[-1].notes[0] for row in table.rows if row.cells[-1].text != "clean")
    assert "its own reason" in table.footnotes[told]
