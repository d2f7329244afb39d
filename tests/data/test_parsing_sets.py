"""LIP and CIHP on small trees: label maps in step with their images, layouts, lists, and files that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from parsing_tree import SIZES, STEMS, ParsingTree
from PIL import Image

from hcbench.data import cihp, lip
from hcbench.data.part_names import CIHP, LIP, mirrored
from hcbench.data.task_splits import task_samples
from hcbench.data.windows import crop_windows, cut_labels
from hcbench.errors import DataError

LIP_AROUND = {
    "plain": ("", ""),
    "archives": ("TrainVal_images/", "TrainVal_parsing_annotations/"),
    "archives twice": ("TrainVal_images/" * 2, "TrainVal_parsing_annotations/" * 2),
    "mixed": ("TrainVal_images/", ""),
}  # fmt: skip


def lip_tree(root: Path, layout: str = "plain") -> ParsingTree:
    images, labels = LIP_AROUND[layout]
    folders = {split: (f"{images}{split}_images", f"{labels}{split}_segmentations") for split in STEMS}
    tree = ParsingTree(root, folders).write()
    for split, stems in STEMS.items():
        (tree.image(split, "").parent.parent / f"{split}_id.txt").write_text("\n".join(stems) + "\n")
    return tree


def cihp_tree(root: Path) -> ParsingTree:
    called = {"train": "Training", "val": "Validation"}
    return ParsingTree(root, {s: (f"{c}/Images", f"{c}/Category_ids") for s, c in called.items()}).write()


def pgn_tree(root: Path) -> ParsingTree:
    tree = ParsingTree(root, dict.fromkeys(STEMS, ("images", "labels"))).write()
    (root / "list").mkdir()
    for name, stems in (("train_rev", STEMS["train"]), ("val", STEMS["val"])):
        rows = [f"/images/{stem}.jpg /labels/{stem}.png" + (f" /labels_rev/{stem}.png" if "rev" in name else "")
                for stem in stems]  # fmt: skip
        (root / "list" / f"{name}.txt").write_text("\n".join(rows) + "\n\n")
    return tree


SETS: dict[str, tuple[ModuleType, Callable[[Path], ParsingTree]]] = {
    "lip": (lip, lip_tree), "cihp": (cihp, cihp_tree), "cihp pgn": (cihp, pgn_tree),
}  # fmt: skip
Made = tuple[ModuleType, ParsingTree]


@pytest.fixture(params=SETS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    module, build = SETS[request.param]
    return module, build(tmp_path / "run_12_c3" / "data")


def test_samples_are_sorted_and_name_their_classes(made: Made, cache: Path) -> None:
    module, tree = made
    before = sorted(tree.root.rglob("*"))
    train = module.load(tree.root, "train", cache=cache)
    assert [str(name).rpartition("/")[2] for name in train.ids] == ["10_1.jpg", "20_2.jpg", "3_9.jpg"]
    assert train.known() == module.CARD.fields
    assert train.part_names == (LIP if module is lip else CIHP)
    assert mirrored(train.part_names)[14:] == (15, 14, 17, 16, 19, 18)
    assert mirrored(train.part_names)[:14] == tuple(range(14))
    assert sorted(tree.root.rglob("*")) == before
    wrapped = module.load(tree.root.parent.parent, "train", cache=cache)
    assert (wrapped.fingerprint, wrapped.ids.tolist()) == (train.fingerprint, train.ids.tolist())


def test_classes_differ_in_one_name() -> None:
    assert [(i, a, b) for i, (a, b) in enumerate(zip(LIP, CIHP, strict=True)) if a != b] == [
        (10, "jumpsuits", "torso_skin")
    ]


def test_layouts_of_lip_give_the_same_samples(tmp_path: Path, cache: Path) -> None:
    prints = set()
    for layout in LIP_AROUND:
        samples = lip.load(lip_tree(tmp_path / layout, layout).root, "val", cache=cache)
        assert samples.ids.tolist() == ["val_images/100_1.jpg", "val_images/7_7.jpg"]
        prints.add(samples.fingerprint)
    assert len(prints) == 1


def nearest(labels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """One pixel after the other, by the definition of the window."""
    rows, columns = labels.shape
    scale = max(rows / height, columns / width)  # original pixels per output pixel
    out = np.full((height, width), 255, np.uint8)
    for i in range(height):
        for j in range(width):
            y = (rows - 1) / 2 + (i - (height - 1) / 2) * scale
            x = (columns - 1) / 2 + (j - (width - 1) / 2) * scale
            row, column = int(np.floor(y + 0.501)), int(np.floor(x + 0.501))
            if 0 <= row < rows and 0 <= column < columns:
                out[i, j] = labels[row, column]
    return out


@pytest.mark.parametrize("size", [(128, 64), (96, 96), (45, 60)])
def test_label_maps_follow_their_images(made: Made, cache: Path, size: tuple[int, int]) -> None:
    module, tree = made
    height, width = size
    samples = module.load(tree.root, "train", height=height, width=width, cache=cache)
    assert samples.parts is not None
    for row, stem in enumerate(("10_1", "20_2", "3_9")):
        np.testing.assert_array_equal(samples.parts[row], nearest(tree.labels[stem], height, width))
        np.testing.assert_array_equal(module.label_map(tree.root, "train", str(samples.ids[row])), tree.labels[stem])
    image, parts = samples.images[0:1], samples.parts[0]
    outside = np.ones(size, bool)
    rows, columns = (np.flatnonzero((parts != 255).any(axis=axis)) for axis in (1, 0))
    outside[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2] = False
    assert not image[0][:, outside].any()  # black where there is no label, but for the pixel on the border


def test_a_map_at_its_own_size_is_itself() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(4, 3)
    center, size = crop_windows(np.array([[-0.5, -0.5, 3, 4]]), 4, 3, scale=1.0)
    np.testing.assert_array_equal(cut_labels(labels, center[0], size[0], 4, 3), labels)


def test_validation_is_held_out_of_training(made: Made, cache: Path) -> None:
    module, tree = made

    def stems(split: str) -> list[str]:
        own = task_samples(module.load, module.TASK_SPLITS, tree.root, split, height=32, width=32, cache=cache)
        return [Path(str(name)).stem for name in own.ids]

    assert (stems("train"), stems("val"), stems("test")) == (["20_2", "3_9"], ["10_1"], ["100_1", "7_7"])


def _drop(path: Callable[[ParsingTree], Path]) -> Callable[[ParsingTree], None]:
    return lambda tree: path(tree).unlink()


def _colours(tree: ParsingTree) -> None:
    with Image.open(tree.map("val", "7_7")) as image:
        image.convert("RGB").save(tree.map("val", "7_7"))


def _number(tree: ParsingTree) -> None:
    tree.write_labels("val", "7_7", np.full(SIZES[0][::-1], 20, np.uint8))


def _size(tree: ParsingTree) -> None:
    tree.write_labels("val", "7_7", np.zeros((100, 59), np.uint8))


WRONG = {
    "no label map": (_drop(lambda tree: tree.map("val", "7_7")), r"1 of 2 label maps are missing: .*7_7\.png"),
    "no label": (lambda tree: tree.map("val", "7_7").write_bytes(b"x"), r"1 of 2 (images|label maps) .*7_7\.png"),
    "colours": (_colours, r"1 of 2 label maps cannot be used: .*7_7\.png is a picture of mode RGB"),
    "class 20": (_number, r"1 of 2 label maps cannot be used: .*7_7\.png holds the number 20"),
    "another size": (_size, r"1 of 2 label maps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_label_maps_that_do_not_fit(made: Made, cache: Path, case: str) -> None:
    module, tree = made
    edit, message = WRONG[case]
    edit(tree)
    with pytest.raises(DataError, match=message) as caught:
        module.load(tree.root, "val", cache=cache)
    assert caught.value.hint
    assert not list(cache.glob("labels-*"))
    report = module.verify(tree.root)
    assert report.level == "mismatch"
    assert len(report.problems) == 1
    assert "7_7.png" in report.problems[0]
    assert report.problems[0].startswith("val: 1 of 2 label maps")


def test_missing_and_broken_images(tmp_path: Path, cache: Path) -> None:
    tree = lip_tree(tmp_path / "lip")
    tree.image("val", "7_7").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images are missing: 7_7\.jpg"):
        lip.load(tree.root, "val", cache=cache)
    tree.image("val", "100_1").write_bytes(b"\xff\xd8\xff")
    problems = lip.verify(tree.root).problems
    assert problems == (
        "val: 1 of 2 images are missing: 7_7.jpg",
        "val: 1 of 2 images cannot be decoded: 100_1.jpg",
    )


def test_lists(tmp_path: Path, cache: Path) -> None:
    tree = lip_tree(tmp_path / "lip")
    listed = tree.root / "val_id.txt"
    listed.write_text("7_7\n")
    assert len(lip.load(tree.root, "val", cache=cache)) == 1
    assert "val: 1 images are on no list" in lip.verify(tree.root).notes
    for content, message in (("7_7\n100_1\n7_7\n", "names 7_7 twice"), ("\n", "is empty")):
        listed.write_text(content)
        with pytest.raises(DataError, match=message):
            lip.load(tree.root, "val", cache=cache)
    listed.unlink()
    with pytest.raises(DataError, match=r"val_id\.txt is missing"):
        lip.load(tree.root, "val", cache=cache)
    assert any(note.startswith("val was not found") for note in lip.verify(tree.root).notes)
    other = pgn_tree(tmp_path / "cihp")
    (other.root / "list" / "val.txt").write_text("/images/7_7.jpg\n")
    with pytest.raises(DataError, match=r"has the line '/images/7_7.jpg'"):
        cihp.load(other.root, "val", cache=cache)


def test_wrong_requests(made: Made, tmp_path: Path, cache: Path) -> None:
    module, tree = made
    with pytest.raises(DataError, match="has no split 'test'"):
        module.load(tree.root, "test", cache=cache)
    with pytest.raises(DataError, match="lies inside the dataset"):
        module.load(tree.root, "val", cache=tree.root / "cache")
    with pytest.raises(DataError, match="has no image 'nobody'"):
        module.label_map(tree.root, "val", "nobody")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it holds nothing") as caught:
        module.verify(tmp_path / "empty")
    assert module.CARD.tree in caught.value.hint


def test_verify(made: Made) -> None:
    module, tree = made
    report = module.verify(tree.root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found == {"train": {"images": 3}, "val": {"images": 2}}
    assert any(note.startswith("2 files of operating systems") for note in report.notes)
    full = dataclasses.replace(module.CARD, counts=report.found)
    own = dataclasses.replace(module._OWN, card=full)
    assert own.verify(tree.root).level == "exact"
