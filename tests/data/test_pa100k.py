"""PA-100K on a small tree; what the mat files of attribute sets have in common is tested here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mats import cells, write_mat
from pictures import write_pictures

from hcbench.data import pa100k
from hcbench.errors import DataError

NAMES = [
    "Female", "AgeOver60", "Age18-60", "AgeLess18", "Front", "Side", "Back", "Hat", "Glasses", "HandBag",
    "ShoulderBag", "Backpack", "HoldObjectsInFront", "ShortSleeve", "LongSleeve", "UpperStride", "UpperLogo",
    "UpperPlaid", "UpperSplice", "LowerStripe", "LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress",
    "boots",
]  # fmt: skip
SIZES = {"train": 4, "val": 1, "test": 3}
FILES = {"train": ["000004.jpg", "000002.jpg", "000003.jpg", "000001.jpg"], "val": ["000005.jpg"],
         "test": ["000006.jpg", "000008.jpg", "000007.jpg"]}  # fmt: skip


def labels(split: str) -> np.ndarray:
    return np.random.default_rng(len(split)).integers(0, 2, (SIZES[split], 26)).astype(np.uint8)


def content(**changes: Any) -> dict[str, Any]:
    mat = {"attributes": cells(NAMES)}
    for split, files in FILES.items():
        mat |= {f"{split}_images_name": cells(files), f"{split}_label": labels(split)}
    return mat | changes


def write(folder: Path, images: str = "data", annotation: str = "annotation.mat", **changes: Any) -> Path:
    write_mat(folder / annotation, content(**changes))
    write_pictures(folder / images, [file for files in FILES.values() for file in files])
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "PA-100K")


def test_load(root: Path, cache: Path) -> None:
    train = pa100k.load(root, "train", cache=cache)
    assert train.ids.tolist() == [f"data/00000{n}.jpg" for n in (1, 2, 3, 4)]
    assert train.attribute_names == tuple(NAMES)
    assert train.attributes is not None
    assert train.attributes.dtype == np.int8
    np.testing.assert_array_equal(train.attributes, labels("train")[[3, 1, 2, 0]])
    assert train.images.shape == (4, 3, 128, 64)
    assert train.known() == pa100k.CARD.fields
    val = pa100k.load(root, "val", height=32, width=16, cache=cache)
    assert val.name == "pa100k val"
    np.testing.assert_array_equal(val.attributes, labels("val"))  # a single row has not lost its shape
    test = pa100k.load(root, "test", cache=cache)
    np.testing.assert_array_equal(test.attributes, labels("test")[[0, 2, 1]])
    assert pa100k.load(root, "trainval", cache=cache).ids.tolist() == [f"data/00000{n}.jpg" for n in range(1, 6)]
    assert pa100k.annotation_files(root) == (root / "annotation.mat",)


@pytest.mark.parametrize(
    ("images", "annotation"),
    [
        ("data", "annotation/annotation.mat"),
        ("release_data/release_data", "annotation.mat"),
        ("release_data", "annotation.mat"),
        ("data/release_data/release_data", "annotation.mat"),
    ],
)
def test_layouts_give_the_same_samples(root: Path, tmp_path: Path, cache: Path, images: str, annotation: str) -> None:
    other = write(tmp_path / "run_12_c3" / "around" / "PA100K", images, annotation)
    (other / images / "._000001.jpg").write_text("junk")
    for split in pa100k.SPLITS:
        here, there = (pa100k.load(folder, split, cache=cache) for folder in (root, other.parent.parent))
        assert here.fingerprint == there.fingerprint
        assert here.ids.tolist() == there.ids.tolist()
    assert pa100k.verify(other.parent.parent).layout == f"{annotation}, {images}/"


def test_the_fingerprint_tells_labels(root: Path, cache: Path) -> None:
    before = pa100k.load(root, "test", cache=cache).fingerprint
    write(root, test_label=1 - labels("test"))
    assert pa100k.load(root, "test", cache=cache).fingerprint != before
    write(root, attributes=cells([*NAMES[1:], NAMES[0]]))
    assert pa100k.load(root, "test", cache=cache).fingerprint != before


def spoiled(value: int) -> np.ndarray:
    wrong = labels("train").astype(np.int16)
    wrong[1, 7] = value
    return wrong


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"attributes": cells(NAMES[:25])}, "attributes holds 25 texts instead of 26", "official mat"),
        ({"attributes": cells([*NAMES[:25], "Hat"])}, "attributes names Hat more than once", "told apart"),
        ({"attributes": np.arange(26)}, "attributes holds array([[ 0,  1", "cell array of texts"),
        ({"train_label": labels("train").T}, "train_label has the shape 26 x 4, not N x 26", "official mat"),
        ({"train_label": labels("train")[:3]}, "train_images_name holds 4 texts instead of 3", "official mat"),
        ({"train_label": cells(NAMES)}, "train_label holds no numbers", "official mat"),
        ({"train_label": spoiled(2)}, "train_label has the label 2 for Hat in row 2", "Expected 0 and 1"),
        ({"train_label": spoiled(-1)}, "train_label has the label -1 for Hat in row 2", "Expected 0 and 1"),
        ({"val_label": np.zeros((1, 25))}, "val_label has the shape 1 x 25, not N x 26", "official mat"),
    ],
)
def test_a_wrong_mat(root: Path, cache: Path, changes: dict[str, Any], message: str, hint: str) -> None:
    write(root, **changes)
    with pytest.raises(DataError) as error:
        pa100k.load(root, "test", cache=cache)
    assert message in error.value.message
    assert str(root / "annotation.mat") in error.value.message
    assert hint in error.value.hint
    report = pa100k.verify(root)
    assert (report.level, report.problems, report.notes) == ("mismatch", (error.value.message,), ())


def test_an_image_in_two_splits(root: Path, cache: Path) -> None:
    write(root, val_images_name=cells(["000004.jpg"]))
    with pytest.raises(DataError, match="PA-100K lists an image file more than once"):
        pa100k.load(root, "test", cache=cache)
    assert pa100k.verify(root).level == "mismatch"


def test_another_mat(root: Path, cache: Path) -> None:
    write_mat(root / "annotation.mat", {"peta": np.eye(3), "attributes": cells(NAMES)})
    with pytest.raises(DataError, match=r"has no train_images_name, .*; it holds .*peta") as error:
        pa100k.load(root, "test", cache=cache)
    assert "Expected the variables attributes, train_images_name" in error.value.hint


@pytest.mark.parametrize("kind", ["text", "truncated", "empty", "pickle", "v7.3"])
def test_what_is_no_mat_of_this_version(root: Path, cache: Path, kind: str) -> None:
    import pickle

    path = root / "annotation.mat"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"annotation\n" * 30,
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "pickle": pickle.dumps({"a": 1}),
            "v7.3": b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n",
        }[kind]
    )
    with pytest.raises(DataError) as error:
        pa100k.load(root, "test", cache=cache)
    if kind == "v7.3":
        assert "version 7.3" in error.value.message
    else:
        assert "cannot be read as a mat file" in error.value.message
    assert pa100k.verify(root).problems == (error.value.message,)


def test_pickles_are_not_opened(root: Path, cache: Path) -> None:
    (root / "annotation.mat").rename(root / "dataset_all.pkl")
    with pytest.raises(
        DataError, match=r"is not PA-100K: .*dataset_all.pkl is a pickle, .*: hcbench opens none"
    ) as error:
        pa100k.load(root, "test", cache=cache)
    assert "Take the original mat file." in error.value.hint
    assert pa100k.CARD.tree in error.value.hint


def test_a_wrong_request(root: Path, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="PA-100K has no split 'tset'") as error:
        pa100k.load(root, "tset", cache=cache)
    assert "Did you mean 'test'?" in error.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        pa100k.load(root, "test", cache=root / "cache")
    with pytest.raises(DataError, match="is no folder"):
        pa100k.verify(tmp_path / "none")
    (root / "annotation.mat").unlink()
    with pytest.raises(DataError, match="is not PA-100K: it holds data") as error:
        pa100k.verify(root)
    assert pa100k.CARD.tree in error.value.hint


def test_missing_and_broken_images(root: Path, cache: Path) -> None:
    (root / "data" / "000006.jpg").unlink()
    (root / "data" / "000007.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"2 of 3 images in .* cannot be opened: 000006.jpg"):
        pa100k.load(root, "test", cache=cache)
    report = pa100k.verify(root)
    assert report.level == "mismatch"
    assert report.problems == (
        "1 of 8 images are missing: 000006.jpg",
        "1 of 8 images cannot be decoded: 000007.jpg",
    )


def test_verify_levels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = pa100k.verify(root)
    assert (part.level, part.problems) == ("subset", ())
    assert "train: images 4/80,000, attributes 26/26" in part.text()
    assert any(note.startswith("val: the same label in every image, so no mA: Female, ") for note in part.notes)
    sizes = {split: {"images": size, "attributes": 26} for split, size in SIZES.items()}
    monkeypatch.setattr(pa100k, "CARD", replace(pa100k.CARD, counts=sizes))
    assert pa100k.verify(root).level == "exact"
    sizes["test"]["images"] = 2
    more = pa100k.verify(root)
    assert (more.level, more.problems) == ("mismatch", ("test: 3 images, more than the official 2",))


def test_nothing_is_written_into_the_dataset(root: Path, cache: Path) -> None:
    before = sorted(path for path in root.rglob("*"))
    pa100k.load(root, "train", cache=cache)
    pa100k.verify(root)
    assert sorted(path for path in root.rglob("*")) == before
