"""Layouts, splits, marginals, captions and errors: everything that is drawn before a ray is cast."""

from __future__ import annotations

import numpy as np
import pytest

from hcbench.data.people import attributes, captions, motion, scene, wardrobe
from hcbench.data.people.body import keypoints
from hcbench.data.people.dataset import jittered, wrong_identities
from hcbench.data.people.render import build_world
from hcbench.data.people.spec import (
    DETAIL_WEIGHTS,
    DETAILS,
    LAYOUTS,
    LEVELS,
    SPLITS,
    Draws,
    PeopleSpec,
    draw_levels,
    draw_street,
    factor_keys,
)
from hcbench.errors import ConfigError


def _grid(groups, variants=5):
    return np.repeat(np.arange(groups), variants), np.tile(np.arange(variants), groups)


def _said(spec, groups, variants, sentences=1):
    keys = factor_keys(spec, groups, variants)
    person = wardrobe.draw_person(keys, spec.split, spec.style)
    pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]), draw_street(spec, keys))
    levels = draw_levels(spec, keys)
    said = captions.write(captions.facts(person, pose), keys["template"], spec.split, levels, sentences)
    return said.captions


@pytest.mark.parametrize("detail", DETAILS)
def test_pose_groups_share_caption_and_skeleton_exactly(detail):
    spec = PeopleSpec(layout="poses", caption_detail=detail)
    g, v = _grid(40)
    world = build_world(spec, g, v)
    points = world.view.project(keypoints(world.skeleton)).reshape(40, 5, 17, 3)
    assert (points == points[:, :1]).all()
    assert len({tuple(map(tuple, p[0].round(3))) for p in points}) == 40
    said = np.array([c[0] for c in _said(spec, g, v)]).reshape(40, 5)
    assert (said == said[:, :1]).all()
    assert np.ptp(world.person.girth.reshape(40, 5), axis=1).min() > 0
    assert np.ptp(world.setting.horizon.reshape(40, 5), axis=1).min() > 0
    shirts = world.person.upper_colour.reshape(40, 5)
    named = draw_levels(spec, factor_keys(spec, g, v)).reshape(40, 5)[:, 0] > LEVELS.index("action")
    assert ((shirts == shirts[:, :1]).all(axis=1) == named).all() or detail == "mixture"
    assert (shirts == shirts[:, :1])[named].all()


@pytest.mark.parametrize("detail", DETAILS)
def test_caption_groups_share_caption_only(detail):
    spec = PeopleSpec(layout="captions", caption_detail=detail)
    g, v = _grid(40)
    world = build_world(spec, g, v)
    said = np.array([c[0] for c in _said(spec, g, v)]).reshape(40, 5)
    assert (said == said[:, :1]).all()
    assert np.ptp(world.view.yaw.reshape(40, 5), axis=1).min() > 0
    assert np.ptp(world.pose.arm_flex[:, 0].reshape(40, 5), axis=1).min() > 0
    assert (world.person.bag.reshape(40, 5) == world.person.bag.reshape(40, 5)[:, :1]).all() == (detail == "everything")
    assert (draw_street(spec, factor_keys(spec, g, v)).reshape(40, 5).std(axis=1) == 0).all(), "the action is of one"


def test_a_mixture_has_the_shares_of_real_captions():
    tables = {}
    for layout in ("captions", "poses"):
        spec = PeopleSpec(layout=layout)
        assert spec.caption_detail == "mixture"
        g, v = _grid(3000)
        level = draw_levels(spec, factor_keys(spec, g, v))
        assert (level.reshape(-1, 5) == level.reshape(-1, 5)[:, :1]).all(), "a group has one caption, so one level"
        shares = np.bincount(level) / len(level)
        np.testing.assert_allclose(shares, np.array(DETAIL_WEIGHTS) / sum(DETAIL_WEIGHTS), atol=0.02)
        tables[layout] = _said(spec, g[:1500], v[:1500]), level[:1500]
    for said, level in tables.values():
        colours = np.array([bool(set(captions.words_of(c[0])) & set(wardrobe.COLOURS)) for c in said])
        assert (colours == (level > 0)).all()


def test_a_street_has_its_own_poses_and_boxes_in_every_layout():
    walks = {"stand", "walk", "carry", "ride", "phone", "text"}
    for layout in LAYOUTS:
        spec = PeopleSpec(layout=layout)
        g, v = _grid(400)
        keys = factor_keys(spec, g, v)
        street, world = draw_street(spec, keys), build_world(spec, g, v)
        assert street.mean() == pytest.approx(spec.street_share, abs=0.06)
        families = np.array(motion.FAMILIES)[world.pose.family]
        assert set(families[street]) == walks
        assert set(families[~street]) == set(motion.FAMILIES)
        points = world.view.project(keypoints(world.skeleton))
        tall = np.ptp(points[..., 1], axis=1) / spec.height
        middle = (points[..., 0].min(axis=1) + points[..., 0].max(axis=1)) / 2 / spec.width - 0.5
        upright = ~np.isin(families, ("ride", "sit", "crouch", "bend"))
        assert 0.75 < np.median(tall[street & upright]) < 0.92, "feet and crown lie beyond the keypoints"
        assert np.abs(middle[street]).mean() < 0.08
        assert tall[street & upright].std() < tall[~street & upright].std()


def test_places_do_not_know_the_regime():
    g, v = _grid(300)
    street, everyday = (build_world(PeopleSpec(street_share=share), g, v).setting for share in (1.0, 0.0))
    for name in ("camera", "left", "horizon", "exposure", "key", "occluder"):
        np.testing.assert_array_equal(getattr(street, name), getattr(everyday, name), err_msg=name)


def test_identity_groups_fix_the_person_over_three_cameras():
    g, v = _grid(200)
    world = build_world(PeopleSpec(layout="identities"), g, v)
    for name in ("upper_rgb", "lower_rgb", "skin_rgb", "hair_rgb", "girth", "sleeve", "bag"):
        values = getattr(world.person, name).reshape(200, 5, -1)
        assert (values == values[:, :1]).all(), name
    assert np.ptp(world.view.yaw.reshape(200, 5), axis=1).min() > 0
    assert min(len(set(row)) for row in world.setting.camera.reshape(200, 5)) >= 3


def test_all_layouts_have_the_same_marginals():
    g, v = _grid(1200, 5)
    tables = {}
    for layout in LAYOUTS:
        keys = factor_keys(PeopleSpec(layout=layout, caption_detail="everything"), g, v)
        person = wardrobe.draw_person(keys, "pretrain", "A")
        pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]), draw_street(PeopleSpec(), keys))
        columns = {
            "upper": person.upper, "upper_colour": person.upper_colour, "lower": person.lower, "bag": person.bag,
            "hair": person.hair, "skin": person.skin_tone, "family": pose.family, "manner": pose.manner,
            "view": (Draws(keys["view"]).uniform("yaw") * 8).astype(int),
            "camera": scene.draw_cameras(keys, v, "pretrain") // 4,
            "street": draw_street(PeopleSpec(), keys).astype(int),
        }  # fmt: skip
        tables[layout] = {name: np.bincount(c, minlength=len(motion.FAMILIES)) / len(c) for name, c in columns.items()}
    for name in tables["poses"]:
        for layout in LAYOUTS:
            # 1,200 independent groups: a share has a deviation of at most 0.0145.
            assert np.abs(tables[layout][name] - tables["identities"][name]).max() < 0.075, (name, layout)


def test_splits_are_disjoint_and_share_their_words():
    outfits, words, sentences = {}, {}, {}
    for split in SPLITS:
        spec = PeopleSpec(split=split, caption_detail="everything", noise=0.0)
        g, v = _grid(1200, 5)
        keys = factor_keys(spec, g, v)
        p = wardrobe.draw_person(keys, split, spec.style)
        outfits[split] = set(
            zip(p.upper.tolist(), p.upper_colour.tolist(), p.lower.tolist(), p.lower_colour.tolist(), strict=True)
        )
        texts = [t for c in _said(spec, g, v, 2) for t in c]
        sentences[split] = set(captions.TEMPLATES[split])
        words[split] = {w for t in texts for w in captions.words_of(t)}
        assert words[split] <= set(captions.VOCABULARY)
        cameras = scene.draw_cameras(keys, v, split)
        words[split + "/cameras"] = set(cameras.tolist())
    for a in SPLITS:
        for b in SPLITS:
            if a != b:
                assert not outfits[a] & outfits[b]
                assert not sentences[a] & sentences[b]
                assert not words[a + "/cameras"] & words[b + "/cameras"]
                assert words[a] == words[b]


def test_vocabulary_is_fixed():
    assert list(captions.VOCABULARY) == sorted(set(captions.VOCABULARY))
    assert {"red", "t-shirt", "walking", "backpack", ","} <= set(captions.VOCABULARY)


def test_attributes_are_neither_rare_nor_universal():
    g = np.arange(4000)
    for split, style in (("pretrain", "A"), ("test", "B")):
        keys = factor_keys(PeopleSpec(split=split, style=style), g, 0 * g)
        person = wardrobe.draw_person(keys, split, style)
        pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]), np.full(len(g), split == "test"))
        share = attributes.attributes(person, pose, Draws(keys["view"]).uniform("yaw", -np.pi, np.pi)).mean(axis=0)
        assert share.min() > 0.03, attributes.ATTRIBUTES[share.argmin()]
        assert share.max() < 0.97


def test_wrong_words_have_their_rate():
    g = np.arange(3000)
    keys = factor_keys(PeopleSpec(), g, 0 * g)
    person = wardrobe.draw_person(keys, "pretrain", "A")
    pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]))
    truth = captions.facts(person, pose)
    for noise, expected in ((0.0, 0.0), (1.0, captions.WORD_NOISE), (2.0, 2 * captions.WORD_NOISE)):
        said = captions.with_wrong_words(truth, keys["template"], noise)
        rate = np.mean([(said.columns[k] != truth.columns[k]).mean() for k in truth.columns])
        assert rate == pytest.approx(expected, abs=0.01)
        assert all((said.columns[k] < captions._SIZES[k]).all() for k in said.columns)


def test_identity_and_keypoint_noise_have_their_size():
    group, draws = np.repeat(np.arange(500, 1524), 5), Draws(np.arange(5120, dtype=np.uint64))
    assert (wrong_identities(group, draws, 0.0) == group).all()
    wrong = wrong_identities(group, draws, 1.0)
    assert (wrong != group).mean() == pytest.approx(0.10, abs=0.015)
    assert (np.abs(wrong - group) < 64).all()
    # A longer list of groups keeps the labels of full shards.
    assert (wrong_identities(group[: 128 * 5], Draws(draws.keys[: 128 * 5]), 1.0) == wrong[: 128 * 5]).all()
    points = np.zeros((5120, 17, 3), np.float32)
    points[..., 2], points[:, 3, 2] = 2, 0
    stature = np.full(5120, 100.0, np.float32)
    moved = jittered(points, stature, draws, 1.0)
    distance = np.sqrt((moved[..., :2] ** 2).sum(-1).mean(0))
    assert distance[0] == pytest.approx(2.0, abs=0.1)
    assert distance[3] == 0
    assert (moved[..., 2] == points[..., 2]).all()
    assert (jittered(points, stature, draws, 0.0) == points).all()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"layout": "pose"}, "pose"), ({"split": "dev"}, "dev"), ({"style": "C"}, "C"),
        ({"caption_detail": "all"}, "all"),
        ({"split": "test", "layout": "poses"}, "identities"), ({"height": 100}, "100"), ({"noise": -1.0}, "-1.0"),
        ({"street_share": 1.5}, "1.5"),
    ],
)  # fmt: skip
def test_wrong_specs_are_explained(change, found):
    with pytest.raises(ConfigError, match=found) as caught:
        PeopleSpec(**change)
    assert caught.value.hint
