"""People at sizes that the renderer does not know."""

from __future__ import annotations

import numpy as np
import pytest

from hcbench.data.people.dataset import benchmark_split
from hcbench.data.people.fit import fitted, render_size
from hcbench.errors import ConfigError

SIZE, RENDERED = (70, 42), (72, 48)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same people at a size of 14-pixel patches, and as they are rendered."""
    cache = tmp_path_factory.mktemp("people")
    return [benchmark_split("val", height=h, width=w, scale=0.01, cache=cache) for h, w in (SIZE, RENDERED)]


def test_sizes_are_rendered_at_the_next_multiple_of_the_tile():
    assert render_size(518, 518) == (520, 520)
    assert render_size(126, 70) == (128, 72)
    assert render_size(224, 112) == (224, 112)
    for size in ((20, 16), (128, 2000)):
        with pytest.raises(ConfigError, match=r"cannot be rendered") as caught:
            render_size(*size)
        assert "224x112" in caught.value.hint


def test_a_size_that_the_renderer_knows_is_left_alone(pair):
    assert fitted(pair[1], *RENDERED) is pair[1]


def test_every_array_has_the_size_of_the_input(pair):
    small, whole = pair
    assert len(small) == len(whole) == 48
    assert small.images.shape == (48, 3, *SIZE)
    assert small.images[0].shape == (3, *SIZE)
    assert small.images[np.array([5, 1])].shape == (2, 3, *SIZE)
    assert small.images[2:4].dtype == np.uint8
    assert small.parts[np.arange(3)].shape == (3, *SIZE)
    assert small.parts.shape == (48, *SIZE)
    assert "rendered at 72x48" in small.name
    assert small.fingerprint != whole.fingerprint
    assert small.captions == whole.captions


def test_labels_follow_the_pixels(pair):
    small, whole = pair
    y, x = SIZE[0] / RENDERED[0], SIZE[1] / RENDERED[1]
    shown = whole.keypoints[..., 2] > 0
    np.testing.assert_array_equal(small.keypoints[..., 2], whole.keypoints[..., 2])
    expected = (whole.keypoints[..., :2] + 0.5) * [x, y] - 0.5  # pixel centres lie at integers
    np.testing.assert_allclose(small.keypoints[shown][:, :2], expected[shown], atol=1e-4)
    assert (small.keypoints[~shown] == 0).all()
    np.testing.assert_allclose(small.joints[..., :2], (whole.joints[..., :2] + 0.5) * [x, y] - 0.5, atol=1e-4)
    np.testing.assert_allclose(small.area, whole.area * x * y, rtol=1e-5)
    mask = np.asarray(small.parts[np.arange(len(small))])
    person = (mask > 0) & (mask < whole.part_names.index("object"))
    for found, (left, top, width, height) in zip(person, small.boxes, strict=True):
        rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose([left, top, left + width, top + height], edges, atol=1.5)


def test_pixels_are_those_of_the_rendered_people(pair):
    small, whole = (np.asarray(one.images[np.arange(8)], np.float64) for one in pair)
    np.testing.assert_allclose(small.mean(axis=(2, 3)), whole.mean(axis=(2, 3)), atol=1.5)
    assert np.abs(small[..., ::2, ::2] - whole[..., :70:2, :42:2]).mean() > 1  # no window of them
