"""COCO keypoints on a small tree in each official layout, and on the real sample where there is one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hcbench.data import coco
from hcbench.data.card import compare
from hcbench.data.crops import crop_windows, cut, read_image, to_crop, to_original
from hcbench.data.samples import Samples
from hcbench.errors import CacheError, DataError

LAYOUTS = ("official", "official-images", "merged")
SPLITS = ("train2017", "val2017")


@dataclass
class Tree:
    """A COCO folder under construction: two splits of three images each, 640 x 480 or smaller."""

    root: Path
    layout: str

    def write(self) -> None:
        """Write images and json as they stand."""
        rng = np.random.default_rng(3)
        self.images: list[dict[str, Any]] = []
        self.persons: list[dict[str, Any]] = []
        self.captions: list[dict[str, Any]] = []
        for number in range(6):
            split = SPLITS[number % 2]
            width, height = (640, 480) if number else (200, 333)
            image = {"id": 100 + number, "file_name": f"{100 + number:012d}.jpg", "width": width, "height": height}
            self.images.append({**image, "split": split})
            self._write_image(number, self.path(image["file_name"], split), (width, height), rng)
            if number == 5:
                continue  # a listed photograph without anybody, as most of COCO's are
            self.persons += [
                self._person(len(self.persons) + 1 + k, 100 + number, width, height, rng) for k in range(3)
            ]
            self.captions.append({"id": number, "image_id": 100 + number, "caption": f"photograph {number} "})
        self.persons[1] |= {"keypoints": [0] * 51, "num_keypoints": 0}
        self.persons[2] |= {"iscrowd": 1, "keypoints": [0] * 51, "num_keypoints": 0}
        self.persons[4] |= {"area": 0.0}
        self.persons[5] |= {"bbox": [650.0, 10.0, 5.0, 5.0]}  # outside its image
        self.write_json()

    def path(self, file_name: str, split: str) -> Path:
        """Where an image lies in this layout."""
        folder = {"official": split, "official-images": f"images/{split}", "merged": "images"}[self.layout]
        return self.root / folder / file_name

    def json_path(self, split: str, kind: str = "person_keypoints") -> Path:
        """Where a json lies in this layout."""
        return self.root / "annotations" / (f"{kind}.json" if self.layout == "merged" else f"{kind}_{split}.json")

    def write_json(self) -> None:
        """Write the annotation files from `images`, `persons` and `captions`."""
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            listed = [i for i in self.images if self.layout == "merged" or i["split"] == split]
            if self.layout != "merged":
                listed = [{key: value for key, value in i.items() if key != "split"} for i in listed]
            ids = {image["id"] for image in listed}
            for kind, entries in (("person_keypoints", self.persons), ("captions", self.captions)):
                content = {
                    "info": {},
                    "licenses": [],
                    "images": listed,
                    "annotations": [entry for entry in entries if entry["image_id"] in ids],
                    "categories": [{"id": 1, "name": "person"}],
                }
                self.json_path(split, kind).write_text(json.dumps(content))

    @staticmethod
    def _write_image(number: int, path: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        if number == 1:
            image = image.convert("L")
        exif = Image.Exif()
        if number == 3:
            exif[0x0112] = 6  # "turn me by 90 degrees", which COCO's coordinates know nothing of
        image.save(path, exif=exif)

    @staticmethod
    def _person(number: int, image: int, width: int, height: int, rng: np.random.Generator) -> dict[str, Any]:
        x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
        w, h = rng.uniform(20, width / 2), rng.uniform(40, height / 2)
        points = np.stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17), rng.integers(0, 3, 17)], axis=1)
        points[0, 2] = 2
        points[points[:, 2] == 0] = 0
        return {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [x, y, w, h],
            "area": w * h * 0.6,
            "keypoints": points.ravel().tolist(),
            "num_keypoints": int((points[:, 2] > 0).sum()),
            "segmentation": [[x, y, x + w, y, x + w, y + h]],
        }


@pytest.fixture(params=LAYOUTS)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "coco", request.param)
    made.write()
    return made


@pytest.fixture
def official(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "coco", "official")
    made.write()
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "cache"


def stats(samples: Samples, *, shift: float = 0.0) -> NDArray[np.float64]:
    """pycocotools' ten numbers for the ground truth, moved to crop pixels and back, given as detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    assert samples.keypoints is not None
    assert samples.image_id is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    height, width = samples.images[0].shape[1:]
    points = samples.keypoints.astype(np.float64)
    center, size = samples.crop_center[:, None], samples.crop_size[:, None]
    points[..., :2] = to_original(points[..., :2] + shift, center, size, height, width)
    found = [
        {"image_id": int(image), "category_id": 1, "keypoints": person.ravel().tolist(), "score": 1.0}
        for image, person in zip(samples.image_id, points, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(samples.coco_truth))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def test_layouts_give_the_same_samples(tmp_path: Path, cache: Path) -> None:
    loaded = []
    for layout in LAYOUTS:
        tree = Tree(tmp_path / layout / "coco", layout)
        tree.write()
        loaded.append([coco.load(tree.root, split, cache=cache) for split in SPLITS])
        loaded.append([coco.load(tree.root.parent, split, cache=cache) for split in SPLITS])  # a folder around it
    for train, val in loaded:
        assert (train.name, val.name) == ("coco train2017", "coco val2017")
        np.testing.assert_array_equal(train.images[:], loaded[0][0].images[:])
        assert (train.fingerprint, val.fingerprint) == tuple(s.fingerprint for s in loaded[0])
    assert loaded[0][0].fingerprint != loaded[0][1].fingerprint


def test_which_persons_count(tree: Tree, cache: Path) -> None:
    train = coco.load(tree.root, "train2017", cache=cache)
    # Of images 100, 102, 104: person 2 has no keypoint, 3 is a crowd. Of 101: 5 has no area, 6 lies outside.
    assert train.ids.tolist() == [
        "train2017/000000000100.jpg#1",
        *(f"train2017/000000000102.jpg#{n}" for n in (7, 8, 9)),
        *(f"train2017/000000000104.jpg#{n}" for n in (13, 14, 15)),
    ]
    val = coco.load(tree.root, "val2017", cache=cache)
    assert [int(name.split("#")[1]) for name in val.ids] == [4, 10, 11, 12]
    assert train.known() == coco.CARD.fields
    assert train.captions is not None
    assert train.captions[0] == ("photograph 0",)
    assert train.coco_truth is not None
    assert [person["id"] for person in train.coco_truth["annotations"]] == [1, 2, 3, 7, 8, 9, 13, 14, 15]
    assert {image["id"] for image in train.coco_truth["images"]} == {100, 102, 104}


def test_without_captions_the_field_is_unknown(official: Tree, cache: Path) -> None:
    official.json_path("val2017", "captions").unlink()
    assert coco.load(official.root, "val2017", cache=cache).captions is None


def test_person_crops_take_the_unlabelled_but_not_the_tiny(tree: Tree, cache: Path) -> None:
    tree.persons[6]["bbox"][2:] = [15.9, 100.0]
    tree.persons[7]["bbox"][2:] = [100.0, 31.9]
    tree.persons[8]["bbox"][2:] = [16.0, 32.0]
    tree.write_json()
    samples = coco.person_crops(tree.root, "train2017", 128, 64, cache)
    assert [int(name.split("#")[1]) for name in samples.ids] == [1, 2, 9, 13, 14, 15]
    assert samples.images.shape == (6, 3, 128, 64)  # type: ignore[attr-defined]
    assert samples.keypoints is not None
    assert not samples.keypoints[1].any()
    assert samples.known() == coco.CORPUS_FIELDS
    assert coco.corpus_size(tree.root, 128, 64) == len(samples)
    assert samples.group is samples.identity is samples.captions is samples.coco_truth is None


@pytest.mark.parametrize("size", [(128, 64), (256, 192), (64, 64)])
def test_ground_truth_scores_one(tree: Tree, cache: Path, size: tuple[int, int]) -> None:
    # Official scoring counts labelled persons that cannot be cropped as missed, so there are none here.
    tree.persons[4] |= {"area": 500.0}
    tree.persons[5] |= {"bbox": tree.persons[4]["bbox"]}
    tree.write_json()
    for split in SPLITS:
        samples = coco.load(tree.root, split, height=size[0], width=size[1], cache=cache)
        numbers = stats(samples)
        assert (numbers[[0, 1, 2, 5]] == 1).all()
        assert stats(samples, shift=6.0)[0] < 0.5  # the check above can fail


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


def test_orientation_tag_and_grey_images(official: Tree) -> None:
    turned = read_image(official.path("000000000103.jpg", "val2017"))
    assert turned.size == (640, 480)
    grey = np.asarray(read_image(official.path("000000000101.jpg", "val2017")))
    assert grey.shape == (480, 640, 3)


def test_crops_are_cut_once(official: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(official.root.rglob("*"))
    first = coco.load(official.root, "val2017", cache=cache)
    assert isinstance(first.images, np.memmap)
    assert sorted(official.root.rglob("*")) == before
    assert [path.suffix for path in cache.iterdir()] == [".npy"]
    monkeypatch.setattr("hcbench.data.crops.read_image", lambda path: pytest.fail("decoded again"))
    shutil.copytree(official.root, official.root.parent / "moved")
    again = coco.load(official.root.parent / "moved", "val2017", cache=cache)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.images[:], first.images[:])


def test_fingerprint_follows_the_content(official: Tree, cache: Path) -> None:
    def fingerprints() -> tuple[str, str]:
        one = coco.load(official.root, "val2017", cache=cache).fingerprint
        return one, coco.load(official.root, "val2017", height=64, width=32, cache=cache).fingerprint

    seen = {*fingerprints()}
    official.persons[3]["keypoints"][0] += 0.5
    official.write_json()
    seen |= {*fingerprints()}
    official.captions[1]["caption"] = "another one"
    official.write_json()
    seen |= {*fingerprints()}
    Image.new("RGB", (640, 480)).save(official.path("000000000101.jpg", "val2017"))
    seen |= {*fingerprints()}
    assert len(seen) == 8


def test_a_damaged_cache_is_reported_and_made_again(
    official: Tree, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = coco.load(official.root, "val2017", cache=cache)
    expected = np.array(first.images[:])
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(coco.load(official.root, "val2017", cache=cache).images[:], expected)
    assert "is damaged" in caplog.text


def test_nothing_half_cut_is_left_behind(official: Tree, cache: Path) -> None:
    official.path("000000000103.jpg", "val2017").write_bytes(b"\xff\xd8\xff no jpeg")
    with pytest.raises(DataError, match=r"1 of 2 images cannot be decoded: .*000000000103\.jpg"):
        coco.load(official.root, "val2017", cache=cache)
    assert list(cache.iterdir()) == []


def test_a_truncated_jpeg_is_named(official: Tree, cache: Path) -> None:
    path = official.path("000000000103.jpg", "val2017")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"000000000103\.jpg cannot be decoded"):
        coco.load(official.root, "val2017", cache=cache)
    report = coco.verify(official.root)
    assert report.level == "mismatch"
    assert any("000000000103.jpg" in problem for problem in report.problems)


def test_missing_images_are_counted_and_named(tree: Tree, cache: Path) -> None:
    tree.path("000000000101.jpg", "val2017").unlink()
    tree.path("000000000105.jpg", "val2017").unlink()  # nobody on it: only `verify` misses it
    with pytest.raises(DataError, match=r"1 of 2 images are missing in .*: 000000000101\.jpg\.") as caught:
        coco.load(tree.root, "val2017", cache=cache)
    assert "take their annotations out" in caught.value.hint
    report = coco.verify(tree.root)
    assert report.level == "mismatch"
    assert report.problems == ("val2017: 2 of 3 images are missing: 000000000101.jpg, 000000000105.jpg",)


def test_wrong_roots_print_the_expected_tree(official: Tree, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="is no folder") as caught:
        coco.load(tmp_path / "nowhere", "val2017", cache=cache)
    assert "person_keypoints_val2017.json" in caught.value.hint
    with pytest.raises(DataError, match=r"it holds 0000.*\.jpg") as caught:
        coco.load(official.root / "val2017", "val2017", cache=cache)
    assert coco.CARD.tree in caught.value.hint
    with pytest.raises(DataError, match="is no COCO keypoint folder"):
        coco.verify(official.root / "val2017")
    shutil.copytree(official.root, tmp_path / "copy")
    with pytest.raises(DataError, match="more than once: coco, copy"):
        coco.load(tmp_path, "val2017", cache=cache)


def test_unknown_split_and_forbidden_cache(official: Tree, cache: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'") as caught:
        coco.load(official.root, "val", cache=cache)
    assert "'val2017'" in caught.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        coco.load(official.root, "val2017", cache=official.root / "cache")


def test_a_cache_that_cannot_be_made(official: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        coco.load(official.root, "val2017", cache=tmp_path / "file" / "cache")


def _drop(key: str) -> Any:
    return lambda tree: tree.persons[3].pop(key)


WRONG = {
    "instances instead of keypoints": (_drop("keypoints"), r"annotation 4 has no keypoints; it has area, bbox"),
    "image without a size": (lambda tree: tree.images[1].pop("width"), r"image 101 has no width"),
    "duplicate annotation": (lambda tree: tree.persons[10].update(id=4), r"annotation id 4 occurs twice"),
    "annotation 0": (lambda tree: tree.persons[3].update(id=0), r"pycocotools takes id 0 for unmatched"),
    "14 keypoints": (lambda tree: tree.persons[3].update(keypoints=[1] * 42), r"42 keypoint and 4 box numbers"),
    "keypoint outside": (
        lambda tree: tree.persons[3]["keypoints"].__setitem__(slice(0, 3), [640.0, 481.5, 2]),
        r"annotation 4: keypoint 0 at \(640, 481.5\) lies outside 000000000101.jpg \(640 x 480\)",
    ),
    "nobody usable": (lambda tree: [p.update(iscrowd=1) for p in tree.persons], r"no usable person in val2017"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_json_is_explained(tree: Tree, cache: Path, case: str) -> None:
    edit, message = WRONG[case]
    edit(tree)
    tree.write_json()
    with pytest.raises(DataError, match=message) as caught:
        coco.load(tree.root, "val2017", cache=cache)
    assert caught.value.hint


def test_unlisted_images_and_other_files(official: Tree, cache: Path) -> None:
    path = official.json_path("val2017")
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 999
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="belongs to image 999, which is not listed"):
        coco.load(official.root, "val2017", cache=cache)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="holds a json list"):
        coco.load(official.root, "val2017", cache=cache)
    path.write_text('{"images": [')
    with pytest.raises(DataError, match="cannot be read as json"):
        coco.load(official.root, "val2017", cache=cache)
    report = coco.verify(official.root)
    assert report.level == "mismatch"
    assert "cannot be read as json" in report.problems[0]
    path.write_text('{"annotations": []}')
    with pytest.raises(DataError, match=r"the file has no categories, images; it has annotations"):
        coco.load(official.root, "val2017", cache=cache)


def test_merged_json_needs_known_splits(tmp_path: Path, cache: Path) -> None:
    tree = Tree(tmp_path / "coco", "merged")
    tree.write()
    tree.images[2]["split"] = "test2017"
    tree.write_json()
    with pytest.raises(DataError, match=r"unknown splits \['test2017'\]"):
        coco.load(tree.root, "val2017", cache=cache)
    del tree.images[2]["split"]
    tree.write_json()
    with pytest.raises(DataError, match="image 102 has no split"):
        coco.load(tree.root, "val2017", cache=cache)


def test_verify_a_small_copy(tree: Tree) -> None:
    before = sorted(tree.root.rglob("*"))
    report = coco.verify(tree.root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found["train2017"] == {
        "images": 3, "images with a person": 3, "persons": 8, "persons with keypoints": 7, "crowds": 1,
    }  # fmt: skip
    assert "train2017: images 3/118,287" in report.text()
    assert sorted(tree.root.rglob("*")) == before
    image = tree.path("000000000102.jpg", "train2017")
    Image.new("RGB", (10, 20)).save(image)
    assert coco.verify(tree.root).problems == ("train2017: 000000000102.jpg is 10 x 20, the json says 640 x 480",)


def test_annotation_files_are_named(tree: Tree) -> None:
    kinds = ("captions", "person_keypoints")
    assert coco.annotation_files(tree.root) == tuple(
        sorted({tree.json_path(split, kind) for split in SPLITS for kind in kinds})
    )
    with pytest.raises(DataError, match="is no COCO keypoint folder"):
        coco.annotation_files(tree.root / "annotations")


def test_verify_half_a_dataset(official: Tree) -> None:
    shutil.rmtree(official.root / "train2017")
    report = coco.verify(official.root)
    assert report.level == "subset"
    assert "train2017 was not found" in report.notes


def test_levels_follow_the_counts() -> None:
    exact = {split: dict(counts) for split, counts in coco.CARD.counts.items()}
    assert compare(coco.CARD, exact) == ("exact", [], [])
    exact["val2017"]["persons with keypoints"] -= 1
    level, problems, notes = compare(coco.CARD, exact)
    assert (level, problems) == ("exact", [])
    assert "not verified" in notes[0]
    exact["val2017"]["images"] += 1
    level, problems, _ = compare(coco.CARD, exact)
    assert level == "mismatch"
    assert "more than the official 5,000" in problems[0]
    assert compare(coco.CARD, {"val2017": coco.CARD.counts["val2017"]})[0] == "subset"


@pytest.mark.data
def test_the_real_sample(real_coco: Path, cache: Path) -> None:
    report = coco.verify(real_coco)
    assert (report.level, report.problems) == ("subset", ())
    assert sum(counts["persons"] for counts in report.found.values()) == 153
    for split, persons in (("train2017", 41), ("val2017", 26)):
        assert report.found[split]["persons with keypoints"] == persons
        samples = coco.load(real_coco, split, cache=cache)
        assert len(samples) == persons
        assert (stats(samples) == 1).all()
        assert len(coco.person_crops(real_coco, split, 128, 64, cache)) >= persons / 2


@pytest.mark.data
def test_real_keypoints_return_to_their_json(real_coco: Path, cache: Path) -> None:
    samples = coco.load(real_coco, "val2017", cache=cache)
    assert samples.coco_truth is not None
    assert samples.keypoints is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    truth = {person["id"]: person for person in samples.coco_truth["annotations"]}
    official = np.array([truth[int(name.split("#")[1])]["keypoints"] for name in samples.ids], np.float64)
    official = official.reshape(-1, 17, 3)
    points = samples.keypoints.astype(np.float64)
    back = to_original(points[..., :2], samples.crop_center[:, None], samples.crop_size[:, None], 128, 64)
    seen = points[..., 2] > 0
    np.testing.assert_array_equal(points[..., 2], official[..., 2])
    assert np.abs(back - official[..., :2])[seen].max() < 1e-4
