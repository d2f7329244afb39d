"""`hcbench data duplicates` on a constructed overlap: copies, resized and compressed anew, among strangers."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from manifest_files import write
from PIL import Image
from typer.testing import CliRunner, Result

from hcbench.data.manifest.write import ManifestWriter
from hcbench.harness.cli.main import app

COPIES = {3: "0002_c1s1_000101_00.jpg", 7: "0004_c2s1_000101_01.jpg"}
"""Row of the manifest to the image of Market-1501 that it is a copy of."""
NAMES = ("0002_c1s1_000101_00.jpg", "0006_c1s1_000101_00.jpg")
GALLERY = ("0002_c2s1_000101_01.jpg", "0004_c2s1_000101_01.jpg", "0006_c2s1_000101_01.jpg", "0000_c3s1_000101_01.jpg")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", "duplicates", *(str(word) for word in words)])


def scene(number: int) -> Image.Image:
    """A smooth picture with noise of its own, as a photograph is; another number is another picture."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 5, 3), dtype=np.uint8)).resize(
        (64, 128), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 6, (128, 64, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        return file.getvalue()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "market"
    training = [f"{person:04d}_c{camera}s1_000101_01.jpg" for person in (11, 12) for camera in (1, 2)]
    files = {"query": NAMES, "bounding_box_test": GALLERY, "bounding_box_train": training}
    number = 100
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(jpeg(scene(number), 95))
            number += 1
    return root


@pytest.fixture
def corpus(market: Path) -> Path:
    """Ten pictures, packed; two are copies of Market-1501, smaller and compressed hard."""
    content = [jpeg(scene(row), 90) for row in range(10)]
    for row, name in COPIES.items():
        source = next(market.glob(f"*/{name}"))
        content[row] = jpeg(Image.open(source).resize((40, 88), Image.Resampling.BICUBIC), 40)
    with ManifestWriter(Path("mine.parquet"), packed=True) as writer:
        writer.add({"image_path": [f"crawl/{row}.jpg" for row in range(10)], "image_bytes": content,
                    "source": ["a-crawl"] * 10})  # fmt: skip
    return Path("mine.parquet")


def pairs(path: str = "pairs.csv") -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_copies_are_found_and_strangers_are_not(corpus: Path, market: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(market.rglob("*"))}
    answer = call(corpus, f"market1501={market}", "--sheet", "sheet.png")
    assert answer.exit_code == 0, answer.output
    assert "mine.parquet (10 images) against market1501 test (6 images)" in answer.output
    assert "2 pairs. 2 of 6 test images (33.33%)" in answer.output
    found = pairs()
    assert {(pair["corpus"], Path(pair["test"]).name) for pair in found} == {
        (f"crawl/{row}.jpg", name) for row, name in COPIES.items()
    }
    assert all(0 <= int(pair["bits"]) <= 5 for pair in found)
    assert all(pair["test"] in answer.output for pair in found)
    sheet = Image.open("sheet.png")
    assert sheet.size[0] == 4 * 128
    left, right = (np.asarray(sheet.crop((x, 0, x + 128, 256)), float) for x in (0, 128))
    assert abs(left - right).mean() < 12, "a pair stands side by side"
    assert before == {path: path.stat().st_mtime_ns for path in sorted(market.rglob("*"))}


def test_splits_and_roots_may_be_said_in_every_way(corpus: Path, market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "market1501 query (2 images)" in call(corpus, "market1501:query", "--data", f"market1501={market}").output
    monkeypatch.setenv("HCBENCH_DATA_MARKET1501", str(market))
    none = call("Market1501", "market1501", "--out", "none.csv")
    assert none.exit_code == 0, none.output
    assert "0 pairs. 0 of 6 test images (0.00%)" in none.output
    assert pairs("none.csv") == []
    turned = call("market1501:query", corpus)
    assert "1 pairs. 1 of 10 test images (10.00%)" in turned.output
    unlike = call(corpus, "market1501", "--bits", "64", "--sheet", "all.png")
    assert "60 pairs. 6 of 6 test images" in unlike.output
    assert "... and 50 more pairs" in unlike.output
    assert Image.open("all.png").size[0] == 8 * 128


def test_images_that_cannot_be_read_are_like_nothing(market: Path) -> None:
    write(Path("m"), 200)  # of one colour each
    Path("m/images/0004.png").unlink()
    answer = call("m/some.parquet", f"market1501={market}", "--bits", "0")
    assert answer.exit_code == 0, answer.output
    assert "0 pairs" in answer.output
    assert "1 of 200 images could not be read" in answer.output


@pytest.fixture
def weights() -> Path:
    """A checkpoint of hcbench, with the weights that a network begins with."""
    from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
    from hcbench.methods.parts.checkpoint import save_encoder

    folder = Path("cell/checkpoint")
    save_encoder(build_encoder(EncoderSpec(backbone="vit-mini16", height=64, width=32), seed=0), folder)
    return folder


def test_a_network_finds_them_as_well(corpus: Path, market: Path, weights: Path) -> None:
    answer = call(corpus, f"market1501={market}", "--by", weights.parent, "--least", "0.5", "--out", "near/pairs.csv")
    assert answer.exit_code == 0, answer.output
    assert "a checkpoint of hcbench, 64x32" in answer.output
    found = pairs("near/pairs.csv")
    assert set(COPIES) == {int(Path(pair["corpus"]).stem) for pair in found[:2]}, "the most alike come first"
    assert all(0.5 <= float(pair["cosine"]) <= 1.0001 for pair in found)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing.parquet", "market1501"], "nothing.parquet"),
        (["folder/of/shards", "market1501"], "There is no manifest folder/of/shards"),
        (["mine.parquet", "markt1501"], "Did you mean"),
        (["mine.parquet", "people"], "people is rendered"),
        (["mine.parquet", "market1501:tests"], "no split 'tests'"),
        (["mine.parquet", "market1501"], "Nobody has said where market1501 lies"),
        (["mine.parquet", "market1501=/no/such/folder"], "there is no such folder"),
        (["mine.parquet", "market1501=ROOT", "--data", "coco=ROOT"], "--data coco"),
        (["market1501:test=ROOT", "market1501:test=ROOT"], "held against itself"),
        (["mine.parquet", "market1501=ROOT", "--least", "0.9"], "--least: that is about weights"),
        (["mine.parquet", "market1501=ROOT", "--weights-size", "256x192"], "--weights-size: that is about weights"),
        (["mine.parquet", "market1501=ROOT", "--weights-key", "ema"], "--weights-key: that is about weights"),
        (["mine.parquet", "market1501=ROOT", "--by", "mine.parquet", "--weights-size", "9"], "not of the form"),
        (["mine.parquet", "market1501=ROOT", "--bits", "65"], "--bits 65"),
        (["mine.parquet", "market1501=ROOT", "--by", "none.pth"], "There is no none.pth"),
        (["mine.parquet", "market1501=ROOT", "--by", "mine.parquet", "--least", "1.5"], "no cosine"),
        (["mine.parquet", "market1501=ROOT", "--by", "mine.parquet", "--bits", "3"], "--bits is about hashes"),
        (["mine.parquet", "market1501=ROOT", "--by", "mine.parquet"], "mine.parquet"),
        (["mine.parquet", "market1501=ROOT", "--out", "ROOT/pairs.csv"], "lies inside the data set"),
    ],
)
def test_bad_input(corpus: Path, market: Path, words: list[str], told: str) -> None:
    answer = call(*(word.replace("ROOT", str(market)) for word in words))
    assert answer.exit_code == 2, answer.output
    assert told in answer.output
    assert not Path("pairs.csv").exists()


def test_hashes_need_no_torch(corpus: Path, market: Path) -> None:
    code = (
        "import sys; from hcbench.harness.cli.main import app\n"
        f"app(['data', 'duplicates', 'mine.parquet', 'market1501={market}'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
