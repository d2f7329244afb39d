"""Skeletons: the joints and colours of the originals, on the reference pose of the specification."""

from __future__ import annotations

import numpy as np
import pytest
from reference_pose import HEIGHT, POSE, WIDTH

from hcbench.data.samples import COCO_FLIP
from hcbench.errors import ConfigError
from hcbench.harness.generation.conditions import (
    COLOURS,
    LIMBS,
    STYLES,
    draw_skeleton,
    openpose_joints,
    stick_width,
)  # fmt: skip


def mirrored(points: np.ndarray) -> np.ndarray:
    return np.column_stack([WIDTH - 1 - points[:, 0], points[:, 1:]])


def test_limb_midpoints_have_their_colour_at_six_tenths():
    picture = draw_skeleton(POSE, HEIGHT, WIDTH, stick=4)
    joints = openpose_joints(POSE)
    for (a, b), colour in zip(LIMBS[:12], COLOURS, strict=False):  # of the head's limbs, joints hide the middle
        x, y = np.rint(joints[[a, b], :2].mean(axis=0)).astype(int)
        assert picture[y, x].tolist() == [round(0.6 * c) for c in colour]


def test_joints_have_their_full_colour():
    picture = draw_skeleton(POSE, HEIGHT, WIDTH, stick=4)
    for joint, colour in zip(openpose_joints(POSE), COLOURS, strict=True):
        x, y = np.rint(joint[:2]).astype(int)
        assert picture[y, x].tolist() == list(colour)


def test_the_reference_pose_covers_as_much_as_the_specification_says():
    covered = draw_skeleton(POSE, HEIGHT, WIDTH, stick=4).any(axis=2).mean()
    assert covered == pytest.approx(0.068, abs=0.002)


def test_left_limbs_lie_on_the_right_in_green_and_blue():
    picture = draw_skeleton(POSE, HEIGHT, WIDTH, stick=4).astype(int)
    forearm, thigh = picture[225, 190], picture[315, 154]
    assert forearm[1] > forearm[0] > forearm[2]
    assert thigh[2] > thigh[1] > thigh[0]


def test_the_neck_needs_both_shoulders():
    one = POSE.copy()
    one[5, 2] = 0
    assert openpose_joints(POSE)[1].tolist() == [128, 115, 2]
    assert openpose_joints(one)[1, 2] == 0
    assert not draw_skeleton(one, HEIGHT, WIDTH)[115, 120].any()


@pytest.mark.parametrize("style", STYLES)
def test_unknown_joints_are_not_drawn_and_hidden_ones_are(style):
    assert not draw_skeleton(POSE * (1, 1, 0), HEIGHT, WIDTH, style=style).any()
    hidden = np.column_stack([POSE[:, :2], np.ones(17)])
    np.testing.assert_array_equal(
        draw_skeleton(hidden, HEIGHT, WIDTH, style=style), draw_skeleton(POSE, HEIGHT, WIDTH, style=style)
    )
    without = POSE.copy()
    without[15, 2] = 0  # the left ankle
    assert not draw_skeleton(without, HEIGHT, WIDTH, style=style)[400:, 140:].any()


@pytest.mark.parametrize("style", STYLES)
def test_a_mirrored_pose_is_the_mirrored_picture(style):
    picture = draw_skeleton(POSE, HEIGHT, WIDTH, style=style)
    np.testing.assert_array_equal(draw_skeleton(mirrored(POSE), HEIGHT, WIDTH, style=style), picture[:, ::-1])
    # With left and right exchanged, too, the shape is mirrored but the colours change sides.
    swapped = draw_skeleton(mirrored(POSE)[list(COCO_FLIP)], HEIGHT, WIDTH, style=style)
    np.testing.assert_array_equal(swapped.any(axis=2), picture[:, ::-1].any(axis=2))
    assert (swapped != picture[:, ::-1]).any()


def test_t2i_openpose_blends_limbs_over_joints():
    points = np.zeros((17, 3))
    points[[5, 7]] = (10, 10, 2), (30, 10, 2)  # the left upper arm alone: limb 4 between joints 5 and 6
    picture = draw_skeleton(points, 20, 40, style="t2i-openpose", stick=4)
    assert picture[10, 20].tolist() == [102, 153, 0]  # .6 of (170, 255, 0) on black
    joint, limb = np.array(COLOURS[6]), np.array(COLOURS[4])
    # At its very end the limb lies over the joint's centre.
    assert picture[10, 30].tolist() == np.rint(0.4 * joint + 0.6 * limb).tolist()
    assert picture[13, 31].tolist() == joint.tolist()  # beside the thin end of the limb


def test_keypose_draws_cocos_own_joints():
    picture = draw_skeleton(POSE, HEIGHT, WIDTH, style="t2i-keypose", stick=2)
    assert picture[190, 185].tolist() == [0, 255, 0]  # left elbow
    assert picture[190, 70].tolist() == [0, 128, 255]  # right elbow
    assert picture[115, 128].tolist() == [255, 153, 51]  # between the shoulders


def test_sticks_scale_with_the_shorter_side():
    assert [stick_width(h, w) for h, w in ((512, 512), (768, 512), (512, 256), (256, 128), (64, 32))] == [4, 4, 2, 1, 1]


def test_points_far_outside_do_no_harm():
    points = POSE.copy()
    points[9, :2] = (-900, 5000)
    assert draw_skeleton(points, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH, 3)


def test_errors():
    with pytest.raises(ConfigError, match="No drawing of skeletons"):
        draw_skeleton(POSE, HEIGHT, WIDTH, style="openpose")
    with pytest.raises(ValueError, match=r"\(17, 3\)"):
        draw_skeleton(POSE[:16], HEIGHT, WIDTH)
