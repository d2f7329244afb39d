"""Market-1501 on a small tree in the official layout, with everything in it that has tripped people."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_tree import colours, expected_colours, write_images, write_junk
from scipy.io import savemat

from hcbench.benchmarks.metrics.reid import rank_metrics
from hcbench.data import market1501
from hcbench.data.formats.identity_attributes.files import MARKET, NAMES
from hcbench.data.formats.market_files import FOLDERS
from hcbench.data.formats.reid_splits import SPLITS
from hcbench.errors import DataError

# Twelve persons of training with two images each; written in an order that is not sorted.
TRAIN = [f"bounding_box_train/{pid:04d}_c{cam}s1_000{pid:03d}_01.jpg" for pid in range(24, 0, -2) for cam in (6, 1)]
QUERY = ["query/0005_c2s1_000001_00.jpg", "query/0003_c1s1_000001_00.jpg", "query/0007_c1s1_000009_00.jpg"]
GALLERY = [
    "bounding_box_test/0005_c1s1_000001_01.jpg",
    "bounding_box_test/0003_c3s2_000001_02.jpg",
    "bounding_box_test/0003_c1s1_000007_01.jpg",
    "bounding_box_test/0000_c1s1_000001_01.jpg",
    "bounding_box_test/0007_c1s1_000001_01.jpg",
]
JUNK = ["bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/-1_c4s1_000401_03.jpg"]


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "Market"
    write_images(made, [*GALLERY, *TRAIN, *JUNK, *QUERY])
    write_junk(*(made / folder for folder in FOLDERS))
    return made


def write_mat(path, *, train=range(2, 25, 2), test=(3, 5, 7), **changes):
    """The official struct, with another order of fields in each part; the red of person 3 is missing."""

    def part(people, names):
        people = list(people)
        fields = {name: np.ones(len(people), np.uint8) for name in names}
        fields["age"] = np.array([1 + person % 4 for person in people], np.uint8)
        fields["gender"] = np.array([1 + person % 2 for person in people], np.uint8)
        for start in ("up", "down"):
            fields[f"{start}black"] = np.array([1 if person == 3 else 2 for person in people], np.uint8)
        return fields | {"image_index": np.array([f"{person:04d}" for person in people], object)}

    tables = {
        "train": part(train, [*MARKET.binary, "age"]),
        "test": part(test, sorted([*MARKET.binary, "age"], reverse=True)),
    }
    for name, value in changes.items():
        if value is None:
            del tables["test"][name]
        else:
            tables["test"][name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"market_attribute": tables})


def load(root, split, tmp_path):
    return market1501.load(root, split, height=16, width=8, cache=tmp_path / "cache")


def test_splits_hold_the_right_files_in_order(root, tmp_path):
    trainval, query, gallery = (load(root, split, tmp_path) for split in ("trainval", "query", "gallery"))
    assert trainval.ids.tolist() == sorted(TRAIN)
    assert query.ids.tolist() == sorted(QUERY)
    assert gallery.ids.tolist() == sorted(GALLERY)
    for samples in (trainval, query, gallery):
        np.testing.assert_allclose(colours(samples.images[:]), expected_colours(samples.ids), atol=4)
        assert samples.known() - {"query"} == {"images", "identity", "camera"}
    assert trainval.query is None


def test_persons_and_cameras(root, tmp_path):
    trainval, query, gallery = (load(root, split, tmp_path) for split in ("trainval", "query", "gallery"))
    assert trainval.identity.tolist() == np.repeat(np.arange(12), 2).tolist()
    assert trainval.camera.tolist() == [0, 5] * 12
    assert query.identity.tolist() == [3, 5, 7]
    assert query.camera.tolist() == [0, 1, 0]
    # 0000 stays and matches nobody; -1 is gone.
    assert gallery.identity.tolist() == [-1, 3, 3, 5, 7]
    assert gallery.camera.tolist() == [0, 0, 2, 0, 0]


def test_the_test_split_is_query_and_gallery(root, tmp_path):
    test, query, gallery = (load(root, split, tmp_path) for split in ("test", "query", "gallery"))
    assert test.ids.tolist() == [*query.ids, *gallery.ids]
    assert test.query.tolist() == [True] * 3 + [False] * 5
    assert query.query.all()
    assert not gallery.query.any()
    assert test.name == "market1501 test"
    others = (query, load(root, "trainval", tmp_path))
    assert (test.left_out, gallery.left_out, *(one.left_out for one in others)) == (2, 2, 0, 0)


def test_validation_persons_are_others_than_those_of_training(root, tmp_path):
    train, val, trainval = (load(root, split, tmp_path) for split in ("train", "val", "trainval"))
    assert sorted([*train.ids, *val.ids]) == trainval.ids.tolist()
    assert {name.split("/")[1][:4] for name in val.ids} == {"0020"}  # the tenth of twelve
    assert np.unique(train.identity).tolist() == list(range(11))
    assert np.unique(val.identity).tolist() == [11]
    assert len({samples.fingerprint for samples in (train, val, trainval)}) == 3


def test_neither_place_nor_order_nor_twins_change_a_sample(root, tmp_path):
    moved = tmp_path / "run_12_c3" / "market1501" / "Market-1501-v15.09.15"
    for name in sorted([*GALLERY, *TRAIN, *JUNK, *QUERY]):
        (moved / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, moved / name)
    for split in SPLITS:
        first = load(root, split, tmp_path)
        second = market1501.load(moved.parent.parent, split, height=16, width=8, cache=tmp_path / "other")
        assert first.fingerprint == second.fingerprint
        assert first.ids.tolist() == second.ids.tolist()
        np.testing.assert_array_equal(first.identity, second.identity)
        np.testing.assert_array_equal(first.camera, second.camera)
        np.testing.assert_array_equal(first.images[:], second.images[:])


def test_verify_counts(root, monkeypatch):
    report = market1501.verify(root)
    assert report.level == "subset"
    assert report.found["gallery"] == {
        "images": 5, "identities": 3, "files": 7, "dropped": 2, "distractors": 1, "persons' images": 4,
    }  # fmt: skip
    text = report.text()
    assert "trainval: images 24/12,936, identities 12/751" in text
    assert "files 7/19,732, dropped 2/3,819, distractors 1/2,798" in text
    assert "1 queries have no match under another camera" in text
    assert "9 files of operating systems" in text
    assert "no market_attribute.mat" in text
    monkeypatch.setattr(market1501, "CARD", replace(market1501.CARD, counts=report.found))
    assert market1501.verify(root).level == "exact"
    monkeypatch.setattr(market1501, "CARD", replace(market1501.CARD, counts={**report.found, "query": {"images": 2}}))
    assert market1501.verify(root).problems == ("query: 3 images, more than the official 2",)


def test_verify_finds_damage_and_shared_persons(root):
    (root / GALLERY[0]).write_bytes(b"no image")
    write_images(root, ["bounding_box_train/0003_c1s1_000001_01.jpg"])
    report = market1501.verify(root)
    assert report.level == "mismatch"
    assert report.problems == (
        f"1 of 35 images cannot be decoded: {GALLERY[0]}",
        "1 persons are in training and test, the first is 3",
    )


def test_what_is_wrong_is_explained(root, tmp_path):
    with pytest.raises(DataError, match="Market-1501 has no split 'tests'") as error:
        load(root, "tests", tmp_path)
    assert "Did you mean 'test'" in error.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        market1501.load(root, "train", cache=root / "cache")
    (root / QUERY[0]).rename(root / "query" / "0005_c7s1_000001_00.jpg")
    with pytest.raises(DataError, match=r"1 of 3 names .* 0005_c7s1_000001_00.jpg") as error:
        load(root, "query", tmp_path)
    assert "0002_c1s1_000451_03.jpg" in error.value.hint
    shutil.rmtree(root / "query")
    with pytest.raises(DataError, match="is not Market-1501: it holds bounding_box_test, bounding_box_train") as error:
        load(root, "train", tmp_path)
    assert "gt_query/" in error.value.hint
    (root / "query").mkdir()
    with pytest.raises(DataError, match="query holds no image"):
        load(root, "train", tmp_path)


def test_too_few_persons_leave_nothing_to_validate_on(root, tmp_path):
    for name in TRAIN[:6]:
        (root / name).unlink()
    assert len(load(root, "train", tmp_path)) == 18
    with pytest.raises(DataError, match=r"leaves no image for val: it has 9 training persons"):
        load(root, "val", tmp_path)


def test_a_damaged_image_is_named(root, tmp_path):
    (root / TRAIN[3]).write_bytes(b"")
    with pytest.raises(DataError, match=TRAIN[3]):
        load(root, "train", tmp_path)


@pytest.mark.parametrize("place", ["market_attribute.mat", "Market-1501_Attribute/market_attribute.mat"])
def test_attributes_are_read_by_name(root, tmp_path, place):
    write_mat(root / place)
    trainval, test = load(root, "trainval", tmp_path), load(root, "test", tmp_path)
    assert trainval.attribute_names == test.attribute_names == NAMES
    assert trainval.attributes.dtype == np.int8
    column = {name: test.attributes[:, k].tolist() for k, name in enumerate(NAMES)}
    # Persons 3, 5, 7 of the queries, then 0000, 3, 3, 5, 7.
    assert column["gender"] == [1, 1, 1, -1, 1, 1, 1, 1]
    assert column["age4"] == [1, 0, 1, -1, 1, 1, 0, 1]
    assert column["age2"] == [0, 1, 0, -1, 0, 0, 1, 0]
    assert column["upblack"] == [0, 1, 1, -1, 0, 0, 1, 1]
    assert set(column["downpurple"]) == {0, -1}
    assert (trainval.attributes[:, NAMES.index("gender")] == 0).all()
    notes = "\n".join(market1501.verify(root).notes)
    assert "3 persons in test" in notes
    assert "1 means female (gender)" in notes
    assert "downpurple" in notes
    assert "not exactly one upper and one lower colour in test: 0003" in notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hat": None}, "market_attribute.test has no hat"),
        ({"hat": np.array([1, 2], np.uint8)}, r"test.hat has the shape \(2,\)"),
        ({"hat": np.array([0, 1, 1], np.uint8)}, "the values 0, 1"),
        ({"age": np.array([1, 2, 5], np.uint8)}, "the values 1, 2, 5"),
    ],
)
def test_another_mat_is_refused(root, tmp_path, changes, message):
    write_mat(root / "market_attribute.mat", **changes)
    with pytest.raises(DataError, match=message):
        load(root, "test", tmp_path)
    assert market1501.verify(root).level == "mismatch"


def test_a_file_that_is_no_mat_is_refused(root, tmp_path):
    (root / "market_attribute.mat").write_text("no mat at all, but long enough to look for a header in it" * 9)
    with pytest.raises(DataError, match="cannot be read as a mat file"):
        load(root, "test", tmp_path)
    savemat(root / "market_attribute.mat", {"other": 1})
    with pytest.raises(DataError, match="holds other"):
        load(root, "test", tmp_path)


def test_a_set_like_the_golden_one_scores_as_it_does(tmp_path):
    """Files named after the golden persons and cameras: -1 is dropped and 0000 kept exactly as the protocol has it."""
    golden = np.load(Path(__file__).parents[1] / "golden" / "reid_junk.npz")

    def names(folder, part):
        rows = zip(golden[f"{part}_pids"].tolist(), golden[f"{part}_camids"].tolist(), strict=True)
        people = [(f"{pid:04d}" if pid >= 0 else "-1", camera + 1) for pid, camera in rows]
        return [f"{folder}/{pid}_c{camera}s1_{row:06d}_01.jpg" for row, (pid, camera) in enumerate(people)]

    base = tmp_path / "Market"
    write_images(base, [*TRAIN, *names("query", "q"), *names("bounding_box_test", "g")], size=(2, 4))
    test = market1501.load(base, "test", height=4, width=2, cache=tmp_path / "cache")
    is_query, row = test.query, np.array([int(name[-13:-7]) for name in test.ids])
    distance = golden["distmat"][row[is_query]][:, row[~is_query]]
    people, cameras = test.identity, test.camera
    found = rank_metrics(distance, people[is_query], people[~is_query], cameras[is_query], cameras[~is_query])
    np.testing.assert_allclose(found.mAP, golden["expected_junk_removed_mAP"], atol=1e-12)
    np.testing.assert_allclose(found.ap, golden["expected_junk_removed_AP_per_query"][row[is_query]], atol=1e-12)
    np.testing.assert_allclose(found.cmc[0], golden["expected_junk_removed_cmc1"], atol=1e-12)
