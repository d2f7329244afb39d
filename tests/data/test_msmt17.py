"""MSMT17 in its three forms: the lists count, and a number never means a person of training and one of the test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from image_tree import JUNK, colours, expected_colours, write_images, write_junk

from hcbench.data import msmt17
from hcbench.data.catalogue import training_split
from hcbench.errors import DataError

TRAIN = [
    f"{pid:04d}/{pid:04d}_{n:03d}_{cam:02d}_0303morning_0020_2.jpg" for pid in (2, 0, 1) for n, cam in ((1, 4), (2, 15))
]
VAL = ["0001/0001_007_01_0302noon_0001_0_ex.jpg"]
QUERY = ["0000/0000_001_01_0303afternoon_0020_2.jpg", "0001/0001_001_03_0303morning_0020_2.jpg"]
GALLERY = ["0001/0001_002_04_0303morning_0020_2.jpg", "0000/0000_002_02_0303morning_0020_2.jpg"]
LISTS = {"list_train.txt": TRAIN, "list_val.txt": VAL, "list_query.txt": QUERY, "list_gallery.txt": GALLERY}


def tree(base, *, version="V1", lists=LISTS):
    train, test = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
    write_images(base, [f"{train}/{name}" for name in (*TRAIN, *VAL)] + [f"{test}/{name}" for name in QUERY + GALLERY])
    write_junk(base / train / "0001")
    for name, files in lists.items():
        (base / name).write_text("".join(f"{file} {int(file[:4])}\n" for file in files))
    return base


def load(root, split, tmp_path):
    return msmt17.load(root, split, height=16, width=8, cache=tmp_path / "cache")


@pytest.mark.parametrize(("version", "folder"), [("V1", "test"), ("V2", "mask_test_v2")])
def test_lists_persons_and_cameras(tmp_path, version, folder):
    root = tree(tmp_path / "run_12_c3" / f"MSMT17_{version}", version=version).parent
    trainval, train, val = (load(root, split, tmp_path) for split in ("trainval", "train", "val"))
    assert len(train) == 6
    assert len(val) == 1
    assert trainval.identity.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert trainval.camera.tolist() == [3, 14, 3, 14, 0, 3, 14]
    # The owners' validation images show training persons, under the same numbers.
    assert val.identity.tolist() == [1]
    assert val.ids[0].endswith("_ex.jpg")
    assert (train.name, val.name) == (f"msmt17 {version} train (list_train)", f"msmt17 {version} val (list_val)")
    assert trainval.name == f"msmt17 {version} trainval (list_train and list_val)"
    assert training_split("msmt17") == "trainval", "what is pre-trained on"
    test = load(root, "test", tmp_path)
    assert test.name == f"msmt17 {version} test"
    assert test.ids.tolist() == [f"{folder}/{name}" for name in (*sorted(QUERY), *sorted(GALLERY))]
    assert test.identity.tolist() == [1041, 1042, 1041, 1042]
    assert test.camera.tolist() == [0, 2, 1, 3]
    assert not set(test.identity.tolist()) & set(trainval.identity.tolist())
    np.testing.assert_allclose(colours(test.images[:]), expected_colours(test.ids), atol=4)


def test_a_renamed_copy(tmp_path):
    names = ["bounding_box_train/0000_c1_0001.jpg", "bounding_box_train/0003_013_04_0303morning_0020_2.jpg",
             "query/0000_c15_1.jpg", "bounding_box_test/0000_c2_1.jpg"]  # fmt: skip
    write_images(tmp_path / "msmt", names)
    assert load(tmp_path / "msmt", "trainval", tmp_path).camera.tolist() == [0, 3]
    test = load(tmp_path / "msmt", "test", tmp_path)
    assert test.identity.tolist() == [1041, 1041]
    assert test.name == "msmt17 renamed test"
    assert "without list_val.txt" in msmt17.verify(tmp_path / "msmt").text()


def test_verify(tmp_path, monkeypatch):
    root = tree(tmp_path / "msmt")
    write_images(root, ["test/0009/0009_002_02_0303morning_0020_2.jpg"])
    report = msmt17.verify(root)
    assert report.level == "subset"
    assert "images 7/32,621, identities 3/1,041, images in list_train 6/30,248" in report.text()
    assert "1 images are in no list: test/0009/" in report.text()
    assert f"{len(JUNK)} files of operating systems (._*, .DS_Store ...) were left out" in report.notes
    monkeypatch.setattr(msmt17, "CARD", replace(msmt17.CARD, counts=report.found))
    monkeypatch.setattr(msmt17, "_SMALL_GALLERY", 2)
    report = msmt17.verify(root)
    assert report.level == "exact"
    assert "known variant" in report.text()
    (root / "train" / TRAIN[0]).unlink()
    report = msmt17.verify(root)
    assert report.level == "mismatch"
    assert report.problems == (f"1 of 11 images are missing: train/{TRAIN[0]}",)


def test_what_is_wrong_is_explained(tmp_path):
    root = tree(tmp_path / "msmt")
    (root / "list_val.txt").unlink()
    (root / "list_query.txt").unlink()
    with pytest.raises(DataError, match=r"has no list_val.txt, list_query.txt") as error:
        load(root, "train", tmp_path)
    assert "Copies without the lists circulate" in error.value.hint
    report = msmt17.verify(root)
    assert (report.level, report.found) == ("mismatch", {})
    assert report.problems == (f"{root} has no list_val.txt, list_query.txt.",)
    assert report.notes[0].startswith("Copies without the lists circulate")
    assert report.notes[1:3] == ("train/ holds 7 images", "test/ holds 4 images")
    assert "files of operating systems" in report.notes[3]
    tree(root)
    (root / "list_val.txt").write_text("0001/a.jpg\n")
    with pytest.raises(DataError, match=r"1 of 1 lines .* no path and number: 0001/a.jpg"):
        load(root, "train", tmp_path)
    (root / "list_val.txt").write_text("0001/a.jpg 1\n")
    with pytest.raises(DataError, match=r"1 of 1 names .* train/0001/a.jpg"):
        load(root, "train", tmp_path)
    tree(root, lists={**LISTS, "list_val.txt": TRAIN[:1]})
    with pytest.raises(DataError, match="listed twice"):
        load(root, "trainval", tmp_path)
    assert msmt17.verify(root).problems == (f"1 images are listed twice: train/{TRAIN[0]}",)
    tree(root, lists={**LISTS, "list_gallery.txt": [*GALLERY, "0000/0000_002_05_0303morning_0020_2.jpg"]})
    with pytest.raises(DataError, match=r"1 of 5 images .*/0000_002_05"):
        load(root, "test", tmp_path)
