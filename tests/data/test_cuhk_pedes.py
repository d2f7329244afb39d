"""CUHK-PEDES on a small tree; what the json files of text-reid sets have in common is tested here."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write_pictures

from hcbench.data import cuhk_pedes
from hcbench.errors import DataError

ENTRIES: list[dict[str, Any]] = [
    {"split": "train", "id": 3, "file_path": "train_query/p3.jpg", "captions": ["third a", " third b "]},
    {"split": "train", "id": 1, "file_path": "cam_a/000_45.bmp", "captions": ["first a", "first b"]},
    {"split": "train", "id": 1, "file_path": "cam_b/000_45.bmp", "captions": ["first c", "first d", "first e"]},
    {"split": "train", "id": 2, "file_path": "Market/0002_c1.jpg", "captions": ["second", ""], "processed_tokens": []},
    {"split": "val", "id": 4, "file_path": "CUHK01/0004.png", "captions": ["fourth", "fourth again"]},
    {"split": "test", "id": 7, "file_path": "test_query/p7.jpg", "captions": ["seventh", "seventh again"]},
    {"split": "test", "id": 6, "file_path": "CUHK03/6_1.png", "captions": ["sixth", "sixth again"]},
]
COUNTS = {
    "train": {"images": 4, "identities": 3, "captions": 9},
    "val": {"images": 1, "identities": 1, "captions": 2},
    "test": {"images": 2, "identities": 2, "captions": 4},
}


def write(folder: Path, entries: Any = ENTRIES, name: str = "reid_raw.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(entries))
    write_pictures(folder / "imgs", [entry["file_path"] for entry in ENTRIES])
    return folder


def changed(number: int, **values: Any) -> list[dict[str, Any]]:
    return [entry | values if n == number else entry for n, entry in enumerate(ENTRIES)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "CUHK-PEDES")


@pytest.fixture
def small_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(cuhk_pedes.CARD, counts=COUNTS)
    monkeypatch.setattr(cuhk_pedes, "verify", replace(cuhk_pedes._OWN, card=card, variants=()).verify)


def test_train(root: Path, cache: Path) -> None:
    train = cuhk_pedes.load(root, "train", cache=cache)
    assert train.ids.tolist() == [
        "imgs/Market/0002_c1.jpg", "imgs/cam_a/000_45.bmp", "imgs/cam_b/000_45.bmp", "imgs/train_query/p3.jpg",
    ]  # fmt: skip
    assert train.identity is not None
    assert train.identity.tolist() == [1, 0, 0, 2]  # numbered from 0 in the order of the raw ids
    assert train.captions == (
        ("second",),
        ("first a", "first b"),
        ("first c", "first d", "first e"),
        ("third a", "third b"),
    )
    assert train.images.shape == (4, 3, 128, 64)
    assert train.name == "cuhk-pedes train"
    assert train.known() == cuhk_pedes.CARD.fields


def test_val_and_test_keep_their_ids(root: Path, cache: Path) -> None:
    val, test = (cuhk_pedes.load(root, split, height=32, width=16, cache=cache) for split in ("val", "test"))
    assert val.identity is not None
    assert test.identity is not None
    assert val.identity.tolist() == [4]
    assert test.ids.tolist() == ["imgs/CUHK03/6_1.png", "imgs/test_query/p7.jpg"]
    assert test.identity.tolist() == [6, 7]
    assert test.images.shape == (2, 3, 32, 16)


def test_trainval_is_both(root: Path, cache: Path) -> None:
    both = cuhk_pedes.load(root, "trainval", cache=cache)
    assert both.identity is not None
    assert both.identity.tolist() == [3, 1, 0, 0, 2]
    assert both.ids[0] == "imgs/CUHK01/0004.png"


def test_pixels_are_those_of_the_whole_image(root: Path, cache: Path) -> None:
    from hcbench.data.pixels import read_image

    test = cuhk_pedes.load(root, "test", cache=cache)
    colour = np.asarray(read_image(root / test.ids[1]))[0, 0]
    assert (test.images[1].transpose(1, 2, 0) == colour).all()


def test_the_place_and_order_of_files_do_not_matter(root: Path, tmp_path: Path, cache: Path) -> None:
    moved = write(tmp_path / "run_12_c3" / "wrapper" / "CUHK-PEDES", ENTRIES[::-1])
    (moved / "imgs" / "cam_a" / "._000_45.bmp").write_text("junk")
    (moved / "imgs" / ".DS_Store").write_text("junk")
    (moved.parent / "__MACOSX").mkdir()
    for split in cuhk_pedes.SPLITS:
        here, there = (cuhk_pedes.load(folder, split, cache=cache) for folder in (root, moved.parent.parent))
        assert here.fingerprint == there.fingerprint
        assert here.ids.tolist() == there.ids.tolist()


@pytest.mark.parametrize(
    "change", [{"captions": ["another"]}, {"id": 2, "split": "train"}, {"file_path": "CUHK03/6_1.png"}]
)
def test_the_fingerprint_tells_what_decides_a_number(
    root: Path, tmp_path: Path, cache: Path, change: dict[str, Any]
) -> None:
    before = cuhk_pedes.load(root, "train", cache=cache).fingerprint
    write(root, changed(1, **change)[:6])
    assert cuhk_pedes.load(root, "train", cache=cache).fingerprint != before


def test_an_image_without_caption_stays_in_the_gallery(
    root: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, changed(6, captions=[" "]))
    with caplog.at_level(logging.WARNING):
        test = cuhk_pedes.load(root, "test", cache=cache)
    assert test.captions == ((), ("seventh", "seventh again"))
    assert "1 images have no caption: CUHK03/6_1.png" in caplog.text
    report = cuhk_pedes.verify(root)
    assert report.level == "mismatch"
    assert "1 images have no caption: CUHK03/6_1.png" in report.problems


@pytest.mark.parametrize(
    ("entries", "message", "hint"),
    [
        ({"images": []}, "holds a json dict", "Expected a list of images"),
        ([], "holds an empty list", "Expected a list of images"),
        (["a"], "entry 0 is a str, no object", '"file_path": "..."'),
        (
            [{"split": "test", "img_path": "a.jpg", "id": 1, "captions": ["a"]}],
            "entry 0 has no file_path; it has split, img_path, id, captions",
            '"file_path": "..."',
        ),
        ([{"file_path": "a.jpg", "id": 1, "captions": []}], "entry 0 has no split", "take reid_raw.json"),
        (changed(4, split="vall"), "entry 4 is in the unknown split 'vall'", "Did you mean 'val'?"),
        (changed(4, id=0), "entry 4 has the id 0; ids of CUHK-PEDES are whole numbers from 1", "renumbered"),
        (changed(4, id="4"), "entry 4 has the id '4'", "renumbered"),
        (changed(4, id=True), "entry 4 has the id True", "renumbered"),
        (changed(4, id=10**25), "entry 4 has the id 10000000000000000000000000", "renumbered"),
        (changed(4, captions="a man"), "entry 4 has captions that are no list of texts: 'a man'", "Expected"),
        (changed(4, captions=[None]), "captions that are no list of texts", "Expected"),
        (changed(4, file_path="../secret.jpg"), "entry 4 has the image '../secret.jpg'", "a path below imgs/"),
        (changed(4, file_path="/secret.jpg"), "entry 4 has the image '/secret.jpg'", "a path below imgs/"),
        (changed(4, file_path="cam_a/000_45.bmp"), "the image cam_a/000_45.bmp is listed twice", "official json"),
        (changed(4, id=7), "id 7 is both in val and in test", "Splits share no person"),
    ],
)
def test_a_wrong_json(root: Path, cache: Path, entries: Any, message: str, hint: str) -> None:
    write(root, entries)
    with pytest.raises(DataError) as error:
        cuhk_pedes.load(root, "test", cache=cache)
    assert message in error.value.message
    assert str(root / "reid_raw.json") in error.value.message
    assert hint in error.value.hint
    report = cuhk_pedes.verify(root)
    assert (report.level, report.problems, report.notes) == ("mismatch", (error.value.message,), ())


def test_a_damaged_json(root: Path, cache: Path) -> None:
    (root / "reid_raw.json").write_text(json.dumps(ENTRIES)[:-20])
    with pytest.raises(DataError, match="cannot be read as json"):
        cuhk_pedes.load(root, "test", cache=cache)


def test_a_wrong_root(root: Path, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        cuhk_pedes.load(tmp_path / "none", "test", cache=cache)
    (root / "reid_raw.json").unlink()
    with pytest.raises(DataError, match="is not CUHK-PEDES: it holds imgs") as error:
        cuhk_pedes.verify(root)
    assert cuhk_pedes.CARD.tree in error.value.hint
    write(root, ENTRIES, "caption_all.json")
    with pytest.raises(DataError, match=r"holds caption_all.json, which does not say which split") as error:
        cuhk_pedes.load(root, "test", cache=cache)
    assert "Take reid_raw.json" in error.value.hint


def test_a_wrong_request(root: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="CUHK-PEDES has no split 'trein'") as error:
        cuhk_pedes.load(root, "trein", cache=cache)
    assert "Did you mean 'train'?" in error.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        cuhk_pedes.load(root, "train", cache=root / "cache")
    write(root, ENTRIES[:4])
    with pytest.raises(DataError, match="names no image of test"):
        cuhk_pedes.load(root, "test", cache=cache)


def test_missing_and_broken_images(root: Path, cache: Path) -> None:
    (root / "imgs" / "CUHK03" / "6_1.png").unlink()
    (root / "imgs" / "test_query" / "p7.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"2 of 2 images in .* cannot be opened: CUHK03/6_1.png"):
        cuhk_pedes.load(root, "test", cache=cache)
    report = cuhk_pedes.verify(root)
    assert report.level == "mismatch"
    assert report.problems == (
        "1 of 7 images are missing: CUHK03/6_1.png",
        "1 of 7 images cannot be decoded: test_query/p7.jpg",
    )
    assert report.found["train"]["images"] == 4


@pytest.mark.usefixtures("small_card")
def test_verify_exact(root: Path) -> None:
    (root / "imgs" / "._a.jpg").write_text("junk")
    write_pictures(root / "imgs", ["cam_a/further.png"])
    report = cuhk_pedes.verify(root)
    assert (report.level, report.layout, report.problems) == ("exact", "reid_raw.json, imgs/", ())
    assert report.found == report.expected == COUNTS
    assert report.notes == (
        "1 captions are blank and not used",
        "1 files of operating systems (._*, .DS_Store ...) were left out",
        "1 images are not annotated and not used: cam_a/further.png",
    )


@pytest.mark.usefixtures("small_card")
def test_verify_more_and_fewer(root: Path) -> None:
    write(root, ENTRIES[:6])
    fewer = cuhk_pedes.verify(root)
    assert fewer.level == "subset"
    assert fewer.found["test"] == {"images": 1, "identities": 1, "captions": 2}
    write(root, [*ENTRIES[1:], {"split": "test", "id": 8, "file_path": "train_query/p3.jpg", "captions": ["a"]}])
    more = cuhk_pedes.verify(root)
    assert more.level == "mismatch"
    assert "test: 3 images, more than the official 2" in more.problems
    assert "train: 7 captions, 9 reported elsewhere (not verified)" in more.notes
    assert any("test: 5 captions, more than the official 4" in problem for problem in more.problems)
    assert not any("ids are not" in note for note in more.notes)
    write(root, changed(0, id=9))
    assert "train: ids are not 1..3 without gaps, as the official ones are" in cuhk_pedes.verify(root).notes


def test_verify_of_a_part(root: Path) -> None:
    report = cuhk_pedes.verify(root)
    assert report.level == "subset"
    assert "train: images 4/34,054, identities 3/11,003, captions 9/68,126" in report.text()
    write(root, ENTRIES[:4])
    shutil.rmtree(root / "imgs" / "CUHK01")
    assert "val was not found" in cuhk_pedes.verify(root).notes


def test_verify_knows_the_list_of_hap(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (split, counts, name), *_ = cuhk_pedes._OWN.variants
    assert (split, counts) == ("train", {"images": 34_051, "identities": 11_000, "captions": 68_120})
    card = replace(cuhk_pedes.CARD, counts=COUNTS | {"train": {"images": 3, "identities": 3, "captions": 9}})
    known = replace(cuhk_pedes._OWN, card=card, variants=((split, COUNTS["train"], name),))
    monkeypatch.setattr(cuhk_pedes, "verify", known.verify)
    report = cuhk_pedes.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert f"train: {name}" in report.notes


def test_nothing_is_written_into_the_dataset(root: Path, cache: Path) -> None:
    before = sorted(path for path in root.rglob("*"))
    cuhk_pedes.load(root, "train", cache=cache)
    cuhk_pedes.verify(root)
    assert sorted(path for path in root.rglob("*")) == before


def test_the_file_that_decides(root: Path) -> None:
    assert cuhk_pedes.annotation_files(root.parent) == (root / "reid_raw.json",)


def test_the_card_adds_up() -> None:
    counts = cuhk_pedes.CARD.counts.values()
    assert sum(split["images"] for split in counts) == 40_206
    assert sum(split["identities"] for split in counts) == 13_003
