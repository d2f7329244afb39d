"""ICFG-PEDES on a small tree: two names of the json, folders that lie about splits, a validation split by person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import write_pictures

from hcbench.data import icfg_pedes
from hcbench.errors import DataError

PERSONS = 21
"""Persons of train; the 10th and the 20th of them are for validation."""


def entry(person: int, split: str, folder: str, camera: int, number: int) -> dict[str, Any]:
    name = f"{person:04d}_{number:03d}_{camera:02d}_0303morning_0020_2.jpg"
    caption = f"Person {person} in picture {number}."
    return {
        "split": split,
        "id": person,
        "file_path": f"{folder}/{person:04d}/{name}",
        "captions": [caption],
        "processed_tokens": [caption.split()],
    }


# Persons of the split train lie in imgs/test too, and the other way round.
ENTRIES = [
    *(entry(p, "train", "test" if p % 2 else "train", 1 + p % 15, n) for p in range(PERSONS) for n in range(2)),
    *(entry(p, "test", "train" if p % 2 else "test", 15, 0) for p in range(PERSONS, PERSONS + 3)),
][::-1]


def write(folder: Path, entries: Any = ENTRIES, name: str = "ICFG-PEDES.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(entries))
    write_pictures(folder / "imgs", [entry["file_path"] for entry in ENTRIES])
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "ICFG-PEDES")


def test_val_is_every_tenth_person_of_train(root: Path, cache: Path) -> None:
    train, val, test = (icfg_pedes.load(root, split, cache=cache) for split in ("train", "val", "test"))
    assert train.identity is not None
    assert val.identity is not None
    assert test.identity is not None
    assert sorted(set(val.identity.tolist())) == [9, 19]
    assert len(val) == 4
    assert sorted(set(train.identity.tolist())) == list(range(19))  # numbered anew, without gaps
    assert len(train) == 38
    assert sorted(test.identity.tolist()) == [21, 22, 23]
    assert len({*train.ids, *val.ids, *test.ids}) == len(ENTRIES)
    assert list(train.ids) == sorted(train.ids)


def test_cameras_and_captions(root: Path, cache: Path) -> None:
    test = icfg_pedes.load(root, "test", cache=cache)
    assert test.camera is not None
    assert test.camera.tolist() == [14, 14, 14]  # camera 15, counted from 0
    assert test.ids[0] == "imgs/test/0022/0022_000_15_0303morning_0020_2.jpg"
    assert test.captions is not None
    assert test.captions[0] == ("Person 22 in picture 0.",)
    assert test.known() == icfg_pedes.CARD.fields


def test_the_json_has_two_names(root: Path, tmp_path: Path, cache: Path) -> None:
    other = write(tmp_path / "run_12_c3" / "ICFG_PEDES", ENTRIES[::-1], "ICFG_PEDES.json")
    for split in icfg_pedes.SPLITS:
        here, there = (icfg_pedes.load(folder, split, cache=cache) for folder in (root, other.parent))
        assert here.fingerprint == there.fingerprint
    assert icfg_pedes.verify(other).layout == "ICFG_PEDES.json, imgs/"


def test_a_json_with_val_is_not_this_one(root: Path, cache: Path) -> None:
    write(root, [ENTRIES[0] | {"split": "val"}, *ENTRIES[1:]])
    with pytest.raises(DataError, match="entry 0 is in the unknown split 'val'") as error:
        icfg_pedes.load(root, "val", cache=cache)
    assert "Known: test, train." in error.value.hint


def test_ids_begin_at_0(root: Path, cache: Path) -> None:
    write(root, [ENTRIES[0] | {"id": -1}, *ENTRIES[1:]])
    with pytest.raises(DataError, match="entry 0 has the id -1; ids of ICFG-PEDES are whole numbers from 0"):
        icfg_pedes.load(root, "test", cache=cache)
    write(root, [entry | {"id": entry["id"] + 1} for entry in ENTRIES])
    assert "train: ids are not 0..20 without gaps, as the official ones are" in icfg_pedes.verify(root).notes


def test_a_name_without_camera(root: Path, cache: Path) -> None:
    write(root, [ENTRIES[0] | {"file_path": "test/0022/a.jpg"}, *ENTRIES[1:]])
    write_pictures(root / "imgs", ["test/0022/a.jpg"])
    with pytest.raises(DataError, match=r"1 images are not named as those of ICFG-PEDES are: test/0022/a\.jpg"):
        icfg_pedes.load(root, "test", cache=cache)
    assert icfg_pedes.verify(root).level == "mismatch"


def test_verify(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = icfg_pedes.verify(root)
    assert (report.level, report.problems) == ("subset", ())
    counts = {
        "trainval": {"images": 42, "identities": 21, "captions": 42},
        "test": {"images": 3, "identities": 3, "captions": 3},
    }
    assert report.found == counts
    card = replace(icfg_pedes.CARD, counts=counts)
    monkeypatch.setattr(icfg_pedes, "verify", replace(icfg_pedes._OWN, card=card).verify)
    exact = icfg_pedes.verify(root)
    assert (exact.level, exact.problems, exact.notes) == ("exact", (), ())
    counts["trainval"]["identities"] = 20  # not verified: a note
    assert icfg_pedes.verify(root).level == "exact"
    counts["trainval"]["captions"] = 41
    assert icfg_pedes.verify(root).problems == ("trainval: 42 captions, more than the official 41",)
