"""Layouts of weight files belong to their methods' cards: built-in ones, and those of a plug-in file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import timm
import torch
from typer.testing import CliRunner

from hcbench.errors import WeightsError
from hcbench.harness.cli.main import app
from hcbench.harness.planning import fingerprint
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.fingerprint import cell_fingerprint
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.harness.scoring.weight_fit import Question, look
from hcbench.harness.store.mlflow_store import CELL
from hcbench.harness.store.store_access import open_store
from hcbench.methods import weight_layout
from hcbench.methods.checkpoint.card import Config
from hcbench.methods.checkpoint.layouts import adapter, recognise
from hcbench.methods.weight_layout import WeightLayout, imported, known_layouts, register

DUMMIES = Path(__file__).parents[1] / "harness" / "dummies.py"
PLUGIN = """
from dataclasses import dataclass

from hcbench.methods.card import MethodCard
from hcbench.methods.weight_layout import WeightLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    lr: float | None = None


CARD = MethodCard(
    name="acme", title="ACME", summary="Somebody's own.", needs=frozenset({"images"}), layout="identities",
    supervision="images", config=Config, implementation="acme:Acme",
    weight_layouts=(
        WeightLayout(name="acme", title="ACME", adapter="acme:adapt", recognises="acme:recognises",
                     published_on="their-own-photographs"),
    ),
)


def adapt(tree, size):
    from hcbench.methods.parts.weights.foreign import timm_model

    state = {name.removeprefix("acme_net."): value for name, value in tree["acme"].items()}
    return timm_model("test_vit")(state, size)


def recognises(names, tree):
    return "acme" in tree
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    path = tmp_path / f"acme_{tmp_path.name}.py"  # where the source of a module lies is remembered by its name
    path.write_text(PLUGIN)
    monkeypatch.setenv("HCBENCH_PLUGINS", str(path))
    monkeypatch.setattr(weight_layout, "_registered", {})
    torch.manual_seed(0)
    state = timm.create_model("test_vit", num_classes=0, img_size=(32, 16)).state_dict()
    torch.save({"acme": {f"acme_net.{name}": value for name, value in state.items()}}, tmp_path / "weights.pth")
    yield path
    load_registry.__globals__["_load"].cache_clear()


def test_every_layout_of_a_card_names_functions_that_are_there():
    assert set(known_layouts()) == {"dino", "hap", "mae", "plip", "resnet", "solider", "stablerep"}
    for layout in known_layouts().values():
        assert callable(imported(layout.adapter)), layout.name
        assert callable(imported(layout.recognises)), layout.name
    assert load_registry(()).weight_layouts == known_layouts()


def test_layouts_are_known_without_torch():
    code = ("import sys; from hcbench.methods.weight_layout import known_layouts; known_layouts();"
            " print('torch' in sys.modules)")  # fmt: skip
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert ran.stdout.strip() == "False"


def test_a_plugins_layout_needs_its_card_and_its_adapter_alone(plugin, tmp_path):
    load_registry()
    assert known_layouts()["acme"].adapter == f"hcbench_plugin_{plugin.stem}:adapt"
    fit = look(Question(path=str(tmp_path / "weights.pth"), height=32, width=16))  # in a process of its own
    assert (fit.layout, fit.backbone, fit.matched) == ("acme", "test_vit", fit.expected)
    assert not fit.partial


def test_the_command_line_takes_it(plugin, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "hcbench.harness.cli.main._run", lambda console, matrix, *rest, **how: drawn.append(matrix) or 0
    )
    monkeypatch.setattr("hcbench.harness.cli.evaluate.warn", lambda *rest: None)
    words = ("weights.pth", "--size", "32x16", "--benchmarks", "reid", "--plugin", str(plugin))
    answer = CliRunner().invoke(app, ["evaluate", *words], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    assert "Read as acme, as its names say" in answer.output
    assert "The files of ACME's authors: their-own-photographs" in answer.output
    cell = drawn[0].cells[0]
    assert cell.facts["title"] == "ACME: weights"
    assert json.loads(json.dumps(cell.method_config))["layout"] == "acme"


def test_layouts_are_listed_with_the_method_whose_they_are(plugin):
    listed = CliRunner().invoke(app, ["list", "layouts", "--plugin", str(plugin)], env={"COLUMNS": "200"}).output
    rows = {words[0]: words[1:] for line in listed.splitlines() if (words := line.split())}
    assert rows["acme"][:4] == ["acme", "files", "of", "ACME"]
    assert rows["solider"][:4] == ["solider", "files", "of", "SOLIDER"]
    assert rows["resnet"][:3] == ["files", "of", "ResNet"], "no method's own"
    assert {"timm:NAME", "hcbench"} <= set(rows)


def test_a_run_scores_a_file_in_a_plugins_layout(plugin, tmp_path, monkeypatch):
    """Planner, the process that looks at the file, and the worker: each has to know the plug-in."""
    monkeypatch.chdir(tmp_path)
    plugins = ("--plugin", str(plugin), "--plugin", str(DUMMIES))
    scored = ("--benchmarks", "dummy-score", "--data", "noise=.", "--size", "32x16", "--no-controls")
    words = ("weights.pth", "--as", "acme", *plugins, *scored, "--workspace", "runs", "--workers", "1")
    answer = CliRunner().invoke(app, ["evaluate", *words])
    assert answer.exit_code == 0, answer.output
    (cell,) = open_store(Path("runs"), None).records(CELL)
    assert (cell.status, cell.tags["title"]) == ("done", "ACME: weights")


def given(layout):
    """A cell of given weights."""
    return Cell(
        method="checkpoint", budget="-", budget_images=0, images_seen=0, seed=0, backbone="test_vit",
        corpus=CorpusConfig(), pretrain=PretrainConfig(), method_config=asdict(Config(layout=layout)),
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["dino", "hap", "mae", "plip", "solider", "stablerep"])
def test_the_code_of_a_cell_holds_the_adapter_of_its_layout(layout):
    """Otherwise a mended adapter would leave the scores of the wrong one in place."""
    found = []

    def find_code(*asked):
        found.append(fingerprint.code(*asked))
        return found[0]

    cell_fingerprint(given(layout), load_registry(()).method("checkpoint"), find_code=find_code)
    assert f"hcbench.methods.{layout}.weights" in found[0]["modules"]


def test_adapters_of_other_layouts_are_no_part_of_it():
    assert fingerprint._adapter(given("mae"), load_registry(()).method("checkpoint")) == (
        "hcbench.methods.mae.weights",
    )
    for layout in ("timm:test_vit", "hcbench"):
        assert fingerprint._adapter(given(layout), load_registry(()).method("checkpoint")) == ()


def test_an_edit_of_a_plugins_adapter_is_a_new_cell(plugin):
    card = load_registry().method("checkpoint")
    before, other = cell_fingerprint(given("acme"), card), cell_fingerprint(given("mae"), card)
    plugin.write_text(PLUGIN.replace("test_vit", "test_vit2"))
    assert cell_fingerprint(given("acme"), card) != before
    assert cell_fingerprint(given("mae"), card) == other


def test_one_name_is_one_layout(monkeypatch):
    monkeypatch.setattr(weight_layout, "_registered", {})
    register(known_layouts().values())  # the same again is nothing new
    with pytest.raises(WeightsError, match="Two layouts of weights are called 'mae'"):
        register([WeightLayout(name="mae", title="Other", adapter="somewhere:adapt")])
    assert known_layouts()["mae"].title == "MAE"


def test_unknown_names_and_missing_functions_are_explained():
    with pytest.raises(WeightsError, match="No layout of weight files is called 'solidr'") as caught:
        adapter("solidr")
    assert "'solider'" in caught.value.hint
    with pytest.raises(WeightsError, match=r"names 'hcbench\.nowhere:adapt', which cannot be imported"):
        imported("hcbench.nowhere:adapt")


def test_files_that_two_layouts_could_be_are_not_guessed(monkeypatch):
    one = torch.zeros(1)
    tree = {"arch": "mae_vit", "model": {"patch_embed.proj.weight": one, "decoder_embed.weight": one}}
    assert recognise(tree) == "mae"
    twin = WeightLayout(name="twin", title="Twin", adapter="a:b", recognises=known_layouts()["mae"].recognises)
    monkeypatch.setattr(weight_layout, "_registered", {"twin": twin})
    assert recognise(tree) is None
