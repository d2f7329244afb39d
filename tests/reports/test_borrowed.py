"""Seed spread that was measured elsewhere: the file, who may borrow it, how the table says so. Values are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from simulated_columns import draw

from hcbench.errors import ConfigError
from hcbench.reports.borrowed import read_spread, shipped
from hcbench.reports.build import build_report
from hcbench.reports.comparisons import analyse
from hcbench.reports.measured_spread import spread_of, spread_text
from hcbench.reports.statistics.intervals import BORROWED
from hcbench.reports.tables import main_table

FILE = """\
profile: cpu
backbone: vit-mini16
corpus: people
provenance: made-up values of a test
columns:
  - {benchmark: reid, version: "1", data: people, protocol: frozen, metric: mAP, budget: 1pct,
     variance: 1.0e-4, freedom: 10}
"""


@pytest.fixture
def spread(tmp_path):
    (tmp_path / "cpu.yaml").write_text(FILE)
    return read_spread(tmp_path / "cpu.yaml")


def fill(workspace, seeds: int = 1, **changes) -> None:
    for seed in range(seeds):
        for method, value in (("mae", 0.30), ("dino", 0.41), ("hap", 0.55)):
            workspace.score(workspace.cell(method, seed=seed, **changes), "reid", value)
        for method in ("random", "pixels", "histogram"):
            workspace.score(workspace.cell(method, "control", seed=seed), "reid", 0.2)


def marks(workspace, spread) -> dict[str, tuple[str, str, bool]]:
    table = main_table(analyse(workspace.results(), [spread]), "1pct")
    return {row.title: (c.mark, c.tick, c.hollow) for row in table.rows if (c := row.cells[0]).mark or c.tick}


def test_one_seed_of_the_cpu_profile_borrows_and_says_so(workspace, spread) -> None:
    fill(workspace)
    analysis = analyse(workspace.results(), [spread])
    table = main_table(analysis, "1pct")
    found = {row.title: row.cells[0] for row in table.rows}
    assert (found["HAP"].mark, found["HAP"].tick, found["HAP"].hollow, found["HAP"].kind) == (
        "star", "above", True, BORROWED,
    )  # fmt: skip
    assert any("Hollow signs" in line and "made-up values of a test" in line for line in table.header)
    assert any(line.startswith("☆ is shown") and "○ may be the best" in line for line in table.header)
    assert not any("★" in line or "▲" in line for line in table.header)
    texts = build_report(workspace.results(), formats=["md", "csv", "tex", "html"], borrowed=[spread]).texts
    assert "| △ 55.0 ± " in texts["md"]
    assert "☆" in texts["html"]
    assert "★" not in texts["md"] + texts["html"]
    assert r"$\vartriangle$" in texts["tex"]
    assert ",star,above,yes," in texts["csv"]


def test_the_interval_is_the_rules(workspace, spread) -> None:
    """W = g^2 u0 with min(8, D) degrees of freedom."""
    from scipy import stats

    fill(workspace)
    analysis = analyse(workspace.results(), [spread])
    row = next(row for row in analysis.arranged.rows if row.method == "mae")
    metric = analysis.arranged.main_metrics[0]
    test = np.var(analysis.arranged.entries[row, metric].sample.replicates[0], ddof=1)
    seeds = (0.3 * 0.7) ** 2 * 1e-4
    expected = np.sqrt(stats.norm.ppf(0.975) ** 2 * test + stats.t.ppf(0.975, 8) ** 2 * seeds)
    np.testing.assert_allclose(analysis.estimate(row, metric).half_width, expected, rtol=1e-9)


def test_seeds_of_ones_own_take_its_place(workspace, spread) -> None:
    fill(workspace, seeds=3)
    assert {hollow for _, _, hollow in marks(workspace, spread).values()} == {False}


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "gpu"},
        {"backbone": "resnet50"},
        {"corpus": "coco"},
        {"effort": "compute"},
        {"budget": "0.1pct", "budget_images": 585},
        {"overrides": json.dumps({"pretrain.height": 64})},
    ],
)
def test_nothing_else_may_borrow(workspace, spread, changes) -> None:
    fill(workspace, **changes)
    table = main_table(analyse(workspace.results(), [spread]), changes.get("budget", "1pct"))
    assert not [row for row in table.rows if row.cells[0].mark or row.cells[0].tick]
    assert any(line.startswith("No verdict on methods.") for line in table.header)


def test_another_version_of_the_benchmark_may_not_borrow(workspace, spread) -> None:
    for method in ("mae", "dino"):
        workspace.score(workspace.cell(method), "reid", 0.3, version="2")
    assert marks(workspace, spread) == {}


def test_what_comes_with_hcbench_can_be_read() -> None:
    """No file is shipped until one was measured; if there is one, it is sound and for the cpu profile."""
    for found in shipped():
        assert found.profile == "cpu"
        assert found.columns


def test_a_measured_spread_comes_back_from_its_file(full, tmp_path) -> None:
    analysis = analyse(full(3).results(**{"results made by": "1.0 abc"}))
    found = spread_of(analysis)
    (tmp_path / "cpu.yaml").write_text(spread_text(found))
    again = read_spread(tmp_path / "cpu.yaml")
    assert {key: (pool.variance, pool.freedom) for key, pool in again.columns.items()} == {
        key: (float(pool.variance), float(pool.freedom)) for key, pool in found.columns.items()
    }
    assert [key[0] for key in again.columns] == ["pose", "reid"]
    assert {pool.freedom for pool in again.columns.values()} == {9 * 2}
    assert again.provenance.startswith("MAE, SIMCLR, SOLIDER, ")
    assert again.provenance.endswith(", seeds 0, 1, 2, made by hcbench 1.0 abc")


@pytest.mark.parametrize(
    ("seeds", "changes", "why"),
    [
        (1, {}, "two seeds"),
        (2, {"profile": "gpu"}, "borrowed for cpu alone"),
        (2, {"overrides": json.dumps({"pretrain.lr": 1e-4})}, r"changed for some cells: pretrain\.lr"),
    ],
)
def test_what_is_no_measurement_of_the_defaults_becomes_no_file(workspace, seeds, changes, why) -> None:
    fill(workspace, seeds, **changes)
    with pytest.raises(ConfigError, match=why):
        spread_of(analyse(workspace.results()))


def test_a_mixed_store_becomes_no_file(workspace) -> None:
    fill(workspace, 2)
    workspace.score(workspace.cell("plip", backbone="resnet50"), "reid", 0.3)
    with pytest.raises(ConfigError, match="2 kinds of profile, network and corpus"):
        spread_of(analyse(workspace.results()))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("profile: cpu", "profile: gpu", "borrowed for cpu alone"),
        ("profile: cpu\n", "", "must hold profile"),
        ("variance: 1.0e-4", "variance: 0", "above 0"),
        ("variance: 1.0e-4", "variance: .nan", "above 0"),
        ("variance: 1.0e-4", "variance: small", "above 0"),
        ("freedom: 10", "freedom: 0.5", "at least 1"),
        ("metric: mAP, ", "", "must hold benchmark"),
        ("provenance: made-up values of a test", "provenance:", "must be texts"),
        ("columns:", "columns: none\nx:", "must hold"),
        ("profile: cpu", "{", "cannot be read"),
        (FILE[FILE.index("  -") :], FILE[FILE.index("  -") :] * 2, "there twice"),
    ],
)
def test_a_broken_file_is_explained(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "cpu.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=why) as caught:
        read_spread(path)
    assert "seed-spread" in caught.value.hint


def test_coverage_is_kept_where_the_borrowed_spread_is_right() -> None:
    """One seed per row, and u0 as it truly is."""
    from hcbench.reports.statistics.intervals import half_width
    from hcbench.reports.statistics.resampling import difference_variances
    from hcbench.reports.statistics.seed_spread import Pool, pair_freedom, scale, seed_variance

    for ratio, least in ((1.0, 0.93), (3.0, 0.93)):
        found = draw(np.random.default_rng(0), np.arange(8.0), runs=1000, seeds=1, ratio=ratio, mixed=False, top=0.5)
        # The pool holds what a resample does to one checkpoint, too: (1 - rho) / 2, rho .65 in the middle.
        unit = (0.01 / 0.25) ** 2
        pool = Pool(variance=unit * (ratio**2 + 0.175), freedom=10.0, prior=8.0)
        freedom = np.zeros(8)
        spread = seed_variance(pool, freedom, freedom, scale(found.means, fraction=True))
        # A single checkpoint's replicates hold its own part as well.
        test = difference_variances(found.covariance)
        width = half_width(test, spread[..., :, None] + spread[..., None, :], pair_freedom(pool, freedom), 0.05)
        differences = found.means[..., :, None] - found.means[..., None, :]
        inside = np.abs(differences - (found.truth[:, None] - found.truth[None, :])) <= width
        i, j = np.triu_indices(8, k=1)
        assert least <= inside[..., i, j].mean() <= 0.985
