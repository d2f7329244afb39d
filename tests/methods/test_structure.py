"""Structure providers: capsules against a sweep of spheres, files, errors."""

from __future__ import annotations

import importlib.metadata
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from hcbench.errors import ConfigError, DataError, MethodError
from hcbench.methods.parts.structure import body
from hcbench.methods.parts.structure.base import NoStructure, Subjects
from hcbench.methods.parts.structure.body import capsules, turn
from hcbench.methods.parts.structure.capsules import CHANNELS, CapsuleProvider, draw, trace
from hcbench.methods.parts.structure.lifting import FOREARM, UPPER_ARM, ParamsProvider, lift
from hcbench.methods.parts.structure.providers import structure_provider
from hcbench.methods.parts.structure.rendered import RenderedProvider, read_grey

FRAME = (64, 32)
ALL = CHANNELS["capsule"]


def walker(dtype=torch.float64):
    """A person who faces the camera, the left arm raised to the front, the left leg ahead, in the middle."""
    x = {"shoulder": 6.0, "elbow": 7.5, "wrist": 7.0, "hip": 3.0, "knee": 3.4, "ankle": 3.1}
    y = {"shoulder": 16.0, "elbow": 25.0, "wrist": 33.0, "hip": 32.0, "knee": 45.0, "ankle": 58.0}
    points = [(0.0, 9.0, 3.5), (0.9, 8.3, 3.0), (-0.9, 8.3, 3.0), (2.0, 8.8, 0.0), (-2.0, 8.8, 0.0)]
    for name in x:
        points += [(x[name], y[name], 0.0), (-x[name], y[name], 0.0)]
    joints = torch.tensor(points, dtype=dtype)
    joints[7] += torch.tensor([0.0, -4.0, 7.0])
    joints[9] += torch.tensor([1.0, -12.0, 13.0])
    joints[[13, 15]] += torch.tensor([[0.0, -1.0, 5.0], [0.0, -3.0, 4.0]])
    joints[:, 0] += (FRAME[1] - 1) / 2
    return joints[None]


def angles(*degrees):
    return torch.tensor(degrees, dtype=torch.float64)


def subjects(joints=None, count=1):
    return Subjects(indices=torch.arange(count), frame=FRAME, joints=joints)


def drawn(yaw, size=FRAME, channels=ALL, joints=None):
    joints = walker() if joints is None else joints
    return draw(joints, angles(yaw), FRAME, size, channels)[0]


def test_capsules_equal_a_dense_sweep_of_spheres():
    """Largest z over 4,001 spheres along each axis; the sweep misses at most a second-order sliver between spheres."""
    bodies = capsules(turn(walker(), angles(30)))
    rows, columns = torch.arange(0, 64, 2.0).double(), torch.arange(0, 32, 2.0).double()
    depth, owner = trace(bodies, rows, columns)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    swept = torch.full_like(depth[0], -torch.inf)
    first = torch.zeros_like(owner[0])
    for k in range(14):
        t = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
        centre = bodies.start[0, k] * (1 - t) + bodies.end[0, k] * t
        gap = bodies.radius[0, k] ** 2 - (x - centre[:, :1, None]) ** 2 - (y - centre[:, 1:2, None]) ** 2
        best = torch.where(gap >= 0, centre[:, 2:, None] + gap.clamp(min=0).sqrt(), -torch.inf).amax(dim=0)
        first[best > swept] = k
        swept = torch.maximum(swept, best)
    assert torch.equal(depth[0].isinf(), swept.isinf())
    body_pixels = ~swept.isinf()
    assert body_pixels.sum() > 60
    torch.testing.assert_close(depth[0][body_pixels], swept[body_pixels], atol=1e-4, rtol=0)
    assert (owner[0] == first)[body_pixels].float().mean() > 0.99


def test_single_precision_draws_the_same():
    exact, single = drawn(75), drawn(75, joints=walker(torch.float32))
    assert ((exact - single).abs() > 1e-3).float().mean() < 0.002


def test_no_turn_is_the_identity():
    joints = walker()
    assert torch.equal(turn(joints, angles(0)), joints)
    assert torch.equal(turn(joints, angles(360)), joints)
    torch.testing.assert_close(turn(turn(joints, angles(45)), angles(315)), joints)


def test_turning_moves_about_the_pelvis_and_keeps_lengths():
    joints = walker()
    turned = turn(joints, angles(90))
    torch.testing.assert_close(body.pelvis_of(turned), body.pelvis_of(joints))
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(joints, joints), atol=1e-9, rtol=0)
    # What was in front is now at the image's right.
    assert turned[0, 9, 0] - body.pelvis_of(joints)[0, 0] == pytest.approx(float(joints[0, 9, 2]))


def test_eight_turns_are_eight_maps():
    maps = [drawn(yaw) for yaw in range(0, 360, 45)]
    for first, second in itertools.combinations(maps, 2):
        assert (first - second).abs().max() > 0.1
    assert all(one.abs().max() <= 1 for one in maps)


def test_half_a_turn_mirrors_the_silhouette_but_not_depth_nor_shading():
    front, back = drawn(0), drawn(180)
    assert torch.equal(back[0], front[0].flip(1))
    for channel in (1, 2):
        assert (back[channel] - front[channel].flip(1)).abs().max() > 0.1


def test_channels_mean_what_they_say():
    silhouette, depth, shading = drawn(0)
    assert set(silhouette.unique().tolist()) == {-1.0, 1.0}
    body_pixels = silhouette > 0
    assert (depth[~body_pixels] == -1).all()
    assert (shading[~body_pixels] == -1).all()
    assert shading[body_pixels].min() >= -0.5 - 1e-6
    # The raised hand is the nearest part.
    nearest = depth.argmax()
    assert abs(int(nearest) // FRAME[1] - 21) <= 4
    assert torch.equal(drawn(0, channels=CHANNELS["capsule-gray"])[0], shading)


def test_maps_of_another_size_show_the_same_body():
    large, small = drawn(0), drawn(0, size=(32, 16))
    pooled = torch.nn.functional.avg_pool2d(large[:1], 2)
    assert ((pooled - small[:1]).abs() > 1.01).float().mean() < 0.02


def test_unknown_joints_leave_their_limbs_out():
    joints = walker()
    joints[0, 10] = torch.nan
    maps = drawn(0, joints=joints)
    assert maps.isfinite().all()
    assert (maps[0] > 0).sum() < (drawn(0)[0] > 0).sum()
    nothing = torch.full_like(joints, torch.nan)
    assert (drawn(45, joints=nothing) == -1).all()


def test_provider_is_batched_and_deterministic():
    provider = CapsuleProvider()
    joints = torch.cat([walker(), walker() + 1.0]).float()
    both = provider.render(subjects(joints, 2), angles(0, 135), (32, 16))
    assert both.shape == (2, 3, 32, 16)
    assert both.dtype == torch.float32
    one = provider.render(subjects(joints[1:], 1), angles(135), (32, 16))
    torch.testing.assert_close(both[1:], one)
    assert torch.equal(both, provider.render(subjects(joints, 2), angles(0, 135), (32, 16)))


def test_without_joints_the_error_names_the_ways_out():
    provider = CapsuleProvider()
    for call in (lambda: provider.check(subjects()), lambda: provider.render(subjects(), angles(0), FRAME)):
        with pytest.raises(MethodError) as error:
            call()
        for way in ("rendered:<dir>", "params:<npz>", "entrypoint:<name>"):
            assert way in str(error.value)


def test_no_structure_is_one_map_for_everyone_from_every_side():
    maps = NoStructure().render(subjects(count=2), angles(0, 90), (8, 4))
    assert maps.shape == (2, 1, 8, 4)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0, 0, :, 0], torch.linspace(-1, 1, 8))
    assert torch.equal(maps[..., 0], maps[..., 3])


@pytest.fixture
def renders(tmp_path):
    """Two images, grey, brighter with the angle."""
    for yaw in range(0, 360, 45):
        folder = tmp_path / (f"render_{yaw}" if yaw else "render") / "cam1"
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.new("L", FRAME[::-1], yaw // 2 + (name == "b.png")).save(folder / name)
    return tmp_path


def test_renders_are_read_by_view(renders):
    provider = structure_provider(f"rendered:{renders}", ["cam1/a", "cam1/b.png"])
    maps = provider.render(subjects(count=2), angles(0, 315), (16, 8))
    assert maps.shape == (2, 1, 16, 8)
    assert maps.unique().numpy() == pytest.approx([-1.0, (315 // 2 + 1) / 127.5 - 1])
    again = structure_provider(f"rendered:{renders}", ["cam1/a", "cam1/b.png"])
    assert again.fingerprint == provider.fingerprint
    with pytest.raises(DataError, match="30 degrees"):
        provider.render(subjects(), angles(30), FRAME)


def test_a_missing_view_is_named(renders):
    (renders / "render_90" / "cam1" / "b.png").unlink()
    with pytest.raises(DataError, match="render_90/cam1/b"):
        RenderedProvider(renders, ["cam1/a", "cam1/b"])


def test_renders_that_do_not_fit_are_refused(tmp_path):
    def save(name, size, colour):
        Image.new("RGB", size, colour).save(tmp_path / name)
        return tmp_path / name

    assert read_grey(save("grey.png", (32, 64), (90, 95, 90)), FRAME, FRAME).shape == FRAME
    with pytest.raises(DataError, match="coloured"):
        read_grey(save("skin.png", (32, 64), (200, 150, 120)), FRAME, FRAME)
    with pytest.raises(DataError, match="ratio"):
        read_grey(save("square.png", (64, 64), (90, 90, 90)), FRAME, FRAME)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="cannot be read"):
        read_grey(tmp_path / "text.png", FRAME, FRAME)


def test_renders_of_16_bits_keep_their_greys(tmp_path):
    levels = np.linspace(0, 65535, FRAME[0]).round().astype(np.uint16)
    Image.fromarray(np.repeat(levels[:, None], FRAME[1], axis=1)).save(tmp_path / "r.png")
    found = read_grey(tmp_path / "r.png", FRAME, FRAME)
    np.testing.assert_allclose(found[:, 0], np.linspace(-1, 1, FRAME[0]), atol=1 / 255)
    for mode in ("I", "F"):
        Image.new(mode, (32, 64), 300).save(tmp_path / "r.tif")
        with pytest.raises(DataError, match=r"cannot be read: .* has pixels from 300 to 300.*\n.*8 or 16 bits"):
            read_grey(tmp_path / "r.tif", FRAME, FRAME)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_renders_of_8_bits_and_less_are_taken(mode, tmp_path):
    picture = np.zeros(FRAME, np.uint8)
    picture[16:48] = 255
    Image.fromarray(picture).convert(mode).save(tmp_path / "r.png")
    np.testing.assert_allclose(read_grey(tmp_path / "r.png", FRAME, FRAME), picture / 127.5 - 1, atol=1e-6)


def test_damaged_files_of_joints_are_told_of(tmp_path):
    np.savez(tmp_path / "p.npz", ids=["a"], joints=walker().numpy())
    content = (tmp_path / "p.npz").read_bytes()
    for length in (0, 3, len(content) // 2, len(content) - 10):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.npz cannot be read"):
            ParamsProvider(tmp_path / "cut.npz", ["a"])
    np.save(tmp_path / "p.npy", walker().numpy())
    with pytest.raises(DataError, match="holds one array without a name"):
        ParamsProvider(tmp_path / "p.npy", ["a"])


def test_joints_from_a_file(tmp_path):
    joints = torch.cat([walker(), walker() + 1.0]).float()
    np.savez(tmp_path / "p.npz", ids=["b", "unused", "a"], joints=joints[[1, 0, 0]].numpy())
    provider = structure_provider(f"params:{tmp_path / 'p.npz'}", ["a", "b"])
    assert not provider.lifted
    expected = CapsuleProvider().render(subjects(joints, 2), angles(0, 45), FRAME)
    assert torch.equal(provider.render(subjects(count=2), angles(0, 45), FRAME), expected)
    with pytest.raises(DataError, match="'c'"):
        ParamsProvider(tmp_path / "p.npz", ["a", "c"])


def test_flat_keypoints_are_lifted(tmp_path):
    joints = walker().numpy()
    keypoints = np.concatenate([joints[..., :2], np.full((1, 17, 1), 2.0)], axis=2)
    keypoints[0, 10, 2] = 0
    np.savez(tmp_path / "k.npz", ids=["a"], keypoints=keypoints)
    provider = structure_provider(f"params:{tmp_path / 'k.npz'}", ["a"])
    assert provider.lifted
    assert torch.equal(provider.joints[..., :2].isnan().any(dim=2)[0].nonzero()[:, 0], torch.tensor([10]))
    assert provider.render(subjects(), angles(45), FRAME).isfinite().all()


def test_lifted_limbs_have_the_lengths_of_a_body():
    flat = walker()[..., :2].numpy()
    lifted = lift(flat)
    np.testing.assert_array_equal(lifted[..., :2], flat)
    stature = 13.0 / body.THIGH  # about that of the legs
    arm = np.linalg.norm(lifted[0, 7] - lifted[0, 5]) / UPPER_ARM
    forearm = np.linalg.norm(lifted[0, 9] - lifted[0, 7]) / FOREARM
    assert arm == pytest.approx(forearm)
    assert arm == pytest.approx(np.linalg.norm(lifted[0, 14] - lifted[0, 12]) / body.THIGH)
    assert 0.9 * stature < arm < 1.4 * stature
    assert lifted[0, 9, 2] > 0, "an arm that looks short is in front of a person who faces the camera"
    mirrored = flat.copy()
    mirrored[..., 0] = FRAME[1] - 1 - mirrored[..., 0]
    assert lift(mirrored)[0, 9, 2] < 0, "and behind one who faces away"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": ["a"]}, "Expected ids"),
        ({"joints": np.zeros((1, 17, 3))}, "Expected ids"),
        ({"ids": ["a"], "joints": np.zeros((1, 24, 3))}, "shape"),
        ({"ids": ["a", "b"], "joints": np.zeros((1, 17, 3))}, "shape"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        ParamsProvider(tmp_path / "x.npz", ["a"])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no file"):
        ParamsProvider(tmp_path / "none.npz", [])
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="cannot be read"):
        ParamsProvider(tmp_path / "text.npz", [])


class Point:
    """An entry point."""

    def __init__(self, name, made):
        self.name, self.value, self.made = name, f"here:{name}", made

    def load(self):
        return self.made


def test_users_adapters_are_entry_points(monkeypatch):
    asked = []

    def good(ids):
        asked.append(tuple(ids))
        return NoStructure()

    points = (Point("mine", good), Point("wrong", lambda ids: "text"))
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: points if group == "hcbench.structure" else ()
    )
    assert isinstance(structure_provider("entrypoint:mine", ["a"]), NoStructure)
    assert asked == [("a",)]
    with pytest.raises(ConfigError, match="gives a str"):
        structure_provider("entrypoint:wrong", [])
    with pytest.raises(ConfigError, match="'mine'"):
        structure_provider("entrypoint:mines", [])


@pytest.mark.parametrize("name", ["capsules", "rendered", "params:", "smpl:x"])
def test_unknown_providers(name):
    with pytest.raises(ConfigError, match="source of structure"):
        structure_provider(name, [])


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_an_image_cannot_name_a_render_elsewhere(tmp_path, name):
    with pytest.raises(DataError, match=r"has no render in .*: its name"):
        RenderedProvider(tmp_path, [name])
