"""Every loader that lists: what is no data never counts, and what is left out is said by `verify` and by the log."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from image_tree import write_images
from parsing_tree import ParsingTree
from PIL import Image
from typer.testing import CliRunner

from hcbench.data import catalogue, cihp, cuhk_pedes, image_folder, luperson, market1501, mpii
from hcbench.data.crops import read_image
from hcbench.data.formats.file_index import index_images
from hcbench.data.formats.listing import IMAGE_ENDINGS, find_base
from hcbench.data.formats.loading import digest
from hcbench.data.manifest.write import to_table
from hcbench.errors import DataError
from hcbench.harness.cli.main import app

GBK = os.fsdecode(b"\xd0\xd0\xc8\xcb.jpg")
HIDDEN = (".ipynb_checkpoints", ".Trash-1000/files", "$RECYCLE.BIN", "lost+found", "__MACOSX", "@eaDir")
MARKET = ("bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0003_c2s1_000451_03.jpg",
          "query/0001_c1s1_001051_00.jpg", "bounding_box_test/0001_c2s1_001051_03.jpg",
          "bounding_box_test/0001_c3s1_001051_03.jpg")  # fmt: skip


def with_hidden(root: Path, *folders: str) -> Path:
    for folder in folders:
        write_images(root / folder, [f"{hidden}/0001_c1s1_000451_03.jpg" for hidden in HIDDEN])
        write_images(root / folder, [".0001_c1s1_000451_03.jpg"])
    return root


def add(root: Path, name: str) -> None:
    """A picture under a name that no text can hold."""
    Image.new("RGB", (8, 16)).save(root / "ok.jpg")
    (root / "ok.jpg").rename(root / name)


def test_hidden_folders_are_neither_images_nor_persons(tmp_path: Path) -> None:
    root = with_hidden(tmp_path / "set", ".", "p1")
    write_images(root, ["p1/0.jpg", "p2/0.jpg"])
    for what in image_folder.FOLDERS:
        samples = image_folder.load(root, "train", height=16, width=8, cache=tmp_path / "cache", folders=what)
        assert samples.ids.tolist() == ["p1/0.jpg", "p2/0.jpg"]
        (rows,) = image_folder.index(root, "train", folders=what)
        assert rows["image_path"] == ["p1/0.jpg", "p2/0.jpg"]
    assert rows["identity"] == [0, 1]
    report = image_folder.verify(root)
    assert report.found == {"train": {"images": 2, "sub-folders": 2}}
    assert report.level == "exact"
    assert any(note.startswith("6 hidden files or folders were left out: .0001_c1s1_0") for note in report.notes)
    assert any(note.startswith("8 files of operating systems") for note in report.notes)


def test_hidden_folders_of_other_loaders(tmp_path: Path) -> None:
    market = with_hidden(tmp_path / "market", ".", "query", "bounding_box_train", "bounding_box_test")
    write_images(market, MARKET)
    samples = market1501.load(market, "test", height=16, width=8, cache=tmp_path / "cache")
    assert samples.ids.tolist() == [*MARKET[2:]]
    flat = with_hidden(tmp_path / "luperson", ".", "images")
    write_images(flat, ["images/a.jpg"])
    assert luperson.load(flat, "train", height=16, width=8, cache=tmp_path / "cache").ids.tolist() == ["images/a.jpg"]
    alone = tmp_path / "alone"
    write_images(alone, ["._x.jpg", ".hidden.jpg"])
    with pytest.raises(DataError, match="is not LUPerson: it holds nothing"):
        luperson.load(alone, "train", cache=tmp_path / "cache")
    with pytest.raises(DataError, match=r"holds no image\. 1 files of operating .* 1 hidden files"):
        image_folder.load(alone, "train", cache=tmp_path / "cache")


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
def test_every_ending_that_is_taken_is_decoded(tmp_path: Path, ending: str) -> None:
    kinds = {".jpe": "JPEG", ".jfif": "JPEG", ".apng": "PNG", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM"}
    for name in (f"a{ending}", f"b{ending.upper()}"):
        Image.new("RGB", (8, 16), (200, 100, 50)).save(tmp_path / name, kinds.get(ending))
    samples = image_folder.load(tmp_path, "train", height=16, width=8, cache=tmp_path.parent / f"{tmp_path.name}c")
    assert samples.ids.tolist() == [f"a{ending}", f"b{ending.upper()}"]
    np.testing.assert_allclose(samples.images[:].mean(axis=(2, 3)), [[200, 100, 50]] * 2, atol=4)
    assert image_folder.verify(tmp_path).level == "exact"


def test_endings_that_are_not_taken_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "set"
    write_images(root, ["0.jpg"])
    for name in ("a.heic", "b.HEIC", "c.avif", "notes.txt"):
        (root / name).write_bytes(b"x")
    said = "4 files are not taken for their endings: 2 .heic, 1 .avif, 1 .txt"
    assert said in image_folder.verify(root).notes
    for _ in range(2):  # listed, and out of the kept index
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            image_folder.load(root, "train", height=16, width=8, cache=tmp_path / "cache")
        assert said in caplog.text
    caplog.clear()
    list(image_folder.index(root, "train"))
    assert said in caplog.text


def test_a_gallery_that_was_converted_in_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "market"
    write_images(root, MARKET)
    (root / MARKET[-1]).rename((root / MARKET[-1]).with_suffix(".jfif"))
    write_images(root, ["bounding_box_test/0005_c1s1_000451_03.png"])
    report = market1501.verify(root)
    assert report.level == "mismatch"
    assert "images are not taken, as those of Market-1501 end otherwise: 1 .jfif, 1 .png" in report.problems
    assert report.found["gallery"]["files"] == 1
    with caplog.at_level(logging.WARNING):
        market1501.load(root, "test", height=16, width=8, cache=tmp_path / "cache")
    assert "market1501: 2 files are not taken for their endings: 1 .jfif, 1 .png" in caplog.text
    for file in (root / "query").iterdir():
        file.rename(file.with_suffix(".tif"))
    with pytest.raises(DataError, match=r"query holds no image\. 1 files are not taken .*: 1 \.tif"):
        market1501.load(root, "test", cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["image-folder", "luperson", "market1501"])
def test_names_in_other_encodings_are_refused_alike(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    write_images(root, MARKET if name == "market1501" else ["images/a.jpg"])
    folder = root / ("query" if name == "market1501" else "images")
    add(folder, GBK)
    escaped = r"1 names of images .* not in UTF-8: (images/)?\\xd0\\xd0\\xc8\\xcb\.jpg"
    data_set = catalogue.dataset(name)
    with pytest.raises(DataError, match=escaped):
        data_set.load(root, data_set.training_split, height=16, width=8, cache=tmp_path / "cache")
    runner = CliRunner()
    out = tmp_path / "out.parquet"
    prepared = runner.invoke(app, ["data", "prepare", name, str(root), "--out", str(out)])
    verified = runner.invoke(app, ["data", "verify", name, str(root)])
    assert prepared.exit_code == 2
    assert verified.exit_code in (1, 2)
    for outcome in (prepared, verified):
        assert r"not in UTF-8" in outcome.output
        assert r"\xd0\xd0\xc8\xcb.jpg" in outcome.output
        assert "convmv" in outcome.output
    assert not out.exists()


def test_a_root_in_another_encoding_works(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xd0\xd0\xc8\xcb")
    write_images(root, ["a/0.jpg"])
    cache = tmp_path / "cache"
    samples = image_folder.load(root, "train", height=16, width=8, cache=cache)
    assert samples.name == r"\xd0\xd0\xc8\xcb train"
    assert samples.images[:].shape == (1, 3, 16, 8)
    outcome = CliRunner().invoke(app, ["data", "verify", "image-folder", str(root)])
    assert outcome.exit_code == 0
    out = tmp_path / "out.parquet"
    assert CliRunner().invoke(app, ["data", "prepare", "image-folder", str(root), "--out", str(out)]).exit_code == 0
    assert CliRunner().invoke(app, ["data", "verify", str(out)]).exit_code == 0


def test_annotated_sets_mind_no_strange_neighbours(tmp_path: Path) -> None:
    from mpii_tree import MpiiTree

    tree = MpiiTree(tmp_path / "mpii").write()
    add(tree.root / "images", GBK)
    (tree.root / "images/gone.jpg").symlink_to("nowhere.jpg")
    (tree.root / "images/up").symlink_to("..")
    report = mpii.verify(tree.root)
    assert not report.problems
    assert "1 links lead nowhere: gone.jpg" in report.notes
    assert any("not in UTF-8: \\xd0\\xd0\\xc8\\xcb.jpg" in note for note in report.notes)


def test_loops_and_what_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "set"
    write_images(root, ["a/0.jpg", "two\nlines.jpg", "tab\t.jpg"])
    (root / "a/up").symlink_to("..")
    (root / "a/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(root / "pipe.jpg")
    report = image_folder.verify(root)
    assert report.found["train"]["images"] == 3
    assert report.problems == ("1 links lead nowhere: a/gone.jpg",)
    assert report.notes == (
        "1 links lead to a folder above or to one that is listed already, and were not entered: a/up",
        "1 sockets, pipes or devices were left out: pipe.jpg",
    )
    with caplog.at_level(logging.WARNING):
        assert len(image_folder.load(root, "train", height=16, width=8, cache=tmp_path / "cache")) == 3
    assert all(word in caplog.text for word in ("a/up", "a/gone.jpg", "pipe.jpg"))


def test_the_kept_index_knows_when_a_link_leads_elsewhere(tmp_path: Path) -> None:
    write_images(tmp_path / "one", ["0.jpg"])
    write_images(tmp_path / "other", ["1.jpg"])
    for folder in ("one", "other"):
        os.utime(tmp_path / folder, ns=(5, 5))
    root = tmp_path / "set"
    root.mkdir()
    link = root / "a"
    link.symlink_to(tmp_path / "one")
    os.utime(root, ns=(5, 5))
    assert index_images(root, tmp_path / "cache").names.tolist() == ["a/0.jpg"]
    link.unlink()
    link.symlink_to(tmp_path / "other")
    os.utime(root, ns=(5, 5))
    assert index_images(root, tmp_path / "cache").names.tolist() == ["a/1.jpg"]


def test_a_dangling_link_that_is_mended_is_found(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_images(root, ["0.jpg"])
    (root / "1.jpg").symlink_to(tmp_path / "later.jpg")
    assert len(index_images(root, tmp_path / "cache")) == 1
    write_images(tmp_path, ["later.jpg"])
    assert len(index_images(root, tmp_path / "cache")) == 2


def test_a_link_beside_a_data_set_is_no_second_one(tmp_path: Path) -> None:
    write_images(tmp_path / "Market-1501-v15.09.15", MARKET)
    (tmp_path / "latest").symlink_to("Market-1501-v15.09.15")
    (tmp_path / "up").symlink_to("..")
    base, _ = find_base(tmp_path, market1501.CARD, [("query",)])
    assert base.name == "Market-1501-v15.09.15"


def test_two_images_cannot_share_a_label_map(tmp_path: Path) -> None:
    folders = {
        "train": ("Training/Images", "Training/Category_ids"),
        "val": ("Validation/Images", "Validation/Category_ids"),
    }
    tree = ParsingTree(tmp_path / "cihp", folders).write()
    tree.image("train", "3_9").with_suffix(".JPG").write_bytes(tree.image("train", "3_9").read_bytes())
    with pytest.raises(DataError, match=r"2 images in .* share a label map with another: 3_9\.JPG, 3_9\.jpg"):
        cihp.load(tree.root, "train", cache=tmp_path / "cache")


def test_what_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, MARKET)
    opened = Image.open

    def closed(source: object, *rest: object) -> Image.Image:
        if str(source).endswith(MARKET[0]):
            raise PermissionError(13, "Permission denied", str(source))
        return opened(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", closed)
    with pytest.raises(DataError, match="Permission denied"):
        read_image(tmp_path / MARKET[0])
    problems = market1501.verify(tmp_path).problems
    assert f"1 of 5 images may not be read (permissions): {MARKET[0]}" in problems


def test_a_closed_file_ends_no_command_with_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(root: Path) -> None:
        raise PermissionError(13, "Permission denied", str(root))

    monkeypatch.setattr("hcbench.harness.cli.data_sets.root_of", lambda name, root, workspace: closed(root))
    outcome = CliRunner().invoke(app, ["data", "verify", "coco", str(tmp_path)])
    assert outcome.exit_code == 2
    assert "may not be read or written: Permission denied" in outcome.output


def test_text_that_no_table_can_hold_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"image_path cannot hold '\\xd0\.png': it is not in UTF-8"):
        to_table({"image_path": ["a.png", "\udcd0.png"]})
    with pytest.raises(DataError, match=r"captions cannot hold '\\ud800'"):
        to_table({"image_path": ["a.png"], "captions": [["\ud800"]]})
    assert digest(np.array(["\udcd0.png"])) != digest(np.array(["\udcd1.png"]))


def test_errors_and_reports_can_always_be_printed(tmp_path: Path) -> None:
    str(DataError("the name \udcd0", "mend \ud800")).encode()
    with pytest.raises(DataError) as error:
        cuhk_pedes.verify(tmp_path / "\udcd0")
    str(error.value).encode()
