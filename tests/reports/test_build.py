"""The whole report: formats, files, remarks, errors, and what it may import."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import hcbench.reports
from hcbench.errors import ConfigError, HcbenchError
from hcbench.reports.build import ReportError, build_report, print_report
from hcbench.reports.results import Results


def test_every_format_is_written(full, tmp_path) -> None:
    results = full(2, ("0.1pct", "1pct")).results(hcbench="0.1", commit="abc")
    formats = ["terminal", "md", "csv", "tex", "png", "html"]
    report = build_report(results, formats=formats, out=tmp_path / "new" / "folder")
    names = sorted(path.relative_to(tmp_path / "new" / "folder").as_posix() for path in report.files)
    assert names == [
        "figures/pose-0.1pct.png", "figures/pose-1pct.png", "figures/pose-budgets.png",
        "figures/reid-0.1pct.png", "figures/reid-1pct.png", "figures/reid-budgets.png",
        "report.csv", "report.html", "report.md", "report.tex",
    ]  # fmt: skip
    assert all(path.stat().st_size > 500 for path in report.files)
    assert not list(tmp_path.rglob("*.tmp"))
    markdown = (tmp_path / "new/folder/report.md").read_text()
    assert "![figures/reid-budgets.png](figures/reid-budgets.png)" in markdown
    assert markdown.rstrip().endswith("hcbench 0.1 · commit abc")
    assert [table.name for table in report.tables] == [
        "main-0.1pct", "main-1pct", "budget-pose-AP50", "budget-reid-mAP",
        "groups-0.1pct", "bar-0.1pct", "ranks-0.1pct", "pose-0.1pct", "reid-0.1pct",
        "groups-1pct", "bar-1pct", "ranks-1pct", "pose-1pct", "reid-1pct", "cost-0.1pct", "cost-1pct",
    ]  # fmt: skip
    assert not report.partial


def test_the_same_results_give_the_same_files(full, tmp_path) -> None:
    results = full(2).results()
    contents = []
    for name in ("a", "b"):
        report = build_report(results, formats=["md", "csv", "tex"], out=tmp_path / name)
        contents.append([path.read_bytes() for path in report.files])
    assert contents[0] == contents[1]


def test_texts_without_a_folder(full) -> None:
    report = build_report(full(1).results(), formats=["md", "csv"])
    assert set(report.texts) == {"md", "csv"}
    assert report.files == ()


def test_partial_results_say_so(full) -> None:
    space = full(1)
    space.cell("dino", status="running")
    space.cell("late", status="failed", reason="disk\nfull")
    report = build_report(space.results(), formats=["md"])
    assert report.partial
    assert report.remarks[:2] == (
        "Partial results: 1 cells or evaluations are still to finish.",
        "1 cells or evaluations were not done; the last table says why.",
    )
    assert report.tables[-1].name == "failures"
    assert "disk full" in report.texts["md"]


def test_cells_without_any_evaluation(workspace) -> None:
    workspace.cell("mae", status="failed", reason="disk full")
    report = build_report(workspace.results(), formats=["md", "html"])
    assert [table.name for table in report.tables] == ["cost-1pct", "failures"]
    assert "No evaluation has been run yet." in report.remarks


def test_controls_alone_make_a_report(workspace, tmp_path) -> None:
    workspace.score(workspace.cell("pixels", "control"), "reid", 0.2)
    report = build_report(workspace.results(), formats=["md", "png"], out=tmp_path)
    assert [table.name for table in report.tables] == ["main", "reid", "cost"]


def test_without_controls_there_is_no_bar(workspace) -> None:
    workspace.score(workspace.cell("mae"), "reid", 0.3)
    names = [table.name for table in build_report(workspace.results(), formats=["md"]).tables]
    assert names[0] == "main-1pct"
    assert not [name for name in names if name.startswith("bar")]


def test_nothing_to_report() -> None:
    empty = Results(cells=pd.DataFrame(), scores=pd.DataFrame())
    with pytest.raises(ReportError, match="nothing to report") as caught:
        build_report(empty, formats=["md"])
    assert isinstance(caught.value, HcbenchError)
    assert "hcbench run" in caught.value.hint


def test_user_errors(full, tmp_path) -> None:
    results = full(1).results()
    with pytest.raises(ConfigError, match="no report format") as caught:
        build_report(results, formats=["mdd"])
    assert "'md'" in caught.value.hint
    with pytest.raises(ConfigError, match="png needs a folder"):
        build_report(results, formats=["png"])
    with pytest.raises(ConfigError, match="do not differ in 'budget'"):
        build_report(results, formats=["md"], compare=["budget"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        build_report(results, formats=["md"], out=tmp_path / "file")


def test_a_failed_write_leaves_the_old_file(full, tmp_path, monkeypatch) -> None:
    (tmp_path / "report.md").write_text("old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ReportError, match="disk full"):
        build_report(full(1).results(), formats=["md"], out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_text() == "old"


def test_print_report_is_short_unless_full(full) -> None:
    results = full(2).results(commit="abc")
    texts = []
    for whole in (False, True):
        console = Console(width=140, file=io.StringIO())
        print_report(results, console, full=whole)
        texts.append(console.file.getvalue())  # type: ignore[attr-defined]
    assert "Scores at 1pct" in texts[0]
    assert "Above the controls" not in texts[0]
    assert "Above the controls" in texts[1]
    assert "commit abc" in texts[0]
    assert "Cost at 1pct" not in texts[0]
    assert "Cost at 1pct" in texts[1]
    assert max(len(line) for line in texts[0].splitlines()) <= 140


def test_reports_import_no_other_floor() -> None:
    for path in Path(hcbench.reports.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith(tuple(f"hcbench.{f}" for f in ("data", "methods", "benchmarks", "harness")))


def test_a_terminal_report_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, hcbench.reports.build; print([m for m in ('torch', 'matplotlib', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
