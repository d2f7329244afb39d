"""`hcbench data` on small trees, as a user meets it."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import stand_in_lmdb
from coco_tree import Tree
from image_tree import write_images
from manifest_files import picture, write
from PIL import Image
from typer.testing import CliRunner, Result

from hcbench.data import coco
from hcbench.data.manifest.manifest import open_manifest
from hcbench.data.manifest.view import view
from hcbench.harness.cli.main import app
from hcbench.harness.planning.corpora import is_manifest


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of five pictures, with what a Macintosh leaves behind."""
    root = tmp_path / "pictures"
    for row in range(5):
        (root / f"sub{row % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"sub{row % 2}/{row}.png").write_bytes(picture(row))
    (root / "sub0/._0.png").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    return root


def before_and_after(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}


@pytest.mark.parametrize("pack", [(), ("--pack",)])
def test_a_folder_is_prepared_verified_and_seen(folder: Path, pack: tuple[str, ...]) -> None:
    state = before_and_after(folder)
    answer = call("data", "prepare", "image-folder", folder, "--out", "mine.parquet", *pack)
    assert answer.exit_code == 0, answer.output
    assert "5 images of train" in answer.output
    manifest = open_manifest(Path("mine.parquet"))
    assert manifest.packed == bool(pack)
    samples = view(manifest, "captions", np.arange(5), height=4, width=2, cache=Path("cache"))
    assert samples.ids.tolist() == ["sub0/0.png", "sub0/2.png", "sub0/4.png", "sub1/1.png", "sub1/3.png"]
    assert samples.images[np.arange(5)][:, 0, 0, 0].tolist() == [0, 2, 4, 1, 3]
    assert manifest.values("source") == ("image-folder",)
    assert call("data", "verify", "mine.parquet").exit_code == 0
    assert call("data", "verify", "image-folder", folder).exit_code == 0
    seen = call("data", "preview", "mine.parquet", "--out", "pv")
    assert seen.exit_code == 0, seen.output
    assert Image.open("pv/mine.png").size[0] == 5 * 128
    assert "sub1/3.png" in Path("pv/mine.txt").read_text()
    again = call("data", "prepare", "image-folder", folder, "--out", "mine.parquet")
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert before_and_after(folder) == state, "nothing is written into a dataset's folder"


def test_a_manifest_in_a_folder_is_found_by_its_name(folder: Path) -> None:
    answer = call("data", "prepare", "image-folder", folder, "--out", "sh2")
    assert "hcbench run --corpus ./sh2 --methods" in answer.output
    for name in ("./sh2", "sh2"):
        assert is_manifest(name)
        assert call("data", "verify", name).exit_code == 0
    for name in ("people", "Market-1501", "work"):
        Path(name).mkdir()
    for name in ("people", "Market-1501"):
        shutil.copy("sh2/part-00000.parquet", name)
    shutil.copy("sh2/part-00000.parquet", "one.parquet")
    assert not any(map(is_manifest, ("people", "Market-1501", "work", "nowhere", "~nobody", "")))


def test_folders_are_groups_or_persons(folder: Path) -> None:
    for what in ("group", "identity"):
        answer = call("data", "prepare", "image-folder", folder, "--out", f"{what}.parquet", "--folders", what)
        assert answer.exit_code == 0, answer.output
        manifest = open_manifest(Path(f"{what}.parquet"))
        assert manifest.integers("group_id").tolist() == [0, 0, 0, 1, 1]
        assert manifest.lacking["identity"] == (0 if what == "identity" else 5)
    assert manifest.integers("identity").tolist() == [0, 0, 0, 1, 1]
    unknown = call("data", "prepare", "image-folder", folder, "--out", "x.parquet", "--folders", "persons")
    assert (unknown.exit_code, "Sub-folders cannot mean 'persons'" in unknown.output) == (2, True)
    other = call("data", "prepare", "luperson", folder, "--out", "x.parquet", "--folders", "group")
    assert "luperson takes no --folders" in other.output
    (folder / "5.png").write_bytes(picture(5))
    bare = call("data", "prepare", "image-folder", folder, "--out", "x.parquet", "--folders", "group")
    assert "1 of 6 images" in bare.output
    assert "--folders ignore" in bare.output


def test_a_mismatch_ends_with_1(folder: Path) -> None:
    (folder / "sub0/2.png").write_bytes(b"no picture")
    answer = call("data", "verify", "image-folder", folder)
    assert answer.exit_code == 1
    assert "mismatch" in answer.output
    assert "1 of 5 images cannot be decoded" in answer.output
    assert "sub0/2.png" in answer.output
    path = write(Path("m"), 4)
    Path("m/images/0002.png").unlink()
    assert call("data", "verify", path).exit_code == 1


def test_coco_is_prepared_from_its_crops(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    Tree(root, "official").write()
    refused = call("data", "prepare", "coco", root, "--out", "c.parquet")
    assert refused.exit_code == 2
    assert "Add --pack" in refused.output
    assert not Path("c.parquet").exists()
    answer = call("data", "prepare", "coco", root, "--out", "c.parquet", "--pack", "--size", "64x32")
    assert answer.exit_code == 0, answer.output
    own = coco.person_crops(root, "train2017", 64, 32, tmp_path / "cache")
    manifest = open_manifest(Path("c.parquet"))
    samples = view(manifest, "captions", np.arange(len(manifest)), height=64, width=32, cache=tmp_path / "cache")
    assert samples.ids.tolist() == own.ids.tolist()
    rows = np.arange(len(own))
    assert np.array_equal(samples.images[rows], own.images[rows]), "PNG keeps every pixel"
    assert samples.keypoints is not None
    assert own.keypoints is not None
    assert np.allclose(samples.keypoints, own.keypoints, atol=1e-4)  # float32 of a coordinate below 64
    assert call("data", "verify", "c.parquet").exit_code == 0
    assert call("data", "preview", "coco", root, "--workspace", tmp_path / "ws").exit_code == 0


def test_every_split_that_a_loader_has_is_prepared(tmp_path: Path) -> None:
    root = tmp_path / "market"
    names = [f"bounding_box_train/{person:04d}_c1s1_000001_01.jpg" for person in range(2, 22)]
    write_images(root, [*names, "query/0001_c1s1_000001_00.jpg", "bounding_box_test/0001_c2s1_000001_01.jpg"])
    answer = call("data", "prepare", "market1501", root, "--out", "m.parquet", "--split", "train,query")
    assert answer.exit_code == 0, answer.output
    assert "19 images of train, query" in answer.output  # every tenth person is for validation
    refused = call("data", "prepare", "market1501", root, "--out", "n.parquet", "--split", "trainn")
    assert refused.exit_code == 2
    assert "market1501 has no split 'trainn'" in refused.output
    assert "train" in refused.output.replace("trainn", "")


def test_a_trusted_pickle_gives_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["00001_7_01", "00001_8_01", "00002_9_01"]
    monkeypatch.setitem(sys.modules, "lmdb", stand_in_lmdb.module({key: picture(1) for key in keys}, []))
    root = tmp_path / "nl"
    (root / "lmdb").mkdir(parents=True)
    (root / "lmdb/data.mdb").write_bytes(b"mdb")
    (root / "keys.pkl").write_bytes(pickle.dumps({"keys": keys, "pids": [5, 5, 6]}))
    for word, persons in (((), 3), (("--trust-pickle",), 2)):
        out = f"{persons}.parquet"
        answer = call("data", "prepare", "luperson-nl", root, "--out", out, *word)
        assert answer.exit_code == 0, answer.output
        assert len(np.unique(open_manifest(Path(out)).integers("identity"))) == persons
        assert f"identities {persons}/433,997" in call("data", "verify", "luperson-nl", root, *word).output
    for words in (("prepare", "luperson", root, "--out", "x.parquet"), ("verify", "luperson", root),
                  ("verify", "2.parquet"), ("prepare", "index.jsonl", "--out", "x.parquet")):  # fmt: skip
        refused = call("data", *words, "--trust-pickle")
        assert refused.exit_code == 2
        assert f"{words[1]} takes no --trust-pickle" in refused.output
        assert "It is for luperson-nl" in refused.output


def test_explain_needs_no_files() -> None:
    answer = call("data", "explain", "COCO")
    assert answer.exit_code == 0
    for words in ("Terms", "How to get it", "118,287 images", "person_keypoints_train2017.json", "Beware, lip"):
        assert words in answer.output
    assert "Splits" not in answer.output
    assert "trainval = list_train and list_val" in call("data", "explain", "msmt17").output


def test_list_says_where_data_lie(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCBENCH_DATA_IMAGE_FOLDER", "/data/pics")
    answer = call("data", "list")
    assert "/data/pics" in answer.output


@pytest.mark.parametrize("pack", [(), ("--pack",)])
def test_an_index_is_imported(tmp_path: Path, pack: tuple[str, ...]) -> None:
    gen = tmp_path / "gen"
    write(gen, 4)  # for its pictures
    lines = [{"image_path": f"images/{row:04d}.png", "group_id": row // 2} for row in range(4)]
    (gen / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "hcbench data prepare" in call("data", "verify", gen / "index.jsonl").output
    answer = call("data", "prepare", gen / "index.jsonl", "--out", "gen.parquet", *pack)
    assert answer.exit_code == 0, answer.output
    assert "4 images of index.jsonl" in answer.output
    assert open_manifest(Path("gen.parquet")).packed == bool(pack)
    assert call("data", "verify", "gen.parquet").exit_code == 0
    assert call("data", "prepare", gen / "index.jsonl", "--out", "b.parquet", "--split", "train").exit_code == 2
    assert call("data", "prepare", gen / "none.jsonl", "--out", "b.parquet").exit_code == 2


def test_a_manifest_beside_its_index_moves_with_it(tmp_path: Path) -> None:
    write(tmp_path / "gen", 1)
    (tmp_path / "gen/index.jsonl").write_text('{"image_path": "images/0000.png", "group_id": null}')
    assert call("data", "prepare", tmp_path / "gen/index.jsonl", "--out", tmp_path / "gen/own.parquet").exit_code == 0
    (tmp_path / "gen").rename(tmp_path / "moved")
    assert call("data", "verify", tmp_path / "moved/own.parquet").exit_code == 0
