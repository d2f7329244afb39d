"""A builder of synthetic results: a workspace's table without a workspace."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hcbench.reports.results import Results

GROUPS = {
    "control": "controls (no pre-training)",
    "images": "images only",
    "structure": "images with poses or structure",
    "generated": "generated groups",
    "captions": "captions and identities",
    "labels": "labels (reference)",
    "given": "given weights (other data, no equal budget)",
    "truth": "ground truth (not a method)",
}
METRICS = {
    "pose": ("Human pose", [("AP50", "AP50", True), ("AP", "AP", False)]),
    "reid": ("Person ReID", [("mAP", "mAP", True), ("R1", "Rank-1", False)]),
}
SCORE_COLUMNS = [
    "cell", "evaluation", "benchmark", "benchmark_title", "version", "data", "protocol", "config", "readout", "metric",
    "metric_title", "value", "main", "higher_is_better", "percent", "status", "reason",
]  # fmt: skip


@dataclass
class Workspace:
    """Cells and scores that `results()` turns into `Results`; resamples are shared, as the harness shares them."""

    replicate_count: int = 200
    people: int = 400
    cells: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    replicates: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def cell(self, method: str, supervision: str = "images", **changes: Any) -> str:
        """Add a done cell and give its fingerprint."""
        name = changes.pop("cell", f"cell{len(self.cells)}")
        control = supervision == "control"
        record = {
            "cell": name,
            "method": method,
            "title": method.upper(),
            "supervision": supervision,
            "supervision_title": GROUPS.get(supervision, supervision),
            "supervision_order": list(GROUPS).index(supervision) if supervision in GROUPS else None,
            "least_passes": 2.0,
            "budget": "-" if control else "1pct",
            "budget_images": 0 if control else 5855,
            "seed": 0,
            "backbone": "vit-mini16",
            "corpus": "people",
            "layout": "identities",
            "profile": "cpu",
            "precision": "fp32",
            "config": json.dumps({"corpus": {"noise": 1.0}, "pretrain": {"height": 128, "width": 64}}),
            "status": "done",
            "reason": "",
            "created": pd.Timestamp("2026-01-01", tz="UTC"),
            "ledger.images_stored": 0 if control else 5855,
            "ledger.images_seen": 0 if control else 36000,
            "ledger.flops": 0.0 if control else 1.2e15,
            "ledger.wall_s": 0.0 if control else 312.0,
            "ledger.peak_memory_bytes": 900 * 2**20,
            "ledger.tuning_trials": 0 if control else 6,
        }
        self.cells.append(record | changes)
        return name

    def score(self, cell: str, benchmark: str, value: float | None, **changes: Any) -> str:
        """Add one evaluation: all its metrics at about `value`; None adds a failed one (see `changes`)."""
        evaluation = changes.pop("evaluation", f"eval{len(self.scores)}")
        config = {"scale": 1.0, "readout": "auto", "epochs": 1.0, "head_seed": 0} | changes.pop("config", {})
        title, metrics = METRICS[benchmark]
        noise = changes.pop("noise", 0.0)
        base = {
            "cell": cell,
            "evaluation": evaluation,
            "benchmark": benchmark,
            "benchmark_title": title,
            "version": "1",
            "data": "people",
            "protocol": "frozen",
            "config": json.dumps(config),
            "readout": "cls+stripes",
            "higher_is_better": True,
            "percent": True,
            "status": "done",
            "reason": "",
        } | changes
        if value is None:
            self.scores.append(base | {"metric": "", "metric_title": "", "value": np.nan, "main": False})
            return evaluation
        for offset, (name, metric_title, main) in enumerate(metrics):
            record = base | {"metric": name, "metric_title": metric_title, "value": value - 0.1 * offset, "main": main}
            self.scores.append(record)
            self.replicates[evaluation, name] = record["value"] + self._resampling(benchmark, evaluation, noise)
        return evaluation

    def _resampling(self, benchmark: str, evaluation: str, noise: float) -> np.ndarray:
        """Shared difficulty of the drawn people, and a part of this evaluation's own."""
        shared = np.random.default_rng(len(benchmark)).normal(0, 0.02, self.replicate_count)
        own = np.random.default_rng(abs(hash_of(evaluation))).normal(0, noise or 0.002, self.replicate_count)
        return shared + own

    def results(self, **footer: str) -> Results:
        scores = pd.DataFrame(self.scores, columns=SCORE_COLUMNS)
        return Results(cells=pd.DataFrame(self.cells), scores=scores, replicates=dict(self.replicates), footer=footer)


def hash_of(text: str) -> int:
    """A hash that does not change between processes."""
    return int.from_bytes(text.encode()[-6:], "little")


FIELD = (
    ("random", "control", 0.20),
    ("pixels", "control", 0.22),
    ("histogram", "control", 0.30),
    ("simclr", "images", 0.40),
    ("mae", "images", 0.35),
    ("solider", "images", 0.33),
    ("hap", "structure", 0.42),
    ("gan-invariance", "structure", 0.41),
    ("stablerep", "generated", 0.48),
    ("genpoccl", "generated", 0.52),
    ("plip", "captions", 0.50),
    ("supervised", "labels", 0.55),
)


@pytest.fixture
def workspace() -> Workspace:
    return Workspace()


@pytest.fixture
def full() -> Callable[..., Workspace]:
    """A whole comparison: `full(seeds=3, budgets=("1pct",))`."""

    def build(seeds: int = 3, budgets: Sequence[str] = ("1pct",), jitter: float = 1e-4) -> Workspace:
        space = Workspace()
        rng = np.random.default_rng(0)
        sizes = {"0.1pct": 585, "0.3pct": 1755, "1pct": 5855, "3pct": 17570}
        for seed in range(seeds):
            for method, supervision, value in FIELD:
                for place, budget in enumerate(budgets if supervision != "control" else ["-"]):
                    size = sizes.get(budget, 0)
                    ledger = {"ledger.images_stored": size, "ledger.images_seen": 36000 if size else 0}
                    cell = space.cell(method, supervision, seed=seed, budget=budget, budget_images=size, **ledger)
                    gain = 0.05 * (place - len(budgets) + 1) if size else 0.0
                    for benchmark in METRICS:
                        space.score(cell, benchmark, value + gain + float(rng.normal(0, jitter)))
        return space

    return build
