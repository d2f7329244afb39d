"""Built-in data sets keep the contract of data sets, on small copies in their official layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from attribute_mat import write_attributes
from coco_tree import Tree
from image_tree import write_images
from mpii_tree import MpiiTree
from parsing_tree import ParsingTree
from pose_tree import build

from hcbench.data.catalogue import dataset
from hcbench.data.formats.identity_attributes.files import MARKET
from hcbench.harness.contract.dataset_contract import examine
from hcbench.harness.contract.dataset_under_test import DatasetUnderTest


def write(name: str, root: Path) -> None:
    if name == "coco":
        Tree(root, "official").write()
    elif name == "mpii":
        MpiiTree(root).write()
    elif name == "cihp":
        folders = {"train": "Training", "val": "Validation"}
        ParsingTree(root, {split: (f"{one}/Images", f"{one}/Category_ids") for split, one in folders.items()}).write()
    elif name == "market1501":
        write_images(
            root, [f"bounding_box_train/{one:04d}_c{n}s1_000001_01.jpg" for one in range(1, 40, 2) for n in (1, 2)]
        )
        write_images(root, [f"query/{one:04d}_c1s1_000001_00.jpg" for one in (2, 4, 6)])
        write_images(root, [f"bounding_box_test/{one:04d}_c2s1_000001_01.jpg" for one in (0, 2, 4, 6)])
        people = {"train": range(1, 40, 2), "test": (2, 4, 6)}
        write_attributes(root / MARKET.file, MARKET, people, lambda person, name: 1 + person // 2 % 2)
    elif name == "image-folder":
        write_images(root, [f"{folder}/{n}.jpg" for folder in "ab" for n in range(3)])
    else:
        build(name, root)


@pytest.mark.parametrize("name", ["coco", "mpii", "aic", "crowdpose", "ochuman", "cihp", "market1501", "image-folder"])
def test_no_promise_is_broken(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / "root")
    tested = DatasetUnderTest(dataset(name), tmp_path / "root", tmp_path / "cache")
    for result in examine(tested):
        assert result.status != "failed", f"{result.check.promise}: {result.note} {result.hint}"
        if name == "market1501" and result.check.name == "apart":
            assert "for attributes train, val, test; persons apart" in result.note
