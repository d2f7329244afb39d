"""COCO keypoints 2017 as person crops: pose on real photographs, and a pre-training corpus without groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, Report, compare
from hcbench.data.coco_files import SPLITS, TREE, Layout, find_layout, missing_files, read_captions, read_truth
from hcbench.data.crops import CropPlan, cached_crops, crop_windows, in_threads, read_image, to_crop
from hcbench.data.samples import Samples
from hcbench.errors import DataError, did_you_mean

CARD = DatasetCard(
    name="coco",
    title="COCO keypoints 2017",
    homepage="https://cocodataset.org",
    terms="Annotations: CC BY 4.0 (read it on the homepage). Each photograph has its own licence, named in the json\n"
    "(`license`); 3 (BY-NC-ND) and 6 (BY-ND) forbid derivatives, so their crops must not be published.",
    obtain="Download train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org/#download\n"
    "and unpack them side by side.",
    tree=TREE,
    counts={
        "train2017": {"images": 118_287, "images with a person": 64_115, "persons with keypoints": 149_813},
        "val2017": {"images": 5_000, "images with a person": 2_693, "persons with keypoints": 6_352},
    },
    unverified=frozenset({"persons with keypoints"}),
    sister_sets={
        "OCHuman": "has no training split; models that are scored on it are trained on COCO",
        "CrowdPose": "reported to be built in part from COCO images (not verified)",
        "GenCOCO": "generated from COCO's poses; no source person of val2017 may be in it",
    },
    fields=frozenset(
        {"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "captions", "coco_truth"}
    ),
)

CORPUS_SPLIT = "train2017"
"""The split that `--corpus coco` pre-trains on; val2017 is kept for scoring."""
CORPUS_FIELDS = CARD.fields - {"captions", "coco_truth"}
"""Fields that `person_crops` fills."""

Person = Mapping[str, Any]
"""An annotation as the json has it."""
Keep = Callable[[Person, NDArray[np.float64]], bool]
"""Whether a person counts, given the annotation and its box (x, y, w, h) inside the image."""


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Crops of all persons with labelled keypoints: what a pose head is trained and scored on.

    A person counts when it is no crowd, has a labelled keypoint, an area above 0 and a box that is not empty
    inside its image (mmpose's rule plus the area). The window is the box widened to the input's aspect,
    times 1.25.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: `train2017` or `val2017`.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Returns:
        Samples in the order of image and annotation ids. `ids` are `val2017/000000000785.jpg#<annotation id>`;
        keypoints are crop pixels (0, 0 where not labelled); `area` and `boxes` are in original pixels;
        `coco_truth` is the official json of the whole split, crowds and unlabelled persons included.
        `captions` are known where a caption json is there; they describe the whole photograph.

    Raises:
        DataError: The folder, the json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    layout, truth = _open(root, split, cache)
    samples = _cut(layout, truth, split, _labelled, (height, width), cache)
    captions = None
    if layout.captions is not None and samples.image_id is not None:
        by_image = read_captions(layout.captions)
        captions = tuple(by_image.get(int(image), ()) for image in samples.image_id)
    return _finish(samples, captions, truth)


def person_crops(root: Path, split: str, height: int, width: int, cache: Path) -> Samples:
    """Crops of all persons that are large enough to learn from, labelled or not: a corpus without groups.

    Crowds and boxes smaller than a quarter of the input in either direction are left out. Keypoints are
    known where they are labelled (v = 0 elsewhere). Captions are not, since they describe the whole photograph.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: `train2017` or `val2017`.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Raises:
        DataError: The folder, the json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    layout, truth = _open(root, split, cache)
    return _finish(_cut(layout, truth, split, _large(height, width), (height, width), cache))


def corpus_size(root: Path, height: int, width: int) -> int:
    """How many crops `person_crops` gives of `CORPUS_SPLIT`; reads the json alone.

    Raises:
        DataError: The folder or the json is not as it should be.
    """
    truth = read_truth(find_layout(root, CORPUS_SPLIT), CORPUS_SPLIT)
    return len(_persons(truth, _large(height, width)))


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json files that decide what `load` gives, of every split that is there, sorted.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    files: set[Path] = set()
    problems: list[DataError] = []
    for split in SPLITS:
        try:
            layout = find_layout(root, split)
        except DataError as error:
            problems.append(error)
            continue
        files |= {layout.annotations} | ({layout.captions} if layout.captions else set())
    if not files:
        raise problems[0]
    return tuple(sorted(files))


def verify(root: Path) -> Report:
    """Check a copy: layout, json, every image's presence, decoding and size, and the counts of each split.

    Reads every image once, which takes minutes for all of COCO. Nothing is written.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    found: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    layouts: list[str] = []
    absent: dict[str, DataError] = {}
    for split in SPLITS:
        try:
            layout = find_layout(root, split)
        except DataError as error:
            absent[split] = error
            continue
        layouts += [layout.name] if layout.name not in layouts else []
        try:
            truth = read_truth(layout, split)
        except DataError as error:
            problems.append(error.message)
            continue
        found[split] = _count(truth)
        problems += [f"{split}: {problem}" for problem in _image_problems(layout, truth)]
    if len(absent) == len(SPLITS):
        raise absent[SPLITS[0]]
    found = {split: counts for split, counts in found.items() if counts["images"]}
    level, excess, notes = compare(CARD, found)
    return Report(
        dataset=CARD.name,
        root=root,
        level="mismatch" if problems else level,
        layout="; ".join(layouts),
        found=found,
        expected={split: CARD.counts[split] for split in found},
        problems=(*problems, *excess),
        notes=(*notes, *(f"{split} was not found" for split in absent)),
    )


def _open(root: Path, split: str, cache: Path) -> tuple[Layout, dict[str, Any]]:
    if split not in SPLITS:
        raise DataError(f"COCO has no split {split!r}.", did_you_mean(split, SPLITS))
    layout = find_layout(root, split)
    if cache.resolve().is_relative_to(layout.base.resolve()):
        raise DataError(
            f"The cache {cache} lies inside the dataset {layout.base}, where nothing is ever written.",
            "Choose a workspace outside of it (--workspace).",
        )
    return layout, read_truth(layout, split)


def _labelled(person: Person, box: NDArray[np.float64]) -> bool:
    labelled = person["num_keypoints"] > 0 and max(person["keypoints"][2::3]) > 0
    return bool(not person["iscrowd"] and labelled and person["area"] > 0 and box[2] > 0 and box[3] > 0)


def _large(height: int, width: int) -> Keep:
    def large(person: Person, box: NDArray[np.float64]) -> bool:
        return bool(not person["iscrowd"] and person["area"] > 0 and box[2] >= width / 4 and box[3] >= height / 4)

    return large


def _persons(truth: Mapping[str, Any], keep: Keep) -> list[tuple[Person, NDArray[np.float64]]]:
    """Persons that `keep` takes with their boxes inside the image, by image and annotation id."""
    images = {image["id"]: image for image in truth["images"]}
    ordered = sorted(truth["annotations"], key=lambda person: (person["image_id"], person["id"]))
    inside = ((person, _clip(person["bbox"], images[person["image_id"]])) for person in ordered)
    return [(person, box) for person, box in inside if keep(person, box)]


def _cut(
    layout: Layout,
    truth: Mapping[str, Any],
    split: str,
    keep: Keep,
    input_size: tuple[int, int],
    cache: Path,
) -> Samples:
    """Samples of the persons that `keep` takes; their fingerprint is that of the pixels alone."""
    height, width = input_size
    kept = _persons(truth, keep)
    if not kept:
        raise DataError(
            f"{layout.annotations} holds no usable person in {split}, out of {len(truth['annotations'])} annotations.",
            "A person needs iscrowd 0, an area above 0, a box inside the image and, for pose, labelled keypoints.",
        )
    names = {image["id"]: str(image["file_name"]) for image in truth["images"]}
    persons = [person for person, _ in kept]
    files = [names[person["image_id"]] for person in persons]
    missing = missing_files(layout.images, files)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(set(files))} images are missing in {layout.images}: {_some(missing)}.",
            "Copy them, or take their annotations out of the json.",
        )
    center, size = crop_windows(np.stack([box for _, box in kept]), height, width)
    plan = CropPlan(folder=layout.images, files=files, center=center, size=size, height=height, width=width)
    crops, pixels = cached_crops(plan, cache)
    original = np.array([person["keypoints"] for person in persons], np.float64).reshape(-1, 17, 3)
    xy = to_crop(original[..., :2], center[:, None], size[:, None], height, width)
    visible = original[..., 2:]
    return Samples(
        name=f"coco {split}",
        fingerprint=pixels,
        images=crops,
        ids=np.array([f"{split}/{file}#{person['id']}" for file, person in zip(files, persons, strict=True)]),
        keypoints=np.concatenate([np.where(visible > 0, xy, 0), visible], axis=2).astype(np.float32),
        area=np.array([person["area"] for person in persons], np.float32),
        boxes=np.array([person["bbox"] for person in persons], np.float32),
        image_id=np.array([person["image_id"] for person in persons], np.int64),
        crop_center=center,
        crop_size=size,
    )


def _finish(
    samples: Samples, captions: tuple[tuple[str, ...], ...] | None = None, truth: Mapping[str, Any] | None = None
) -> Samples:
    """The samples with captions and truth, and a fingerprint of all that decides a number."""
    digest = hashlib.sha256("\n".join((samples.fingerprint, *samples.ids)).encode())
    for array in (samples.keypoints, samples.area, samples.boxes):
        digest.update(np.ascontiguousarray(array).tobytes())
    # Of an image only its id takes part in scoring; its other entries differ between official and merged files.
    scored = truth and [sorted(image["id"] for image in truth["images"]), truth["annotations"]]
    digest.update(json.dumps([captions, scored], sort_keys=True).encode())
    return replace(samples, fingerprint=digest.hexdigest()[:16], captions=captions, coco_truth=truth)


def _clip(box: list[float], image: Mapping[str, Any]) -> NDArray[np.float64]:
    """The part of a box (x, y, w, h) that lies inside its image; some official boxes reach a little beyond."""
    low = np.clip(box[:2], 0, [image["width"], image["height"]])
    high = np.clip(np.add(box[:2], box[2:]), 0, [image["width"], image["height"]])
    return np.concatenate([low, high - low])


def _count(truth: Mapping[str, Any]) -> dict[str, int]:
    persons = truth["annotations"]
    return {
        "images": len(truth["images"]),
        "images with a person": len({person["image_id"] for person in persons}),
        "persons": sum(not person["iscrowd"] for person in persons),
        "persons with keypoints": sum(not person["iscrowd"] and person["num_keypoints"] > 0 for person in persons),
        "crowds": sum(bool(person["iscrowd"]) for person in persons),
    }


def _image_problems(layout: Layout, truth: Mapping[str, Any]) -> list[str]:
    """Images that are missing, do not decode, or have another size than the json says."""
    images = truth["images"]
    missing = missing_files(layout.images, (image["file_name"] for image in images))
    problems = [f"{len(missing)} of {len(images)} images are missing: {_some(missing)}"] if missing else []
    gone = set(missing)

    def check(image: Mapping[str, Any]) -> str | None:
        try:
            size = read_image(layout.images / image["file_name"]).size
        except DataError as error:
            return error.message
        told = (image["width"], image["height"])
        return (
            None
            if size == told
            else f"{image['file_name']} is {size[0]} x {size[1]}, the json says {told[0]} x {told[1]}"
        )

    there = [image for image in images if image["file_name"] not in gone]
    return problems + [problem for problem in in_threads(check, there, "images") if problem]


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
