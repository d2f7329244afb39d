"""Rows of a manifest made of a data set: another skeleton than COCO's, a folder around the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_tree import write_images
from mpii_tree import MpiiTree

from hcbench.data import mpii
from hcbench.data.indexing import index
from hcbench.data.manifest import open_manifest
from hcbench.data.manifest_view import view
from hcbench.data.manifest_write import ManifestWriter
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
