"""RAPv2 on a small mat in the official nesting: fields by name, uncertain labels; RAPzs on the same images."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mats import cells, write_mat
from pictures import write_pictures

from hcbench.data import rapv2, rapzs
from hcbench.errors import DataError

ROWS = 8
NAMES = [f"attribute{n}" for n in range(152)]
FILES = [f"CAM{row:02d}.png" for row in range(ROWS, 0, -1)]
SELECTED = list(range(2, 2 + 2 * 54, 2))
"""Every second column, counted from 1."""
PARTS = {"train": [1, 2, 5, 6], "val": [3], "test": [4, 8]}


def data() -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 2, (ROWS, 152)).astype(np.float64)
    values[3, 1], values[0, 3], values[2, 0] = 2, 2, 2  # the last one is not scored
    return values


def one(**rows: list[int]) -> dict[str, np.ndarray]:
    return {f"{split}_index": np.array([numbers], np.float64) for split, numbers in rows.items()}


def struct(**changes: Any) -> dict[str, Any]:
    return {
        "name": cells(FILES),
        "attribute": cells(NAMES),
        "data": data(),
        "selected_attribute": np.array([SELECTED], np.float64),
        "partition_attribute": cells([one(**PARTS)] + [one(train=[1], val=[2], test=[n]) for n in range(3, 7)],
                                     across=True),
        "person_identity": np.full((ROWS, 1), -1.0),
    } | changes  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    write_mat(folder / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": struct(**changes)})
    write_pictures(folder / "RAP_dataset", FILES)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "RAP2")


def test_the_mat_is_nested_as_the_official_one(root: Path) -> None:
    """The very expressions that the field's code reads the official mat with."""
    from scipy.io import loadmat

    raw = loadmat(root / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"]
    assert raw["name"][0][0][3][0][0] == FILES[3]
    assert raw["attribute"][0][0][151][0][0] == "attribute151"
    assert (raw["selected_attribute"][0][0][0] - 1)[:2].tolist() == [1, 3]
    part = raw["partition_attribute"][0][0][0][0]
    assert (part["test_index"][0][0][0] - 1).tolist() == [3, 7]


def test_load(root: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hcbench"):
        train, val, test = (rapv2.load(root, split, cache=cache) for split in ("train", "val", "test"))
    columns = [number - 1 for number in SELECTED]
    assert test.ids.tolist() == ["RAP_dataset/CAM01.png", "RAP_dataset/CAM05.png"]
    assert test.attribute_names == tuple(NAMES[column] for column in columns)
    expected = np.where(data() == 2, 0, data())[:, columns]
    np.testing.assert_array_equal(test.attributes, expected[[7, 3]])
    np.testing.assert_array_equal(val.attributes, expected[[2]])
    np.testing.assert_array_equal(train.attributes, expected[[5, 4, 1, 0]])
    assert "2 of 432 scored labels are uncertain (2) and count as 0" in caplog.text
    assert train.known() == rapv2.CARD.fields
    assert rapv2.load(root, "test", cache=cache, partition=2).ids.tolist() == [f"RAP_dataset/{FILES[2]}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": data()[:, :92]}, "data has the shape 8 x 92, not N x 152"),
        ({"data": data() + 2}, "has the label 3 for attribute"),
        ({"selected_attribute": np.array([SELECTED[:53]], np.float64)}, "selected_attribute holds 53 columns"),
        ({"name": cells(FILES[:4])}, "name holds 4 texts instead of 8"),
        ({"partition_attribute": cells([one(**PARTS | {"val": [9]})] * 5, across=True)}, "from 9 to 9; there are rows"),
        ({"partition_attribute": np.zeros((1, 5))}, "partition_attribute has no partition 1; it has 0"),
        ({"partition_attribute": cells([np.zeros(1)] * 5)}, "partition 1 has no fields"),
    ],
)
def test_a_wrong_mat(root: Path, cache: Path, changes: dict[str, Any], message: str) -> None:
    write(root, **changes)
    with pytest.raises(DataError) as error:
        rapv2.load(root, "test", cache=cache)
    assert message in error.value.message
    report = rapv2.verify(root)
    assert (report.level, report.problems) == ("mismatch", (error.value.message,))


def test_the_mat_of_the_other_version(root: Path, cache: Path) -> None:
    write_mat(root / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": {"partion": 1, "label": 2}})
    with pytest.raises(DataError, match="has the fields partion, label; expected also name, attribute, data") as error:
        rapv2.load(root, "test", cache=cache)
    assert "another dataset or version" in error.value.hint


def test_verify(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = rapv2.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert "2 of 432 scored labels are uncertain (2) and count as 0" in report.notes
    assert report.found["train"] == {"images": 4, "attributes": 54}
    monkeypatch.setattr(rapv2, "CARD", replace(rapv2.CARD, counts=report.found))
    assert rapv2.verify(root).level == "exact"


def test_rapzs(root: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"There is no .*zero_shot\.json"):
        rapzs.load(root, "test", cache=cache)
    assert rapzs.verify(root).level == "mismatch"
    rows = {"train_idx": [0, 1], "val_idx": [2], "test_idx": [3, 4]}
    (root / "zero_shot.json").write_text(json.dumps(rows))
    test = rapzs.load(root, "test", cache=cache)
    names = [NAMES[number - 1] for number in SELECTED]
    assert test.attribute_names == tuple(names[:4] + names[5:])
    assert test.attributes is not None
    assert test.attributes.shape == (2, 53)
    expected = np.where(data() == 2, 0, data())[[4, 3]][:, [number - 1 for number in SELECTED if number != 10]]
    np.testing.assert_array_equal(test.attributes, expected)
    report = rapzs.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found["all"] == {"images": 5, "attributes": 53}


def test_the_card_adds_up() -> None:
    assert sum(counts["images"] for counts in rapv2.CARD.counts.values()) == 84_928
    *parts, whole = (counts["images"] for counts in rapzs.CARD.counts.values())
    assert sum(parts) == whole
