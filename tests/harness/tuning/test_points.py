from __future__ import annotations

import types
from dataclasses import asdict, fields, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from hcbench.errors import ConfigError
from hcbench.harness.planning.config import Override, Resolved, resolve
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.tuning.points import default_of, distributions, points, searched
from hcbench.methods.space import Around, Choice, Range

REGISTRY = load_registry([])
TRAINED = [name for name, card in REGISTRY.methods.items() if card.trains]


def settings(profile: str, recipe: str, *sets: str) -> Resolved:
    options = [Override("run.profile", profile, "test"), Override("run.recipe", recipe, "test")]
    return resolve(REGISTRY, options, sets=sets)


def start(resolved: Resolved, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(resolved.methods[name][0]), asdict(resolved.pretrains[0])


@pytest.mark.parametrize("name", TRAINED)
def test_spaces_name_settings_of_the_right_type_and_sense(name: str) -> None:
    card = REGISTRY.methods[name]
    hints = get_type_hints(card.config)
    known = {item.name for item in fields(card.config)}
    assert "lr" in card.search_space
    for key, domain in card.search_space.items():
        assert key in known
        assert not domain.when or domain.when in known
        kind = hints[key]
        kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        if isinstance(domain, Choice):
            assert len(set(domain.options)) == len(domain.options) > 1
            assert all(type(option) in kinds for option in domain.options)
        else:
            assert float in kinds
        if isinstance(domain, Around):
            assert domain.factor > 1
        if isinstance(domain, Range):
            assert domain.low < domain.high


@pytest.mark.parametrize("recipe", ["cpu", "paper"])
@pytest.mark.parametrize("profile", ["cpu", "gpu", "paper"])
@pytest.mark.parametrize("name", TRAINED)
def test_bounds_hold_the_defaults_of_every_profile_and_recipe(name: str, profile: str, recipe: str) -> None:
    config, rule = start(settings(profile, recipe), name)
    space = distributions(REGISTRY.methods[name], config, rule)
    assert "lr" in space
    for key, one in space.items():
        assert one._contains(one.to_internal_repr(default_of(key, config, rule))), (key, one)


def test_controls_have_no_space() -> None:
    assert all(not REGISTRY.methods[name].search_space for name in REGISTRY.controls())


def test_a_setting_without_effect_is_not_searched() -> None:
    def names(name: str, *sets: str) -> set[str]:
        return set(searched(REGISTRY.methods[name], *start(settings("cpu", "cpu", *sets), name)))

    assert names("genpoccl") == {"lr", "gamma_align", "gamma_mp"}
    assert names("genpoccl", "genpoccl.gamma_mp=0") == {"lr", "gamma_align"}
    assert names("mae") == {"lr"}, "MAE has none of the losses whose Config it shares"
    assert names("solider", "solider.semantic_loss=0") == {"lr"}
    assert names("stablerep") == {"lr"}
    assert names("stablerep", "stablerep.language=true") == {"lr", "text_weight"}


def test_rates_follow_the_rule_in_use() -> None:
    config, rule = start(settings("cpu", "cpu", "pretrain.lr=0.01"), "mae")
    lr: Any = distributions(REGISTRY.methods["mae"], config, rule)["lr"]
    assert (lr.low, lr.high, lr.log) == (0.0025, 0.04, True)
    config, rule = start(settings("cpu", "cpu", "mae.lr=0.1"), "mae")
    lr = distributions(REGISTRY.methods["mae"], config, rule)["lr"]
    assert (lr.low, lr.high) == (0.025, 0.4)


def test_settings_outside_of_the_space_are_explained() -> None:
    config, rule = start(settings("cpu", "cpu", "solider.dino_fraction=0.1"), "solider")
    with pytest.raises(ConfigError, match=r"dino_fraction is 0\.1, outside"):
        distributions(REGISTRY.methods["solider"], config, rule)


def test_a_space_that_names_no_setting_is_explained() -> None:
    card = replace(REGISTRY.methods["plip"], space={"lambda_tik": Around(2.0)})
    with pytest.raises(ConfigError, match="'lambda_tik', no setting") as found:
        searched(card, *start(settings("cpu", "cpu"), "plip"))
    assert "lambda_tic" in found.value.hint


def drawn(trials: int, seed: int = 0, name: str = "gan-invariance") -> list[dict[str, Any]]:
    config, rule = start(settings("cpu", "cpu"), name)
    space = distributions(REGISTRY.methods[name], config, rule)
    return points(space, {key: default_of(key, config, rule) for key in space}, trials, seed)


def test_points_begin_with_the_defaults_and_are_the_same_every_time() -> None:
    first = drawn(6)
    config, rule = start(settings("cpu", "cpu"), "gan-invariance")
    assert first[0] == {key: default_of(key, config, rule) for key in ("lr", "gan_lr", "id_w", "min_samples")}
    assert first == drawn(6)
    assert first == drawn(9)[:6], "more trials go on where fewer ended"
    assert first != drawn(6, seed=1)
    assert len({tuple(one.values()) for one in first}) == 6
    assert drawn(1) == first[:1]


def test_points_keep_three_digits_and_their_bounds() -> None:
    config, rule = start(settings("cpu", "cpu"), "gan-invariance")
    space = distributions(REGISTRY.methods["gan-invariance"], config, rule)
    for point in drawn(40):
        for key, value in point.items():
            assert space[key]._contains(space[key].to_internal_repr(value))
            assert not isinstance(value, float) or value == float(f"{value:.3g}")


def test_points_spread() -> None:
    """Five points leave no quarter of the rates untried, which five random ones do more often than not."""
    import math

    places = sorted(math.log(point["lr"] / 2.5e-4) / math.log(16) for point in drawn(6, name="mae")[1:])
    assert {int(4 * place) for place in places} == {0, 1, 2, 3}
