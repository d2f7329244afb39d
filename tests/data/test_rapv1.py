"""RAPv1 on a small mat in the official nesting: fields by place, no official validation split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mats import cells, write_mat
from pictures import write_pictures

from hcbench.data import rapv1
from hcbench.errors import DataError

ROWS = 14
NAMES = [f"attribute{n}" for n in range(92)]
FILES = [f"CAM{row % 3:02d}_line{row:02d}.png" for row in range(ROWS)]
TRAIN, TEST = list(range(12, 0, -1)), [13, 14]


def labels() -> np.ndarray:
    values = np.random.default_rng(5).integers(0, 2, (ROWS, 92)).astype(np.uint8)
    values[0, 60] = 2  # not scored
    return values


def one(train: list[int], test: list[int]) -> dict[str, np.ndarray]:
    return {"train_index": np.array([train], np.float64), "test_index": np.array([test], np.float64)}


def struct(**changes: Any) -> dict[str, Any]:
    """Fields in the official order; their names are those of the owners' description and are not looked at."""
    return {
        "partion": cells([one(TRAIN, TEST)] + [one([1, 2, 3], [14 - n]) for n in range(4)]),
        "label": labels(),
        "attribute_chinese": cells([f"属性{n}" for n in range(92)]),
        "attribute_eng": cells(NAMES),
        "position": np.zeros((ROWS, 16)),
        "imagesname": cells(FILES),
        "attribute_exp": cells(NAMES),
    } | changes


def write(folder: Path, **changes: Any) -> Path:
    write_mat(folder / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": struct(**changes)})
    write_pictures(folder / "RAP_dataset", FILES)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "RAP")


def test_the_mat_is_nested_as_the_official_one(root: Path) -> None:
    """The very expressions that the field's code reads the official mat with."""
    from scipy.io import loadmat

    raw = loadmat(root / "RAP_annotation" / "RAP_annotation.mat")["RAP_annotation"][0][0]
    assert raw[5][3][0][0] == FILES[3]
    assert raw[3][91][0][0] == "attribute91"
    assert raw[1].shape == (ROWS, 92)
    assert (raw[0][0][0][0][0][1][0, :] - 1).tolist() == [12, 13]


def test_load(root: Path, cache: Path) -> None:
    train, val, test = (rapv1.load(root, split, cache=cache) for split in ("train", "val", "test"))
    ordered = sorted(FILES[:12])
    assert val.ids.tolist() == [f"RAP_dataset/{ordered[9]}"]  # the 10th of the sorted training images
    assert train.ids.tolist() == [f"RAP_dataset/{file}" for file in ordered if file != ordered[9]]
    assert test.ids.tolist() == [f"RAP_dataset/{file}" for file in sorted(FILES[12:])]
    assert test.attribute_names == tuple(NAMES[:51])
    assert rapv1.load(root, "trainval", cache=cache).ids.tolist() == [f"RAP_dataset/{file}" for file in ordered]
    rows = [FILES.index(name.split("/")[1]) for name in train.ids]
    np.testing.assert_array_equal(train.attributes, labels()[rows, :51])
    assert train.known() == rapv1.CARD.fields
    third = rapv1.load(root, "test", cache=cache, partition=3)
    assert (third.ids.tolist(), third.name) == ([f"RAP_dataset/{FILES[12]}"], "rapv1 test, partition 3")


def test_place_does_not_matter(root: Path, tmp_path: Path, cache: Path) -> None:
    other = write(tmp_path / "run_12_c3" / "around" / "RAP")
    for split in rapv1.SPLITS:
        here, there = (rapv1.load(folder, split, cache=cache) for folder in (root, other.parent.parent))
        assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": labels()[:, :91]}, "the labels has the shape 14 x 91, not N x 92"),
        ({"label": labels() + 1}, "the labels has the label 2 for"),
        ({"attribute_eng": cells(NAMES[:51])}, "the attribute names holds 51 texts instead of 92"),
        ({"imagesname": cells(FILES[:5])}, "the image names holds 5 texts instead of 14"),
        ({"imagesname": cells([FILES[0]] * ROWS)}, "lists an image file more than once"),
        ({"partion": cells([one(TRAIN, [0])] * 5)}, "test of partition 1 has rows from 0 to 0; there are rows 1 to 14"),
        ({"partion": cells([one(TRAIN, [1])] * 5)}, "1 images of RAPv1 are in a split twice or in two of them"),
    ],
)
def test_a_wrong_mat(root: Path, cache: Path, changes: dict[str, Any], message: str) -> None:
    write(root, **changes)
    with pytest.raises(DataError) as error:
        rapv1.load(root, "test", cache=cache)
    assert message in error.value.message
    report = rapv1.verify(root)
    assert report.level == "mismatch"
    assert error.value.message in report.problems


def test_the_mat_of_the_other_version(root: Path, cache: Path) -> None:
    content = {name: np.zeros(1) for name in ("name", "attribute", "data", "selected_attribute", "a", "b")}
    write_mat(root / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": content})
    with pytest.raises(DataError, match="RAP_annotation has the fields name, attribute") as error:
        rapv1.load(root, "test", cache=cache)
    assert "That is RAPv2: give it as rapv2." in error.value.hint
    write_mat(root / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": np.eye(2)})
    with pytest.raises(DataError, match="RAP_annotation has no struct"):
        rapv1.load(root, "test", cache=cache)


def test_verify(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = rapv1.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found == {"trainval": {"images": 12, "attributes": 51}, "test": {"images": 2, "attributes": 51}}
    monkeypatch.setattr(rapv1, "CARD", replace(rapv1.CARD, counts=report.found))
    assert rapv1.verify(root).level == "exact"
    write(root, partion=cells([one(TRAIN, TEST)] * 4))
    assert "has no partition 5; it has 4" in rapv1.verify(root).problems[0]


def test_the_card_adds_up() -> None:
    assert sum(counts["images"] for counts in rapv1.CARD.counts.values()) == 41_585
