"""DukeMTMC-reID and Occluded-Duke: one form, two tables of counts, and the notice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from image_tree import write_images, write_junk

from hcbench.data import dukemtmc, occluded_duke
from hcbench.data.formats import duke_files
from hcbench.errors import DataError

NAMES = [
    "bounding_box_train/0012_c8_f0046182.jpg",
    "bounding_box_train/0001_c2_f0046182.jpg",
    "query/0005_c2_f0046985.jpg",
    "bounding_box_test/0005_c1_f0046985.jpg",
    "bounding_box_test/7140_c4_f0046985.jpg",
]


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "x_c3" / "DukeMTMC-reID", NAMES)
    write_junk(tmp_path / "x_c3" / "DukeMTMC-reID" / "query")
    return tmp_path / "x_c3"


@pytest.mark.parametrize("module", [dukemtmc, occluded_duke])
def test_samples_and_notice(root, tmp_path, module, caplog):
    trainval = module.load(root, "trainval", height=16, width=8, cache=tmp_path / "cache")
    test = module.load(root, "test", height=16, width=8, cache=tmp_path / "cache")
    assert trainval.identity.tolist() == [0, 1]
    assert trainval.camera.tolist() == [1, 7]
    assert test.identity.tolist() == [5, 5, 7140]
    assert test.camera.tolist() == [1, 0, 3]
    assert test.query.tolist() == [True, False, False]
    assert duke_files.NOTICE in caplog.messages
    assert module.CARD.terms == duke_files.NOTICE
    assert "http" not in module.CARD.obtain


def test_verify_tells_the_two_apart(root, monkeypatch):
    report = dukemtmc.verify(root)
    assert report.level == "subset"
    assert duke_files.NOTICE in report.notes
    assert "3 files of operating systems" in report.text()
    monkeypatch.setattr(duke_files, "OCCLUDED_COUNTS", report.found)
    assert dukemtmc.verify(root).problems == ("these are the counts of Occluded-Duke",)
    monkeypatch.setattr(occluded_duke, "CARD", replace(occluded_duke.CARD, counts=report.found))
    assert occluded_duke.verify(root).level == "exact"


def test_a_query_that_the_gallery_lacks(root):
    write_images(root / "DukeMTMC-reID", ["query/0009_c2_f0046985.jpg"])
    assert occluded_duke.verify(root).problems == ("1 persons of query are not in the gallery, the first is 0009",)


def test_names_of_market_are_refused(root, tmp_path):
    write_images(root / "DukeMTMC-reID", ["query/0009_c2s1_000451_03.jpg"])
    with pytest.raises(DataError, match="1 of 2 names") as error:
        dukemtmc.load(root, "test", cache=tmp_path / "cache")
    assert "0001_c2_f0046182.jpg" in error.value.hint
