"""A small, valid copy of every data set that a benchmark knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from attribute_mat import write_attributes
from coco_tree import Tree
from image_tree import write_images
from mats import cells, column, write_mat
from mpii_tree import MpiiTree
from parsing_tree import STEMS, ParsingTree
from pose_tree import build as pose_tree
from scipy.io import savemat

from hcbench.data.formats.identity_attributes.files import DUKE as DUKE_ATTRIBUTES
from hcbench.data.formats.identity_attributes.files import MARKET as MARKET_ATTRIBUTES
from hcbench.data.formats.identity_attributes.files import AttributeFile

TRAIN = range(2, 24)
"""Persons of training: every tenth is for validation."""
TEST = range(101, 105)


def coco(root: Path) -> None:
    tree = Tree(root, "merged")
    tree.write()
    tree.persons[4] |= {"area": 500.0}
    tree.write_json()


def pose(name: str) -> Callable[[Path], None]:
    return lambda root: (pose_tree(name, root), None)[1]


def mpii(root: Path) -> None:
    MpiiTree(root).write()


def market_like(train: str, query: str, gallery: str, further: Iterable[str] = ()) -> Callable[[Path], None]:
    """Folders of Market-1501; the names take a person and a camera from 1."""

    def build(root: Path) -> None:
        names = [f"bounding_box_train/{train.format(pid=one, cam=camera)}" for one in TRAIN for camera in (1, 2)]
        for one in TEST:
            names += [f"query/{query.format(pid=one, cam=1)}", f"bounding_box_test/{gallery.format(pid=one, cam=2)}",
                      f"bounding_box_test/{gallery.format(pid=one, cam=1)}"]  # fmt: skip
        write_images(root, [*names, *further])

    return build


def msmt17(root: Path) -> None:
    lists: dict[str, list[str]] = {name: [] for name in ("train", "val", "query", "gallery")}
    for one in range(6):
        for camera in (1, 2, 3):
            name = f"{one:04d}/{one:04d}_{camera:03d}_{camera:02d}_0303morning_0020_{camera}.jpg"
            lists["val" if one > 3 else "train"].append(name)
            lists["query" if camera == 1 else "gallery"].append(name)
    write_images(root, [f"{'train' if part in ('train', 'val') else 'test'}/{name}"
                        for part, names in lists.items() for name in names])  # fmt: skip
    for part, names in lists.items():
        (root / f"list_{part}.txt").write_text("".join(f"{name} {int(name[:4])}\n" for name in names))


def cuhk03(kind: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        files, labels = [], []
        for person in range(1, 26):
            for view, number in ((1, 1), (2, 6)):
                files.append(f"1_{person:03d}_{view}_{number:02d}.png")
                labels.append(person)
        rows = np.arange(1, len(files) + 1)
        content = {
            "filelist": np.array(files, object)[:, None],
            "labels": np.array(labels, np.uint16)[:, None],
            "train_idx": rows[:44][:, None],
            "query_idx": rows[44::2][:, None],
            "gallery_idx": rows[45::2][:, None],
        }
        write_images(root, [f"images_{kind}/{name}" for name in files])
        savemat(root / f"cuhk03_new_protocol_config_{kind}.mat", content)

    return build


def text(file: str, key: str, name: str, first: int, splits: tuple[str, ...]) -> Callable[[Path], None]:
    """The json of a text-to-image set: two images of each of some persons."""

    def build(root: Path) -> None:
        persons = {"train": 11, "val": 2, "test": 3}
        entries: list[dict[str, Any]] = []
        person = first
        for split in splits:
            for _ in range(persons[split]):
                entries += [{"split": split, "id": person, key: name.format(pid=person, n=n),
                             "captions": [f"person {person}", f"picture {n}"]} for n in (1, 2)]  # fmt: skip
                person += 1
        write_images(root / "imgs", [entry[key] for entry in entries])
        (root / file).write_text(json.dumps(entries))

    return build


def _labels(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(columns).integers(0, 2, (rows, columns)).astype(np.float64)


def pa100k(root: Path) -> None:
    content: dict[str, Any] = {"attributes": cells([f"attribute{n}" for n in range(26)])}
    names: list[str] = []
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        files = [f"{len(names) + n + 1:06d}.jpg" for n in range(count)]
        content |= {f"{split}_images_name": cells(files), f"{split}_label": _labels(count, 26).astype(np.uint8)}
        names += files
    write_images(root / "data", names)
    write_mat(root / "annotation.mat", content)


def peta(root: Path) -> None:
    rows = 20
    values = _labels(rows, 109)
    values[:, :4] = np.stack([np.arange(1, rows + 1), 100 + np.arange(rows) // 2, np.ones(rows), np.zeros(rows)], 1)
    one = {"train": column(range(1, 9)), "val": column([9, 10]), "test": column(range(11, 17))}
    struct = {
        "data": values,
        "attribute": cells([f"attribute{n}" for n in range(105)]),
        "selected_attribute": np.arange(5, 40, dtype=np.float64)[None],
        "partion_attribute": cells([one] * 5),
    }
    write_images(root / "images", [f"{row:05d}.png" for row in range(1, rows + 1)])
    write_mat(root / "PETA.mat", {"peta": struct})
    zero_shot(root, {"train": range(8), "val": (8, 9), "test": range(10, 16)})


def zero_shot(root: Path, rows: dict[str, Iterable[int]]) -> None:
    content = {f"{split}_idx": list(numbers) for split, numbers in rows.items()}
    (root / "zero_shot.json").write_text(json.dumps(content))


def rapv1(root: Path) -> None:
    files = [f"CAM{row % 3:02d}_line{row:02d}.png" for row in range(14)]
    one = {"train_index": np.arange(1.0, 12)[None], "test_index": np.arange(12.0, 15)[None]}
    names = [f"attribute{n}" for n in range(92)]
    struct = {
        "partion": cells([one] * 5),
        "label": _labels(14, 92).astype(np.uint8),
        "attribute_chinese": cells(names),
        "attribute_eng": cells(names),
        "position": np.zeros((14, 16)),
        "imagesname": cells(files),
    }
    write_images(root / "RAP_dataset", files)
    write_mat(root / "RAP_annotation/RAP_annotation.mat", {"RAP_annotation": struct})


def rapv2(root: Path) -> None:
    files = [f"CAM{row:02d}.png" for row in range(10)]
    one = {f"{split}_index": np.array([rows], np.float64)
           for split, rows in (("train", [1, 2, 3, 4, 5]), ("val", [6, 7]), ("test", [8, 9, 10]))}  # fmt: skip
    struct = {
        "name": cells(files),
        "attribute": cells([f"attribute{n}" for n in range(152)]),
        "data": _labels(10, 152),
        "selected_attribute": np.arange(2.0, 2 + 2 * 54, 2)[None],
        "partition_attribute": cells([one] * 5, across=True),
        "person_identity": np.full((10, 1), -1.0),
    }
    write_images(root / "RAP_dataset", files)
    write_mat(root / "RAP_annotation/RAP_annotation.mat", {"RAP_annotation": struct})
    zero_shot(root, {"train": range(5), "val": (5, 6), "test": (7, 8, 9)})


def lip(root: Path) -> None:
    tree = ParsingTree(root, {split: (f"{split}_images", f"{split}_segmentations") for split in STEMS}).write()
    for split, stems in STEMS.items():
        (tree.root / f"{split}_id.txt").write_text("\n".join(stems) + "\n")


def cihp(root: Path) -> None:
    ParsingTree(root, dict.fromkeys(STEMS, ("images", "labels"))).write()
    (root / "list").mkdir()
    for split, stems in STEMS.items():
        lines = [f"/images/{stem}.jpg /labels/{stem}.png" for stem in stems]
        (root / "list" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def with_attributes(
    build: Callable[[Path], None], kind: AttributeFile, gallery_alone: Iterable[int] = ()
) -> Callable[[Path], None]:
    """The same with the file of its persons' attributes; one test person has no colour."""
    colours = {
        part: [name for name in kind.binary if name.startswith(part) and name != part] for part in ("up", "down")
    }

    def value(person: int, field: str) -> int:
        for names in colours.values():
            if field in names:
                return 1 + (person != max(TEST) and names[person % len(names)] == field)
        return 1 + (person + len(field)) % (4 if field in kind.steps else 2)

    def both(root: Path) -> None:
        build(root)
        write_attributes(root / kind.file, kind, {"train": TRAIN, "test": (*TEST, *gallery_alone)}, value)

    return both


MARKET = "{pid:04d}_c{cam}s1_00000{cam}_01.jpg"
DUKE = "{pid:04d}_c{cam}_f0046182.jpg"
MSMT_NAME = "train/{pid:04d}/{pid:04d}_00{n}_0{n}_0303morning_0020_2.jpg"

COPIES: dict[str, Callable[[Path], None]] = {
    "aic": pose("aic"),
    "cihp": cihp,
    "coco": coco,
    "crowdpose": pose("crowdpose"),
    "cuhk03-np": cuhk03("detected"),
    "cuhk03-np-labeled": cuhk03("labeled"),
    "cuhk-pedes": text("reid_raw.json", "file_path", "cam_a/{pid:03d}_{n}.png", 1, ("train", "val", "test")),
    "dukemtmc": with_attributes(
        market_like(DUKE, DUKE, DUKE, ["bounding_box_test/7140_c4_f0046985.jpg"]), DUKE_ATTRIBUTES, [7140]
    ),
    "icfg-pedes": text("ICFG-PEDES.json", "file_path", MSMT_NAME, 0, ("train", "test")),
    "lip": lip,
    "market1501": with_attributes(
        market_like(MARKET, MARKET, MARKET, ["bounding_box_test/0000_c1s1_000001_01.jpg",
                                             "bounding_box_test/-1_c1s1_000001_01.jpg"]), MARKET_ATTRIBUTES
    ),
    "mpii": mpii,
    "msmt17": msmt17,
    "occluded-duke": market_like(DUKE, DUKE, DUKE),
    "ochuman": pose("ochuman"),
    "pa100k": pa100k,
    "peta": peta,
    "peta-persons": peta,
    "peta-zs": peta,
    "rapv1": rapv1,
    "rapv2": rapv2,
    "rapzs": rapv2,
    "rstpreid": text("data_captions.json", "img_path", "{pid:04d}_c{n}_0001.jpg", 0, ("train", "val", "test")),
}  # fmt: skip
"""By the name of its data set, what writes a copy into an empty folder."""
