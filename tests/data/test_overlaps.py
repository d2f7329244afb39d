from __future__ import annotations

import pytest

from hcbench.data.catalogue import built_in_modules, dataset, dataset_card
from hcbench.data.overlaps import (
    KNOWN,
    NEVER_TRAINED_ON,
    NOTHING,
    OVERLAPS,
    RELATED_SPLITS,
    SCORED_ON_VAL,
    UNKNOWABLE,
    is_held_out,
    judge,
    plain,
)

FOREIGN = {"prw", "cuhk01", "cuhksysu", "lpw", "viper"}
"""Data sets that no loader reads, but that others are made of or that weights were trained on."""


@pytest.mark.parametrize(
    ("trained_on", "test", "status", "words"),
    [
        ([NOTHING], "market1501", "clean", ""),
        ([], "market1501", "unknown", "nobody says"),
        (["luperson"], "market1501", "clean", ""),
        (["LUPerson-NL"], "synth-pedes", "overlap", "built from images of LUPerson-NL"),
        (["synth_pedes:train"], "luperson-nl", "overlap", "built from"),
        (["msmt17:train"], "ICFG-PEDES", "overlap", "MSMT17's"),
        (["MSMT17"], "rstpreid", "overlap", "MSMT17's"),
        (["market1501:train"], "cuhk-pedes", "overlap", "collected"),
        (["cuhk-pedes"], "cuhk03-np", "overlap", "collected"),
        (["cuhk-pedes"], "cuhk03-np-labeled", "overlap", "collected"),
        (["cuhk03-np:train"], "cuhk03-np-labeled", "overlap", "drawn by hand"),
        (["prw"], "market1501", "overlap", "same videos"),
        (["prw"], "cuhk-pedes", "overlap", "PRW's videos"),
        (["cuhk-pedes"], "cuhk-sysu", "overlap", "(not verified)"),
        (["rapv2:train"], "rapzs", "overlap", "a part of RAPv2's images"),
        (["rapv2:train"], "rapv1", "overlap", "(not verified)"),
        (["peta:train"], "peta-persons", "overlap", "same images"),
        (["peta-zs:train"], "peta-persons", "overlap", "same images"),
        (["lip:train"], "coco", "overlap", "COCO's persons"),
        (["ochuman:val"], "ochuman", "overlap", "scoring alone"),
        (["ochuman"], "ochuman", "overlap", "scoring alone"),
        (["coco:train2017"], "ochuman", "clean", ""),
        (["coco:train2017"], "coco", "clean", ""),
        (["coco:val2017"], "coco", "overlap", "own split val2017"),
        (["coco"], "coco", "unknown", "which split"),
        (["coco:pretrain"], "coco", "unknown", "the split pretrain"),
        (["lip:trainval"], "lip", "overlap", "own split trainval"),
        (["market1501:trainval"], "market1501", "clean", ""),
        (["rapv2:all"], "rapv2", "overlap", "own split all"),
        (["cuhk03-np:labeled/gallery"], "cuhk03-np", "overlap", "own split labeled/gallery"),
        (["cuhk03-np:detected/train"], "cuhk03-np", "clean", ""),
        (["peta:train"], "peta", "overlap", "same persons"),
        (["people"], "people", "clean", ""),
        (["people"], "market1501", "clean", ""),
        (["my-crawl"], "market1501", "unknown", "my-crawl"),
        (["image-folder:train"], "market1501", "unknown", "nobody but its owner"),
        ([""], "market1501", "unknown", "an unnamed source"),
        (["luperson"], "my-benchmark", "unknown", "my-benchmark"),
        (["luperson", "my-crawl"], "market1501", "unknown", "my-crawl"),
        (["my-crawl", "prw"], "market1501", "overlap", "same videos"),
    ],
)
def test_verdicts(trained_on: list[str], test: str, status: str, words: str) -> None:
    found = judge(trained_on, test)
    assert found.status == status
    assert words in found.why
    assert bool(found.why) == (status != "clean")


def test_overlaps_hold_in_both_directions() -> None:
    for pair in OVERLAPS:
        assert judge([pair.one], pair.other).status == judge([pair.other], pair.one).status == "overlap"
        assert len(pair.names) == 2
    assert len({pair.names for pair in OVERLAPS}) == len(OVERLAPS), "no pair is there twice"


def test_every_loader_is_in_the_table_or_a_reasoned_exception() -> None:
    """A new loader must be entered into the table before its scores can be called clean."""
    own = {plain(name) for name in built_in_modules()}
    excepted = {plain(name) for name in UNKNOWABLE}
    assert own - KNOWN == excepted
    assert excepted <= own
    assert all(UNKNOWABLE.values()), "with the reason"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("Market", "market1501"), ("MSCOCO", "coco"), ("cuhk_pedes", "cuhk-pedes"), ("CUHK03 NP", "cuhk03-np")],
)
def test_data_sets_are_found_by_the_spellings_of_the_table(spelling: str, name: str) -> None:
    assert dataset(spelling).name == name


def test_the_table_names_loaders_as_the_catalogue_does() -> None:
    names = {plain(name): name for name in built_in_modules()}
    assert KNOWN - set(names) == FOREIGN | {"people"}
    for pair in OVERLAPS:
        for name in (pair.one, pair.other):
            assert name == names.get(plain(name), name)
    rules = {*RELATED_SPLITS, *NEVER_TRAINED_ON, *SCORED_ON_VAL}
    assert rules <= set(names)


def test_rules_of_splits_are_those_of_the_loaders() -> None:
    splits = {name: dataset(name).task_splits for name in built_in_modules()}
    never = {plain(name) for name, found in splits.items() if found.train is None}
    assert never == set(NEVER_TRAINED_ON)
    on_val = {plain(name) for name, found in splits.items() if found.test.startswith("val")}
    assert on_val | {"coco"} == SCORED_ON_VAL
    for name in built_in_modules():
        for split in dataset(name).splits:
            part = split.rpartition("/")[2]
            assert is_held_out(split) != part.startswith("train"), f"{name}: is {split} for training or not?"


def test_cards_tell_what_the_table_knows() -> None:
    for name in built_in_modules():
        for other, relation in dataset_card(name).sister_sets.items():
            found = judge([f"{other}:train"], name)
            assert found.status == "overlap"
            assert relation in found.why
    assert set(dataset_card("msmt17").sister_sets) == {"icfg-pedes", "rstpreid"}
    assert "peta" in dataset_card("peta").sister_sets, "its own random partitions"
    assert dataset_card("pa100k").sister_sets == {}
