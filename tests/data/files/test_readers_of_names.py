"""Every reader of names holds them against their root: no json, list, mat or manifest can name what lies outside.

Each case writes a small copy of a data set in which one image bears a given name, and names the file and the row that
an error must name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_tree import Tree
from manifest_files import columns
from manifest_files import write as write_manifest
from mats import cells, write_mat
from mpii_tree import MpiiTree
from parsing_tree import STEMS, ParsingTree
from PIL import Image
from typer.testing import CliRunner

from hcbench.data import catalogue
from hcbench.data.dataset import Dataset
from hcbench.data.files.under_root import ALLOW, OutsideError
from hcbench.data.manifest.check import verify_manifest
from hcbench.data.manifest.index_jsonl import read_index
from hcbench.data.manifest.manifest import check_images, open_manifest
from hcbench.data.manifest.view import view
from hcbench.errors import DataError
from hcbench.harness.cli.main import app

Case = tuple[Path, str, str]
"""Root, split, and how file and row are named."""
Write = Callable[[Path, str], Case]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 128), (9, 90, 200)).save(path)


def coco(base: Path, name: str) -> Case:
    tree = Tree(base, "official")
    tree.write()
    tree.images[2]["file_name"] = name
    tree.write_json()
    return base, "train2017", "train2017.json: the file_name of image 102 is"


def mpii(base: Path, name: str) -> Case:
    tree = MpiiTree(base).write()
    tree.rows["train"][1]["image"] = name
    tree.write_files()
    return base, "train", "mpii_train.json: person 1 has the image"


def pa100k(base: Path, name: str) -> Case:
    files = ["1.jpg", name, "3.jpg", "4.jpg"]
    parts = {"train": files[:2], "val": files[2:3], "test": files[3:]}
    mat: dict[str, Any] = {"attributes": cells([f"attribute {n}" for n in range(26)])}
    for split, listed in parts.items():
        labels = np.zeros((len(listed), 26), np.uint8)
        mat |= {f"{split}_images_name": cells(listed), f"{split}_label": labels}
    write_mat(base / "annotation.mat", mat)
    for file in ("1.jpg", "3.jpg", "4.jpg"):
        picture(base / "data" / file)
    return base, "train", "annotation.mat: row 2 names"


def cuhk_pedes(base: Path, name: str) -> Case:
    entries = [{"split": split, "id": number, "file_path": f"cam_a/{number}.jpg", "captions": ["a man"]}
               for number, split in enumerate(("train", "train", "val", "test"), start=1)]  # fmt: skip
    for entry in entries:
        picture(base / "imgs" / str(entry["file_path"]))
    entries[1]["file_path"] = name
    (base / "reid_raw.json").write_text(json.dumps(entries))
    return base, "train", "reid_raw.json: entry 1 has the image"


def synth_pedes(base: Path, name: str) -> Case:
    entries = [{"id": number, "file_path": f"Part1/{number}/0.jpg", "captions": ["a"]} for number in range(3)]
    for entry in entries:
        picture(base / str(entry["file_path"]))
    entries[2]["file_path"] = name
    (base / "synthpedes_dataset.json").write_text(json.dumps(entries))
    return base, "train", "synthpedes_dataset.json: entry 2 has the image"


def msmt17(base: Path, name: str) -> Case:
    files = [f"{person:04d}/{person:04d}_000_01_0303morning_0020_2.jpg" for person in range(3)]
    for folder in ("train", "test"):
        for file in files:
            picture(base / folder / file)
    for part in ("train", "val", "query", "gallery"):
        (base / f"list_{part}.txt").write_text("".join(f"{file} {n}\n" for n, file in enumerate(files)))
    listed = [files[0], "", f"{name} 1"]
    (base / "list_train.txt").write_text("\n".join([f"{listed[0]} 0", *listed[1:]]) + "\n")
    return base, "train", "list_train.txt: line 3 names"


def lip(base: Path, name: str) -> Case:
    folders = {split: (f"{split}_images", f"{split}_segmentations") for split in STEMS}
    ParsingTree(base, folders).write()
    for split, stems in STEMS.items():
        (base / f"{split}_id.txt").write_text("\n".join(stems))
    with (base / "train_id.txt").open("a") as file:
        file.write(f"\n{name.removesuffix('.jpg')}\n")
    return base, "train", "train_id.txt: the line"


def cihp(base: Path, name: str) -> Case:
    ParsingTree(base, dict.fromkeys(STEMS, ("images", "labels"))).write()
    (base / "list").mkdir()
    for split, stems in STEMS.items():
        lines = [f"/images/{stem}.jpg /labels/{stem}.png" for stem in stems]
        (base / "list" / f"{split}.txt").write_text("\n".join([*lines, f"{name} /labels/{stems[0]}.png"][:4]))
    return base, "train", "train.txt: the line"


def cuhk03(base: Path, name: str) -> Case:
    files = ["1_001_1_01.png", name, "1_002_1_01.png", "1_003_2_06.png"]
    for file in files[:1] + files[2:]:
        picture(base / "images_detected" / file)
    content = {"filelist": np.array(files, object)[:, None], "labels": np.array([[1], [1], [2], [3]], np.uint16)}
    content |= {key: np.array(rows, np.uint16)[:, None]
                for key, rows in {"train_idx": [1, 2], "query_idx": [3], "gallery_idx": [4]}.items()}  # fmt: skip
    write_mat(base / "cuhk03_new_protocol_config_detected.mat", content)
    return base, "detected/train", "config_detected.mat: row 2 of filelist is"


SETS: dict[str, Write] = {
    "coco": coco, "mpii": mpii, "pa100k": pa100k, "cuhk-pedes": cuhk_pedes, "synth-pedes": synth_pedes,
    "msmt17": msmt17, "lip": lip, "cihp": cihp, "cuhk03-np": cuhk03,
}  # fmt: skip
FITTING = {"msmt17": "0001_000_01_0303morning_0020_2.jpg", "cuhk03-np": "1_001_1_02.png"}
"""Base names where a set reads something out of them."""


def outside(name: str, kind: str, root: Path) -> str:
    """A name that leads out of a data set's folder."""
    file = FITTING.get(name, "x.jpg")
    picture(root / "other" / file)
    if kind == "climbs":
        return f"../../other/{file}"
    if kind == "absolute" and name == "cihp":  # there a leading slash means the data set's folder
        return f"images/../../other/{file}"
    return str(root / "other" / file) if kind == "absolute" else f"..\\..\\other\\{file}"


def verified(data_set: Dataset, root: Path) -> tuple[str, str]:
    """Level and text of what `verify` says; one that refuses a copy calls it a mismatch, too."""
    try:
        report = data_set.verify(root)
    except DataError as refused:
        return "mismatch", refused.message
    return report.level, report.text()


@pytest.mark.parametrize("kind", ["climbs", "absolute", "backslashes"])
@pytest.mark.parametrize("name", SETS)
def test_a_name_that_leads_out_is_refused_with_its_row(tmp_path: Path, name: str, kind: str) -> None:
    root, split, where = SETS[name](tmp_path / "set", outside(name, kind, tmp_path))
    data_set = catalogue.dataset(name)
    with pytest.raises(OutsideError) as error:
        data_set.load(root, split, height=16, width=8, cache=tmp_path / "cache")
    assert where in error.value.message, error.value.message
    assert ALLOW in error.value.hint
    level, text = verified(data_set, root)
    assert level == "mismatch"
    assert where in text


@pytest.mark.parametrize("name", ["coco", "mpii", "cuhk-pedes"])
def test_a_file_that_is_a_link_to_outside_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, split, where = SETS[name](tmp_path / "set", "linked.jpg")
    picture(tmp_path / "other/x.jpg")
    folder = {"coco": "train2017", "mpii": "images", "cuhk-pedes": "imgs"}[name]
    if name == "coco":
        Image.new("RGB", (640, 480)).save(tmp_path / "other/x.jpg")
    (root / folder / "linked.jpg").symlink_to(tmp_path / "other/x.jpg")
    load = catalogue.dataset(name).load
    with pytest.raises(OutsideError, match="is a link that leads out of its folder") as error:
        load(root, split, height=16, width=8, cache=tmp_path / "cache")
    assert where in error.value.message
    monkeypatch.setenv(ALLOW, "1")
    assert len(load(root, split, height=16, width=8, cache=tmp_path / "cache"))


@pytest.mark.parametrize("name", ["coco", "mpii", "cuhk-pedes"])
def test_folders_that_the_user_links_are_read_without_a_word(tmp_path: Path, name: str) -> None:
    folder = {"coco": "train2017", "mpii": "images", "cuhk-pedes": "imgs/cam_a"}[name]
    file = {"coco": "000000000102.jpg", "mpii": "9.jpg", "cuhk-pedes": "cam_a/2.jpg"}[name]
    root, split, _ = SETS[name](tmp_path / "set", file)
    load = catalogue.dataset(name).load
    before = load(root, split, height=16, width=8, cache=tmp_path / "cache")
    (root / folder).rename(tmp_path / "moved")
    (root / folder).symlink_to(tmp_path / "moved")
    after = load(root, split, height=16, width=8, cache=tmp_path / "cache2")
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "name", ["../other/x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png", "link.png"]
)
def test_manifests(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*columns(20)["image_path"][:17], name, *columns(20)["image_path"][18:]]
    path = write_manifest(tmp_path / "set", 20, image_path=paths)
    picture(tmp_path / "other/x.png")
    (tmp_path / "set/link.png").symlink_to("../other/x.png")
    manifest = open_manifest(path)
    report = verify_manifest(path)
    assert report.level == "mismatch"
    assert f"{path}: row 17: image_path is '{name}', which " in report.problems[0]
    if name != "link.png":
        with pytest.raises(OutsideError, match="row 17"):
            check_images(manifest)
    samples = view(manifest, "captions", np.array([3, 17]), height=16, width=8, cache=tmp_path / "cache")
    with pytest.raises(OutsideError, match="row 17: image_path is"):
        _ = samples.images[:]
    monkeypatch.setenv(ALLOW, "1")
    check_images(manifest)
    index = tmp_path / "set/index.jsonl"
    index.write_text("".join(json.dumps({"image_path": one, "group_id": None}) + "\n" for one in paths))
    monkeypatch.delenv(ALLOW)
    with pytest.raises(OutsideError, match=r"index\.jsonl, line 18: image_path is"):
        list(read_index(index, index.parent, pack=False))


def test_names_in_packed_manifests_are_names_alone(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 6, packed=True, image_path=["../x.png", "/x.png", *columns(6)["image_path"][2:]])
    check_images(open_manifest(path))
    assert not any("leads out" in problem for problem in verify_manifest(path).problems)


def test_the_command_line_lets_names_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW, "")  # what a command sets is put back
    picture(tmp_path / "other/x.png")
    paths = [*columns(5)["image_path"][:4], "../other/x.png"]
    path = write_manifest(tmp_path / "set", 5, image_path=paths, width=None, height=None, keypoints=None)
    runner = CliRunner()
    refused = runner.invoke(app, ["data", "verify", str(path)])
    assert refused.exit_code == 1
    assert "--allow-outside" in refused.output
    allowed = runner.invoke(app, ["data", "verify", str(path), "--allow-outside"])
    assert "leads out" not in allowed.output
    assert "images 5" in allowed.output


def test_what_prepare_has_listed_may_go_through_links(tmp_path: Path) -> None:
    picture(tmp_path / "other/deep/x.png")
    picture(tmp_path / "set/a/0.png")
    (tmp_path / "set/a/linked").symlink_to(tmp_path / "other/deep")
    (tmp_path / "set/one.png").symlink_to(tmp_path / "other/deep/x.png")
    out = tmp_path / "out.parquet"
    runner = CliRunner()
    assert (
        runner.invoke(app, ["data", "prepare", "image-folder", str(tmp_path / "set"), "--out", str(out)]).exit_code == 0
    )
    assert verify_manifest(out).level == "exact"
    samples = view(open_manifest(out), "captions", np.arange(3), height=16, width=8, cache=tmp_path / "cache")
    assert samples.ids.tolist() == ["a/0.png", "a/linked/x.png", "one.png"]
    assert (samples.images[:].mean(axis=(2, 3)) > 5).all()
