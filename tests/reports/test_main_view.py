"""A table like that of the README: scores, spread and intervals as they were measured, and the marks they deserve."""

from __future__ import annotations

import numpy as np

from hcbench.reports.comparisons import analyse
from hcbench.reports.render.signs import before, behind, bold
from hcbench.reports.tables import main_table

BENCHMARKS = ("attributes", "pose", "reid", "text-reid")
SCORES = {
    "solider": ((56.6, 0.6), (21.0, 1.8), (2.0, 0.3), (30.9, 4.7)),
    "gcl": ((56.4, 0.8), (22.6, 1.6), (2.3, 0.4), (29.0, 3.4)),
    "genpoccl": ((59.1, 0.8), (30.6, 1.9), (0.9, 0.1), (32.4, 3.8)),
    "stablerep": ((59.2, 0.8), (29.6, 1.7), (1.7, 0.2), (31.8, 3.4)),
    "plip": ((59.4, 0.6), (25.2, 1.7), (15.7, 3.0), (43.6, 4.0)),
    "histogram": ((54.8, 0.6), (4.4, 1.6), (1.2, 0.1), (50.5, 3.2)),
    "pixels": ((53.0, 0.4), (7.5, 1.6), (1.6, 0.2), (36.7, 3.3)),
    "random": ((57.4, 0.6), (25.3, 1.7), (1.1, 0.2), (30.9, 5.1)),
}
"""Mean and half-width of the 95 % interval, percent."""
EXPECTED = {
    "SOLIDER": "· 56.6|▼ 21.0|▲ 2.0|▼ 30.9",
    "GCL": "· 56.4|▼ 22.6|▲ 2.3|▼ 29.0",
    "GENPOCCL": "▲ *59.1|▲ *30.6|▼ 0.9|▼ 32.4",
    "STABLEREP": "▲ *59.2|▲ *29.6|· 1.7|▼ 31.8",
    "PLIP": "▲ *59.4|· 25.2|▲ *15.7 ★|▼ *43.6 ★",
    "HISTOGRAM": "54.8|4.4|1.2|50.5",
    "PIXELS": "53.0|7.5|1.6|36.7",
    "RANDOM": "57.4|25.3|1.1|30.9",
}


def test_plip_is_best_where_it_is_and_below_the_histogram_all_the_same(workspace) -> None:
    rng = np.random.default_rng(3)
    shared = {name: rng.normal(size=500) for name in BENCHMARKS}
    for number, (method, scores) in enumerate(SCORES.items()):
        control = method in ("histogram", "pixels", "random")
        own = {name: rng.normal(size=500) for name in BENCHMARKS}
        for seed in range(3):
            cell = workspace.cell(method, "control" if control else "images", seed=seed)
            for name, (mean, width) in zip(BENCHMARKS, scores, strict=True):
                sd = width / 250  # test and seed spread alike, as half-widths of three seeds come from them
                effect = 0.0 if method in ("histogram", "pixels") else sd * (-1, 0, 1)[(seed + number) % 3]
                evaluation = workspace.score(cell, "reid", mean / 100 + effect)
                for record in workspace.scores[-2:]:
                    record.update(benchmark=name, benchmark_title=name)
                alone = np.sqrt(0.15) * (own[name] + rng.normal(size=500))
                workspace.replicates[evaluation, "mAP"] = mean / 100 + sd * (np.sqrt(0.7) * shared[name] + alone)
    table = main_table(analyse(workspace.results()), "1pct")
    found = {
        row.title: "|".join(
            f"{before(cell)} {'*' if bold(cell) else ''}{100 * cell.value:.1f} {behind(cell)}".strip()
            for cell in row.cells
        )
        for row in table.rows
    }
    assert found == EXPECTED
    assert table.findings == (
        "attributes mAP: PLIP, STABLEREP or GENPOCCL may be best, above all controls.",
        "pose mAP: GENPOCCL or STABLEREP may be best, above all controls.",
        "reid mAP: PLIP is best, above all controls.",
        "text-reid mAP: PLIP is best, and still below HISTOGRAM.",
    )
