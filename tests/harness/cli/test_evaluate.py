"""`hcbench evaluate`: files of weights on a benchmark of noise, and what the user sees of bad ones."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from hcbench.data.augment import normalise
from hcbench.harness.cli import evaluate as evaluate_file
from hcbench.harness.cli.main import app
from hcbench.harness.scoring import weight_fit as fit
from hcbench.harness.store.mlflow_store import CELL
from hcbench.harness.store.results import tables
from hcbench.harness.store.store_access import open_store
from hcbench.methods.checkpoint.card import Config
from hcbench.methods.checkpoint.method import load
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import save_encoder

DUMMIES = Path(__file__).parents[1] / "dummies.py"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=5)


@pytest.fixture
def folder(tmp_path, model, monkeypatch):
    """A folder with a good file, and the commands started in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("HCBENCH_PLUGINS", "HCBENCH_WORKSPACE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    torch.save({"model": model.state_dict()}, tmp_path / "good.pth")
    return tmp_path


@pytest.fixture
def here(monkeypatch):
    """Files are looked at in this process: another one takes seconds to start."""
    monkeypatch.setattr(evaluate_file, "look", fit.answer)


@pytest.fixture
def nothing_runs(monkeypatch):
    """Cells are drawn up, and kept instead of being run."""
    drawn = []
    monkeypatch.setattr(
        "hcbench.harness.cli.main._run", lambda console, matrix, *rest, **how: drawn.append(matrix) or 0
    )
    monkeypatch.setattr(evaluate_file, "warn", lambda *rest: None)
    return drawn


def call(*words):
    settings = ("--plugin", str(DUMMIES), "--benchmarks", "dummy-score", "--data", "noise=.", "--size", "32x16")
    return CliRunner().invoke(app, ["evaluate", *settings, *map(str, words)])


@pytest.mark.usefixtures("here")
def test_a_file_is_scored_beside_its_random_control_and_stored_with_its_report(folder):
    answer = call("good.pth", "--as", "timm:test_vit", "--workspace", "runs", "--workers", "1")
    assert answer.exit_code == 0, answer.output
    assert "100.0% of the encoder" in answer.output
    assert "not needed (2): head.weight, head.bias" in answer.output
    assert "given weights (other data, no equal budget)" in answer.output
    store = open_store(Path("runs"), None)
    given, random = sorted(store.records(CELL), key=lambda record: record.params["checkpoint.random"])
    assert given.tags["title"] == "timm:test_vit: good"
    assert (given.tags["supervision"], random.tags["supervision"]) == ("given", "control")
    assert "100.0% of the encoder" in given.tags["weights"]
    log = store.artifact(given, "log.txt")
    assert log is not None
    assert "good.pth: test_vit, backbone only" in log.read_text()
    table = tables(store)
    scores = table.scores[table.scores["metric"] == "score"].set_index("cell")["value"]
    assert scores[given.fingerprint] != scores[random.fingerprint]
    worse = scores[given.fingerprint] <= scores[random.fingerprint]
    assert ("does not beat random weights" in answer.output) == worse

    Path("good.pth").rename("moved.pth")
    again = call("moved.pth", "--as", "timm:test_vit", "--workspace", "runs", "--workers", "1")
    assert again.exit_code == 0, again.output
    assert "Cells: 2 cached" in again.output
    assert "Tables call it 'timm:test_vit: good'" in again.output

    assert {given.tags["trained_on"], random.tags["trained_on"]} == {"[]", '["nothing"]'}
    words = ("--trained-on", "luperson,coco:train2017")
    told = call("moved.pth", "--as", "timm:test_vit", *words, "--workspace", "runs", "--workers", "1")
    assert "Cells: 2 cached" in told.output, "what is said of weights decides no number"
    known = [record.tags["trained_on"] for record in open_store(Path("runs"), None).records(CELL)]
    assert sorted(known) == ['["coco:train2017", "luperson"]', '["nothing"]']


@pytest.mark.usefixtures("here")
def test_the_cells_say_what_was_given(folder, nothing_runs):
    assert call("good.pth", "--as", "timm:test_vit", "--name", "mine").exit_code == 0
    cell, control = nothing_runs[0].cells
    assert (cell.method, cell.budget, cell.backbone) == ("checkpoint", "-", "test_vit")
    assert (cell.pretrain.height, cell.pretrain.width) == (32, 16)
    assert cell.facts["title"] == "timm:test_vit: mine"
    assert cell.roots == {"weights": str(folder / "good.pth")}
    assert control.method_config["random"]
    assert control.method_config["sha256"] == ""
    assert [len(several) for several in nothing_runs[0].evaluations.values()] == [1, 1]

    assert call("good.pth", "--as", "timm:test_vit", "--name", "other", "--no-controls").exit_code == 0
    (renamed,) = nothing_runs[1].cells
    assert renamed.fingerprint == cell.fingerprint, "a name decides no number"


@pytest.mark.usefixtures("here")
def test_what_weights_have_seen_is_asked_for(folder, nothing_runs):
    answer = call("good.pth", "--as", "timm:test_vit")
    assert "Nobody says what the weights were trained on; --trained-on does" in answer.output
    answer = call("good.pth", "--as", "timm:test_vit", "--trained-on", "LUPerson")
    assert "Nobody says" not in answer.output
    assert nothing_runs[1].cells[0].facts["trained_on"] == '["LUPerson"]'


@pytest.mark.usefixtures("here")
def test_checkpoints_of_hcbench_are_known_by_their_folder(folder, nothing_runs):
    save_encoder(build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0), folder / "0123456789" / "checkpoint")
    for place in ("0123456789", "0123456789/checkpoint", "0123456789/checkpoint/encoder.safetensors"):
        assert call(place).exit_code == 0
    assert len({matrix.cells[0].fingerprint for matrix in nothing_runs}) == 1
    assert nothing_runs[0].cells[0].facts["title"] == "hcbench: 01234567"
    assert "Leave out --as" in call("0123456789", "--as", "mae").output
    save_encoder(build_encoder(EncoderSpec("timm:test_vit", 64, 32), seed=0), folder / "larger")
    assert "was trained at 64x32" in call("larger").output


@pytest.mark.usefixtures("here")
def test_a_partial_file_is_refused_then_marked(folder, model, nothing_runs):
    state = {name: w for name, w in model.state_dict().items() if not name.startswith("blocks.1.")}
    save_file(state, folder / "half.safetensors")
    refused = call("half.safetensors", "--as", "timm:test_vit")
    assert refused.exit_code == 2
    assert "blocks.1.norm1.weight" in refused.output
    assert "--allow-partial" in refused.output
    taken = call("half.safetensors", "--as", "timm:test_vit", "--allow-partial")
    assert taken.exit_code == 0
    assert "marked as partial" in taken.output
    assert (
        f"[partial: {len(state) - 2} of {len(model.state_dict()) - 2} tensors]"
        in (nothing_runs[0].cells[0].facts["title"])
    ), "without the classifier's two"


@pytest.mark.usefixtures("here")
def test_a_file_that_is_not_complete_is_marked_without_leave(folder, model, nothing_runs):
    state = {name: w for name, w in model.state_dict().items() if name != "norm.bias"}
    save_file(state | {"ls.gamma": torch.ones(3)}, folder / "most.safetensors")
    answer = call("most.safetensors", "--as", "timm:test_vit")
    assert answer.exit_code == 0
    assert "not the file's and keep their start: 1 of " in answer.output
    assert "has no place for: 1;" in answer.output
    assert "marked as partial" in answer.output
    cell = nothing_runs[0].cells[0]
    assert cell.facts["title"].endswith("tensors, 1 unknown]")
    assert not cell.method_config["allow_partial"]
    assert call("good.pth", "--as", "timm:test_vit").output.count("partial") == 0


@pytest.mark.usefixtures("here")
def test_lambda_is_offered_where_a_file_has_a_controller(folder, nothing_runs, monkeypatch):
    whole = fit.Fit(
        layout="solider", backbone="swin_tiny_patch4_window7_224", height=32, width=16, text="", matched=3, expected=3
    )
    asked = ("good.pth", "--as", "solider", "--benchmarks", "reid", "--set", "evaluate.lambda=0,0.5")
    for knobs in (True, False):
        monkeypatch.setattr(evaluate_file, "look", lambda question, knobs=knobs: replace(whole, knobs=knobs))
        answer = call(*asked)
        assert answer.exit_code == (0 if knobs else 2), answer.output
    assert "none of the methods has this knob" in answer.output
    assert [[one.knobs.get("lambda") for one in some] for some in nothing_runs[0].evaluations.values()] == [
        [0, 0.5]
    ] * 2
    assert call(*asked[:-2]).exit_code == 0
    assert [[dict(one.knobs) for one in some] for some in nothing_runs[1].evaluations.values()] == [[{}]] * 2


@pytest.mark.usefixtures("here")
def test_pixels_are_normalised_as_was_asked(folder, nothing_runs):
    for words in ((), ("--normalise", "half"), ("--normalise", "imagenet")):
        assert call("good.pth", "--as", "timm:test_vit", *words).exit_code == 0
    cells = [matrix.cells for matrix in nothing_runs]
    assert len({cell.fingerprint for pair in cells for cell in pair}) == 6
    assert [pair[0].facts["title"] for pair in cells] == [
        "timm:test_vit: good",
        "timm:test_vit: good [mean and std .5]",
        "timm:test_vit: good [ImageNet's mean and std]",
    ]
    white = torch.full((1, 3, 32, 16), 255, dtype=torch.uint8)
    for cell, whites in zip((pair[0] for pair in cells), (1.0, 1.0, (1 - 0.485) / 0.229), strict=True):
        encoder, _ = load(Config(**cell.method_config), {"weights": folder / "good.pth"}, (32, 16))
        seen = encoder.adjusted(normalise(white))
        assert float(seen[0, 0, 0, 0]) == pytest.approx(whites, rel=1e-5)  # timm's test_vit was trained with .5, too
    refused = call("good.pth", "--as", "timm:test_vit", "--normalise", "halve")
    assert refused.exit_code == 2
    assert "--normalise is 'halve'; expected one of imagenet, half" in refused.output
    save_encoder(build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0), folder / "own")
    assert "Leave out --normalise" in call("own", "--normalise", "half").output


@pytest.mark.usefixtures("here")
def test_a_whole_file_is_the_same_cell_with_and_without_leave(folder, nothing_runs):
    call("good.pth", "--as", "timm:test_vit")
    call("good.pth", "--as", "timm:test_vit", "--allow-partial")
    assert nothing_runs[0].cells[0].fingerprint == nothing_runs[1].cells[0].fingerprint


class Bomb:
    """Unpickled freely, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none.pth",), "There is no none.pth"),
        (("good.pth",), "several projects write such files"),
        (("good.pth", "--as", "stablrep"), "Did you mean 'stablerep'"),
        (("good.pth", "--as", "timm:test_vti"), "Did you mean test_vit"),
        (("good.pth", "--as", "hcbench"), "no checkpoint of hcbench"),
        ((".",), "no checkpoint of hcbench"),
        (("good.pth", "--as", "resnet"), "no ResNet"),
        (("good.pth", "--as", "timm:test_vit3"), "does not fit"),
        (("cut.pth", "--as", "mae"), "cut.pth cannot be read as weights"),
        (("cut.safetensors", "--as", "mae"), "cut.safetensors cannot be read as weights"),
        (("bomb.pth",), "holds more than tensors"),
        (("bomb.pkl", "--as", "mae"), "holds more than tensors"),
        (("text.pth",), "is no weight file"),
        (("dino.pth", "--as", "stablerep"), "--as dino"),
        (("good.pth", "--as", "timm:test_vit", "--size", "large"), "not of the form HEIGHTxWIDTH"),
        (("good.pth", "--as", "timm:test_vit", "--benchmarks", "rieid"), "rieid"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_told_of_and_nothing_is_run(words, told, folder, here):
    content = (folder / "good.pth").read_bytes()
    (folder / "cut.pth").write_bytes(content[: len(content) // 2])
    (folder / "cut.safetensors").write_bytes(b"\x08\x00\x00")
    (folder / "text.pth").write_text("not weights at all")
    torch.save({"model": Bomb(folder / "executed")}, folder / "bomb.pth")
    (folder / "bomb.pkl").write_bytes(pickle.dumps(Bomb(folder / "executed")))
    vit = {"patch_embed.proj.weight": torch.zeros(1), "blocks.0.norm1.weight": torch.zeros(1)}
    torch.save({"student": vit, "teacher": vit}, folder / "dino.pth")
    answer = call(*words)
    assert answer.exit_code == 2
    assert told in " ".join(answer.output.split())
    assert not (folder / "executed").exists()
    assert not (folder / "hcbench-runs").exists()


def test_errors_come_back_from_the_process_that_looks(folder):
    answer = call("good.pth", "--as", "resnet")
    assert answer.exit_code == 2
    assert "no ResNet" in answer.output


def test_a_process_that_dies_is_told_of(folder, monkeypatch):
    monkeypatch.setattr(fit.sys, "executable", "/bin/false")
    answer = call("good.pth", "--as", "resnet")
    assert answer.exit_code == 2
    assert "Looking at" in answer.output


@pytest.mark.usefixtures("here")
def test_the_size_of_training_and_the_part_of_a_file_are_asked_for_and_stored(folder, nothing_runs):
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, img_size=(64, 48))
    other = {name: tensor + 0.1 for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": model.state_dict(), "state_dict_ema": other}, folder / "both.pth")
    asked = ("both.pth", "--as", "timm:test_vit", "--size", "96x32")
    refused = call(*asked)
    assert refused.exit_code == 2
    assert "6 x 2 (96x32) or 4 x 3 (64x48)" in " ".join(refused.output.split())
    assert "--weights-size" in refused.output
    assert not nothing_runs
    answer = call(*asked, "--weights-size", "64X48", "--weights-key", "state_dict_ema")
    assert answer.exit_code == 0, answer.output
    assert "a grid of 4 x 3, trained at 64x48 as was said; resampled to the input's 6 x 2" in answer.output
    given, random = nothing_runs[-1].cells
    assert (given.method_config["weights_key"], given.method_config["weights_size"]) == ("state_dict_ema", "64x48")
    assert random.method_config["weights_size"] == ""
    assert "4 x 3" in given.facts["weights"]
    encoder, _ = load(Config(**given.method_config), {"weights": Path(given.roots["weights"])}, (96, 32))
    assert torch.equal(encoder.weights()["cls_token"], other["cls_token"])
    plain = call(*asked, "--weights-size", "64x48")
    assert "beside it: state_dict_ema; --weights-key state_dict_ema takes it instead" in plain.output
    assert nothing_runs[-1].cells[0].fingerprint != given.fingerprint
    for words, told in (
        (("--weights-size", "64"), "not of the form HEIGHTxWIDTH"),
        (("--weights-size", "256x128"), "16 x 8 = 128 positions"),
        (("--weights-key", "ema"), "no part 'ema'"),
    ):
        answer = call(*asked, *words)
        assert answer.exit_code == 2
        assert told in " ".join(answer.output.split())


@pytest.mark.usefixtures("here")
def test_numbers_that_are_not_finite_end_it_before_anything_is_run(folder, model, nothing_runs):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["norm.weight"][3] = torch.nan
    torch.save(state, folder / "nan.pth")
    answer = call("nan.pth", "--as", "timm:test_vit", "--allow-partial")
    assert answer.exit_code == 2
    assert "NaN or infinity in 1 of the" in " ".join(answer.output.split())
    assert not nothing_runs


@pytest.mark.usefixtures("here")
def test_a_file_in_parts_counts_by_all_of_them(folder, model, nothing_runs):
    state = model.state_dict()
    names = list(state)
    for part, chosen in (("one", names[::2]), ("two", names[1::2])):
        save_file({name: state[name] for name in chosen}, folder / f"{part}.safetensors")
    where = {name: f"{'one' if number % 2 == 0 else 'two'}.safetensors" for number, name in enumerate(names)}
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    words = ("m.safetensors.index.json", "--as", "timm:test_vit")
    first = call(*words)
    assert first.exit_code == 0, first.output
    assert call(*words).exit_code == 0
    save_file({name: state[name] + 1 for name in names[1::2]}, folder / "two.safetensors")
    assert call(*words).exit_code == 0
    one, same, other = (matrix.cells[0].fingerprint for matrix in nothing_runs)
    assert one == same != other
