"""The house itself: import layout, package lists, scripts, constraints, and what README promises."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hcbench

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "configs", "data", "harness", "methods", "reports")
SCRIPTS = ("scripts/demo", "scripts/test", "scripts/test-slow", "scripts/test-wheel", ".ci/run")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/footguns.md")

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def modules(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*.py") if "__pycache__" not in path.parts}


def repository_files() -> Iterator[Path]:
    """Everything that is, or could become, part of the repository."""
    for folder in (*FOLDERS, "tests", "docs", "scripts", ".ci"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from (path for path in (ROOT / "hcbench").iterdir() if path.is_file())
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".coverage")


def blocks(page: str, language: str) -> list[str]:
    """Fenced code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


# ---------------------------------------------------------------- import layout


def test_packages_equal_the_tree() -> None:
    tree = {"hcbench"}
    for folder in FOLDERS:
        packages = {path.parent.relative_to(ROOT) for path in modules(ROOT / folder) if path.name == "__init__.py"}
        tree |= {".".join(("hcbench", *package.parts)) for package in packages}
        strays = {path.parent for path in modules(ROOT / folder)} - {ROOT / package for package in packages}
        assert not strays, f"modules in folders without __init__.py: {strays}"
    assert sorted(SETUPTOOLS["packages"]) == sorted(tree)
    assert SETUPTOOLS["package-dir"] == {"hcbench": "hcbench", **{f"hcbench.{folder}": folder for folder in FOLDERS}}


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_are_relative_and_stay_inside(folder: str) -> None:
    link = ROOT / "hcbench" / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imported_by_its_bare_name_is_refused(folder: str) -> None:
    spec = importlib.util.spec_from_file_location(folder, ROOT / folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=rf"import hcbench\.{folder}, not {folder}"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_version_has_one_source() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "hcbench.__version__"}
    assert importlib.metadata.version("hcbench") == hcbench.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == hcbench.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list", "methods"], ["run", "--help"]])
def test_the_command_line_starts_anywhere_and_without_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys, runpy; sys.argv = {['hcbench', *arguments]}\n"
        "try: runpy.run_module('hcbench', run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"--help": "report", "--version": hcbench.__version__, "list": "stablerep", "run": "--budget"}[
        arguments[0]
    ] in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_mypy_sees_every_module() -> None:
    """A layout that mypy does not follow would pass with nothing checked."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy", "-p", "hcbench"], cwd=ROOT, capture_output=True, text=True
    )
    counted = re.search(r"(?:checked|in) (\d+) source files", done.stdout)
    assert counted, done.stdout + done.stderr
    own = sum(len(modules(ROOT / folder)) for folder in FOLDERS) + len(list((ROOT / "hcbench").glob("*.py")))
    assert int(counted[1]) >= own


@pytest.mark.slow
def test_the_wheel_holds_every_module(tmp_path: Path) -> None:
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns(
        ".git", ".venv*", "build", "dist", "*.egg-info", "hcbench-runs", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=unwanted)
    build = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,) = (tmp_path / "dist").glob("*.whl")  # made from the sdist, as `build` does by default
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {f"hcbench/{path.relative_to(ROOT)}" for folder in FOLDERS for path in modules(ROOT / folder)}
    expected |= {f"hcbench/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    expected |= {f"hcbench/{name}" for name in ("__init__.py", "__main__.py", "errors.py", "py.typed")}
    assert expected <= names
    assert not {name for name in names if name.startswith(("tests/", "hcbench/tests/", "methods/"))}
    assert any(name.endswith("/LICENSE") for name in names)


# ---------------------------------------------------------------- what the repository holds


def test_no_file_names_a_machine() -> None:
    """Absolute paths of somebody's machine work nowhere else."""
    roots = "|".join(("work", "farm", "root", "home/[a-z]+", "Users/[A-Za-z]+", "tmp/venv"))
    absolute = re.compile(rf"(?<![\w.:/])/(?:{roots})\b")
    sibling = "../" + "shared"
    found = []
    for path in repository_files():
        if path.suffix in (".npz", ".png") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            # Continuous integration may look for a sample beside the clone, nothing else may.
            beside = sibling in line and path != ROOT / ".ci" / "run"
            if absolute.search(line) or beside:
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_no_file_is_large() -> None:
    large = {
        str(path.relative_to(ROOT)): path.stat().st_size for path in repository_files() if path.stat().st_size > 200_000
    }
    assert not large


def test_no_photograph_is_in_the_repository() -> None:
    assert not [path for path in repository_files() if path.suffix.lower() in (".jpg", ".jpeg")]


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text())
    missing = [t for t in targets if not t.startswith("http") and not ((ROOT / page).parent / t).exists()]
    assert not missing


def unknown_words(command: Any, words: list[str]) -> list[str]:
    """Sub-commands and options of a line that the command line does not know."""
    options = {"--help"}
    with command.make_context("hcbench", [], resilient_parsing=True) as context:
        options |= {option for parameter in command.params for option in parameter.opts}
        while hasattr(command, "list_commands"):
            following = command.get_command(context, words[0]) if words else None
            if following is None:
                return words[:1] or ["(no command)"]
            command, words = following, words[1:]
            options |= {option for parameter in command.params for option in parameter.opts}
    return [word for word in words if word.startswith("--") and word not in options]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_commands_of_the_pages_exist(page: str) -> None:
    import typer

    from hcbench.harness.cli.main import app

    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    assert lines
    for line in lines:
        for part in re.split(r"\s&&\s", line.partition("#")[0]):
            words = shlex.split(part)
            if words and words[0].startswith("scripts/"):
                assert words[0] in SCRIPTS, line
            if words[:1] == ["hcbench"]:
                program: Any = typer.main.get_command(app)
                assert not unknown_words(program, words[1:]), line


def test_python_of_the_readme_runs() -> None:
    examples = [block for block in blocks("README.md", "python") if "/path/to" not in block]
    assert examples
    for example in examples:
        done = subprocess.run([sys.executable, "-P", "-c", example], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


# ---------------------------------------------------------------- scripts and environment


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/lib/environment.sh", "scripts/lib/check-file-sizes"])
def test_scripts_parse_and_can_be_called(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    assert os.access(ROOT / script, os.X_OK) == (not script.endswith(".sh"))


def test_every_dependency_has_a_tested_version() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pinned = {
        canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in map(Requirement, filter(None, lines))
    }
    names = {canonicalize_name(r.name) for r in wanted}
    # Tools for developers alone; no check depends on their version.
    assert names - pinned.keys() <= {"pre-commit", "validate-pyproject"}
    assert pinned.keys() <= names, "constraints.txt names what pyproject.toml does not"
    for requirement in wanted:
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version), f"{requirement} excludes {version}"


def test_nothing_heavy_is_required_that_no_module_imports() -> None:
    required = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert not required & {"ray", "accelerate"}
    assert {Requirement(text).name for text in PROJECT["project"]["optional-dependencies"]["ray"]} == {"ray"}


def test_hooks_are_local_and_their_tools_are_installed_with_the_tests() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    assert hooks.keys() == {"ruff", "ruff-format", "mypy", "codespell", "validate-pyproject", "large-files"}
    extra = {canonicalize_name(Requirement(r).name) for r in PROJECT["project"]["optional-dependencies"]["test"]}
    for hook in hooks.values():
        program = hook["entry"].split()[0]
        assert program in extra or os.access(ROOT / program, os.X_OK)


def test_large_files_are_refused(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(200_000))
    large.write_bytes(bytes(200_001))
    check = str(ROOT / "scripts/lib/check-file-sizes")
    assert subprocess.run([check, small]).returncode == 0
    done = subprocess.run([check, small, large], capture_output=True, text=True)
    assert done.returncode == 1
    assert "large has 200001 bytes" in done.stderr


class Sandbox:
    """A copy of `scripts/lib/environment.sh` that meets stand-ins for Python and pip."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "scripts/lib").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/lib/environment.sh", root / "scripts/lib")
        for name in ("pyproject.toml", "constraints.txt"):
            (root / name).write_text("x")
        self.log = root / "calls.log"
        self.log.write_text("")

    def python(self, body: str) -> str:
        """A program that takes Python's place; returns its path."""
        path = self.root / "python-of-the-system"
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def ensure(self, extra: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HCBENCH_")}
        line = f"source scripts/lib/environment.sh; ensure_environment {extra}; echo ready $PYTHON"
        return subprocess.run(
            ["bash", "-c", line], cwd=self.root, env=inherited | environment, capture_output=True, text=True
        )

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_an_old_python_is_explained(sandbox: Sandbox) -> None:
    done = sandbox.ensure(HCBENCH_PYTHON=sandbox.python("exit 1"))
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "sudo apt install python3" in done.stderr
    assert not (sandbox.root / ".venv").exists()


def test_a_missing_venv_module_is_explained(sandbox: Sandbox) -> None:
    # As on a bare Debian: Python is there, `ensurepip` is not.
    program = sandbox.python(f'[[ "$*" == *ensurepip* ]] && exit 1; exec {shlex.quote(sys.executable)} "$@"')
    done = sandbox.ensure(HCBENCH_PYTHON=program)
    assert done.returncode == 1
    assert "has no venv module" in done.stderr
    assert "sudo apt install python3-venv" in done.stderr
    assert not (sandbox.root / ".venv").exists()


def test_the_environment_is_made_and_installed_once(sandbox: Sandbox) -> None:
    log = shlex.quote(str(sandbox.log))
    inside = f'echo "$*" >> {log}'
    make = (
        f'if [[ "$*" == "-m venv "* ]]; then echo "$*" >> {log}; mkdir -p "$3/bin"; '
        f"printf '%s\\n' '#!/usr/bin/env bash' {shlex.quote(inside)} > \"$3/bin/python\"; chmod +x \"$3/bin/python\"; "
        f'else exec {shlex.quote(sys.executable)} "$@"; fi'
    )
    program = sandbox.python(make)

    def installs(extra: str = "") -> list[str]:
        sandbox.log.write_text("")
        done = sandbox.ensure(extra, HCBENCH_PYTHON=program)
        assert done.returncode == 0, done.stderr
        assert f"ready {sandbox.root}/.venv/bin/python" in done.stdout
        return [call for call in sandbox.calls() if " install " in call or "venv" in call.split()[:2]]

    made, installed = installs()
    assert made == f"-m venv {sandbox.root}/.venv"
    assert f"--constraint {sandbox.root}/constraints.txt --editable {sandbox.root}" in installed
    assert installs() == []
    (with_tests,) = installs("test")
    assert with_tests.endswith("[test]")
    assert installs("test") == installs() == []
    (sandbox.root / "constraints.txt").write_text("changed")
    assert len(installs()) == 1


def test_an_environment_of_ones_own_is_left_alone(sandbox: Sandbox) -> None:
    done = sandbox.ensure(HCBENCH_VENV=sys.prefix)
    assert done.stdout == f"ready {sys.prefix}/bin/python\n"
    assert not (sandbox.root / ".venv").exists()
    done = sandbox.ensure(HCBENCH_VENV=str(sandbox.root))
    assert done.returncode == 1
    assert "is no Python environment" in done.stderr
