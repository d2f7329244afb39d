from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hcbench import __version__
from hcbench.errors import CacheError
from hcbench.harness.cli.main import app
from hcbench.harness.jobs.events import CellFinished, RunFinished
from hcbench.harness.planning.cell import Matrix
from hcbench.harness.running import run as run_module
from hcbench.harness.running.run import Ending, RunOutcome

COMMANDS = (
    ("--help",), ("run", "--help"), ("plan", "--help"), ("evaluate", "--help"), ("tune", "--help"), ("check", "--help"),
    ("list", "methods"), ("list", "benchmarks"), ("list", "backbones"), ("list", "corpora"), ("config", "show"),
    ("data", "list"), ("data", "explain", "coco"), ("data", "verify", "--help"), ("data", "prepare", "--help"),
)  # fmt: skip


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the folder that the tests are started in, or hears of the user's own settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("HCBENCH_PLUGINS", "HCBENCH_WORKSPACE", "HCBENCH_DATA_COCO"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_answer(words: tuple[str, ...]) -> None:
    answer = call(*words)
    assert answer.exit_code == 0, answer.output
    assert len(answer.output) > 100


def test_look_ups_name_what_is_registered() -> None:
    assert {"stablerep", "random"} <= set(call("list", "methods").output.split())
    assert {"pose", "reid", "text-reid", "attributes"} <= set(call("list", "benchmarks").output.split())
    assert "vit-mini16" in call("list", "backbones").output
    assert "585,630" in call("list", "corpora").output
    assert call("--version").output.strip() == f"hcbench {__version__}"


HEAVY = ("torch", "mlflow", "pandas", "timm", "scipy", "matplotlib")
_LOADED = """
import resource, sys
from hcbench.harness.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime
print([name for name in %r if name in sys.modules], seconds, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "limit_s"),
    [(("--help",), 1.0), (("run", "--help"), 1.0), (("tune", "--help"), 1.0), (("list", "methods"), 1.5)],
    ids=str,
)
def test_looking_things_up_loads_nothing_heavy_and_is_fast(words: tuple[str, ...], limit_s: float) -> None:
    # Processor seconds: about 0.35 on an idle machine; the limit leaves room for slow and busy ones.
    code = _LOADED % (HEAVY,)
    ran = subprocess.run([sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded, _, seconds = ran.stderr.strip().splitlines()[-1].rpartition(" ")
    assert loaded == "[]"
    assert float(seconds) < limit_s


@pytest.mark.parametrize("words", [("plan", "-m", "stablerep"), ("run", "-m", "stablerep", "--dry-run")], ids=" ".join)
def test_plans_load_no_torch_and_write_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    code = "import sys\n" + _LOADED % (("torch",),)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip().splitlines()[-1].startswith("[] ")
    assert "4 cells: 4 missing" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_python_m_does_the_same() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "hcbench", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"hcbench {__version__}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "--methods", "stablrep"), "Did you mean 'stablerep'?"),
        (("run",), "No method was named"),
        (("run", "-m", "stablerep", "--budget", "0"), "Budget 0 holds no image"),
        (("run", "-m", "stablerep", "--budget", "200pct"), "at most 100pct"),
        (("run", "-m", "stablerep", "--budget", "abc"), "'abc' is no data budget"),
        (("run", "-m", "stablerep", "--set", "pretrain.lrr=1"), "Did you mean 'lr'?"),
        (("run", "-m", "stablerep", "--set", "pretrain.lr=fast"), "expected a number"),
        (("run", "-m", "stablerep", "--seeds", "a"), "whole numbers"),
        (("run", "-m", "stablerep", "--data", "coco"), "name=ROOT"),
        (("run", "-m", "stablerep", "--corpus", "coco"), "--data coco=ROOT"),
        (("run", "-m", "stablerep", "--config", "absent.yaml"), "cannot be read"),
        (("run", "-m", "stablerep", "--profile", "cpux"), "Did you mean 'cpu'?"),
        (("run", "-m", "stablerep", "--plugin", "absent.py"), "no plugin file"),
        (("run", "-m", "stablerep", "--nonsense"), "No such option"),
        (("run", "-m", "stablerep", "--workers", "0"), "Invalid value"),
        (("run", "-m", "stablerep", "--tuned"), "hcbench tune stablerep"),
        (("tune", "stablrep"), "Did you mean 'stablerep'?"),
        (("tune", "random"), "not trained"),
        (("tune", "mae", "--budget", "1pct,3pct"), "one of the budgets"),
        (("tune", "mae", "--set", "mae.lr=1e-3,1e-4"), "mae.lr has 2 values"),
        (("tune", "mae", "--share", "1.5"), "at most 1"),
        (("tune", "mae", "--out", "best.json"), "--out best.yaml"),
        (("tune", "mae", "--benchmarks", "ried"), "Did you mean 'reid'?"),
        (("tune",), "Missing argument"),
        (("report",), "holds no results"),
        (("show", "abc"), "holds no results"),
        (("ui",), "holds no results"),
        (("run", "-m", "stablerep", "--corpus", "mine.parquet"), "There is no manifest"),
        (("run", "-m", "stablerep", "--corpus", "image-folder"), "hcbench data prepare image-folder ROOT"),
        (("run", "-m", "stablerep", "--corpus", "peple"), "Did you mean 'people'?"),
        (("data", "preview", "coco"), "HCBENCH_DATA_COCO"),
        (("data", "preview", "pepole"), "No data set is called 'pepole'"),
        (("data", "explain", "coca"), "Did you mean 'coco'?"),
        (("data", "verify", "coco", "/nowhere"), "no such folder"),
        (("data", "verify", "mine.parquet"), "There is no manifest"),
        (("data", "prepare", "image-folder", ".", "--out", "in/side.parquet"), "where nothing is ever written"),
        (("data", "prepare", "image-folder", ".", "--out", "../x.parquet"), "holds no image"),
        (("data", "prepare", "coco", ".", "--out", "../x.parquet", "--size", "big"), "HEIGHTxWIDTH"),
        (("data", "prepare", "coco", ".", "--out", "../x.parquet", "--split", "tran2017"), "Did you mean 'train2017'?"),
        (("rnu",), "No such command"),
    ],
    ids=str,
)
def test_bad_input_is_explained_and_exits_with_2(words: tuple[str, ...], expected: str) -> None:
    answer = call(*words)
    assert answer.exit_code == 2, answer.output
    assert expected in answer.output
    assert "Traceback" not in answer.output
    assert "╭" not in answer.output, "errors are plain text"


def test_an_unwritable_workspace_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = call("run", "-m", "stablerep", "--workspace", str(tmp_path / "file" / "ws"))
    assert answer.exit_code == 2
    assert "cannot be written" in answer.output


def test_tracebacks_come_with_debug_alone() -> None:
    answer = call("run", "--methods", "stablrep", "--debug")
    assert answer.exit_code == 1
    assert answer.exception is not None
    assert "No method is called" in str(answer.exception)


def _ends(monkeypatch: pytest.MonkeyPatch, **outcome: Any) -> list[dict[str, Any]]:
    """Let runs end with an outcome, and keep what they were called with."""
    calls: list[dict[str, Any]] = []

    def run_matrix(matrix: Matrix, **named: Any) -> RunOutcome:
        calls.append({"matrix": matrix, **named})
        named["listener"](RunFinished(cells={}, evaluations={}, seconds=1.0))
        cells = {cell.fingerprint: Ending(**outcome) for cell in matrix.cells} if "status" in outcome else {}
        return RunOutcome(cells=cells, interrupted=outcome.get("interrupted", False))

    monkeypatch.setattr(run_module, "run_matrix", run_matrix)
    monkeypatch.setattr("hcbench.harness.cli.report.read_results", lambda *args: _empty())
    return calls


def _empty() -> Any:
    import pandas as pd

    from hcbench.reports.results import Results

    return Results(cells=pd.DataFrame(columns=["cell"]), scores=pd.DataFrame(columns=["evaluation"]))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [({"status": "done"}, 0), ({"status": "skipped"}, 0), ({"status": "failed", "reason": "no luck"}, 1),
     ({"status": "diverged"}, 1), ({"interrupted": True}, 130)],
    ids=str,
)  # fmt: skip
def test_exit_codes_of_a_run(monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any], code: int) -> None:
    _ends(monkeypatch, **outcome)
    answer = call("run", "-m", "stablerep")
    assert answer.exit_code == code, answer.output
    assert ("Run the same command again to go on" in answer.output) == (code == 130)
    assert ("no luck" in answer.output) == ("reason" in outcome)
    if code == 0:
        assert "hcbench report" in answer.output


def test_options_reach_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = _ends(monkeypatch, status="done")
    (tmp_path / "mine.yaml").write_text("pretrain: {lr: 1e-4}\n")
    answer = call(
        "run", "-m", "stablerep,mae", "--budgets", "0.3pct,1pct", "--seeds", "0,1", "--benchmarks", "par",
        "--backbones", "vit-mini8", "--no-controls", "--config", "mine.yaml", "--set", "evaluate.readout=cls,mean",
        "--deterministic", "--profile", "cpu", "--recipe", "cpu", "--workspace", "ws", "--workers", "3",
        "--executor", "elsewhere",
        "--fail-fast", "--fresh", "--log-checkpoints", "--tracking-uri", "http://host",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    [found] = calls
    cells = found["matrix"].cells
    assert len(cells) == 2 * 2 * 2
    assert {cell.pretrain.lr for cell in cells} == {1e-4}
    assert all(cell.pretrain.deterministic and cell.backbone == "vit-mini8" for cell in cells)
    evaluations = found["matrix"].evaluations[cells[0].fingerprint]
    assert [(one.benchmark, one.config["readout"]) for one in evaluations] == [
        ("attributes", "cls"), ("attributes", "mean"),
    ]  # fmt: skip
    rest = {key: found[key] for key in found if key not in ("matrix", "listener")}
    assert rest == {
        "workspace": Path("ws"), "workers": 3, "executor": "elsewhere", "fail_fast": True, "fresh": True,
        "log_checkpoints": True,
        "tracking_uri": "http://host",
    }  # fmt: skip


def test_tuned_settings_stand_between_recipe_and_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = _ends(monkeypatch, status="done")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "tuned.yaml").write_text(
        "run: {tuning_trials: {genpoccl: 6}}\ngenpoccl: {lr: 2.0e-3, gamma_mp: 0.3, gamma_align: 0.2}\n"
    )
    (tmp_path / "mine.yaml").write_text("genpoccl: {gamma_align: 0.7}\n")
    words = ("--tuned", "--workspace", "ws", "--config", "mine.yaml", "--no-controls")
    assert call("run", "-m", "genpoccl", *words).exit_code == 0
    (cell,) = calls[0]["matrix"].cells
    found = cell.method_config
    assert (found["lr"], found["gamma_mp"], found["gamma_align"], found["pose_proj"]) == (2e-3, 0.3, 0.7, "mlp")
    assert cell.tuning_trials == 6
    answer = call("run", "-m", "genpoccl,mae", *words)
    assert answer.exit_code == 2
    assert "mae not tuned; ws/tuned.yaml is of genpoccl." in " ".join(answer.output.split())
    answer = call("run", "-m", "genpoccl,stablerep", *words)
    assert answer.exit_code == 2, "what the recipe was searched for is no part of this search"


def test_errors_of_a_run_exit_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_matrix(*args: Any, **named: Any) -> RunOutcome:
        raise CacheError("The server does not answer.", "Start it.")

    monkeypatch.setattr(run_module, "run_matrix", run_matrix)
    answer = call("run", "-m", "stablerep")
    assert answer.exit_code == 2
    assert "The server does not answer." in answer.output
    assert "Start it." in answer.output


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_matrix(*args: Any, **named: Any) -> RunOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "run_matrix", run_matrix)
    answer = call("run", "-m", "stablerep")
    assert answer.exit_code == 130
    assert "Run the same command again to go on" in answer.output


def test_progress_reaches_a_file_as_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_matrix(matrix: Matrix, *, listener: Any, **named: Any) -> RunOutcome:
        cell = matrix.cells[0]
        listener(CellFinished(cell=cell.fingerprint, title=cell.title, status="failed", reason="boom", log="a/log.txt"))
        return RunOutcome(cells={cell.fingerprint: Ending(status="failed", reason="boom")})

    monkeypatch.setattr(run_module, "run_matrix", run_matrix)
    monkeypatch.setattr("hcbench.harness.cli.report.read_results", lambda *args: _empty())
    answer = call("run", "-m", "stablerep")
    assert "failed: boom; log: a/log.txt" in answer.output
    assert "\x1b" not in answer.output


def test_config_show_names_origins(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("pretrain: {passes: 4}\n")
    lines = call(
        "config", "show", "-m", "stablerep", "--config", "mine.yaml", "--set", "stablerep.temperature=0.2,0.3"
    ).output.splitlines()
    found = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    assert found["pretrain.passes"] == ["4.0", "mine.yaml"]
    assert found["pretrain.height"] == ["128", "profiles/cpu.yaml"]
    assert found["stablerep.temperature"] == ["0.2,", "0.3", "--set"]
    assert found["run.methods"] == ["[stablerep]", "--methods"]
    assert not any(key.startswith("mae.") for key in found)


def test_a_plugin_takes_part(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from hcbench.methods.card import MethodCard\n"
        "@dataclass(frozen=True, kw_only=True, slots=True)\n"
        "class Config:\n    power: float = 2.0\n"
        "class Mine: ...\n"
        "CARD = MethodCard(name='mine', title='Mine', summary='Own.', needs=frozenset({'images'}),\n"
        "                  layout='poses', supervision='images', config=Config, implementation=':Mine')\n"
    )
    answer = call("plan", "-m", "mine", "--plugin", "mine.py", "--set", "mine.power=1,2", "--no-controls")
    assert answer.exit_code == 0, answer.output
    assert "2 cells: 2 missing" in answer.output
    assert os.environ["HCBENCH_PLUGINS"] == str(tmp_path / "mine.py"), "workers inherit it"


def test_published_results_are_facts_with_sources() -> None:
    import yaml

    folder = Path(run_module.__file__).resolve().parents[2] / "configs" / "published"
    names = {path.stem for path in folder.glob("*.yaml")}
    assert names == {"gcl", "genpoccl", "hap", "plip", "solider", "stablerep"}
    for path in folder.glob("*.yaml"):
        rows = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        assert rows, path
        for row in rows:
            assert row["source"], row
            assert isinstance(row["verified"], bool), row
            assert isinstance(row["value"], int | float) or row["value"] is None, row
