from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hcbench
from hcbench.harness.planning import fingerprint
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.fingerprint import cell_fingerprint, digest
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig

CELL = Cell(
    method="stablerep", budget="1pct", budget_images=5855, images_seen=36000, seed=0, backbone="vit-mini16",
    corpus=CorpusConfig(layout="captions"), pretrain=PretrainConfig(precision="fp32"), method_config={"ratio": 0.5},
)  # fmt: skip

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry

def prints():
    registry = load_registry(())
    resolved = resolve(registry, [Override("run.methods", "stablerep,simclr,mae", "test")])
    matrix = make_plan(resolved, registry, Machine(cuda=False, bf16=False, cores=2))
    found = {cell.method: cell.fingerprint for cell in matrix.cells}
    for cell in matrix.cells:
        found |= {f"{cell.method}/{e.benchmark}": e.fingerprint for e in matrix.evaluations[cell.fingerprint]}
    return found

before = prints()
root = Path(sys.argv[1]) / "hcbench"
changed = {}
for file, addition in json.loads(sys.argv[2]):
    path = root / file
    text = path.read_text()
    path.write_text(text + addition)
    after = prints()
    changed[file + "|" + addition] = sorted(name for name in after if after[name] != before[name])
    path.write_text(text)
print(json.dumps([sorted(before), changed]))
"""
CODE, REMARK = "\n_added = 1\n", '\n# a remark\n\n"A bare text."\n'
EDITS = [
    ("methods/stablerep/method.py", REMARK),
    ("methods/parts/encoder.py", REMARK),
    ("methods/stablerep/method.py", CODE),
    ("methods/mae/method.py", CODE),
    ("data/people/render.py", CODE),
    ("data/coco.py", CODE),
    ("benchmarks/reid/task.py", CODE),
    ("benchmarks/metrics/ranking.py", CODE),
    ("benchmarks/card.py", CODE),
    ("benchmarks/recipes.py", CODE),
    ("benchmarks/settings.py", CODE),
    ("harness/training/train.py", CODE),
    ("harness/scoring/evaluate.py", CODE),
    ("harness/cli/main.py", CODE),
    ("methods/parts/encoder.py", CODE),
    ("__init__.py", CODE),
]


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], dict[str, set[str]]]:
    """Fingerprints before, and which of them each edit of a copy of the package changes."""
    root = tmp_path_factory.mktemp("copy")
    package = Path(hcbench.__file__).parent
    shutil.copytree(package, root / "hcbench", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-P", "-c", SCRIPT, str(root), json.dumps(EDITS)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert ran.returncode == 0, ran.stderr
    before, changed = json.loads(ran.stdout)
    return set(before), {key: set(names) for key, names in changed.items()}


def change(edited: tuple[set[str], dict[str, set[str]]], file: str, addition: str = CODE) -> set[str]:
    return edited[1][f"{file}|{addition}"]


def of(names: set[str], *methods: str) -> set[str]:
    """Cells of methods with all their evaluations."""
    return {name for name in names if name.partition("/")[0] in methods}


def test_remarks_change_nothing(edited: Any) -> None:
    assert change(edited, "methods/stablerep/method.py", REMARK) == set()
    assert change(edited, "methods/parts/encoder.py", REMARK) == set()


def test_a_methods_code_changes_it_and_what_is_built_on_it(edited: Any) -> None:
    names = edited[0]
    assert change(edited, "methods/mae/method.py") == of(names, "mae")
    assert change(edited, "methods/stablerep/method.py") == of(names, "stablerep", "simclr")


def test_the_corpus_changes_who_learns_from_it_and_every_score(edited: Any) -> None:
    names = edited[0]
    scores = {name for name in names if "/" in name}
    assert change(edited, "data/people/render.py") == of(names, "stablerep", "simclr", "mae") | scores
    assert change(edited, "data/coco.py") == set(), "no cell here reads COCO"


def test_a_benchmarks_code_changes_its_scores_alone(edited: Any) -> None:
    names = edited[0]
    assert change(edited, "benchmarks/reid/task.py") == {name for name in names if name.endswith("/reid")}
    ranked = change(edited, "benchmarks/metrics/ranking.py")
    assert {name.partition("/")[2] for name in ranked} == {"reid", "text-reid"}
    scores = {name for name in names if "/" in name}
    for shared in ("card", "settings"):
        assert change(edited, f"benchmarks/{shared}.py") == scores, "read by every plan, run by no cell"
    assert change(edited, "benchmarks/recipes.py") == set(), "nothing is fine-tuned here"


def test_shared_code_changes_everything_that_uses_it(edited: Any) -> None:
    names = edited[0]
    assert change(edited, "harness/training/train.py") == names
    assert change(edited, "methods/parts/encoder.py") == names
    assert change(edited, "harness/scoring/evaluate.py") == {name for name in names if "/" in name}


def test_what_decides_no_number_changes_nothing(edited: Any) -> None:
    assert change(edited, "harness/cli/main.py") == set()
    assert change(edited, "__init__.py") == set()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fingerprint, "code", lambda *args: {"modules": {}, "versions": {}})
    return load_registry(()).method("stablerep")


@pytest.mark.parametrize(
    "edit",
    [
        {"fingerprint": "x"}, {"roots": {"coco": "/elsewhere"}}, {"budget": "5855"},
        {"pretrain": PretrainConfig(precision="fp32", log_every=1, checkpoint_every_s=0)},
    ],
)  # fmt: skip
def test_paths_labels_and_logging_do_not_count(card: Any, edit: dict[str, Any]) -> None:
    assert cell_fingerprint(replace(CELL, **edit), card) == cell_fingerprint(CELL, card)


@pytest.mark.parametrize(
    "edit",
    [
        {"budget_images": 5860}, {"images_seen": 1}, {"seed": 1}, {"backbone": "resnet18"},
        {"corpus": CorpusConfig(layout="poses")}, {"corpus": CorpusConfig(layout="captions", noise=0.0)},
        {"pretrain": PretrainConfig(precision="bf16")}, {"pretrain": PretrainConfig(precision="fp32", lr=1e-4)},
        {"method_config": {"ratio": 0.6}},
    ],
)  # fmt: skip
def test_every_setting_counts(card: Any, edit: dict[str, Any]) -> None:
    assert cell_fingerprint(replace(CELL, **edit), card) != cell_fingerprint(CELL, card)


def test_data_on_disk_and_versions_count(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cell_fingerprint(CELL, card, ["a:1"]) != cell_fingerprint(CELL, card, ["a:2"])
    before = cell_fingerprint(CELL, card)
    monkeypatch.setattr(fingerprint, "code", lambda *args: {"modules": {}, "versions": {"torch": "9"}})
    assert cell_fingerprint(CELL, card) != before


def test_versions_of_the_libraries_in_use_are_part_of_the_code() -> None:
    versions = fingerprint.code("hcbench.methods.stablerep.method:StableRep", fingerprint.CELL_CODE, "people", ())[
        "versions"
    ]
    assert {"torch", "timm", "numpy"} <= set(versions)
    assert "absent" not in versions.values()


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert len(digest({})) == 16
    with pytest.raises(TypeError):
        digest({"a": object()})
