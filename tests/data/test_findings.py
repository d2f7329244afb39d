"""`verify` decodes with the run's decoder, names what is refused, and counts the pictures of each rule."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hcbench.data import image_folder
from hcbench.data.crops import cached_crops, whole_images
from hcbench.data.findings import checked_images
from hcbench.data.manifest.check import verify_manifest
from hcbench.errors import DataError
from hcbench.harness.cli.main import app


def invoke(*words):
    return CliRunner().invoke(app, list(words))


def plain(colour=(9, 9, 9)):
    return Image.new("RGB", (16, 32), colour)


@pytest.fixture
def pictures(tmp_path):
    """Twelve usable pictures, six of them with something that does not count."""
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(6):
        plain((i, i, i)).save(folder / f"plain{i}.jpg")
    for name in ("anim0.png", "anim1.webp"):
        plain().save(folder / name, save_all=True, append_images=[plain((255, 0, 0))])
    Image.fromarray(np.full((32, 16), 300, np.uint16)).save(folder / "deep.png")
    plain().convert("RGBA").save(folder / "opaque.png")
    Image.new("RGBA", (16, 32), (9, 9, 9, 40)).save(folder / "glass.png")
    exif = Image.Exif()
    exif[0x0112] = 8
    plain().save(folder / "turned.jpg", exif=exif)
    return folder


NOTES = (
    "1 of 12 pictures have more than 8 bits per colour: they are scaled to 8 (deep.png)",
    "2 of 12 pictures hold several frames or pages: the first counts (anim0.png, anim1.webp)",
    "1 of 12 pictures have transparency: it is dropped, the colours below it count (glass.png)",
    "1 of 12 pictures have an EXIF orientation that is not 1: it is ignored, pixels count as they are stored "
    "(turned.jpg)",
)


def test_pictures_of_which_not_everything_counts_are_counted_by_rule(pictures):
    problems, notes = checked_images(pictures, sorted(path.name for path in pictures.iterdir()))
    assert (problems, tuple(notes)) == ([], NOTES)


def test_picture_folders_and_manifests_say_the_same(pictures, tmp_path):
    report = image_folder.verify(pictures)
    assert report.level == "exact"
    assert [note.split(" (")[0] for note in report.notes] == [note.split(" (")[0] for note in NOTES]
    made = invoke("data", "prepare", "image-folder", str(pictures), "--out", str(tmp_path / "m.parquet"))
    assert made.exit_code == 0, made.output
    assert set(NOTES) <= set(verify_manifest(tmp_path / "m.parquet").notes)


REFUSED = {
    "half a picture": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no byte": lambda path: path.write_bytes(b""),
    "floats": lambda path: Image.new("F", (16, 32), 0.5).save(path, "TIFF"),
    "below zero": lambda path: Image.new("I", (16, 32), -1).save(path, "TIFF"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_verify_refuses_a_run_refuses_with_the_same_reason(pictures, tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "x.png")
    REFUSED[kind](pictures / "x.png")
    problems, notes = checked_images(pictures, ["plain0.jpg", "x.png"])
    assert problems == ["1 of 2 images cannot be decoded: x.png"]
    with pytest.raises(DataError) as caught:
        cached_crops(whole_images(pictures, ["plain0.jpg", "x.png"], 32, 16), tmp_path / "cache")
    reason = notes[0].rsplit("x.png", 1)[1].removeprefix(" cannot be decoded")
    assert reason in caught.value.message
    assert image_folder.verify(pictures).level == "mismatch"


def test_a_picture_above_pillows_limit_is_named_by_verify_and_run(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    plain().resize((40, 40)).save(pictures / "large.png")
    problems, notes = checked_images(pictures, ["plain0.jpg", "large.png"])
    assert problems == ["1 of 2 images cannot be decoded: large.png"]
    assert "exceeds limit" in notes[0]
    with pytest.raises(DataError, match=r"large\.png: Image size"):
        whole_images(pictures, ["plain0.jpg", "large.png"], 32, 16)


def test_missing_pictures_and_those_of_another_size_are_problems(pictures):
    problems, _ = checked_images(pictures, ["plain0.jpg", "gone.jpg"], {"plain0.jpg": (32, 16)})
    assert problems == ["1 of 2 images are missing: gone.jpg", "plain0.jpg is 16 x 32, its annotations say 32 x 16"]


def test_the_command_shows_them(pictures):
    shown = invoke("data", "verify", "image-folder", str(pictures))
    assert shown.exit_code == 0
    assert "hold several frames or pages: the first counts" in " ".join(shown.output.split())
