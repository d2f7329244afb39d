"""The renderer: ground truth by construction, mirror symmetry, determinism, nothing given away by the background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hcbench.data.people import body, figure
from hcbench.data.people.render import World, build_world, render, render_world
from hcbench.data.people.spec import Draws, PeopleSpec
from hcbench.data.people.view import View
from hcbench.data.samples import COCO_FLIP

SPEC = PeopleSpec(noise=0.0)


@pytest.fixture(scope="module")
def sixty():
    groups, variants = np.repeat(np.arange(12), 5), np.tile(np.arange(5), 12)
    world = build_world(SPEC, groups, variants)
    return world, render_world(world)


def test_shapes_and_ranges(sixty):
    _, p = sixty
    assert p.images.shape == (60, 3, 128, 64)
    assert p.images.dtype == np.uint8
    assert p.parts.max() < len(figure.PARTS)
    assert set(np.unique(p.keypoints[..., 2])) <= {0.0, 1.0, 2.0}
    assert (p.area <= p.full_area).all()
    assert 30 < p.images.mean() < 200
    assert (p.images.std(axis=(1, 2, 3)) > 8).all()


def test_visible_keypoints_lie_on_their_parts(sixty):
    _, p = sixty
    names = {index: name for index, name in enumerate(figure.PARTS)}
    allowed = {
        0: {"head", "hair", "hat"}, 7: {"left_upper_arm", "left_forearm"}, 8: {"right_upper_arm", "right_forearm"},
        9: {"left_forearm", "object"}, 10: {"right_forearm", "object"},
        13: {"left_thigh", "left_shin", "skirt"}, 14: {"right_thigh", "right_shin", "skirt"},
        15: {"left_shin", "left_shoe"}, 16: {"right_shin", "right_shoe"},
    }  # fmt: skip
    good = total = 0
    for i in range(len(p.images)):
        for joint, parts in allowed.items():
            x, y, v = p.keypoints[i, joint]
            if v == 2:
                total += 1
                good += names[int(p.parts[i, round(float(y)), round(float(x))])] in parts
    assert total > 200
    assert good / total > 0.93


def test_hidden_keypoints_have_something_else_in_front(sixty):
    _, p = sixty
    for i in range(len(p.images)):
        for x, y, v in p.keypoints[i]:
            part = p.parts[i, round(float(y)), round(float(x))] if v else 0
            if v == 1:
                assert part != figure.PART["background"]
            if v == 2:
                assert part != figure.PART["occluder"]


def test_nose_is_hidden_from_behind_and_visible_from_front():
    groups = np.arange(1200)
    world = build_world(SPEC, groups, 0 * groups)
    away = np.abs(world.view.yaw)
    calm = (world.pose.family < 2) & (world.setting.occluder < 0) & (np.abs(world.pose.neck_yaw) < 0.4)
    p = render_world(world)
    inside = p.keypoints[:, 0, 2] > 0
    front, back = calm & inside & (away < 0.6), calm & inside & (away > 2.6)
    assert (p.keypoints[front, 0, 2] == 2).mean() > 0.9
    assert (p.keypoints[back, 0, 2] == 2).mean() < 0.05


def test_result_does_not_depend_on_the_batch(sixty):
    _, p = sixty
    pick = np.array([41, 3, 17])
    q = render(SPEC, np.repeat(np.arange(12), 5)[pick], np.tile(np.arange(5), 12)[pick])
    for name in ("images", "parts", "keypoints", "area", "boxes", "depth"):
        np.testing.assert_array_equal(getattr(q, name), getattr(p, name)[pick], err_msg=name)


def test_specs_change_pictures():
    groups, variants = np.arange(6), np.zeros(6, np.int64)
    a = render(SPEC, groups, variants)
    b = render(replace(SPEC, style="B"), groups, variants)
    assert (a.images != b.images).mean() > 0.5


def test_mirrored_pose_gives_the_mirrored_picture():
    groups = np.arange(24)
    world = build_world(SPEC, groups, 0 * groups)
    mirror = _mirrored(world)
    p, q = render_world(world), render_world(mirror)
    np.testing.assert_allclose(q.skeleton[:, COCO_FLIP, 0], 63 - p.skeleton[..., 0], atol=1e-3)
    np.testing.assert_allclose(q.skeleton[:, COCO_FLIP, 1], p.skeleton[..., 1], atol=1e-3)
    swap = np.arange(len(figure.PARTS))
    for name, index in figure.PART.items():
        if name.startswith("left_"):
            other = figure.PART[name.replace("left_", "right_")]
            swap[index], swap[other] = other, index
    clean = (p.parts != figure.PART["occluder"]) & (q.parts[..., ::-1] != figure.PART["occluder"])
    differs = (swap[q.parts[..., ::-1]] != p.parts) & clean
    assert differs.mean() < 2e-3  # ties at seams between primitives


def _mirrored(world: World) -> World:
    """The same people in a mirror: pose, view and the side of the bag."""
    pose = world.pose.mirrored()
    skeleton = body.forward_kinematics(pose, world.skeleton.bones)
    person = replace(world.person, bag_left=~world.person.bag_left)
    flip = np.diag([-1.0, 1.0, 1.0])
    linear, offset = flip @ world.view.linear @ flip, world.view.offset.copy()
    offset[:, 0] = world.spec.width - 1 - offset[:, 0]
    camera = View(linear, offset, world.view.scale, -world.view.yaw)
    n = len(world)
    return replace(
        world, pose=pose, skeleton=skeleton, person=person, view=camera,
        primitives=figure.build_figure(skeleton, person, pose, _Fixed(n)),
    ) if n else world  # fmt: skip


class _Fixed(Draws):
    """The scene key decides chairs and things that have no side; any draw will do."""

    def __init__(self, n: int) -> None:
        super().__init__(np.arange(n, dtype=np.uint64))

    def flag(self, name, probability):
        return np.ones(len(self.keys), bool)


def _features(images):
    """Colour means of 4 x 2 cells."""
    n, c, h, w = images.shape
    return images.reshape(n, c, 4, h // 4, 2, w // 2).mean(axis=(3, 5)).reshape(n, -1).astype(np.float64)


def _probe_accuracy(features, labels, classes, folds=2):
    """Ridge classification, cross-validated."""
    x = (features - features.mean(0)) / (features.std(0) + 1e-6)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    onehot = np.eye(classes)[labels]
    fold = np.arange(len(x)) % folds
    right = 0
    for k in range(folds):
        train = fold != k
        weights = np.linalg.solve(x[train].T @ x[train] + 10 * np.eye(x.shape[1]), x[train].T @ onehot[train])
        right += (np.argmax(x[~train] @ weights, axis=1) == labels[~train]).sum()
    return right / len(x)


def test_background_gives_nothing_away():
    n = 600
    groups, variants = np.repeat(np.arange(n // 5), 5), np.tile(np.arange(5), n // 5)
    world = build_world(SPEC, groups, variants)
    features = _features(render_world(world, background_only=True).images)
    acting = (world.pose.family >= 2).astype(int)
    for labels in (world.person.woman.astype(int), (np.abs(world.view.yaw) < np.pi / 2).astype(int), acting):
        majority = max(labels.mean(), 1 - labels.mean())
        assert _probe_accuracy(features, labels, 2) < majority + 0.065  # 3 deviations of 600 coin flips
    # Identity: the nearest picture belongs to the same person no more often than by chance (4 of 599).
    x = (features - features.mean(0)) / features.std(0)
    distance = ((x[:, None] - x[None]) ** 2).sum(-1) + np.diag(np.full(n, np.inf))
    same = (groups[distance.argmin(1)] == groups).mean()
    assert same < 4 / 599 + 3 * np.sqrt(4 / 599 / n) + 0.003
    # The probe itself works: with the persons in the picture it finds them again far above chance.
    y = _features(render_world(world).images) - features
    y /= y.std(0)
    distance = ((y[:, None] - y[None]) ** 2).sum(-1) + np.diag(np.full(n, np.inf))
    assert (groups[distance.argmin(1)] == groups).mean() > 10 * 4 / 599
