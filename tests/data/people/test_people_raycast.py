"""The closed-form ray against a sweep of 1,001 spheres along each capsule."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hcbench.data.people.raycast import GEOMETRY, evaluate, prepare_capsules, trace

STEPS = 1001


def _sweep(start, end, r0, r1, w, f, px, py):
    """Depth by brute force: the nearest front surface of 1,001 flattened spheres; -inf where none is hit."""
    inverse = np.eye(3) + (1 / f - 1) * np.outer(w, w)
    g = inverse @ inverse
    t = np.linspace(0, 1, STEPS)[:, None]
    centre = start + t * (end - start)
    radius = (r0 + t[:, 0] * (r1 - r0))[:, None]
    dx, dy = px[None] - centre[:, :1], py[None] - centre[:, 1:2]
    # |M^-1 (p - c)|² = r² is a quadratic in z.
    a = g[2, 2]
    b = g[0, 2] * dx + g[1, 2] * dy
    c = g[0, 0] * dx**2 + 2 * g[0, 1] * dx * dy + g[1, 1] * dy**2 - radius**2
    disc = b**2 - a * c
    z = np.where(disc > 0, (-b + np.sqrt(np.maximum(disc, 0))) / a + centre[:, 2:], -np.inf)
    return z.max(axis=0), disc.max(axis=0)


def _closed_form(start, end, r0, r1, w, f, px, py):
    one = np.array
    capsules = prepare_capsules(one([start]), one([end]), one([r0]), one([r1]), one([w]), one([f]), one([0.0]),
                                np.zeros(1, np.int64), 1)  # fmt: skip
    column = {name: row[0].double() for name, row in zip(GEOMETRY, capsules.table, strict=True)}
    z, disc, *_ = evaluate(column, torch.from_numpy(px), torch.from_numpy(py))
    return z.numpy(), disc.numpy()


coordinate = st.floats(-14, 14, allow_nan=False)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.tuples(coordinate, coordinate, coordinate), st.floats(1.5, 9), st.floats(1.5, 9),
    st.tuples(coordinate, coordinate, coordinate), st.floats(0.3, 1.0),
)  # fmt: skip
def test_hit_equals_sweep(direction, r0, r1, flat, flatten):
    start, end = np.array([20.0, 20.0, 3.0]), np.array([20.0, 20.0, 3.0]) + np.array(direction)
    axis = end - start
    w = np.cross(axis, np.array(flat)) if np.linalg.norm(axis) > 0.5 else np.array([0.0, 0.0, 1.0])
    w = w / np.linalg.norm(w) if np.linalg.norm(w) > 1e-3 else np.array([0.0, 0.0, 1.0])
    y, x = (v.reshape(-1).astype(np.float64) for v in np.mgrid[0:41:2, 0:41:2])
    expected, margin = _sweep(start, end, r0, r1, w, flatten, x, y)
    z, disc = _closed_form(start, end, r0, r1, w, flatten, x, y)
    clear = np.abs(margin) > 0.02 * (r0 + r1)  # a sweep misses grazing rays
    assert ((disc > 0) == np.isfinite(expected))[clear].all()
    # One end swallowing the other (a <= 0) is drawn with a grown inner end: outline exact, depth not.
    inverse = np.eye(3) + (1 / flatten - 1) * np.outer(w, w)
    g = inverse @ inverse
    plane = g[:2, :2] - np.outer(g[:2, 2], g[:2, 2]) / g[2, 2]
    flat_length = np.sqrt(max(axis[:2] @ plane @ axis[:2], 0.0))
    if abs(r1 - r0) < 0.95 * flat_length:
        both = clear & (disc > 0)
        assert np.abs(z - expected)[both].max(initial=0.0) < 0.02


def test_limb_seen_end_on_shows_its_near_end():
    start, end = np.array([16.0, 16.0, 0.0]), np.array([16.0, 16.0, 10.0])
    z, disc = _closed_form(start, end, 4.0, 4.0, np.array([1.0, 0, 0]), 1.0, np.array([16.0]), np.array([16.0]))
    assert disc[0] > 0
    assert abs(z[0] - 14.0) < 0.02


def test_nearest_of_two_is_in_front_and_cover_is_soft():
    start = np.array([[10.0, 16.0, 0.0], [16.0, 4.0, 9.0]])
    end = np.array([[22.0, 16.0, 0.0], [16.0, 28.0, 9.0]])
    three, ones = np.full(2, 3.0), np.ones(2)
    capsules = prepare_capsules(start, end, three, three, np.tile([0.0, 0.0, 1.0], (2, 1)), ones, 0 * ones,
                                np.zeros(2, np.int64), 1)  # fmt: skip
    hits = trace(capsules, 32, 32)
    seen = {
        (int(x), int(y)): (int(f), float(c)) for x, y, f, c in zip(hits.x, hits.y, hits.front, hits.cover, strict=True)
    }
    assert seen[16, 16][0] == 1
    assert seen[10, 16][0] == 0
    assert seen[16, 16][1] == 1.0
    assert (2, 2) not in seen
    # The upright capsule spans columns 13 .. 19: half the edge column is covered.
    assert abs(seen[13, 8][1] - 0.5) < 0.1


def test_cut_end_is_open():
    start, end, r = np.array([[16.0, 8.0, 0.0]]), np.array([[16.0, 20.0, 0.0]]), np.array([5.0])
    for cut, expected in ((0.0, True), (1.0, False)):
        capsules = prepare_capsules(start, end, r, r, np.array([[0.0, 0.0, 1.0]]), np.ones(1), np.array([cut]),
                                    np.zeros(1, np.int64), 1)  # fmt: skip
        hits = trace(capsules, 32, 32)
        assert bool(((hits.x == 16) & (hits.y == 23)).any()) is expected
