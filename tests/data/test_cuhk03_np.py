"""CUHK03-NP: two kinds, three forms on disk; the raw mat through a stand-in of h5py's reading, and h5py where it is."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from image_tree import colours, expected_colours, write_images, write_junk
from scipy.io import savemat

from hcbench.data import cuhk03_np, cuhk03_np_labeled
from hcbench.errors import DataError

FILES = ["1_002_2_06.png", "1_001_1_01.png", "2_001_1_01.png", "1_001_2_07.png", "2_001_2_06.png", "1_002_1_02.png"]
LABELS = [2, 1, 44, 1, 44, 2]
INDICES = {"train_idx": [1, 2, 4, 6], "query_idx": [3], "gallery_idx": [5]}


def write_config(base, kind="detected", **changes):
    content = {
        "filelist": np.array(FILES, object)[:, None],
        "labels": np.array(LABELS, np.uint16)[:, None],
        **{name: np.array(rows, np.uint16)[:, None] for name, rows in INDICES.items()},
    } | changes
    base.mkdir(parents=True, exist_ok=True)
    savemat(base / f"cuhk03_new_protocol_config_{kind}.mat", content)


def extracted(base, kind="detected"):
    write_config(base, kind)
    write_images(base, [f"images_{kind}/{name}" for name in FILES])
    write_junk(base / f"images_{kind}")
    return base


def load(root, split, tmp_path):
    return cuhk03_np.load(root, split, height=16, width=8, cache=tmp_path / "cache")


def test_extracted_images(tmp_path):
    root = extracted(tmp_path / "x_c9" / "cuhk03").parent
    trainval, test = load(root, "trainval", tmp_path), load(root, "detected/test", tmp_path)
    assert trainval.ids.tolist() == [f"images_detected/{FILES[row]}" for row in (1, 3, 5, 0)]
    assert trainval.identity.tolist() == [0, 0, 1, 1]
    assert trainval.camera.tolist() == [0, 1, 0, 1]
    assert test.identity.tolist() == [44, 44]
    assert test.camera.tolist() == [0, 1]
    assert test.name == "cuhk03-np detected test"
    np.testing.assert_allclose(colours(test.images[:]), expected_colours(test.ids), atol=1)
    with pytest.raises(DataError, match="is not CUHK03"):
        load(root, "labeled/test", tmp_path)


def test_verify_of_one_and_both_kinds(tmp_path, monkeypatch):
    root = extracted(tmp_path / "cuhk03")
    report = cuhk03_np.verify(root)
    assert report.level == "subset"
    assert "detected/trainval: images 4/7,365, identities 2/767" in report.text()
    assert "labeled was not found" in report.text()
    extracted(root, "labeled")
    report = cuhk03_np.verify(root)
    assert len(report.found) == 6
    monkeypatch.setattr(cuhk03_np, "CARD", replace(cuhk03_np.CARD, counts=report.found))
    assert cuhk03_np.verify(root).level == "exact"
    (root / "images_labeled" / FILES[2]).write_bytes(b"")
    assert cuhk03_np.verify(root).problems == (f"labeled: 1 of 6 images cannot be decoded: images_labeled/{FILES[2]}",)


def test_boxes_drawn_by_hand_are_a_benchmark_of_their_own(tmp_path, monkeypatch):
    root = extracted(extracted(tmp_path / "cuhk03"), "labeled")
    cache = tmp_path / "cache"
    test = cuhk03_np_labeled.load(root, "labeled/test", height=16, width=8, cache=cache)
    assert test.fingerprint == load(root, "labeled/test", tmp_path).fingerprint
    for split in ("test", "detected/test"):  # would be the other benchmark's images
        with pytest.raises(DataError, match=r"boxes drawn by hand.* has no split") as error:
            cuhk03_np_labeled.load(root, split, cache=cache)
        assert "labeled/test" in error.value.hint
    report = cuhk03_np_labeled.verify(root)
    assert (report.dataset, report.level, len(report.found)) == ("cuhk03-np-labeled", "subset", 3)
    monkeypatch.setattr(cuhk03_np_labeled, "CARD", replace(cuhk03_np_labeled.CARD, counts=report.found))
    assert cuhk03_np_labeled.verify(root).level == "exact"


def test_copies_in_the_form_of_market(tmp_path):
    names = ["bounding_box_train/0001_c1_1.png", "bounding_box_train/0002_c2_10.png", "query/0768_c1_2.png",
             "bounding_box_test/0768_c2_7.png"]  # fmt: skip
    write_images(tmp_path / "cuhk03-np", [f"labeled/{name}" for name in names])
    test = load(tmp_path / "cuhk03-np", "labeled/test", tmp_path)
    assert (test.identity.tolist(), test.camera.tolist()) == ([768, 768], [0, 1])
    assert load(tmp_path / "cuhk03-np/labeled", "labeled/trainval", tmp_path).identity.tolist() == [0, 1]
    for root in (tmp_path / "cuhk03-np", tmp_path / "cuhk03-np/labeled"):
        with pytest.raises(DataError, match="holds the labeled images alone") as error:
            load(root, "test", tmp_path)
        assert "labeled/test" in error.value.hint
    write_images(tmp_path / "cuhk03", names)
    with pytest.raises(DataError, match="does not say whether"):
        load(tmp_path / "cuhk03", "test", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([1, 2])}, "6 files, 2 labels"),
        ({"labels": np.array([2, 1, np.nan, 1, 44, 2])}, "labels has nan in row 3"),
        ({"labels": np.array(["a"] * 6, object)}, "labels holds no numbers"),
        ({"train_idx": np.array([0, 1])}, "train_idx has rows from 0 to 1; there are rows 1 to 6"),
        ({"train_idx": np.array([1, 7])}, "train_idx has rows from 1 to 7; there are rows 1 to 6"),
        ({"query_idx": np.zeros((0, 1))}, "query_idx names no image"),
        ({"train_idx": np.array([1, 3])}, "images in two splits: 2_001_1_01.png"),
        ({"filelist": np.array([f"{k}.png" for k in range(6)], object)}, "say neither person nor camera"),
    ],
)
def test_another_protocol_is_refused(tmp_path, changes, message):
    root = extracted(tmp_path / "cuhk03")
    write_config(root, **changes)
    with pytest.raises(DataError, match=message):
        load(root, "train", tmp_path)


def test_a_mat_without_its_variables_is_refused(tmp_path):
    root = extracted(tmp_path / "cuhk03")
    savemat(root / "cuhk03_new_protocol_config_detected.mat", {"labels": [1]})
    with pytest.raises(DataError, match="has no train_idx"):
        load(root, "train", tmp_path)


def image_of(name):
    rng = np.random.default_rng(sum(name.encode()))
    return rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)


class StandIn(dict):
    """What h5py gives of the file: references are keys, every axis is the other way round, empty cells are (2,)."""

    opened = 0

    def __init__(self, path, mode):
        assert mode == "r"
        StandIn.opened += 1
        super().__init__({"empty": np.zeros(2, np.uint64), "detected": np.array([["pair1", "pair2"]], object)})
        for pair, persons in ((1, 2), (2, 1)):
            table = np.full((10, persons), "empty", object)
            for name in FILES:
                at, person, _, image = (int(part) for part in name.removesuffix(".png").split("_"))
                if at == pair:
                    table[image - 1, person - 1] = name
                    self[name] = image_of(name).T
            self[f"pair{pair}"] = table

    def close(self):
        pass


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=StandIn))
    write_config(tmp_path / "cuhk03")
    (tmp_path / "cuhk03" / "cuhk03_release").mkdir()
    (tmp_path / "cuhk03" / "cuhk03_release" / "cuhk-03.mat").write_bytes(b"HDF5")
    return tmp_path / "cuhk03"


def test_the_raw_mat_is_taken_out_into_the_cache_once(raw, tmp_path):
    before = sorted(raw.rglob("*"))
    test = cuhk03_np.load(raw, "test", height=20, width=10, cache=tmp_path / "cache")
    assert test.ids.tolist() == ["2_001_1_01.png", "2_001_2_06.png"]
    for image, name in zip(test.images[:], test.ids, strict=True):
        np.testing.assert_array_equal(image, image_of(str(name)).transpose(2, 0, 1))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")}
    assert len(written) == 6
    again = cuhk03_np.load(raw, "test", height=20, width=10, cache=tmp_path / "cache")
    assert again.fingerprint == test.fingerprint
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert sorted(raw.rglob("*")) == before
    assert cuhk03_np.verify(raw).level == "subset"


def test_an_empty_cell_is_named(raw, tmp_path):
    write_config(raw, filelist=np.array(["1_001_1_05.png", *FILES[1:]], object))
    with pytest.raises(DataError, match=r"detected image 1_001_1_05.png is uint64"):
        load(raw, "trainval", tmp_path)
    assert cuhk03_np.verify(raw).level == "mismatch"


def test_without_h5py_the_way_out_is_named(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="the package h5py is not installed") as error:
        load(raw, "test", tmp_path)
    assert "hcbench[readers]" in error.value.hint
    assert "h5py is not installed" in cuhk03_np.verify(raw).problems[0]


def test_a_real_hdf5_file(raw, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "h5py")
    h5py = pytest.importorskip("h5py")
    path = raw / "cuhk03_release" / "cuhk-03.mat"
    path.unlink()
    tables = StandIn(path, "r")
    with h5py.File(path, "w") as file:
        for name in (*FILES, "empty"):
            file[name] = tables[name]
        for key in ("pair1", "pair2", "detected"):
            refs = file.create_dataset(key, tables[key].shape, h5py.ref_dtype)
            for at, name in np.ndenumerate(tables[key]):
                refs[at] = file[name].ref
    test = cuhk03_np.load(raw, "test", height=20, width=10, cache=tmp_path / "real")
    np.testing.assert_array_equal(test.images[0], image_of("2_001_1_01.png").transpose(2, 0, 1))
