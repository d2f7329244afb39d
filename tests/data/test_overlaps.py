from __future__ import annotations

import pytest

from hcbench.data.catalogue import dataset_modules
from hcbench.data.overlaps import KNOWN, NOTHING, OVERLAPS, judge, plain


@pytest.mark.parametrize(
    ("trained_on", "test", "status", "words"),
    [
        ([NOTHING], "market1501", "clean", ""),
        ([], "market1501", "unknown", "nobody says"),
        (["luperson"], "market1501", "clean", ""),
        (["LUPerson-NL"], "synth-pedes", "overlap", "built from it"),
        (["synth_pedes:train"], "luperson-nl", "overlap", "built from it"),
        (["msmt17:train"], "ICFG-PEDES", "overlap", "MSMT17's"),
        (["MSMT17"], "rstpreid", "overlap", "MSMT17's"),
        (["market1501:train"], "cuhk-pedes", "overlap", "collected"),
        (["cuhk-pedes"], "cuhk03-np", "overlap", "collected"),
        (["prw"], "market1501", "overlap", "same videos"),
        (["cuhk-pedes"], "cuhk-sysu", "overlap", "(not verified)"),
        (["coco:train2017"], "coco", "clean", ""),
        (["coco:val2017"], "coco", "overlap", "own split val2017"),
        (["coco"], "coco", "unknown", "which split"),
        (["peta:train"], "peta", "overlap", "same persons"),
        (["people"], "people", "clean", ""),
        (["people"], "market1501", "clean", ""),
        (["my-crawl"], "market1501", "unknown", "my-crawl"),
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
        one, other = sorted(pair.names)
        assert judge([one], other).status == judge([other], one).status == "overlap"
        assert {plain(one), plain(other)} == pair.names


def test_of_every_data_set_something_is_known() -> None:
    """A new loader must be entered into the table before its scores can be called clean."""
    own = {plain(name) for name in dataset_modules()} - {"imagefolder"}  # of which nobody can know
    assert own <= KNOWN
