"""LUPerson as folders and as LMDB, LUPerson-NL with labels out of keys, and pickles that nobody opens unasked."""

from __future__ import annotations

import io
import os
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import stand_in_lmdb
from image_tree import colour, colours, expected_colours, write_images, write_junk
from PIL import Image

from hcbench.data import luperson, luperson_nl
from hcbench.data.formats import pretraining
from hcbench.errors import DataError

NAMES = ["b_2.jpg", "a_10.jpg", "a_9.jpg"]
KEYS = ["00012_7_000345", "00012_7_000346", "00003_7_000001", "00012_10_000345"]


def load(module, root, tmp_path, **more):
    return module.load(root, "train", height=16, width=8, cache=tmp_path / "cache", **more)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """An LMDB in `lup/lmdb`, and what it was opened with."""
    content = {"__len__": b"4"}
    for key in KEYS:
        with io.BytesIO() as file:
            Image.new("RGB", (8, 16), colour(key)).save(file, "JPEG", quality=95)
            content[key] = file.getvalue()
    settings: list = []
    monkeypatch.setitem(sys.modules, "lmdb", stand_in_lmdb.module(content, settings))
    (tmp_path / "lup" / "lmdb").mkdir(parents=True)
    (tmp_path / "lup" / "lmdb" / "data.mdb").write_bytes(b"mdb")
    return settings


@pytest.mark.parametrize(
    ("around", "folder"),
    [("", "images/"), ("", "images/0/"), ("", "LUPerson-data/"), ("", ""), ("LUPerson-v1/", "images/"),
     ("LUPerson-v1/", "LUPerson-data/")],
)  # fmt: skip
def test_folders(tmp_path, around, folder):
    base = tmp_path / "run_12_c3" / "lup"
    write_images(base / around, [f"{folder}{name}" for name in NAMES])
    write_junk(base / around / folder)
    samples = load(luperson, base, tmp_path)
    assert samples.ids.tolist() == [f"{folder}{name}" for name in sorted(NAMES)]
    assert samples.known() == {"images"}
    expected = expected_colours(samples.ids)
    np.testing.assert_allclose(colours(samples.images[:]), expected, atol=4)
    np.testing.assert_allclose(colours(samples.images[np.array([2, 0])]), expected[[2, 0]], atol=4)
    assert [row for batch in luperson.index(base, "train") for row in batch["image_path"]] == [
        f"{around}{name}" for name in samples.ids
    ]
    assert luperson.verify(base).found == {"train": {"images": 3}}


def test_the_listing_is_made_once_and_again_when_a_file_comes(tmp_path, monkeypatch):
    base = tmp_path / "lup"
    write_images(base, [f"images/{name}" for name in NAMES])
    first = load(luperson, base, tmp_path)
    assert isinstance(first.ids, np.memmap)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: pytest.fail(f"{path} was listed again"))
        assert load(luperson, base, tmp_path).fingerprint == first.fingerprint
    write_images(base, ["images/c.jpg"])
    os.utime(base / "images", ns=(1, 1))  # a clock so coarse that both writes are one tick must not matter here
    second = load(luperson, base, tmp_path)
    assert len(second) == 4
    assert second.fingerprint != first.fingerprint
    (base / "images/c.jpg").unlink()
    assert load(luperson, base, tmp_path).fingerprint == first.fingerprint


def test_the_same_images_elsewhere_are_the_same_samples(tmp_path):
    for place in ("one", "two/LUPerson"):
        write_images(tmp_path / place, [f"images/{name}" for name in NAMES])
    one, two = load(luperson, tmp_path / "one", tmp_path), load(luperson, tmp_path / "two", tmp_path)
    assert one.fingerprint == two.fingerprint


def test_verify_looks_at_some_and_says_so(tmp_path, monkeypatch):
    write_images(tmp_path / "lup", [f"images/{name}" for name in NAMES])
    report = luperson.verify(tmp_path / "lup")
    assert report.level == "subset"
    assert "images 3/4,180,243" in report.text()
    (tmp_path / "lup/images/a_10.jpg").write_bytes(b"")
    assert luperson.verify(tmp_path / "lup").problems[0].startswith("1 of 3 images cannot be decoded: ")
    monkeypatch.setattr(pretraining, "CHECKED", 2)
    monkeypatch.setattr(luperson, "CARD", replace(luperson.CARD, counts={"train": {"images": 3}}))
    assert "2 of 3 images were decoded, evenly spread" in luperson.verify(tmp_path / "lup").text()


def test_a_broken_image_is_named_when_it_is_asked_for(tmp_path):
    write_images(tmp_path / "lup", [f"images/{name}" for name in NAMES])
    samples = load(luperson, tmp_path / "lup", tmp_path)
    (tmp_path / "lup/images/a_9.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a_9\.jpg cannot be decoded"):
        samples.images[[0, 1]]
    (tmp_path / "lup/images/a_9.jpg").unlink()
    with pytest.raises(DataError, match=r"a_9\.jpg cannot be read"):
        samples.images[1]
    with pytest.raises(IndexError, match=r"3\.\.3 of 3 images"):
        samples.images[3]


def test_what_is_no_luperson_is_refused(tmp_path):
    (tmp_path / "lup" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="images holds no image"):
        load(luperson, tmp_path / "lup", tmp_path)
    assert luperson.verify(tmp_path / "lup").level == "mismatch"
    with pytest.raises(DataError, match="has no split 'val'"):
        luperson.load(tmp_path / "lup", "val", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="lies inside the dataset"):
        luperson.load(tmp_path / "lup", "train", cache=tmp_path / "lup" / "cache")
    (tmp_path / "lup" / "images").rename(tmp_path / "lup" / "pictures")
    with pytest.raises(DataError, match="is not LUPerson: it holds pictures"):
        load(luperson, tmp_path / "lup", tmp_path)


def test_an_lmdb_is_read_by_its_keys(tmp_path, opened):
    samples = load(luperson, tmp_path / "lup", tmp_path)
    assert samples.ids.tolist() == sorted(KEYS)
    np.testing.assert_allclose(colours(samples.images[:]), expected_colours(sorted(KEYS)), atol=4)
    assert all(
        one == {"subdir": True, "readonly": True, "lock": False, "readahead": False, "meminit": False} for one in opened
    )
    # Each process opens its own; an open one cannot be sent.
    copy = pickle.loads(pickle.dumps(samples.images))
    np.testing.assert_array_equal(copy[[1]], samples.images[[1]])
    assert len(opened) == 3  # listing, first read, read of the copy
    rows = [row for batch in luperson.index(tmp_path / "lup", "train") for row in batch["image_bytes"]]
    assert rows == [samples.images.source.encoded(row) for row in range(4)]


def test_noisy_labels_are_persons_within_a_video(tmp_path, opened):
    samples = load(luperson_nl, tmp_path / "lup", tmp_path)
    assert samples.ids.tolist() == ["00003_7_000001", "00012_10_000345", "00012_7_000345", "00012_7_000346"]
    # Person 7 of video 3 is not person 7 of video 12.
    assert samples.identity.tolist() == samples.group.tolist() == [0, 2, 1, 1]
    batches = list(luperson_nl.index(tmp_path / "lup", "train"))
    assert [value for batch in batches for value in batch["identity"]] == [0, 2, 1, 1]
    report = luperson_nl.verify(tmp_path / "lup")
    assert report.level == "subset"
    assert "images 4/10,683,716, identities 3/433,997" in report.text()


class Bomb:
    """Would leave a file behind when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_opened_only_for_those_who_trust_it(tmp_path, opened, caplog):
    caplog.set_level("INFO", logger="hcbench")
    root, keys = tmp_path / "lup", tmp_path / "lup" / "keys.pkl"
    keys.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert load(luperson_nl, root, tmp_path).identity.tolist() == [0, 2, 1, 1]
    assert "it was not opened" in caplog.text
    assert "it was not opened" in luperson_nl.verify(root).text()
    assert "nothing needs it" in luperson.verify(root).text()
    with pytest.raises(DataError, match=r"holds (posix|nt)\.mkdir"):
        load(luperson_nl, root, tmp_path, trust_pickle=True)
    assert luperson_nl.verify(root, trust_pickle=True).level == "mismatch"
    assert not (tmp_path / "exploded").exists()
    keys.write_bytes(pickle.dumps({"keys": KEYS, "pids": [70, 70, 50, 90]}))
    samples = load(luperson_nl, root, tmp_path, trust_pickle=True)
    assert samples.identity.tolist() == [0, 2, 1, 1]
    assert samples.ids.tolist() == sorted(KEYS)


def test_numbers_of_a_pickle_that_restart_are_persons_within_a_video(tmp_path, opened, caplog):
    caplog.set_level("INFO", logger="hcbench")
    root, keys = tmp_path / "lup", tmp_path / "lup" / "keys.pkl"
    keys.write_bytes(pickle.dumps({"keys": KEYS, "pids": [7, 7, 7, 10]}))
    # Person 7 of video 3 is not person 7 of video 12.
    assert load(luperson_nl, root, tmp_path, trust_pickle=True).identity.tolist() == [0, 2, 1, 1]
    told = "the 2 numbers of keys.pkl restart in each video: labels are 3 (video, person)"
    assert told in caplog.text
    report = luperson_nl.verify(root, trust_pickle=True)
    assert told in report.notes
    assert report.found["train"]["identities"] == 3


def test_numbers_of_a_pickle_stand_where_keys_do_not_tell_the_video(tmp_path, opened, monkeypatch):
    content = {key: b"" for key in ("abc", KEYS[0])}
    monkeypatch.setitem(sys.modules, "lmdb", stand_in_lmdb.module(content, opened))
    root = tmp_path / "lup"
    (root / "keys.pkl").write_bytes(pickle.dumps({"keys": list(content), "pids": [7, 7]}))
    assert load(luperson_nl, root, tmp_path, trust_pickle=True).identity.tolist() == [0, 0]
    assert "taken for persons as they stand" in luperson_nl.verify(root, trust_pickle=True).text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"keys": KEYS, "pids": [1]}), "two lists of one length"),
        (pickle.dumps({"keys": KEYS, "vids": [1] * 4}), "two lists of one length"),
        (pickle.dumps({"keys": ["00001_1_1"], "pids": [1]}), "1 of 1 keys .* not in the LMDB"),
        (b"no pickle", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_trusted_pickle_must_fit(tmp_path, opened, content, message):
    (tmp_path / "lup" / "keys.pkl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(luperson_nl, tmp_path / "lup", tmp_path, trust_pickle=True)


def test_keys_of_another_form_are_refused(tmp_path, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", stand_in_lmdb.module({"abc": b"", KEYS[0]: b""}, opened))
    with pytest.raises(DataError, match=r"1 of 2 keys .* do not say video and person: abc") as error:
        load(luperson_nl, tmp_path / "lup", tmp_path)
    assert "--trust-pickle" in error.value.hint
    assert "trust_pickle=True" in error.value.hint


def test_without_lmdb_the_way_out_is_named(tmp_path, opened, monkeypatch):
    (tmp_path / "lup" / "lmdb" / "data.mdb").write_bytes(b"else")
    with pytest.raises(DataError, match="cannot be opened as an LMDB: MDB_INVALID"):
        load(luperson, tmp_path / "lup", tmp_path)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    for module in (luperson, luperson_nl):
        with pytest.raises(DataError, match="the package lmdb is not installed") as error:
            load(module, tmp_path / "lup", tmp_path)
        assert "hcbench[readers]" in error.value.hint
    (tmp_path / "lup" / "lmdb" / "data.mdb").unlink()
    with pytest.raises(DataError, match=r"data\.mdb is missing"):
        load(luperson, tmp_path / "lup", tmp_path)


def test_a_real_lmdb(tmp_path, opened, monkeypatch):
    content = {
        key: load(luperson, tmp_path / "lup", tmp_path).images.source.encoded(k) for k, key in enumerate(sorted(KEYS))
    }
    monkeypatch.delitem(sys.modules, "lmdb")
    lmdb = pytest.importorskip("lmdb")
    (tmp_path / "real").mkdir()
    with lmdb.open(str(tmp_path / "real" / "lmdb"), map_size=1 << 20) as file, file.begin(write=True) as transaction:
        for key, value in content.items():
            transaction.put(key.encode(), value)
    samples = load(luperson_nl, tmp_path / "real", tmp_path)
    assert samples.identity.tolist() == [0, 2, 1, 1]
    np.testing.assert_allclose(colours(samples.images[:]), expected_colours(sorted(KEYS)), atol=4)
