"""Rows of a manifest made of a data set: another skeleton than COCO's, a folder around the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_tree import write_images
from mpii_tree import MpiiTree

from hcbench.data import mpii
from hcbench.data.catalogue import built_in_modules, dataset, training_split
from hcbench.data.manifest.indexing import index, index_splits
from hcbench.data.manifest.manifest import open_manifest
from hcbench.data.manifest.view import view
from hcbench.data.manifest.write import ManifestWriter
from hcbench.data.skeletons import COCO, MPII
from hcbench.errors import DataError


def test_joints_of_another_skeleton_go_into_cocos_places(tmp_path: Path, cache: Path) -> None:
    root = MpiiTree(tmp_path / "mpii").write().root
    own = mpii.load(root, "train", height=64, width=64, cache=cache)
    with ManifestWriter(tmp_path / "m.parquet", packed=True) as writer:
        for columns in index("mpii", root, "train", pack=True, size=(64, 64), cache=cache):
            writer.add(columns)
    manifest = open_manifest(tmp_path / "m.parquet")
    seen = view(manifest, "captions", np.arange(len(manifest)), height=64, width=64, cache=cache)
    assert own.keypoints is not None
    assert seen.keypoints is not None
    shared = [name for name in COCO.joints if name in MPII.joints]
    assert len(shared) == 12
    for place, name in enumerate(COCO.joints):
        if name in shared:
            np.testing.assert_allclose(seen.keypoints[:, place], own.keypoints[:, MPII.joints.index(name)], atol=1e-4)
        else:
            assert not seen.keypoints[:, place].any(), name


def test_a_folder_around_the_data_set_is_told_of(tmp_path: Path, cache: Path) -> None:
    names = ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/0001_c1s1_001051_00.jpg",
             "bounding_box_test/0001_c2s1_001051_03.jpg"]  # fmt: skip
    write_images(tmp_path / "around" / "Market", names)
    rows = index("market1501", tmp_path / "around" / "Market", "trainval", pack=False, size=(64, 32), cache=cache)
    assert next(rows)["image_path"] == names[:1]
    with pytest.raises(DataError, match=r"do not lie at .*around.bounding_box_train") as error:
        next(index("market1501", tmp_path / "around", "trainval", pack=False, size=(64, 32), cache=cache))
    assert error.value.hint.startswith("Give the folder that holds them itself")


def persons(name: str, root: Path, splits: list[str], cache: Path) -> dict[str, int]:
    """Identity of every image of some splits of a data set, as a manifest holds them."""
    rows = index_splits(name, root, splits, pack=False, size=(16, 8), cache=cache)
    pairs = [pair for part in rows for pair in zip(part["image_path"], part["identity"], strict=True)]
    assert len(dict(pairs)) == len(pairs)
    return {image: int(identity) for image, identity in pairs}


def market(root: Path) -> Path:
    """Training persons 1, 3 ... 39, persons 0002, 0004 and 0006 of the test, and a distractor."""
    write_images(root, [f"bounding_box_train/{person:04d}_c1s1_000001_01.jpg" for person in range(1, 40, 2)])
    for person in (2, 4, 6):
        write_images(root, [f"query/{person:04d}_c1s1_000001_00.jpg",
                            f"bounding_box_test/{person:04d}_c2s1_000001_01.jpg"])  # fmt: skip
    write_images(root, ["bounding_box_test/0000_c2s1_000001_01.jpg"])
    return root


@pytest.mark.parametrize("splits", [["trainval", "query", "gallery"], ["gallery", "val", "query", "train"]])
def test_a_number_is_one_person_in_whatever_splits(tmp_path: Path, cache: Path, splits: list[str]) -> None:
    found = persons("market1501", market(tmp_path / "m"), splits, cache)
    assert len(found) == 20 + 3 + 3 + 1
    assert found.pop("bounding_box_test/0000_c2s1_000001_01.jpg") == -1, "a distractor stays one"
    written = {image: image.rpartition("/")[2][:4] for image in found}  # odd numbers train, even ones are of the test
    assert len(set(found.values())) == len(set(written.values())) == 23
    assert len(set(zip(found.values(), written.values(), strict=True))) == 23


def test_a_validation_split_with_the_owners_numbers_meets_no_training_person(tmp_path: Path, cache: Path) -> None:
    names = {person: f"{person:04d}_001_02_0303morning_0020_2.jpg" for person in range(20)}
    entries = [{"split": "train" if person < 15 else "test", "id": person, "file_path": name, "captions": ["text"]}
               for person, name in names.items()]  # fmt: skip
    root = tmp_path / "icfg"
    write_images(root / "imgs", names.values())
    (root / "ICFG-PEDES.json").write_text(json.dumps(entries))
    for splits in (["train", "val", "test"], ["test", "trainval"]):
        found = persons("icfg-pedes", root, splits, cache)
        assert len(set(found.values())) == len(found) == 20


def test_splits_that_share_images_are_refused(tmp_path: Path, cache: Path) -> None:
    root = market(tmp_path / "m")
    with pytest.raises(DataError, match=r"The splits trainval and train share images; the first is bounding_box_train"):
        persons("market1501", root, ["trainval", "train"], cache)
    with pytest.raises(DataError, match=r"The splits gallery and test share images"):
        persons("market1501", root, ["gallery", "test"], cache)


@pytest.mark.parametrize("name", built_in_modules())
def test_every_data_set_names_its_splits(name: str) -> None:
    splits = set(dataset(name).splits)
    assert set(dataset(name).card.counts) <= splits
    assert set(dataset(name).renumbered) <= splits
    if name != "ochuman":
        assert training_split(name) in splits
