"""Rows of a manifest made of a data set whose skeleton is not COCO's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mpii_tree import MpiiTree

from hcbench.data import mpii
from hcbench.data.indexing import index
from hcbench.data.manifest import open_manifest
from hcbench.data.manifest_view import view
from hcbench.data.manifest_write import ManifestWriter
from hcbench.data.skeletons import COCO, MPII


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
