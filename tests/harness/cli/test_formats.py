"""`hcbench list formats` and `hcbench report` with a format of a plug-in file."""

from __future__ import annotations

import importlib.metadata

import pytest
from typer.testing import CliRunner

from hcbench.harness.cli.main import app
from hcbench.harness.planning import registry as registry_module
from hcbench.reports.build import Report
from hcbench.reports.formats import Document

PLUGIN = """
from hcbench.reports.formats import Format

CARD = Format(name="titles", suffix="txt", summary="Titles alone.", render=lambda document: document.title)
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """What a command sets for its workers ends with the test."""
    monkeypatch.setenv("HCBENCH_PLUGINS", "")
    monkeypatch.delenv("HCBENCH_PLUGINS")


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "titles_format.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_formats_are_listed(plugin):
    lines = invoke("list", "formats", "--plugin", plugin).output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "format", "terminal", "md", "csv", "tex", "png", "svg", "html", "titles",
    ]  # fmt: skip
    assert "report.txt" in lines[-1]


def test_a_format_of_a_plug_in_file_is_handed_to_the_report(plugin, tmp_path, monkeypatch):
    from hcbench.harness.cli import report

    written = []

    def build(results, *, formats, further, out, **_):
        (one,) = further
        written.append((formats, out, one.render(Document(title="a title", remarks=(), tables=()))))
        return Report(tables=(), remarks=())

    monkeypatch.setattr(report, "read_results", lambda *_: None)
    monkeypatch.setattr(report, "build_report", build)
    answer = invoke("report", "--plugin", plugin, "--format", "titles", "--out", tmp_path)
    assert answer.exit_code == 0, answer.output
    assert written == [(("titles",), tmp_path, "a title")]


def test_a_wrong_format_is_a_usage_error(plugin, tmp_path):
    answer = invoke("report", "--plugin", plugin, "--format", "titlees", "--workspace", tmp_path / "absent")
    assert answer.exit_code == 2
    assert "Did you mean 'titles'" in answer.output


@pytest.mark.parametrize("broken", [True, False])
def test_an_installed_format_that_cannot_be_used_is_explained(monkeypatch, broken):
    def load(self):
        if broken:
            raise ImportError("no module")
        return "a text"

    point = importlib.metadata.EntryPoint("theirs", "hcbench_test_plugin_package:CARD", "hcbench.report_formats")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", load)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: (point,) if group == "hcbench.report_formats" else ()
    )
    registry_module._load.cache_clear()
    answer = invoke("report", "--format", "theirs")
    registry_module._load.cache_clear()
    assert answer.exit_code == 2
    assert ("no module" if broken else "it is a str; expected a report Format") in answer.output
