"""The map of the house: which folder may import which, drawn from the code itself.

Folders are nodes, imports are arrows (those inside functions and for the type checker, too). The modules of data sets,
which lie side by side in `data/`, are a node of their own: nothing but the catalogue finds them, by name.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hcbench.data.catalogue import built_in_modules

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("data", "methods", "benchmarks", "harness", "reports")
DATA_SETS = "data sets"
LARGEST = 22
"""Modules that a folder may hold: about twenty fit on one screen; more means a room that wants to be two."""

MAY_IMPORT = {
    "data": {"data"},
    "methods": {"data", "methods"},
    "benchmarks": {"data", "methods", "benchmarks"},
    "harness": {"data", "methods", "benchmarks", "harness"},
    "reports": {"reports"},
}
"""Floors that a floor stands on."""
FROM_BENCHMARKS = "methods/parts"
"""What benchmarks may know of methods."""
FROM_REPORTS = "harness/cli"
"""The one room that may call reports."""

ROOMS = (
    "harness/planning", "harness/jobs", "harness/jobs/executors", "harness/store", "harness/scoring",
    "harness/generation", "harness/training", "harness/contract", "harness/forecast", "harness/running",
    "harness/tuning", "harness/cli",
)  # fmt: skip
"""The rooms of the harness from the ground up."""


@functools.cache
def modules() -> Mapping[str, Path]:
    """Dotted name of every module to its file, `__init__` files left out."""
    files = (path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")))
    return {".".join(("hcbench", *path.relative_to(ROOT).with_suffix("").parts)): path
            for path in files if path.name != "__init__.py"}  # fmt: skip


@functools.cache
def folder(module: str) -> str:
    """The folder of a module, or the node of the data sets."""
    if module in _data_sets():
        return DATA_SETS
    return modules()[module].parent.relative_to(ROOT).as_posix()


@functools.cache
def _data_sets() -> frozenset[str]:
    """Modules of data sets, with those beside them that only data sets import."""
    sets = set(built_in_modules().values())
    beside = {name for name in modules() if name.count(".") == 2 and name.startswith("hcbench.data.")} - sets
    importers: dict[str, set[str]] = defaultdict(set)
    for name, path in modules().items():
        for imported in imports(path):
            importers[imported].add(name)
    return frozenset(sets | {name for name in beside if importers[name] and importers[name] <= sets})


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: imports are absolute"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in modules())


@functools.cache
def arrows() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(importing folder, imported folder) to the imports behind the arrow."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, path in modules().items():
        for imported in imports(path):
            if folder(name) != folder(imported):
                found[folder(name), folder(imported)].append(f"{name} -> {imported}")
    return {arrow: tuple(lines) for arrow, lines in found.items()}


def circles(edges: Mapping[tuple[str, str], object]) -> list[str]:
    """Nodes from which a way leads back to themselves, sorted."""
    below: dict[str, set[str]] = defaultdict(set)
    for start, end in edges:
        below[start].add(end)

    def reached(node: str) -> set[str]:
        found: set[str] = set()
        pending = [node]
        while pending:
            new = below[pending.pop()] - found
            found |= new
            pending += new
        return found

    return sorted(node for node in list(below) if node in reached(node))


def floor(node: str) -> str:
    return "data" if node == DATA_SETS else node.partition("/")[0]


def test_no_circle_between_folders() -> None:
    assert circles({("a", "b"): 1, ("b", "c"): 1, ("c", "a"): 1, ("c", "d"): 1}) == ["a", "b", "c"]
    assert circles(arrows()) == []


def test_floors_stand_on_lower_floors_alone() -> None:
    wrong = [
        line
        for (start, end), lines in arrows().items()
        for line in lines
        if floor(end) not in MAY_IMPORT[floor(start)] and not (start == FROM_REPORTS and floor(end) == "reports")
    ]
    assert wrong == []


def test_benchmarks_know_no_method() -> None:
    wrong = [line for (start, end), lines in arrows().items() if floor(start) == "benchmarks"
             and floor(end) == "methods" and not end.startswith(FROM_BENCHMARKS) for line in lines]  # fmt: skip
    assert wrong == []


def test_benchmarks_do_not_import_each_other() -> None:
    """A benchmark builds on what all of them share and on `metrics`, never on another benchmark."""
    wrong = [
        line
        for (start, end), lines in arrows().items()
        for line in lines
        if floor(start) == floor(end) == "benchmarks" and "/" in start and "/" in end and end != "benchmarks/metrics"
    ]
    assert wrong == []


def test_rooms_of_the_harness_point_down() -> None:
    place = {room: number for number, room in enumerate(ROOMS)}
    found = {node for node in (folder(name) for name in modules()) if node.startswith("harness")}
    assert found == set(ROOMS), "a new room gets its place here"
    up = [line for (start, end), lines in arrows().items() if start in place and end in place
          and place[end] > place[start] for line in lines]  # fmt: skip
    assert up == []


def test_no_folder_is_larger_than_a_screen() -> None:
    sizes = Counter(folder(name) for name in modules())
    del sizes[DATA_SETS]  # a shelf: one module per data set, as many as there are
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


@pytest.mark.parametrize("name", ["hcbench.data.coco", "hcbench.data.market1501", "hcbench.data.peta_persons"])
def test_data_sets_are_told_from_what_they_stand_on(name: str) -> None:
    assert folder(name) == DATA_SETS
    assert folder("hcbench.data.samples") == "data"
