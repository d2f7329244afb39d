"""Attributes of Market-1501 and DukeMTMC-reID as data of a benchmark, on small copies with mats like the originals."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from attribute_mat import write_attributes
from image_tree import write_images
from scipy.io import loadmat, savemat

from hcbench.data import dukemtmc, market1501
from hcbench.data.formats.identity_attributes.files import DUKE, MARKET, NAMES, AttributeFile, PersonAttributes
from hcbench.data.overlaps import judge
from hcbench.data.samples import Samples
from hcbench.errors import DataError

TRAIN, TEST = tuple(range(2, 45, 2)), (3, 5, 7)
EVERYBODY = {"train": TRAIN, "test": TEST}


@dataclass(frozen=True)
class Copy:
    """A data set's module, its attribute file, and how it writes an image of a person."""

    module: ModuleType
    kind: AttributeFile
    image: Callable[[int, int], str]
    dropped: tuple[str, ...] = ()


COPIES = [
    Copy(market1501, MARKET, lambda person, camera: f"{person:04d}_c{camera}s1_000001_01.jpg",
         ("0000_c1s1_000001_01.jpg", "0000_c2s1_000001_01.jpg", "-1_c1s1_000001_01.jpg")),
    Copy(dukemtmc, DUKE, lambda person, camera: f"{person:04d}_c{camera}_f0000001.jpg"),
]  # fmt: skip


@pytest.fixture(params=COPIES, ids=["market1501", "dukemtmc"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    made: Copy = request.param
    images = [f"bounding_box_train/{made.image(person, camera)}" for person in TRAIN for camera in (1, 2)]
    images += [f"query/{made.image(person, 1)}" for person in TEST]
    images += [f"bounding_box_test/{made.image(person, camera)}" for person in TEST for camera in (2, 3)]
    write_images(tmp_path / "root", [*images, *(f"bounding_box_test/{name}" for name in made.dropped)])
    return made


def label(person: int, name: str) -> int:
    """Women are those whose number has 1 as its rest by 4, ages follow the number; one black colour each."""
    if name == "age":
        return 1 + person % 4
    return 2 if (name == "gender" and person % 4 == 1) or name in ("upblack", "downblack") else 1


def load(copy: Copy, tmp_path: Path, split: str) -> Samples:
    found: Samples = copy.module.load(tmp_path / "root", split, height=16, width=8, cache=tmp_path / "cache")
    return found


def test_the_numbers_of_the_columns_are_the_papers() -> None:
    assert (len(MARKET.names), len(set(MARKET.groups))) == (30, 12)
    assert len((*MARKET.binary, *MARKET.steps)) == 27
    assert (len(DUKE.names), len(set(DUKE.groups))) == (23, 10)
    assert [MARKET.groups.count(name) for name in ("upper colour", "lower colour", "age", "hat")] == [8, 9, 4, 1]
    assert [DUKE.groups.count(name) for name in ("upper colour", "lower colour", "top")] == [8, 7, 1]
    assert MARKET.names == NAMES


def test_every_image_of_a_person_has_the_persons_labels(copy: Copy, tmp_path: Path) -> None:
    # Rows in an order that is not sorted: a label belongs to the number in image_index, not to a place.
    write_attributes(tmp_path / "root" / copy.kind.file, copy.kind, {"train": TRAIN[::-1], "test": (7, 3, 5)}, label)
    train, val, test = (load(copy, tmp_path, f"attributes/{split}") for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (40, 4, 6)
    assert test.ids.tolist() == [f"bounding_box_test/{copy.image(person, n)}" for person in TEST for n in (2, 3)]
    assert test.identity is not None
    assert test.identity.tolist() == [3, 3, 5, 5, 7, 7]
    for samples in (train, val, test):
        assert samples.attribute_names == copy.kind.names
        assert samples.attribute_groups == copy.kind.groups
        assert samples.attributes is not None
        persons = [int(Path(name).name[:4]) for name in samples.ids]
        gender = samples.attributes[:, copy.kind.names.index("gender")]
        assert gender.tolist() == [int(person % 4 == 1) for person in persons]
        if "age" in copy.kind.steps:
            ages = samples.attributes[:, [copy.kind.names.index(f"age{step}") for step in (1, 2, 3, 4)]]
            assert ages.argmax(axis=1).tolist() == [person % 4 for person in persons]
            assert (ages.sum(axis=1) == 1).all()
    assert test.query is None
    assert test.left_out == len(copy.dropped), "neither distractors nor junk"


def test_persons_are_held_out_whole_and_as_for_reid(copy: Copy, tmp_path: Path) -> None:
    write_attributes(tmp_path / "root" / copy.kind.file, copy.kind, EVERYBODY, label)
    for split in ("train", "val"):
        assert load(copy, tmp_path, f"attributes/{split}").ids.tolist() == load(copy, tmp_path, split).ids.tolist()
    train, val = (load(copy, tmp_path, f"attributes/{split}") for split in ("train", "val"))
    assert train.identity is not None
    assert val.identity is not None
    assert not set(train.identity) & set(val.identity)
    assert "attributes" in train.name
    assert "every tenth person" in val.name


def test_without_the_file_reid_is_served_and_attributes_say_what_is_missing(copy: Copy, tmp_path: Path) -> None:
    assert load(copy, tmp_path, "test").attributes is None
    with pytest.raises(DataError, match=f"holds no {copy.kind.file}") as caught:
        load(copy, tmp_path, "attributes/train")
    assert copy.kind.homepage in caught.value.hint
    data_set = copy.module.DATASET
    assert copy.kind.homepage in data_set.lacking(tmp_path / "root", "attributes")
    assert data_set.lacking(tmp_path / "root", "reid") == ""
    assert f"no {copy.kind.file}" in copy.module.verify(tmp_path / "root").text()
    write_attributes(tmp_path / "root" / "attribute" / copy.kind.file, copy.kind, EVERYBODY, label)
    assert data_set.lacking(tmp_path / "root", "attributes") == ""


def test_persons_on_one_side_alone_are_counted(copy: Copy, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_attributes(tmp_path / "root" / copy.kind.file, copy.kind, {"train": TRAIN[1:], "test": (3, 5, 9, 11)}, label)
    with caplog.at_level(logging.INFO, "hcbench"):
        train, test = load(copy, tmp_path, "attributes/train"), load(copy, tmp_path, "attributes/test")
    assert (len(train), train.left_out, len(test), test.left_out) == (38, 2, 4, 2 + len(copy.dropped))
    assert "attributes/train: 2 images" in caplog.text
    report = copy.module.verify(tmp_path / "root")
    assert report.level == "mismatch"
    assert [problem.partition(": ")[2] for problem in report.problems] == [
        "1 persons of train have images and no row, so attributes leaves them out: 0002",
        "1 persons of test have images and no row, so attributes leaves them out: 0007",
    ]
    assert f"{copy.kind.file}: 2 persons of test have a row and no image: 0009, 0011" in report.notes
    left = 2 + len(copy.dropped)
    assert f"learns from 42 images of 21 persons (every tenth person for validation) and is scored on 4 images of 2 " \
        f"persons of the gallery, whose other {left} do not count" in report.text()  # fmt: skip


def test_a_file_of_other_persons_is_refused(copy: Copy, tmp_path: Path) -> None:
    write_attributes(tmp_path / "root" / copy.kind.file, copy.kind, {"train": [901], "test": [902]}, label)
    with pytest.raises(DataError, match="has no row for any person of attributes/test"):
        load(copy, tmp_path, "attributes/test")


def test_what_the_owners_left_open_is_open_here(tmp_path: Path) -> None:
    """Two training persons of DukeMTMC have 0 as `top`, neither short nor long."""
    path = tmp_path / DUKE.file
    write_attributes(
        path, DUKE, EVERYBODY, lambda person, name: 0 if (person, name) == (4, "top") else label(person, name)
    )
    found = PersonAttributes(path, DUKE)
    values, names = found("train", np.array([2, 4]))
    assert values[:, names.index("top")].tolist() == [0, -1]
    assert f"{DUKE.file}: 1 persons of train have no top (0): 0004" in found.notes()
    write_attributes(path, DUKE, EVERYBODY, lambda person, name: 0 if name == "hat" else label(person, name))
    with pytest.raises(DataError, match=r"hat has the shape \(22,\) and the values 0"):
        PersonAttributes(path, DUKE)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (["0003", "someone", "0007"], "holds someone, no number"),
        (["0003", "0003", "0007"], "names 1 persons more than once: 0003"),
        (["-1", "0003", "0007"], "holds -1, no number"),
    ],
)
def test_an_index_that_names_nobody_or_one_twice_is_refused(tmp_path: Path, index: list[str], message: str) -> None:
    path = tmp_path / MARKET.file
    write_attributes(path, MARKET, EVERYBODY, label)
    tables = {part: {name: table[name][0, 0] for name in table.dtype.names} for part in ("train", "test")
              for table in [loadmat(path)[MARKET.variable][0, 0][part]]}  # fmt: skip
    tables["test"]["image_index"] = np.array(index, object)
    savemat(path, {MARKET.variable: tables})
    with pytest.raises(DataError, match=message):
        PersonAttributes(path)


@pytest.mark.parametrize("name", ["market1501", "dukemtmc"])
def test_overlaps_know_the_splits_of_this_use(name: str) -> None:
    for split in ("attributes/test", "attributes/val", "gallery", "test"):
        assert judge([f"{name}:{split}"], name).status == "overlap"
    for split in ("attributes/train", "trainval", "train"):
        assert judge([f"{name}:{split}"], name).status == "clean"
