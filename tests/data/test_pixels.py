"""Which pixels files of every kind give."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from hcbench.data.pixels import Remark, decode_image, picture_size, read_image, read_picture
from hcbench.errors import DataError

GREY = np.array([[0, 128, 255], [255, 128, 0]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], np.full_like(GREY, 64)], axis=2)


def as_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def tiff(path, bands, *, big=False, bits=16, greys=1, planes=1):
    """An uncompressed TIFF, written by hand: Pillow writes none of these kinds. `bands` is (h, w, n)."""
    order, dtype = (">", ">u2") if big else ("<", "<u2")
    height, width, count = bands.shape
    pixels = bands.transpose(2, 0, 1) if planes == 2 else bands
    if bits == 12:  # two numbers in three bytes
        a, b = pixels.reshape(-1, 2).astype(np.uint32).T
        data = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=1).astype(np.uint8).tobytes()
    else:
        data = pixels.astype(dtype).tobytes()
    strips = count if planes == 2 else 1
    place = 8
    extra = struct.pack(f"{order}{count}H", *[bits] * count)
    offsets = struct.pack(f"{order}{strips}I", *[place + len(data) // strips * i for i in range(strips)])
    sizes = struct.pack(f"{order}{strips}I", *[len(data) // strips] * strips)
    start = place + len(data)

    def entry(tag, kind, values, blob_at):
        size = {3: 2, 4: 4}[kind] * len(values)
        if size > 4:
            return struct.pack(f"{order}HHII", tag, kind, len(values), blob_at)
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values).ljust(4, b"\0")
        return struct.pack(f"{order}HHI", tag, kind, len(values)) + packed

    starts = [place + len(data) // strips * i for i in range(strips)]
    lengths = [len(data) // strips] * strips
    entries = [
        entry(256, 3, [width], 0), entry(257, 3, [height], 0), entry(258, 3, [bits] * count, start),
        entry(259, 3, [1], 0), entry(262, 3, [greys if count == 1 else 2], 0),
        entry(273, 4, starts, start + len(extra)), entry(277, 3, [count], 0), entry(278, 3, [height], 0),
        entry(279, 4, lengths, start + len(extra) + len(offsets)), entry(284, 3, [planes], 0),
    ]  # fmt: skip
    blobs = extra + offsets + sizes
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    head = (b"MM" if big else b"II") + struct.pack(f"{order}HI", 42, start + len(blobs))
    path.write_bytes(head + data + blobs + directory)


def png(path, values, colour_type):
    """A PNG of 16 bits per colour, written by hand."""
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("big", [False, True])
def test_greys_and_colours_of_16_bits_in_both_byte_orders(tmp_path, big):
    tiff(tmp_path / "g.tif", GREY[..., None].astype(np.uint16) * 257, big=big)
    tiff(tmp_path / "c.tif", COLOUR.astype(np.uint16) * 257, big=big)
    for name, expected in (("g.tif", as_rgb(GREY)), ("c.tif", COLOUR)):
        found = read_picture(tmp_path / name, name)
        np.testing.assert_array_equal(np.asarray(found.image), expected)
        assert found.remarks == {Remark.DEEP}


@pytest.mark.parametrize(("colour_type", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_per_colour(tmp_path, colour_type, bands):
    alpha = np.full((*GREY.shape, 1), 255, np.uint8)
    shown = COLOUR if bands > 2 else GREY[..., None]
    values = np.concatenate([shown, alpha], axis=2) if bands in (2, 4) else shown
    png(tmp_path / "a.png", values.astype(np.uint16) * 257, colour_type)
    found = read_picture(tmp_path / "a.png", "a.png")
    np.testing.assert_array_equal(np.asarray(found.image), shown if bands > 2 else as_rgb(GREY))
    assert found.remarks == {Remark.DEEP}


def test_twelve_bits_have_a_white_of_their_own(tmp_path):
    tiff(tmp_path / "a.tif", np.array([[[0], [2048], [4095], [16]]]), bits=12)
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 128, 255, 1]


def test_where_zero_is_white_it_is_white(tmp_path):
    tiff(tmp_path / "a.tif", GREY[..., None].astype(np.uint16) * 257, greys=0)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.tif")), as_rgb(255 - GREY))


def test_planes_that_pillow_reads_wrongly_are_refused(tmp_path):
    tiff(tmp_path / "a.tif", COLOUR.astype(np.uint16) * 257, planes=2)
    with pytest.raises(DataError, match=r"a\.tif holds each colour of 16 bits in a plane of its own"):
        read_image(tmp_path / "a.tif")


def test_pgm_of_16_bits_and_of_ten(tmp_path):
    for most in (65_535, 1_023):
        values = np.array([0, most // 2, most], ">u2")
        (tmp_path / "a.pgm").write_bytes(f"P5 3 1 {most}\n".encode() + values.tobytes())
        assert np.asarray(read_image(tmp_path / "a.pgm"))[0, :, 0].tolist() == pytest.approx([0, 127, 255], abs=1)


@pytest.mark.parametrize("values", [np.full((2, 2), -5, np.int32), np.full((2, 2), 200, np.int32),
                                    np.full((2, 2), 200, np.int16), np.full((2, 2), 0.5, np.float32)])  # fmt: skip
def test_numbers_without_a_white_are_refused_and_never_clipped(tmp_path, values):
    image = Image.fromarray(values) if values.dtype != np.int16 else Image.fromarray(values.astype(np.int32))
    image.save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif has pixels from") as caught:
        read_image(tmp_path / "a.tif")
    assert "8 or 16 bits" in caught.value.hint


def test_transparency_is_dropped_and_said(tmp_path):
    alpha = Image.fromarray(np.array([[0, 100, 255], [255, 255, 255]], np.uint8))
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    cases = {
        "la.png": (Image.merge("LA", [grey, alpha]), as_rgb(GREY)),
        "rgba.png": (Image.merge("RGBA", [*colour.split(), alpha]), COLOUR),
        "rgba.tif": (Image.merge("RGBA", [*colour.split(), alpha]), COLOUR),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        found = read_picture(tmp_path / name, name)
        np.testing.assert_array_equal(np.asarray(found.image), expected)
        assert found.remarks == {Remark.ALPHA}, name
    palette = grey.convert("P")
    palette.save(tmp_path / "p.png", transparency=0)
    found = read_picture(tmp_path / "p.png", "p")
    np.testing.assert_array_equal(np.asarray(found.image), as_rgb(GREY))
    assert found.remarks == {Remark.ALPHA}
    Image.merge("RGBA", [*colour.split(), Image.new("L", colour.size, 255)]).save(tmp_path / "opaque.png")
    assert not read_picture(tmp_path / "opaque.png", "").remarks


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turn", [1, 3, 5, 6, 8])
def test_pixels_count_as_they_are_stored_whatever_the_orientation(tmp_path, ending, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255  # the upper left corner of what is stored
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}", exif=exif, **options)
    found = read_picture(tmp_path / f"a.{ending}", "a")
    np.testing.assert_allclose(np.asarray(found.image, np.int16), pixels, atol=40 if ending == "jpg" else 0)
    assert picture_size(tmp_path / f"a.{ending}", "a") == (32, 16)
    assert (Remark.TURNED in found.remarks) == (turn != 1)


def test_damaged_exif_harms_no_pixel(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\xff\xff broken")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), COLOUR)


@pytest.mark.parametrize("ending", ["gif", "png", "tif", "webp"])
def test_the_first_frame_counts(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    frames[0].save(tmp_path / f"one.{ending}", **options)
    found = read_picture(tmp_path / f"a.{ending}", "a")
    assert found.image.getpixel((4, 4)) == (255, 0, 0)
    assert found.remarks == {Remark.FRAMES}
    assert not read_picture(tmp_path / f"one.{ending}", "one").remarks


def test_cmyk_and_other_colours_become_rgb(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "a.jpg", quality=100)  # inverted, as Adobe writes it
    red.convert("YCbCr").save(tmp_path / "b.tif")
    for name in ("a.jpg", "b.tif"):
        found = read_picture(tmp_path / name, name)
        np.testing.assert_allclose(found.image.getpixel((4, 4)), (255, 0, 0), atol=6)
        assert found.remarks == {Remark.COLOURS}


def test_a_picture_of_one_pixel_counts(tmp_path):
    Image.new("RGB", (1, 1), (3, 4, 5)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", "a")
    assert (found.image.getpixel((0, 0)), found.remarks) == ((3, 4, 5), {Remark.TINY})


def test_what_is_no_whole_picture_is_named_with_its_reason(tmp_path, rng):
    for ending in ("jpg", "png", "gif", "bmp", "tif"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"a.{ending}")
        half = (tmp_path / f"a.{ending}").read_bytes()
        (tmp_path / f"a.{ending}").write_bytes(half[: len(half) // 2])
        with pytest.raises(DataError, match=f"a.{ending} cannot be decoded: "):
            read_image(tmp_path / f"a.{ending}")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png cannot be decoded: it is empty \(0 bytes\)\."):
        read_picture(tmp_path / "empty.png", "empty.png")
    with pytest.raises(DataError, match=r"it cannot be decoded: it is no picture of a format that Pillow knows"):
        decode_image(io.BytesIO(b"no picture"), "it")
    with pytest.raises(DataError, match=r"it cannot be decoded: it is empty"):
        decode_image(io.BytesIO(b""), "it")


@pytest.mark.parametrize("error", [struct.error("x"), IndexError("x"), MemoryError(), NotImplementedError("x"),
                                   EOFError(), TypeError("x"), ZeroDivisionError("x")])  # fmt: skip
def test_whatever_a_reader_trips_over_is_told(tmp_path, monkeypatch, error):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")

    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(DataError, match=r"a\.png cannot be decoded: \w+"):
        read_image(tmp_path / "a.png")


def test_pictures_between_pillows_two_limits_are_read_unless_warnings_are_errors(tmp_path, monkeypatch):
    Image.new("L", (15, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_image(tmp_path / "a.png").size == (15, 10)
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="exceeds limit") as caught:
            read_image(tmp_path / "a.png")
    assert "Shrink it" in caught.value.hint
