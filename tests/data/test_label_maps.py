"""Label maps: the stored numbers, whatever the kind of file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hcbench.data.label_maps import read_labels
from hcbench.errors import DataError

NAMES = tuple(f"class {i}" for i in range(20))
LABELS = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)


def palette(labels):
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette([255, 0, 0, 9, 9, 9, 0, 0, 255, 7, 7, 7])
    return image


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_numbers_are_those_of_the_file_at_every_depth(tmp_path, bits, kind):
    """Pillow spreads greys of 2 and 4 bits over 0..255: a 1 would be class 17."""
    image = Image.fromarray(LABELS) if kind == "grey" else palette(LABELS)
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", NAMES), LABELS)


def test_two_classes_in_one_bit_and_sixteen_bits(tmp_path):
    Image.fromarray(LABELS > 1).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "one.png", NAMES), LABELS > 1)
    for ending in ("png", "tif"):
        Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / f"deep.{ending}")
        np.testing.assert_array_equal(read_labels(tmp_path / f"deep.{ending}", NAMES), LABELS)


def test_indices_of_a_transparent_palette_stay(tmp_path):
    palette(LABELS).save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", NAMES), LABELS)


def test_numbers_that_are_no_class_are_refused_in_full(tmp_path):
    """256 must not wrap to 0."""
    Image.fromarray(LABELS.astype(np.uint16) * 256).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds the number 256"):
        read_labels(tmp_path / "a.png", NAMES)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused(tmp_path, mode):
    Image.fromarray(LABELS).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"is a picture of mode {mode}"):
        read_labels(tmp_path / "a.png", NAMES)


def test_what_changes_or_hides_numbers_is_refused(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="is a JPEG picture, which need not keep numbers"):
        read_labels(tmp_path / "a.jpg", NAMES)
    Image.fromarray(LABELS).save(tmp_path / "a.tif", tiffinfo={274: 6})
    with pytest.raises(DataError, match="has the orientation 6"):
        read_labels(tmp_path / "a.tif", NAMES)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="cannot be decoded: it is empty"):
        read_labels(tmp_path / "a.png", NAMES)
