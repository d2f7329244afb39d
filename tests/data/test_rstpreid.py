"""RSTPReid on a small tree: another key for images, cameras in names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import write_pictures

from hcbench.data import rstpreid
from hcbench.errors import DataError

SPLIT_OF = {0: "train", 1: "train", 2: "val", 3: "test"}
ENTRIES = [
    {
        "id": person,
        "img_path": f"{person:04d}_c{camera}_{number:04d}.jpg",
        "captions": [f"Person {person}.", f"Person {person} again."],
        "split": split,
    }
    for person, split in SPLIT_OF.items()
    for number, camera in enumerate((14, 5, 1, 15, 11))
]
COUNTS = {
    "train": {"images": 10, "identities": 2, "captions": 20},
    "val": {"images": 5, "identities": 1, "captions": 10},
    "test": {"images": 5, "identities": 1, "captions": 10},
}


def write(folder: Path, entries: Any = ENTRIES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data_captions.json").write_text(json.dumps(entries))
    write_pictures(folder / "imgs", [entry["img_path"] for entry in ENTRIES])
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "RSTPReid")


def test_load(root: Path, cache: Path) -> None:
    train, val, test = (rstpreid.load(root, split, cache=cache) for split in ("train", "val", "test"))
    assert test.ids.tolist() == [
        f"imgs/0003_c{camera}_{number:04d}.jpg" for camera, number in ((11, 4), (14, 0), (15, 3), (1, 2), (5, 1))
    ]
    assert test.camera is not None
    assert test.camera.tolist() == [10, 13, 14, 0, 4]
    assert test.identity is not None
    assert test.identity.tolist() == [3] * 5
    assert val.identity is not None
    assert val.identity.tolist() == [2] * 5
    assert train.identity is not None
    assert sorted(train.identity.tolist()) == [0] * 5 + [1] * 5
    assert test.captions is not None
    assert test.captions[0] == ("Person 3.", "Person 3 again.")
    assert train.known() == rstpreid.CARD.fields


def test_the_order_of_the_json_does_not_matter(root: Path, tmp_path: Path, cache: Path) -> None:
    other = write(tmp_path / "run_12_c3" / "RSTPReid", ENTRIES[::-1])
    for split in rstpreid.SPLITS:
        here, there = (rstpreid.load(folder, split, cache=cache) for folder in (root, other.parent))
        assert here.fingerprint == there.fingerprint


def test_the_key_of_the_other_sets(root: Path, cache: Path) -> None:
    write(root, [{"file_path" if key == "img_path" else key: v for key, v in one.items()} for one in ENTRIES])
    with pytest.raises(DataError, match="entry 0 has no img_path; it has id, file_path, captions, split") as error:
        rstpreid.load(root, "train", cache=cache)
    assert '"img_path": "..."' in error.value.hint


@pytest.mark.parametrize("name", ["0003_14_0000.jpg", "0003_c14_0000.png", "0003_c114_0000.jpg"])
def test_a_name_without_camera(root: Path, cache: Path, name: str) -> None:
    write(root, [*ENTRIES[:-1], ENTRIES[-1] | {"img_path": name}])
    write_pictures(root / "imgs", [name])
    with pytest.raises(DataError, match=f"1 images are not named as those of RSTPReid are: {name}"):
        rstpreid.load(root, "test", cache=cache)


def test_verify(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rstpreid.verify(root).level == "subset"
    card = replace(rstpreid.CARD, counts=COUNTS)
    monkeypatch.setattr(rstpreid, "verify", replace(rstpreid._OWN, card=card).verify)
    report = rstpreid.verify(root)
    assert (report.level, report.found, report.notes) == ("exact", COUNTS, ())


def test_verify_knows_train_and_val_together(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, [one | {"split": "train"} if one["split"] == "val" else one for one in ENTRIES])
    (split, counts, name), *_ = rstpreid._OWN.variants
    assert (split, counts) == ("train", {"images": 19_505, "identities": 3_901, "captions": 39_010})
    together = {"images": 15, "identities": 3, "captions": 30}
    known = replace(rstpreid._OWN, card=replace(rstpreid.CARD, counts=COUNTS), variants=((split, together, name),))
    monkeypatch.setattr(rstpreid, "verify", known.verify)
    report = rstpreid.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    assert f"train: {name}" in report.notes
    assert "val was not found" in report.notes


def test_the_card_adds_up() -> None:
    counts = rstpreid.CARD.counts.values()
    assert sum(split["images"] for split in counts) == 20_505
    assert sum(split["identities"] for split in counts) == 4_101
    assert all(split["images"] == 5 * split["identities"] for split in counts)
    assert all(split["captions"] == 2 * split["images"] for split in counts)
