"""Windows around persons: geometry, there and back."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from hcbench.data.crops import cached_crops, whole_images
from hcbench.data.pixels import read_image
from hcbench.data.windows import crop_windows, cut, to_crop, to_original
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


GREY = np.array([[0, 128, 255]] * 3, np.uint8)
SAVED = {
    "grey of 16 bits": ("png", lambda: Image.fromarray(GREY.astype(np.uint16) * 257)),
    "tiff of 16 bits": ("tif", lambda: Image.fromarray(GREY.astype(np.uint16) * 257)),
    "grey of 8 bits": ("png", lambda: Image.fromarray(GREY)),
    "palette": ("png", lambda: Image.fromarray(GREY).convert("P")),
    "with transparency": ("png", lambda: Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (3, 3), 0)])),
    "colours with transparency": ("png", lambda: Image.merge(
        "RGBA", [*[Image.fromarray(GREY)] * 3, Image.new("L", (3, 3), 9)])),
    "four colours": ("tif", lambda: Image.fromarray(GREY).convert("RGB").convert("CMYK")),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAVED)
def test_greys_stay_what_the_file_says(tmp_path, kind):
    ending, make = SAVED[kind]
    make().save(tmp_path / f"a.{ending}")
    found = np.asarray(read_image(tmp_path / f"a.{ending}"))
    np.testing.assert_array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


def test_dark_pictures_of_16_bits_are_not_stretched(tmp_path):
    """A scale by each picture's own maximum would make night look like day."""
    Image.fromarray(np.full((4, 4), 514, np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png")).tolist() == [[[2, 2, 2]] * 4] * 4


@pytest.mark.parametrize("values", [np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70_000, np.int32)])
def test_pixels_whose_white_nobody_knows_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif has pixels from .* to .* \(mode [FI]\)"):
        read_image(tmp_path / "a.tif")


def test_an_image_of_another_size_than_its_annotations_is_refused_each_time(tmp_path):
    (tmp_path / "set").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "set" / "a.png")
    plan = whole_images(tmp_path / "set", ["a.png"], 16, 8)
    cached_crops(dataclasses.replace(plan, image_sizes=[(20, 10)]), tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(DataError, match=r"a\.png is 20 x 10, its annotations say 10 x 20") as caught:
            cached_crops(dataclasses.replace(plan, image_sizes=[(10, 20)]), tmp_path / "cache")
        assert "take the images that were annotated" in caught.value.hint


def test_a_picture_above_pillows_limit_is_named(tmp_path, monkeypatch):
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"cannot be opened: a\.png: Image size \(1600 pixels\) exceeds limit"):
        whole_images(tmp_path, ["a.png"], 16, 8)
    with pytest.raises(DataError, match=r"a\.png cannot be decoded: Image size"):
        read_image(tmp_path / "a.png")


def test_a_replaced_picture_of_the_same_size_and_time_is_cut_again(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("RGB", (8, 16), (10, 20, 30)).save(path)
    about = path.stat()
    first, key = cached_crops(whole_images(tmp_path, ["a.bmp"], 4, 2), tmp_path / "cache")
    Image.new("RGB", (8, 16), (40, 50, 60)).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    second, other = cached_crops(whole_images(tmp_path, ["a.bmp"], 4, 2), tmp_path / "cache")
    assert (first[0, :, 0, 0].tolist(), second[0, :, 0, 0].tolist()) == ([10, 20, 30], [40, 50, 60])
    assert key != other
