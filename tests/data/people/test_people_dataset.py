"""Samples, the shard cache and contact sheets."""

from __future__ import annotations

import logging
import multiprocessing

import numpy as np
import pytest
from PIL import Image

from hcbench.data.people import cache as people_cache
from hcbench.data.people.attributes import ATTRIBUTES
from hcbench.data.people.dataset import SHARD_GROUPS, Stacked, benchmark_split, prepare, pretraining_view, shards
from hcbench.data.people.preview import contact_sheet
from hcbench.data.people.spec import REFERENCE_GROUPS, PeopleSpec
from hcbench.errors import BudgetError, ConfigError, DataError

SMALL = PeopleSpec(height=64, width=32)


def test_view_has_every_field_group_major(tmp_path):
    groups = np.array([7, 3, 900])
    v = pretraining_view(SMALL, groups, cache=tmp_path)
    assert len(v) == 15
    assert v.group.tolist() == [7] * 5 + [3] * 5 + [900] * 5
    assert v.images[np.arange(15)].shape == (15, 3, 64, 32)
    assert v.parts[np.array([2, 14])].shape == (2, 64, 32)
    assert v.attributes.shape == (15, len(ATTRIBUTES))
    assert len(set(v.ids)) == 15
    assert all(len(c) == 3 for c in v.captions)
    assert [len(several) for several in v.phrases] == [3] * 15
    assert {"skin_tone", "view", "occlusion"} <= set(v.slices)
    again = pretraining_view(SMALL, groups, cache=tmp_path)
    assert again.fingerprint == v.fingerprint
    assert (again.images[np.arange(15)] == v.images[np.arange(15)]).all()
    in_memory = pretraining_view(SMALL, groups, cache=None)
    assert (in_memory.images[np.arange(15)] == v.images[np.arange(15)]).all()


def test_noise_changes_labels_not_pixels(tmp_path):
    clean = pretraining_view(PeopleSpec(height=64, width=32, noise=0.0), np.arange(12), cache=tmp_path)
    noisy = pretraining_view(SMALL, np.arange(12), cache=tmp_path)
    assert len(list(tmp_path.glob("people-*"))) == 1
    assert (clean.identity == clean.group).all()
    assert (clean.keypoints != noisy.keypoints).any()
    assert clean.fingerprint != noisy.fingerprint


def test_joints_are_the_keypoints_in_space():
    groups = np.arange(20)
    clean = pretraining_view(PeopleSpec(height=64, width=32, noise=0.0), groups, cache=None)
    seen = clean.keypoints[..., 2] > 0
    assert clean.joints.shape == (100, 17, 3)
    assert clean.joints.dtype == np.float32
    np.testing.assert_allclose(clean.joints[..., :2][seen], clean.keypoints[..., :2][seen], atol=1e-4)
    assert np.isfinite(clean.joints).all(), "joints outside the image are known too"
    # Limbs have their lengths in space, whatever the view: left and right thighs are equally long.
    thighs = [np.linalg.norm(clean.joints[:, hip] - clean.joints[:, hip + 2], axis=1) for hip in (11, 12)]
    np.testing.assert_allclose(thighs[0], thighs[1], rtol=1e-3)
    flat = [np.linalg.norm((clean.joints[:, hip] - clean.joints[:, hip + 2])[:, :2], axis=1) for hip in (11, 12)]
    assert abs(flat[0] / flat[1] - 1).max() > 0.1


def test_joints_and_keypoints_share_their_noise():
    groups = np.arange(40)
    clean, noisy = (
        pretraining_view(PeopleSpec(height=64, width=32, noise=noise), groups, cache=None) for noise in (0.0, 1.0)
    )
    seen = clean.keypoints[..., 2] > 0
    np.testing.assert_allclose(noisy.joints[..., :2][seen], noisy.keypoints[..., :2][seen], atol=1e-4)
    moved = noisy.joints - clean.joints
    in_image = np.sqrt((moved[..., :2] ** 2).sum(axis=2).mean(axis=1))
    thigh = np.linalg.norm(clean.joints[:, 11] - clean.joints[:, 13], axis=1)
    assert np.median(in_image / (thigh / 0.243)) == pytest.approx(0.02, rel=0.15)
    assert moved[..., 2].std() == pytest.approx(moved[..., 0].std(), rel=0.15)
    assert abs(np.corrcoef(moved[..., 2].ravel(), moved[..., 0].ravel())[0, 1]) < 0.1


def test_layout_decides_what_is_known_as_the_same():
    poses = pretraining_view(PeopleSpec(layout="poses", height=64, width=32, noise=0.0), np.arange(3), cache=None)
    assert (poses.pose_id == poses.group).all()
    assert len(set(poses.identity.tolist())) == 15
    points = poses.keypoints.reshape(3, 5, 17, 3)
    assert (points[..., :2] == points[:, :1, :, :2]).all()


def test_larger_budget_reuses_full_shards():
    order = np.random.default_rng(0).permutation(5000)
    small, large = shards(SMALL, order[: 2 * SHARD_GROUPS]), shards(SMALL, order[: 3 * SHARD_GROUPS + 5])
    assert [s.key for s in small] == [s.key for s in large[:2]]
    assert [len(s) for s in large] == [320, 320, 320, 25]


def test_damaged_cache_is_rendered_again(tmp_path, caplog):
    shard = shards(SMALL, np.arange(2))[0]
    prepare(shard, tmp_path)
    folder = tmp_path / shard.key
    good = (folder / "images.npy").read_bytes()
    for damage in (good[:-50], good[:-1] + bytes([good[-1] ^ 1])):
        (folder / "images.npy").write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            prepare(shard, tmp_path)
        assert "damaged" in caplog.text
        assert (folder / "images.npy").read_bytes() == good
    (folder / "shard.json").unlink()
    prepare(shard, tmp_path)
    assert (folder / "shard.json").exists()


def _count_renders(shard, folder, log):
    import torch

    torch.set_num_threads(1)
    inner = people_cache._render

    def counted(item):
        with log.open("a") as file:
            file.write("x")
        return inner(item)

    people_cache._render = counted
    prepare(shard, folder)


def test_two_processes_at_once_render_once(tmp_path):
    shard = shards(SMALL, np.arange(4))[0]
    log = tmp_path / "renders"
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_count_renders, args=(shard, tmp_path / "cache", log)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert log.read_text() == "x"
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_source_hash_ignores_comments(tmp_path):
    assert people_cache.source_hash() == people_cache.source_hash()
    a = "def f():\n    '''doc'''\n    return 1  # why\n"
    b = "def f():\n    return 1\n"
    assert people_cache.normalised(a) == people_cache.normalised(b)
    assert people_cache.normalised(a) != people_cache.normalised(b.replace("1", "2"))


def test_benchmark_split_has_distractors_and_cameras():
    b = benchmark_split("test", height=64, width=32, scale=0.02, cache=None)
    people = b.identity >= 0
    assert people.sum() == 8 * 6
    assert (~people).sum() == 12
    assert all(len(c) == 2 and c[0] != c[1] for c in b.captions)
    for identity in range(8):
        assert len(set(b.camera[b.identity == identity].tolist())) >= 3
    assert (b.area > 0).mean() > 0.95
    assert b.boxes.shape == (60, 4)


def test_stacked_answers_like_an_array():
    data = np.arange(24, dtype=np.uint8).reshape(12, 2)
    s = Stacked([data[:5], data[5:6], data[6:]])
    for index in (slice(2, 9), np.array([11, 0, 5, 5]), np.array([-1, -12]), data[:, 0] % 4 == 0):
        assert (s[index] == data[index]).all()
    assert (s[7] == data[7]).all()
    assert len(s) == 12


def test_user_errors():
    with pytest.raises(BudgetError, match="117125"):
        pretraining_view(SMALL, np.array([REFERENCE_GROUPS]), cache=None)
    with pytest.raises(BudgetError, match="twice"):
        pretraining_view(SMALL, np.array([1, 1]), cache=None)
    with pytest.raises(ConfigError, match="test"):
        pretraining_view(PeopleSpec(split="test"), np.array([1]), cache=None)
    with pytest.raises(ConfigError, match="pretrain"):
        benchmark_split("pretrain", cache=None)
    with pytest.raises(ConfigError, match="scale"):
        benchmark_split("test", scale=0.0, cache=None)


def test_contact_sheet(tmp_path):
    v = pretraining_view(SMALL, np.arange(2), cache=None)
    path = contact_sheet(v, tmp_path / "deep" / "sheet.png", columns=4, overlay=True, parts=True, zoom=1)
    assert Image.open(path).size == (4 * 32, 3 * 128)
    with pytest.raises(DataError, match="no image"):
        contact_sheet(v, path, limit=0)
