"""COCO keypoints 2017 as person crops: pose on real photographs, and a pre-training corpus without groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats.coco_detections import detection_file, detection_path, read_detections
from hcbench.data.formats.coco_files import SPLITS, TREE, find_layout, left_out_notes, read_captions, read_truth
from hcbench.data.formats.coco_persons import (
    Keep,
    Person,
    PersonSet,
    cut,
    cut_windows,
    finish,
    labelled,
    open_split,
    persons_of,
)
from hcbench.data.formats.loading import found_splits
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits
from hcbench.data.windows import crop_windows
from hcbench.errors import DataError

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
    fields=frozenset(
        {"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "captions", "coco_truth"}
    ),
)

TASK_SPLITS = TaskSplits(train="train2017", val=None, test="val2017")
CORPUS_SPLIT = "train2017"
"""The split that `--corpus coco` pre-trains on; val2017 is kept for scoring."""
CORPUS_FIELDS = CARD.fields - {"captions", "coco_truth"}
"""Fields that `person_crops` fills."""

_OWN = PersonSet(card=CARD, splits=SPLITS, find=find_layout)


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
    layout, truth = open_split(_OWN, root, split, cache)
    samples = cut(_OWN, layout, truth, (split, split), labelled, (height, width), cache)
    captions = None
    if layout.captions is not None and samples.image_id is not None:
        by_image = read_captions(layout.captions, truth)
        captions = tuple(by_image.get(int(image), ()) for image in samples.image_id)
    return finish(samples, captions, truth)


def load_detected(
    root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, detections: Path | None = None
) -> Samples:
    """Crops of what a person detector found, to be scored against the official file: AP without given boxes.

    Every detection of a listed image gives one crop, by the window rule of `load`. Who stands in it is not known, so
    there are no keypoints and no areas: predictions are scored as results of their images, with `box_scores`.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: `val2017` for the published boxes (a detector of 56 AP on persons).
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.
        detections: Another file in COCO's result format than
            `person_detection_results/COCO_<split>_detections_AP_H_56_person.json`.

    Returns:
        Samples by image id, then in the order of the file. `ids` are `val2017/000000000785.jpg#box<row of the file>`;
        `coco_truth` is the official json of the whole split, images without a detection included.

    Raises:
        DataError: The folder, a json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    layout, truth = open_split(_OWN, root, split, cache)
    found = read_detections(detections or detection_file(layout.base, split), truth)
    center, size = crop_windows(found.boxes, height, width)
    files, crops, pixels = cut_windows(layout, truth, found.image_id.tolist(), (center, size), (height, width), cache)
    samples = Samples(
        name=f"coco {split}, detected boxes",
        fingerprint=pixels,
        images=crops,
        ids=np.array([f"{split}/{file}#box{row}" for file, row in zip(files, found.rows, strict=True)]),
        boxes=found.boxes.astype(np.float32),
        box_scores=found.scores.astype(np.float32),
        image_id=found.image_id,
        crop_center=center,
        crop_size=size,
        notes=(*(f"coco {split}: {note}" for note in left_out_notes(truth)), *found.notes),
    )
    return finish(samples, truth=truth)


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
    layout, truth = open_split(_OWN, root, split, cache)
    return finish(cut(_OWN, layout, truth, (split, split), _large(height, width), (height, width), cache))


def corpus_size(root: Path, height: int, width: int) -> int:
    """How many crops `person_crops` gives of `CORPUS_SPLIT`; reads the json alone.

    Raises:
        DataError: The folder or the json is not as it should be.
    """
    truth = read_truth(find_layout(root, CORPUS_SPLIT), CORPUS_SPLIT)
    return len(persons_of(truth, _large(height, width)))


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json files that decide what `load` and `load_detected` give, of every split that is there, sorted.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    files = _OWN.annotation_files(root)
    found = {path for split in SPLITS if (path := detection_path(files[0].parent.parent, split)).is_file()}
    return tuple(sorted({*files, *found}))


image_folders = _OWN.image_folders


def verify(root: Path) -> VerifyReport:
    """Check a copy as `PersonSet.verify` does, and the captions where they are there.

    Raises:
        DataError: The root is no folder, or holds no split.
    """
    report = _OWN.verify(root)
    layouts, _ = found_splits(SPLITS, lambda split: find_layout(root, split))
    problems = [problem for path in sorted({layout.captions for layout in layouts.values() if layout.captions})
                if (problem := _caption_problem(path))]  # fmt: skip
    if not problems:
        return report
    return replace(report, level="mismatch", problems=(*report.problems, *problems))


def _caption_problem(path: Path) -> str:
    """Why captions cannot be read; empty where they can."""
    try:
        read_captions(path, {"images": ()})
    except DataError as error:
        return error.message
    return ""


def _large(height: int, width: int) -> Keep:
    def large(person: Person, box: NDArray[np.float64]) -> bool:
        return bool(not person["iscrowd"] and person["area"] > 0 and box[2] >= width / 4 and box[3] >= height / 4)

    return large


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    task_splits=TASK_SPLITS,
    annotation_files=annotation_files,
    image_folders=image_folders,
    load_detected=load_detected,
    person_crops=person_crops,
    corpus_size=corpus_size,
    corpus_fields=CORPUS_FIELDS,
    corpus_split=CORPUS_SPLIT,
)
