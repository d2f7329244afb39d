from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hcbench.harness.cli import tune as tune_screen
from hcbench.harness.cli.main import app
from hcbench.harness.tuning.plan import TuningPlan
from hcbench.harness.tuning.search_run import Tuned
from hcbench.harness.tuning.trials import Tried

CHANCE = {"attributes": {"mA": 0.57}, "pose": {"AP50": 0.19}, "reid": {"mAP": 0.01}, "text-reid": {"R1": 0.2}}


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["tune", *words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HCBENCH_PLUGINS", "HCBENCH_WORKSPACE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def ends(monkeypatch: pytest.MonkeyPatch, *tried: Tried | None, interrupted: bool = False) -> list[dict[str, Any]]:
    """Let every method's trials end in a given way, and keep what the search was called with."""
    calls: list[dict[str, Any]] = []

    def tune(plan: TuningPlan, registry: Any, **named: Any) -> Tuned:
        calls.append({"plan": plan, **named})
        several = {search.method: tried[: len(search.trials)] for search in plan.searches}
        return Tuned(plan=plan, tried=several, reference=CHANCE, interrupted=interrupted)

    monkeypatch.setattr(tune_screen, "tune", tune)
    return calls


def done(objective: float) -> Tried:
    return Tried(status="done", objective=objective, scores=CHANCE, seconds=61, images_seen=6000)


def test_options_reach_the_search_and_the_best_is_shown_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ends(monkeypatch, done(0.01), done(0.123), Tried(status="diverged", reason="loss is nan"))
    answer = call("genpoccl,mae", "--trials", "3", "--images", "500", "--workspace", "ws", "--workers", "2")
    assert answer.exit_code == 0, answer.output
    (found,) = calls
    assert (found["workspace"], found["workers"], found["tracking_uri"]) == (Path("ws"), 2, None)
    assert {cell.images_seen for cell in found["plan"].matrix.cells} == {0, 500}
    lines = answer.output.splitlines()
    best = next(line for line in lines if line.startswith("genpoccl") and " 1 *" in line)
    assert "+0.123" in best
    assert "gamma_align" in best
    assert "1 min 01 s" in best
    assert sum(" *" in line for line in lines if line.startswith(("genpoccl", "mae"))) == 2
    assert any("diverged" in line and "loss is nan" in line for line in lines)
    assert "Next: hcbench run --methods genpoccl,mae --tuned --workspace ws" in answer.output
    assert Path("ws/tuned.yaml").is_file()
    assert Path("ws/tuned-trials.csv").read_text().count("\n") == 8


def test_a_named_file_is_what_run_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, done(0.1))
    answer = call("mae", "--trials", "1", "--out", "recipes/best.yaml")
    assert answer.exit_code == 0, answer.output
    assert "--config recipes/best.yaml" in answer.output
    assert Path("recipes/best-trials.csv").is_file()
    assert not Path("hcbench-runs").exists()


@pytest.mark.parametrize(("interrupted", "code"), [(True, 130), (False, 1)])
def test_nothing_is_written_while_trials_are_open(
    monkeypatch: pytest.MonkeyPatch, interrupted: bool, code: int
) -> None:
    ends(monkeypatch, done(0.1), None, Tried(status="out-of-memory", reason="no memory"), interrupted=interrupted)
    answer = call("mae", "--trials", "3")
    assert answer.exit_code == code
    assert "2 trials are still open" in answer.output
    assert "waiting" in answer.output
    assert "no memory" in answer.output
    assert not Path("hcbench-runs/tuned.yaml").exists()


def test_a_method_without_a_scored_trial_fails_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, Tried(status="failed", reason="a bug"))
    answer = call("mae", "--trials", "1")
    assert answer.exit_code == 1
    assert "mae: no trial could be scored." in answer.output


def test_a_dry_run_shows_points_and_time_and_writes_nothing(tmp_path: Path) -> None:
    answer = call("solider", "--trials", "2", "--dry-run")
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("dino_fraction") == 2
    assert "3 cells: 3 missing" in answer.output
    assert "compute-limited" not in answer.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_somebody_else_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ends(monkeypatch, done(0.1))
    Path("own.yaml").write_text("pretrain: {lr: 1}\n")
    answer = call("mae", "--out", "own.yaml")
    assert answer.exit_code == 2
    assert "has not written it" in answer.output
    assert calls == []
