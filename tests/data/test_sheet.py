"""Contact sheets: bones are found by name, whatever the skeleton."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hcbench.data.samples import Samples
from hcbench.data.sheet import BONES, contact_sheet
from hcbench.data.skeletons import AIC, COCO, CROWDPOSE, MPII, Skeleton

SKELETONS = [COCO, MPII, AIC, CROWDPOSE]


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda skeleton: skeleton.name)
def test_a_bone_is_drawn_between_its_own_joints(tmp_path: Path, skeleton: Skeleton) -> None:
    keypoints = np.zeros((1, len(skeleton), 3), np.float32)
    keypoints[0, skeleton.joints.index("left_knee")] = (10, 10, 2)
    keypoints[0, skeleton.joints.index("left_ankle")] = (10, 50, 2)
    samples = Samples(
        name="black",
        fingerprint="",
        images=np.zeros((1, 3, 64, 32), np.uint8),
        ids=np.array(["0"]),
        keypoints=keypoints,
        skeleton=skeleton,
    )
    drawn = np.asarray(Image.open(contact_sheet(samples, tmp_path / "sheet.png", overlay=True, zoom=1)))
    assert drawn[30, 10].tolist() == [255, 170, 60], "orange, as all of the left side"
    assert not drawn[30, 14:].any()


def test_every_joint_has_a_bone() -> None:
    ends = {name for bone in BONES for name in bone}
    assert ends == {name for skeleton in SKELETONS for name in skeleton.joints}
