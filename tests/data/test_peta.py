"""PETA on a small mat in the official nesting: five random partitions, the leak of persons, two splits by persons."""

from __future__ import annotations

import json
import pickle
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mats import cells, column, write_mat
from pictures import write_pictures

from hcbench.data import peta, peta_persons, peta_zs
from hcbench.data.formats import attribute_files
from hcbench.data.manifest.indexing import index_splits
from hcbench.errors import DataError

ROWS = 20
NAMES = [f"attribute{n}" for n in range(105)]
PERSONS = [100 + row // 2 for row in range(ROWS)]
"""Two rows of each of ten persons."""
RANDOM = {"train": [1, 4, 3, 20], "val": [2], "test": [5, 6, 19]}
"""Rows of the first partition, from 1: persons 100, 101, 109; then 100; then 102 twice and 109."""
BY_PERSON = {"train_idx": [0, 1, 2, 3], "val_idx": [4, 5], "test_idx": [6, 7, 8]}


def data() -> np.ndarray:
    draw = np.random.default_rng(3)
    values = draw.integers(0, 2, (ROWS, 109)).astype(np.float64)
    values[:, :4] = np.stack([np.arange(1, ROWS + 1), PERSONS, 1 + np.arange(ROWS) % 10, np.zeros(ROWS)], axis=1)
    return values


def one(**rows: list[int]) -> dict[str, np.ndarray]:
    return {split: column(numbers) for split, numbers in rows.items()}


def struct(**changes: Any) -> dict[str, Any]:
    rest = [one(train=[1, 2], val=[3], test=[20 - n]) for n in range(4)]
    return {
        "data": data(),
        "attribute": cells(NAMES),
        "selected_attribute": np.arange(5, 40, dtype=np.float64)[None],
        "partion_attribute": cells([one(**RANDOM), *rest]),
    } | changes


def write(folder: Path, **changes: Any) -> Path:
    write_mat(folder / "PETA.mat", {"peta": struct(**changes)})
    write_pictures(folder / "images", [f"{row:05d}.png" for row in range(1, ROWS + 1)])
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "PETA")


def test_the_mat_is_nested_as_the_official_one(root: Path) -> None:
    """The very expressions that the field's code reads the official mat with."""
    from scipy.io import loadmat

    raw = loadmat(root / "PETA.mat")["peta"][0][0]
    assert [raw[1][n][0][0] for n in (0, 104)] == ["attribute0", "attribute104"]
    assert raw[0].shape == (ROWS, 109)
    assert (raw[3][0][0][0][0][0][:, 0] - 1).tolist() == [0, 3, 2, 19]
    assert (raw[3][0][0][0][0][2][:, 0] - 1).tolist() == [4, 5, 18]


def test_load(root: Path, cache: Path) -> None:
    train, val, test = (peta.load(root, split, cache=cache) for split in ("train", "val", "test"))
    assert train.ids.tolist() == [f"images/0000{n}.png" for n in (1, 3, 4)] + ["images/00020.png"]
    assert train.attribute_names == tuple(NAMES[:35])
    np.testing.assert_array_equal(train.attributes, data()[[0, 2, 3, 19], 4:39])
    np.testing.assert_array_equal(val.attributes, data()[[1], 4:39])  # a single row number is no list in the mat
    assert test.identity is not None
    assert test.identity.tolist() == [102, 102, 109]
    assert train.identity is not None
    assert train.identity.tolist() == [100, 101, 101, 109]  # numbers mean the same person in every split
    assert test.slices["source"].tolist() == [5, 6, 9]
    assert train.known() == peta.CARD.fields
    assert len(peta.load(root, "all", cache=cache)) == 8


@pytest.mark.parametrize("name", ["peta", "peta-persons"])
def test_a_manifest_of_several_splits_keeps_the_persons_of_the_mat(name: str, root: Path, cache: Path) -> None:
    rows = index_splits(name, root, ["test", "train"], pack=False, size=(16, 8), cache=cache)
    pairs = [pair for part in rows for pair in zip(part["image_path"], part["identity"], strict=True)]
    assert {"images/00001.png", "images/00005.png"} <= {image for image, _ in pairs}
    assert all(identity == PERSONS[int(image[-9:-4]) - 1] for image, identity in pairs)


def test_who_was_seen_in_training_is_marked(root: Path, cache: Path) -> None:
    train, val, test = (peta.load(root, split, cache=cache) for split in ("train", "val", "test"))
    assert test.slices["person_in_train"].tolist() == [False, False, True]
    assert val.slices["person_in_train"].tolist() == [True]
    assert "person_in_train" not in train.slices


def test_further_partitions(root: Path, cache: Path) -> None:
    second = peta.load(root, "test", cache=cache, partition=3)
    assert second.ids.tolist() == ["images/00019.png"]
    assert second.name == "peta test, partition 3"
    assert peta.load(root, "test", cache=cache).name == "peta test"
    for number in (0, 6):
        with pytest.raises(DataError, match=f"has no partition {number}; it has 5"):
            peta.load(root, "test", cache=cache, partition=number)


def test_the_selection_decides_names_and_columns(root: Path, cache: Path) -> None:
    write(root, selected_attribute=np.arange(39, 4, -1, dtype=np.float64)[None])
    test = peta.load(root, "test", cache=cache)
    assert test.attribute_names == tuple(NAMES[34::-1])
    np.testing.assert_array_equal(test.attributes, data()[[4, 5, 18], 38:3:-1])


def test_place_does_not_matter(root: Path, tmp_path: Path, cache: Path) -> None:
    other = write(tmp_path / "run_12_c3" / "around" / "PETA")
    (other / "images" / "._00001.png").write_text("junk")
    for split in peta.SPLITS:
        here, there = (peta.load(folder, split, cache=cache) for folder in (root, other.parent.parent))
        assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": data()[:, :108]}, "data has the shape 20 x 108, not N x 109"),
        ({"attribute": cells(NAMES[:35])}, "attribute holds 35 texts instead of 105"),
        ({"selected_attribute": np.arange(4, 39.0)[None]}, "selected_attribute holds 35 columns from 4 on"),
        ({"selected_attribute": np.arange(5, 39.0)[None]}, "selected_attribute holds 34 columns from 5 on"),
        ({"selected_attribute": np.zeros((1, 0))}, "selected_attribute holds 0 columns."),
        ({"data": np.where(np.arange(109) == 1, np.nan, data())}, "the persons (column 2 of data) has nan in row 1"),
        ({"selected_attribute": np.arange(80, 115.0)[None]}, "has rows from 80 to 114; there are rows 1 to 109"),
        (
            {"partion_attribute": cells([one(**RANDOM | {"test": [0, 5]})] * 5)},
            "has rows from 0 to 5; there are rows 1",
        ),
        ({"partion_attribute": cells([one(**RANDOM | {"test": [21]})] * 5)}, "from 21 to 21; there are rows 1 to 20"),
        ({"partion_attribute": cells([one(**RANDOM | {"test": [1.5]})] * 5)}, "holds no row numbers"),
        ({"partion_attribute": cells([one(train=[1], test=[2])] * 5)}, "partition 1 has the fields train, test"),
        ({"partion_attribute": cells([one(**RANDOM | {"test": [1, 5]})] * 5)}, "1 images of PETA are in a split twice"),
    ],
)
def test_a_wrong_mat(root: Path, cache: Path, changes: dict[str, Any], message: str) -> None:
    write(root, **changes)
    with pytest.raises(DataError) as error:
        peta.load(root, "test", cache=cache)
    assert message in error.value.message
    assert error.value.hint
    report = peta.verify(root)
    assert report.level == "mismatch"
    assert error.value.message in report.problems


def test_a_label_that_is_neither_0_nor_1(root: Path, cache: Path) -> None:
    values = data()
    values[6, 4 + 2] = 2
    write(root, data=values)
    with pytest.raises(DataError, match="has the label 2 for attribute2 in row 7"):
        peta.load(root, "test", cache=cache)


def test_a_mat_of_another_set(root: Path, cache: Path) -> None:
    content = struct()
    content["partition_attribute"] = content.pop("partion_attribute")
    write_mat(root / "PETA.mat", {"peta": content})
    with pytest.raises(DataError, match=r"peta has the fields .*partition_attribute; expected also partion_attribute"):
        peta.load(root, "test", cache=cache)
    write_mat(root / "PETA.mat", {"peta": np.eye(3)})
    with pytest.raises(DataError, match="peta is no struct; expected also data"):
        peta.load(root, "test", cache=cache)


def test_verify(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = peta.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    leak = "share of test images whose person is in train, too, by partition: 33.3 %, 0.0 %, 0.0 %, 0.0 %, 0.0 %"
    assert leak in report.notes
    assert report.found["all"] == {"images": 8, "attributes": 35, "persons": 4}
    assert any(note.startswith("val: the same label in every image") for note in report.notes)
    monkeypatch.setattr(peta, "CARD", replace(peta.CARD, counts=report.found))
    assert peta.verify(root).level == "exact"
    values = data()
    values[:, 0] = 7
    write(root, data=values)
    assert "the image numbers in data are not 1, 2, 3 ...: the row tells the file" in peta.verify(root).notes
    (root / "images" / "00011.png").unlink()
    assert "1 of 20 images are missing" in peta.verify(root).problems[0]


def test_pickles_are_not_opened(root: Path) -> None:
    (root / "PETA.mat").rename(root / "dataset_all.pkl")
    with pytest.raises(DataError, match=r"dataset_all\.pkl is a pickle"):
        peta.verify(root)


def test_split_by_persons(root: Path, cache: Path) -> None:
    splits = {split: peta_persons.load(root, split, cache=cache) for split in ("train", "val", "test")}
    persons = {split: set(samples.identity.tolist()) for split, samples in splits.items()}  # type: ignore[union-attr]
    assert persons == {"train": {100, 102, 103, 105, 107}, "val": {109}, "test": {101, 104, 106, 108}}
    assert [len(samples) for samples in splits.values()] == [10, 2, 8]
    assert not splits["test"].slices["person_in_train"].any()
    assert splits["test"].name == "peta-persons test"
    report = peta_persons.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found == {"all": {"images": 20, "attributes": 35, "persons": 10}}


def test_shares_of_the_split_by_persons() -> None:
    rows = peta_persons.person_rows(np.arange(8699, dtype=np.int64)[::-1])
    assert [len(rows[split]) for split in ("train", "val", "test")] == [4350, 869, 3480]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(8699))


def test_zero_shot_needs_row_numbers(root: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"There is no .*zero_shot\.json") as error:
        peta_zs.load(root, "test", cache=cache)
    assert "hcbench opens none" in error.value.hint
    assert peta_zs.verify(root).problems == (error.value.message,)


def test_zero_shot(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "zero_shot.json").write_text(json.dumps(BY_PERSON | {"weight_train": []}))
    test = peta_zs.load(root, "test", cache=cache)
    assert test.ids.tolist() == [f"images/0000{n}.png" for n in (7, 8, 9)]
    assert test.name == "peta-zs test"
    report = peta_zs.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    full = peta_zs.CARD.counts | {"all": report.found["all"]}
    monkeypatch.setattr(peta_zs, "CARD", replace(peta_zs.CARD, counts=full))
    report = peta_zs.verify(root)
    assert report.level == "exact"
    assert "train: 4 images, 11,241 reported elsewhere (not verified)" in report.notes


def test_the_command_that_turns_a_pickle_into_row_numbers(root: Path, tmp_path: Path, cache: Path) -> None:
    index = tmp_path / "index.pkl"
    index.write_bytes(pickle.dumps({key: np.array(rows) for key, rows in BY_PERSON.items()}))
    command = attribute_files.ZERO_SHOT_HELP.split("folder of images:\n")[1].replace("\\\n", "")
    _, *arguments = shlex.split(command.replace("INDEX.pkl", str(index)))
    subprocess.run([sys.executable, *arguments], cwd=root, check=True)
    assert len(peta_zs.load(root, "train", cache=cache)) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as json"),
        ("[]", "holds no object"),
        ('{"train_idx": [], "val_idx": []}', "holds train_idx, val_idx"),
        (json.dumps(BY_PERSON | {"val_idx": 3}), "val_idx is no list of row numbers from 0 to 19"),
        (json.dumps(BY_PERSON | {"val_idx": [20]}), "val_idx is no list of row numbers from 0 to 19"),
        (json.dumps(BY_PERSON | {"val_idx": [4.0]}), "val_idx is no list of row numbers from 0 to 19"),
        (
            json.dumps(BY_PERSON | {"val_idx": [0]}),
            "1 images of PETAzs are in a split twice or in two of them: 00001.png",
        ),
    ],
)
def test_wrong_row_numbers(root: Path, cache: Path, content: str, message: str) -> None:
    (root / "zero_shot.json").write_text(content)
    with pytest.raises(DataError) as error:
        peta_zs.load(root, "test", cache=cache)
    assert message in error.value.message
    report = peta_zs.verify(root)
    assert report.level == "mismatch"
    assert error.value.message in report.problems


def test_a_zero_shot_split_that_shares_persons(root: Path) -> None:
    (root / "zero_shot.json").write_text(json.dumps(BY_PERSON | {"test_idx": [10], "train_idx": [11, 12]}))
    assert peta_zs.verify(root).problems == ("1 persons are in two splits: 105",)
