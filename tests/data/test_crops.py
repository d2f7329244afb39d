"""Windows around persons: geometry, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hcbench.data.crops import cached_crops, crop_windows, cut, to_crop, to_original, whole_images
from hcbench.errors import DataError


def test_geometry_goes_there_and_back(rng: np.random.Generator) -> None:
    boxes = np.concatenate([rng.uniform(0, 600, (500, 2)), rng.uniform(1, 640, (500, 2))], axis=1)
    center, size = crop_windows(boxes, 128, 64)
    np.testing.assert_allclose(size[:, 1], 2 * size[:, 0], rtol=1e-6)
    np.testing.assert_array_less(1.2499 * boxes[:, 2:], size)
    np.testing.assert_allclose((size / boxes[:, 2:]).min(axis=1), 1.25, rtol=1e-6)
    points = rng.uniform(0, 640, (500, 17, 2))
    args = (center[:, None], size[:, None], 128, 64)
    np.testing.assert_allclose(to_original(to_crop(points, *args), *args), points, atol=1e-10)
    # Through float32 crop pixels, as `Samples` keeps them, for points inside the window.
    inside = center[:, None] + (rng.uniform(-0.5, 0.5, (500, 17, 2)) * size[:, None])
    stored = to_crop(inside, *args).astype(np.float32).astype(np.float64)
    assert np.abs(to_original(stored, *args) - inside).max() < 1e-4


def test_a_window_of_the_input_size_copies_pixels(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    # An even window on pixel borders: its centre lies half-way between pixel centres.
    center, size = np.array([12.5, 20.5], np.float32), np.array([8.0, 16.0], np.float32)
    crop = cut(Image.fromarray(pixels), center, size, 16, 8)
    np.testing.assert_array_equal(crop.transpose(1, 2, 0), pixels[13:29, 9:17])
    assert to_crop(np.array([9.0, 13.0]), center, size, 16, 8).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.7])
def test_pixels_and_keypoints_share_one_window(scale: float) -> None:
    """A soft blob painted around a point of the original has its centre of mass where `to_crop` puts the point."""
    x, y = 171.3, 142.8
    grid_y, grid_x = np.mgrid[0:300, 0:300]
    blob = 255 * np.exp(-((grid_x - x) ** 2 + (grid_y - y) ** 2) / (2 * (3 * scale) ** 2))
    image = Image.fromarray(np.repeat(np.rint(blob)[..., None].astype(np.uint8), 3, axis=2))
    center, size = np.array([165.2, 150.7], np.float32), np.array([64, 128], np.float32) * np.float32(scale)
    crop = cut(image, center, size, 128, 64)[0].astype(np.float64)
    rows, columns = np.mgrid[0:128, 0:64]
    expected = to_crop(np.array([x, y]), center, size, 128, 64)
    found = [(crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()]
    # 8-bit rounding of the tails moves the centre by some hundredths; half a pixel would be a wrong convention.
    np.testing.assert_allclose(found, expected, atol=0.08)


def test_outside_of_the_image_is_black() -> None:
    image = Image.new("RGB", (20, 20), (200, 200, 200))
    crop = cut(image, np.array([-0.5, 9.5], np.float32), np.array([20, 40], np.float32), 40, 20)
    assert (crop[:, :, :9] == 0).all()
    assert (crop[:, 12:28, 11:] == 200).all()


def test_whole_images_are_resized_whatever_their_aspect(tmp_path):
    rng = np.random.default_rng(0)
    for name, (h, w) in (("a.png", (16, 8)), ("b.png", (20, 30))):
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(tmp_path / name)
    crops, _ = cached_crops(whole_images(tmp_path, ["b.png", "a.png"], 16, 8), tmp_path / "cache")
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(crops[1], np.asarray(image).transpose(2, 0, 1))
    with Image.open(tmp_path / "b.png") as image:
        expected = np.asarray(image.resize((8, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(crops[0].astype(int) - expected).max() <= 1


def test_images_that_are_none_are_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"2 of 2 images .* cannot be opened: a\.png"):
        whole_images(tmp_path, ["a.png", "missing.png"], 16, 8)
