"""What a run scores where a copy has not all that a benchmark needs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from attribute_mat import write_attributes
from image_tree import write_images

from hcbench.data.catalogue import dataset
from hcbench.data.formats.identity_attributes.files import DUKE, MARKET
from hcbench.errors import ConfigError
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.scored_data import scored_data
from hcbench.harness.planning.settings import RunConfig


@pytest.fixture
def market(tmp_path: Path) -> Path:
    names = ("0002_c1s1_000001_01.jpg", "0003_c1s1_000001_00.jpg", "0003_c2s1_000001_01.jpg")
    folders = ("bounding_box_train", "query", "bounding_box_test")
    write_images(tmp_path / "m", [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)])
    return tmp_path / "m"


def found(market: Path, *benchmarks: str, test_on: str = "") -> list[tuple[str, str, str]]:
    run = RunConfig(methods=("mae",), benchmarks=benchmarks, data={"market1501": str(market)}, test_on=test_on)
    return [(one.card.name, one.data, one.test_on) for one in scored_data(run, load_registry(()))]


def test_a_benchmark_that_lacks_its_labels_is_left_out_with_a_word(
    market: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored = found(market)
    assert ("reid", "market1501", "") in scored
    assert ("attributes", "people", "") in scored
    assert ("attributes", "market1501", "") not in scored
    assert caplog.messages == [
        f"attributes is not scored on market1501: {market} holds no market_attribute.mat (from {MARKET.homepage})"
    ]
    caplog.clear()
    assert found(market, "reid") == [("reid", "people", ""), ("reid", "market1501", "")]
    assert not caplog.messages, "nobody asked for attributes"


def test_one_that_was_named_is_refused_with_the_files_name_and_place(market: Path) -> None:
    with pytest.raises(ConfigError, match=r"attributes:market1501: .* holds no market_attribute\.mat") as caught:
        found(market, "attributes:market1501")
    assert MARKET.homepage in caught.value.message
    assert "leave attributes:market1501 out" in caught.value.hint


def test_with_its_labels_it_is_scored(market: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_attributes(market / MARKET.file, MARKET, {"train": [2], "test": [3]}, lambda person, name: 1)
    with caplog.at_level(logging.WARNING):
        assert found(market, "attributes:market1501") == [("attributes", "market1501", "")]
        assert ("attributes", "market1501", "") in found(market)
    assert not caplog.messages


def test_what_lacks_its_labels_is_no_target_either(market: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert found(market, test_on="market1501") == [
        ("reid", "people", "market1501"), ("reid", "market1501", ""),
    ]  # fmt: skip
    assert len(caplog.messages) == 1, "told once"
    with pytest.raises(ConfigError, match="--test-on market1501: not scored on such data in this run: attributes"):
        found(market, "attributes", test_on="market1501")
    write_attributes(market / MARKET.file, MARKET, {"train": [2], "test": [3]}, lambda person, name: 1)
    assert ("attributes", "people", "market1501") in found(market, test_on="market1501")


def test_the_cards_of_both_name_the_benchmark_and_its_splits() -> None:
    data = load_registry(()).benchmark("attributes").data
    for name, kind in (("market1501", MARKET), ("dukemtmc", DUKE)):
        assert name in data
        card = dataset(name).card
        assert kind.file in card.tree
        assert kind.file in card.split_rule
        assert dataset(name).splits_for("attributes").test == "attributes/test"
        assert dataset(name).splits_for("reid").test == "test"


def test_the_page_on_real_data_lists_the_data_sets_of_every_benchmark() -> None:
    page = (Path(__file__).parents[3] / "docs" / "real-data.md").read_text(encoding="utf-8")
    for name, card in load_registry(()).benchmarks.items():
        assert f"| `{name}` | {', '.join(f'`{data}`' for data in card.data)} |" in page
