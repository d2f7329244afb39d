from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hcbench.harness.cli.command_line import expand_variables, expanded
from hcbench.harness.cli.main import app


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("~", "{}"),
        ("~/x", "{}/x"),
        ("--workspace=~/x", "--workspace={}/x"),
        ("coco=~/x=y", "coco={}/x=y"),
        ("--set=pretrain.init=~/w.pth", "--set=pretrain.init={}/w.pth"),
        ("--name=a~b", "--name=a~b"),
        ("--name=~nobody-is-called-so", "--name=~nobody-is-called-so"),
        ("a=b", "a=b"),
    ],
)
def test_home_in_words(word, found, home):
    assert expanded(word) == found.format(home)


def test_home_in_variables(home):
    environment = {"HCBENCH_PLUGINS": "~/a.py:/b.py:~/c.py", "HCBENCH_WORKSPACE": "~/runs", "OTHER": "~"}
    expand_variables(environment)
    assert environment == {
        "HCBENCH_PLUGINS": f"{home}/a.py:/b.py:{home}/c.py", "HCBENCH_WORKSPACE": f"{home}/runs", "OTHER": "~",
    }  # fmt: skip


def test_an_option_with_home_makes_no_folder_of_that_name(home, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    answer = CliRunner().invoke(app, ["report", "--workspace=~/runs"])
    assert f"The workspace {home}/runs holds no results" in answer.output
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize("command", [("list", "methods"), ("--help",), ("config", "show")])
def test_a_closed_pipe_ends_quietly_with_a_code_of_its_own(command):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-P", "-m", "hcbench", *command], stdout=write, stderr=subprocess.PIPE, timeout=120
    )
    os.close(write)
    assert process.returncode == 141
    assert process.stderr == b""
