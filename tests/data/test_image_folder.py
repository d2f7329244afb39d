"""Any folder of images: what its sub-folders mean is the user's to say."""

from __future__ import annotations

import numpy as np
import pytest
from image_tree import colours, expected_colours, write_images, write_junk

from hcbench.data import image_folder
from hcbench.data.crops import cached_crops, whole_images
from hcbench.errors import DataError

NAMES = ["b/2.png", "a/10.jpg", "b/1.PNG", "a/deep/3.jpeg"]


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "pictures", NAMES)
    write_junk(tmp_path / "pictures", tmp_path / "pictures" / "a")
    (tmp_path / "pictures" / "__MACOSX").mkdir()
    (tmp_path / "pictures" / "a" / "notes.txt").write_text("none")
    return tmp_path / "pictures"


def load(root, tmp_path, **more):
    return image_folder.load(root, "train", height=16, width=8, cache=tmp_path / "cache", **more)


def test_sub_folders_mean_what_the_user_says(root, tmp_path):
    plain, group, person = (load(root, tmp_path, folders=what) for what in ("ignore", "group", "identity"))
    for samples in (plain, group, person):
        assert samples.ids.tolist() == sorted(NAMES)
        np.testing.assert_allclose(colours(samples.images[:]), expected_colours(sorted(NAMES)), atol=4)
    assert plain.known() == {"images"}
    assert group.known() == {"images", "group"}
    assert person.known() == {"images", "group", "identity"}
    assert group.group.tolist() == person.identity.tolist() == [0, 1, 2, 2]
    assert len({samples.fingerprint for samples in (plain, group, person)}) == 3
    assert plain.name == "pictures train"


def test_selections(root, tmp_path):
    images = load(root, tmp_path).images
    whole = images[:]
    np.testing.assert_array_equal(whole, cached_crops(whole_images(root, sorted(NAMES), 16, 8), tmp_path / "cache")[0])
    assert images.shape == whole.shape == (4, 3, 16, 8)
    np.testing.assert_array_equal(images[1], whole[1])
    np.testing.assert_array_equal(images[-1], whole[3])
    np.testing.assert_array_equal(images[1:3], whole[1:3])
    np.testing.assert_array_equal(images[np.array([True, False, True, False])], whole[[0, 2]])
    np.testing.assert_array_equal(images[np.array([[0], [3]])], whole[[[0], [3]]])
    assert images[np.zeros(0, np.int64)].shape == (0, 3, 16, 8)
    np.testing.assert_array_equal(load(root, tmp_path).subset(np.array([3, 1])).images[:], whole[[3, 1]])


def test_verify_counts(root):
    report = image_folder.verify(root)
    assert report.level == "exact"
    assert report.found == {"train": {"images": 4, "sub-folders": 3}}
    assert "7 files of operating systems" in report.text()
    (root / "a/10.jpg").write_bytes(b"")
    assert image_folder.verify(root).level == "mismatch"


def test_rows_of_a_manifest(root, monkeypatch):
    monkeypatch.setattr("hcbench.data.formats.pretraining.BATCH", 3)
    assert [batch["image_path"] for batch in image_folder.index(root, "train")] == [
        sorted(NAMES)[:3],
        sorted(NAMES)[3:],
    ]


def test_what_is_wrong_is_explained(root, tmp_path):
    write_images(root, ["bare.jpg"])
    assert len(load(root, tmp_path)) == 5
    with pytest.raises(DataError, match=r"1 of 5 images .* in no sub-folder: bare.jpg"):
        load(root, tmp_path, folders="group")
    with pytest.raises(DataError, match="cannot mean 'groups'") as error:
        load(root, tmp_path, folders="groups")
    assert "Did you mean 'group'" in error.value.hint
    with pytest.raises(DataError, match="is no folder"):
        load(root / "none", tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        image_folder.verify(root / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        load(tmp_path / "empty", tmp_path)
    assert image_folder.verify(tmp_path / "empty").level == "mismatch"


def test_a_damaged_index_is_made_again(root, tmp_path, caplog):
    first = load(root, tmp_path)
    (place,) = (tmp_path / "cache").glob("index-*")
    (place / "names.npy").write_bytes(b"\x93NUMPY")
    assert load(root, tmp_path).fingerprint == first.fingerprint
    assert "it is made again" in caplog.text
    assert not list((tmp_path / "cache").glob("*.part"))
