from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.augment_settings import Augmentation, augmentation
from hcbench.errors import ConfigError
from hcbench.harness.planning.config import Override, Resolved, built_in_names, resolve
from hcbench.harness.planning.registry import Registry, load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig, RunConfig
from hcbench.methods.card import MethodCard
from hcbench.methods.solider.card import paper_lr


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of a method of the tests."""

    ratio: float = 0.5
    widths: tuple[int, ...] = (8, 4)
    mode: str = "plain"


CARD = MethodCard(
    name="two-words",
    title="Toy",
    summary="For tests.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="images",
    config=Config,
    implementation="hcbench.errors:HcbenchError",
    defaults={"mode": "shared"},
)
REGISTRY = Registry(methods={**load_registry(()).methods, CARD.name: CARD})


def settle(*sets: str, **named: object) -> Resolved:
    return resolve(REGISTRY, sets=sets, **named)  # type: ignore[arg-type]


def test_cpu_profile_mirrors_the_defaults() -> None:
    plain = settle()
    assert plain.pretrains == (PretrainConfig(),)
    assert plain.corpora == (CorpusConfig(),)
    assert plain.evaluates == (EvaluateConfig(),)
    searched = ("stablerep", "genpoccl", "plip", "solider", "gan-invariance")
    assert plain.run == RunConfig(tuning_trials=dict.fromkeys(searched, 6))
    assert settle("run.recipe=paper").run.tuning_trials == {}
    assert "profiles/cpu.yaml" in plain.origins.values()


@pytest.mark.parametrize("profile", built_in_names("profiles"))
@pytest.mark.parametrize("recipe", built_in_names("recipes"))
def test_every_built_in_yaml_is_valid(profile: str, recipe: str) -> None:
    options = [Override("run.profile", profile, "--profile"), Override("run.recipe", recipe, "--recipe")]
    resolved = resolve(load_registry(()), options)
    assert (resolved.run.profile, resolved.run.recipe) == (profile, recipe)


def test_the_paper_recipe_has_the_papers_rates_and_views() -> None:
    found = resolve(load_registry(()), [Override("run.profile", "paper", "--profile")])
    (rule,) = found.pretrains
    images = rule.groups_per_batch * rule.images_per_group
    (dino,), (solider,), (plip,) = (found.methods[name] for name in ("dino", "solider", "plip"))
    assert dino["lr"] == solider["lr"] == pytest.approx(paper_lr(images), rel=1e-3)
    assert augmentation(plip["augmentation"]) == Augmentation(name="flip", flip=0.5)


def test_what_the_cpu_recipe_changes_stands_in_the_cards() -> None:
    """Rates, views and decay of every method are the recipe's; all else that differs from a card has a row there."""
    registry = load_registry(())
    lacking: list[str] = []
    for name, (found,) in resolve(registry).methods.items():
        card = registry.methods[name]
        usual = asdict(card.config(**card.defaults))
        rows = " ".join(row.ours for row in card.deviations)
        own = sorted(set(found) - {"lr", "weight_decay", "augmentation"})
        changed = [f"{key}={_written(found[key])}" for key in own if found[key] != usual[key]]
        lacking += [f"{name}.{one}" for one in changed if not re.search(rf"\b{re.escape(one)}(?![\d.])", rows)]
    assert lacking == []


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_later_layers_win_and_origins_tell(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("pretrain: {lr: 1e-2, passes: 4}\nevaluate: {epochs: 2}\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: base.yaml\npretrain:\n  lr: 2e-2\ntwo_words:\n  ratio: 0.25\nrun:\n  seeds: [0, 1]\n")
    found = settle("pretrain.lr=3e-2", config=mine)
    assert found.pretrains[0].lr == 3e-2
    assert found.pretrains[0].passes == 4
    assert found.evaluates[0].epochs == 2
    assert found.run.seeds == (0, 1)
    assert found.methods["two-words"] == ({"ratio": 0.25, "widths": (8, 4), "mode": "shared"},)
    assert found.origins["pretrain.lr"] == "--set"
    assert found.origins["pretrain.passes"] == str(tmp_path / "base.yaml")
    assert found.origins["run.seeds"] == str(mine)
    assert found.origins["two-words.mode"] == "card"
    assert found.origins["two-words.widths"] == "default"


def test_profile_of_the_file_selects_the_profile(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("run: {profile: paper}\n")
    registry = load_registry(())
    assert resolve(registry, config=mine).run.profile == "paper"
    assert resolve(registry, config=mine).run.recipe == "paper"
    cpu = resolve(registry, [Override("run.profile", "cpu", "--profile")], config=mine)
    assert cpu.run.profile == "cpu"


def test_commas_make_the_product_of_a_section() -> None:
    found = settle("pretrain.lr=1e-3,3e-4", "pretrain.passes=2,3", "two_words.ratio=0.1,0.2,0.1")
    assert {(item.lr, item.passes) for item in found.pretrains} == {(1e-3, 2), (1e-3, 3), (3e-4, 2), (3e-4, 3)}
    assert [item["ratio"] for item in found.methods["two-words"]] == [0.1, 0.2]
    assert found.evaluates == (EvaluateConfig(),)


def test_other_names_of_a_method_are_understood() -> None:
    assert settle("gcl.dim=12").methods["gan-invariance"][0]["dim"] == 12


def test_lists_need_brackets_to_be_swept() -> None:
    assert [item["widths"] for item in settle("two-words.widths=16,8").methods["two-words"]] == [(16, 8)]
    swept = settle("two-words.widths=[16,8],[32]").methods["two-words"]
    assert [item["widths"] for item in swept] == [(16, 8), (32,)]


def test_the_resolved_sections_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        settle().pretrains[0].lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pretrain.lrr=1", "Did you mean 'lr'?"),
        ("pretrian.lr=1", "Did you mean 'pretrain'?"),
        ("two-words.ration=1", "Did you mean 'ratio'?"),
        ("pretrain.lr=abc", "expected a number"),
        ("pretrain.lr=1e-3,abc", "'abc'"),
        ("pretrain.lr", "key=value"),
        ("lr=1", "lacks a section"),
        ("run.profile=cpux", "Did you mean 'cpu'?"),
        ("run.recipe=papr", "Did you mean 'paper'?"),
        ("run.seeds=0,x", "whole numbers"),
    ],
)
def test_bad_settings_are_explained(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settle(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pretrain: {lr: [1]}", "expected a number"),
        ("pretrain: 3", "expected a section"),
        ("- a", "holds a list"),
        ("pretrain: {lr: 1", "line"),
        ("pretrain: {lr: 1, lr: 2}", "stands here twice"),
        ("base: other.yaml", "cannot be read"),
        ("base: loop.yaml", "names a base itself"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "loop.yaml").write_text("base: loop.yaml\n")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settle(config=path)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_config_of_a_method_is_plain_data() -> None:
    assert settle().methods["two-words"][0] == {**asdict(Config()), "mode": "shared"}


def test_knobs_are_settings_of_evaluations_and_of_their_methods() -> None:
    assert settle().knobs == {"evaluate": {"lambda": (None,)}, "solider": {"lambda": (None,)}}
    told = settle("evaluate.lambda=0,0.5", "solider.lambda=none,1")
    assert told.knobs == {"evaluate": {"lambda": (0.0, 0.5)}, "solider": {"lambda": (None, 1.0)}}
    assert told.origins["solider.lambda"] == "--set"
    assert len(told.evaluates) == len(told.methods["solider"]) == 1
    assert "lambda" not in told.methods["solider"][0], "no cell depends on it"
    with pytest.raises(ConfigError, match=r"evaluate.lambda .* expected a number or none"):
        settle("evaluate.lambda=much")
    with pytest.raises(ConfigError, match=r"no setting stablerep.lambda"):
        settle("stablerep.lambda=0.5")
