"""`hcbench check` on a plugin that is sound, and on one mistake at a time: docs/add-a-method.md, changed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hcbench.harness.cli.main import app
from hcbench.harness.contract import contract
from hcbench.harness.contract.contract import CHECKS, Check

PAGE = (Path(__file__).parents[3] / "docs" / "add-a-method.md").read_text(encoding="utf-8")
VICREG = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
SMALL = ("--set", "vicreg.projector=[32,16]")

MISTAKES = {
    # name: what stands there, what is written instead, the check that fails, what the screen says
    "summary": ("stay uncorrelated.", "stay uncorrelated", "card", "End it with a full stop"),
    "need": ('frozenset({"images"})', 'frozenset({"images", "keypoint"})', "card", "Did you mean 'keypoints'"),
    "layout": ('layout="identities"', 'layout="identity"', "card", "Did you mean 'identities'"),
    "spared": ('frozenset({"images"})', 'frozenset({"images"}), optional={"joints": {}}', "card",
               "optional names 'joints', no need"),
    "spared-by": ('frozenset({"images"})', 'frozenset({"images"}), optional={"images": {"colour": (False,)}}', "card",
                  "optional names 'colour', no setting"),
    "thawed": ("frozen=True, kw_only=True, slots=True)\nclass Config", "kw_only=True)\nclass Config", "card",
               "Config is not frozen"),
    "no-dataclass": ("@dataclass(frozen=True, kw_only=True, slots=True)\n", "", "card", "is no dataclass"),
    "no-default": ("lr: float | None = None", "lr: float | None", "card", "Give every setting a default"),
    "type": ("covariance: float = 1.0", "covariance: Tensor = 1.0", "card", "Use bool, int, float"),
    "base": ("class VICReg(Method):", "class VICReg(torch.nn.Module):", "class", "expected one over Method"),
    "name": ("vicreg:VICReg", "vicreg:Vicreg", "class", "cannot be imported"),
    "lacks": ("def objectives(", "def objective(", "class", "lacks objectives"),
    "no-card": ("    card = CARD\n", "", "class", "Write `card = CARD`"),
    "constructor": ("Projector(encoder.dim, config.projector)", "Projector(encoder.dimm, config.projector)", "class",
                    r"AttributeError: .*dimm.* \(vicreg.py:\d+ in __init__\)"),
    "forgotten": ("    def views(", "    def param_groups(self):\n        from hcbench.methods.base import "
                  "OptimiserSpec, split_decay\n        return (OptimiserSpec(name='main', groups="
                  "split_decay(self.encoder)),)\n\n    def views(", "stages", "No optimiser trains projector.0.weight"),
    "generator": ("self.augmentation, generator, size", "self.augmentation, torch.default_generator, size", "views",
                  "differs between two calls with the same generator"),
    "own-generator": ("self.augmentation, generator, size",
                      "self.augmentation, torch.Generator().manual_seed(7), size", "views",
                      "is random, but the same for every generator"),
    "nan": (").sum()\n        log", ").sum() * float('nan')\n        log", "losses", "main loss is nan"),
    "vector": (").sum()\n        log", ")\n        log", "losses", r"shape \(3,\); expected a scalar"),
    "graph": ("term.detach() for", "term for", "losses", "holds on to its graph"),
    "detached": ('(views["images"]).pooled', '(views["images"]).pooled.detach()', "gradients",
                 "No gradient reaches the encoder"),
    "partly": ('self.encoder(views["images"]).pooled',
               "self.encoder.backbone.patch_embed(views[\"images\"]).mean((1, 2))", "gradients",
               r"No gradient reaches .*backbone\.cls_token.* parameters\)"),
    "idle": ("lr: float | None = None", "lr: float | None = 1e-9", "falls", "expected a fall of 3%"),
    "clock": ('pooled = self.encoder(views["images"]).pooled',
              'import numpy\n        pooled = self.encoder(views["images"] * float(numpy.random.rand())).pooled',
              "seed", "differs at step 1"),
    "collapse": ('"feature_variance": diagnostics.feature_variance(pooled)', "", "diagnostics",
                 "Nothing that is logged tells a collapse"),
    "even": ("first, second = self", "assert len(pooled) == 30, 'even'\n        first, second = self", "batches",
             "in a batch of 13 images"),
    "at": ('"variance_loss":', '"variance@1":', "names", "'train.main.variance@1' cannot be stored .* holds '@'"),
    "letters": ('"covariance_loss":', '"Invariance_loss":', "names", "Invariance_loss' cannot be told apart"),
    "folder": ('"covariance_loss":', '"invariance_loss/b":', "names", "invariance_loss/b' cannot be told apart"),
    "picture": ("    def views(", "    def figures(self, batch, generator):\n        return {'one': batch.images}\n\n"
                "    def views(", "figures", "is a Tensor; expected a Figure"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """What a command sets for its workers ends with the test."""
    monkeypatch.setenv("HCBENCH_PLUGINS", "")
    monkeypatch.delenv("HCBENCH_PLUGINS")


def check(folder: Path, text: str, *words: str) -> Result:
    folder.mkdir(exist_ok=True)
    path = folder / "vicreg.py"  # a file is imported once: another text goes into another folder
    path.write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["check", "--plugin", str(path), *words])


def failed(answer: Result) -> list[str]:
    promises = {one.promise: one.name for one in CHECKS}
    lines = [line.split("failed", 1)[1] for line in answer.output.splitlines() if line.startswith("  failed")]
    return [next(name for promise, name in promises.items() if promise in line) for line in lines]


def test_the_method_of_the_page_keeps_the_contract(tmp_path):
    answer = check(tmp_path, VICREG, *SMALL)
    assert answer.exit_code == 0, answer.output
    assert "14 ok, 1 skipped" in answer.output
    for line in answer.output.splitlines()[1:-1]:
        promise = next(one.promise for one in CHECKS if one.promise in line)
        assert promise in PAGE, "the page shows what the command says"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told_by_the_check_of_its_kind(mistake, tmp_path, monkeypatch):
    before, after, name, message = MISTAKES[mistake]
    assert VICREG.count(before) == 1
    monkeypatch.setattr(contract, "CHECKS", needed(name))
    answer = check(tmp_path, VICREG.replace(before, after), *(() if name == "card" else SMALL))
    assert answer.exit_code == 1, answer.output
    assert failed(answer)[0] == name, answer.output
    assert re.search(message, answer.output), answer.output
    assert "The contract is broken by vicreg." in answer.output


def needed(*names: str) -> tuple[Check, ...]:
    """These checks and those that they need."""
    wanted = {*names}
    for one in reversed(CHECKS):
        wanted |= {*one.needs} if one.name in wanted else set()
    return tuple(one for one in CHECKS if one.name in wanted)


MEMORY = """        self.projector = Projector(encoder.dim, config.projector)
        KEPT

    def after_step(self, step: Step) -> None:
        self.seen = self.seen + 1
"""


@pytest.mark.parametrize(
    ("kept", "broken"),
    [("self.seen = torch.zeros(())", ["state"]), ("self.register_buffer('seen', torch.zeros(()))", [])],
)
def test_a_tensor_that_is_no_buffer_is_missed(tmp_path, monkeypatch, kept, broken):
    monkeypatch.setattr(contract, "CHECKS", needed("state"))
    text = VICREG.replace(
        "        self.projector = Projector(encoder.dim, config.projector)\n", MEMORY.replace("KEPT", kept)
    ).replace('Objective("main", loss,', 'Objective("main", loss * (1 + self.seen / 10),')
    answer = check(tmp_path, text, *SMALL)
    assert failed(answer) == broken, answer.output
    if broken:
        assert "register_buffer" in answer.output


def test_a_teacher_may_stand_in_for_gradients(tmp_path, monkeypatch):
    """An encoder that no optimiser holds must be moved by the method itself."""
    monkeypatch.setattr(contract, "CHECKS", needed("gradients"))
    frozen = VICREG.replace(
        "        self.augmentation =",
        "        import copy\n        self.student = copy.deepcopy(encoder)\n        encoder.requires_grad_(False)\n"
        "        self.augmentation =",
    ).replace('self.encoder(views["images"])', 'self.student(views["images"])')
    answer = check(tmp_path, frozen, *SMALL)
    assert failed(answer) == ["gradients"], answer.output
    assert "nothing else moves them" in answer.output
    follows = frozen.replace(
        "    def views(",
        "    def after_step(self, step: Step) -> None:\n        from hcbench.methods.parts.ema import follow\n"
        "        follow(self.encoder, self.student, 0.9)\n\n    def views(",
    )
    answer = check(tmp_path / "follows", follows, *SMALL)
    assert failed(answer) == [], answer.output
    assert "follow another network" in answer.output


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("def broken(:\n", (), "SyntaxError"),
        ("import torch\n", (), "holds no card"),
        (VICREG, ("vicregg",), "Did you mean 'vicreg'"),
        (VICREG, ("--set", "vicreg.covarianse=1"), "Did you mean 'covariance'"),
        (VICREG, ("--set", "vicreg.covariance=1,2"), "one value"),
        (VICREG, ("--set", "corpus.name=coco"), "embedded corpus"),
        (VICREG, ("--backbone", "resnet1"), "No backbone is called 'resnet1'"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(tmp_path, text, words, message):
    answer = check(tmp_path, text, *words)
    assert answer.exit_code == 2, answer.output
    assert message in answer.output


def test_a_backbone_that_does_not_fit_is_a_reason(tmp_path):
    answer = CliRunner().invoke(app, ["check", "mae", "--backbone", "resnet18"])
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("mae works on vit; resnet18 is a resnet") == len(CHECKS) - 1


def test_names_choose_what_is_checked(monkeypatch, tmp_path):
    from hcbench.harness.cli import check as contract_screen
    from hcbench.harness.planning.registry import load_registry

    path = tmp_path / "vicreg.py"
    path.write_text(VICREG, encoding="utf-8")
    registry = load_registry([path])

    def names(*words, plugins=()):
        return [card.name for card in contract_screen.chosen(registry, words, plugins)]

    assert names(plugins=[path]) == ["vicreg"]
    assert names("gcl", "stablerep", "gan-invariance") == ["gan-invariance", "stablerep"]
    assert names() == names("all", plugins=[path]) == list(registry.methods)
    assert "torch" in sys.modules


def test_the_run_of_the_page_can_be_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vicreg.py").write_text(VICREG, encoding="utf-8")
    command = re.search(r"\$ hcbench run (.*?[^\\])\n", PAGE, re.DOTALL)
    assert command is not None
    answer = CliRunner().invoke(app, ["plan", *command[1].replace("\\\n", " ").split()])
    assert answer.exit_code == 0, answer.output
    assert "5 cells: 5 missing" in answer.output
