"""Files in the format of COCO keypoints: which layout a folder has, and a json whose every entry was checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard
from hcbench.data.formats.listing import find_annotated
from hcbench.data.formats.loading import read_json
from hcbench.data.skeletons import COCO, Skeleton
from hcbench.errors import DataError

SPLITS = ("train2017", "val2017")
TREE = """\
ROOT/                                     one of three layouts, with or without one folder around it
  annotations/person_keypoints_train2017.json
  annotations/person_keypoints_val2017.json
  annotations/captions_{train,val}2017.json        (optional)
  train2017/*.jpg  val2017/*.jpg          or: images/train2017/*.jpg  images/val2017/*.jpg
ROOT/
  annotations/person_keypoints.json       both splits in one file; each image has "split": "train2017" or "val2017"
  annotations/captions.json                        (optional)
  images/*.jpg"""

_OUTSIDE_PX = 1.0
"""How far outside its image a keypoint may lie before the file is called wrong: rounding of a border pixel."""
_IMAGE_KEYS = frozenset({"id", "file_name", "height", "width"})
_PERSON_KEYS = frozenset({"id", "image_id", "bbox", "area", "iscrowd", "keypoints", "num_keypoints"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """What the json of a data set differs in from COCO's.

    Attributes:
        skeleton: The joints of `keypoints`.
        area_of_box: Share of its box that a person's area is taken for where the json has none; 0 where it must.
        strict: Whether a joint outside its image makes the file wrong. Of COCO it is known that none lies there; of
            other sets it is not, and such joints are kept and noted by `verify`.
    """

    skeleton: Skeleton = COCO
    area_of_box: float = 0.0
    strict: bool = False


COCO_FORMAT = Format(strict=True)
BOX_AREA = 0.53
"""`Format.area_of_box` as mmpose has it: what COCO's persons fill of their boxes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where the files of one split lie.

    Attributes:
        name: What the layout is called in reports.
        base: The dataset's own folder: the root, or the one below it.
        annotations: The keypoint json.
        captions: The caption json, or None where there is none.
        images: Folder that the `file_name`s are relative to.
        merged: Whether the json holds both splits.
    """

    name: str
    base: Path
    annotations: Path
    captions: Path | None
    images: Path
    merged: bool


def find_layout(root: Path, split: str) -> Layout:
    """Recognise one of the accepted layouts in `root`, or in the one folder below it that has one.

    Not `listing.find_base`, which looks two folders deep: where a split is absent, it would go through the hundred
    thousand images of the other one. And the message names the split.

    Raises:
        DataError: The root is no folder, holds no layout, or two folders below it do.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder.", f"Give the folder that holds COCO:\n{TREE}")
    own = _layout_of(root, split)
    if own is not None:
        return own
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    below = {folder: layout for folder in folders if (layout := _layout_of(folder, split)) is not None}
    if len(below) == 1:
        return next(iter(below.values()))
    if below:
        names = ", ".join(folder.name for folder in below)
        raise DataError(f"{root} holds COCO {split} more than once: {names}.", "Give one of these folders as the root.")
    content = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise DataError(f"{root} is no COCO keypoint folder for {split}: it holds {content}.", f"Expected:\n{TREE}")


def layout_of_files(root: Path, card: DatasetCard, split: str, files: Iterable[tuple[str, str]]) -> Layout:
    """The layout of a split that is one json and one folder of images, with or without folders around them.

    Args:
        root: What the user named.
        card: For the error's words.
        split: Likewise.
        files: Accepted pairs of json and image folder, below the data set's folder; the first that is there counts.

    Raises:
        DataError: None of them is there; where one of a pair is, what is missing is named.
    """
    base, (annotations, images) = find_annotated(root, card, split, files)
    return Layout(
        name=f"{annotations} and {images}/",
        base=base,
        annotations=base / annotations,
        captions=None,
        images=base / images,
        merged=False,
    )


def read_truth(layout: Layout, split: str, form: Format = COCO_FORMAT) -> dict[str, Any]:
    """Read and check the keypoint json and restrict it to one split.

    Crowds and persons without keypoints stay, as evaluation needs them; masks (`segmentation`) are left out,
    since keypoint evaluation never looks at them and they are most of the file. Where the format allows it, `area` and
    `iscrowd` are filled in.

    Raises:
        DataError: The file is no json, has other keys, or an entry contradicts itself; the entry is named.
    """
    truth = read_object(layout.annotations)
    where = layout.annotations
    _need(truth, {"images", "annotations", "categories"}, where, "the file")
    for image in truth["images"]:
        _need(image, _IMAGE_KEYS | ({"split"} if layout.merged else set()), where, f"image {image.get('id')}")
    _unique(truth["images"], where, "image")
    strange = {image["split"] for image in truth["images"]} - set(SPLITS) if layout.merged else set()
    if strange:
        raise DataError(
            f"{where}: images of the unknown splits {sorted(map(str, strange))}.",
            f'Each image needs "split": one of {", ".join(SPLITS)}.',
        )
    images = {image["id"]: image for image in truth["images"] if not layout.merged or image["split"] == split}
    known = {image["id"] for image in truth["images"]}
    for person in truth["annotations"]:
        if form.area_of_box:
            _complete(person, form.area_of_box)
        _check_person(person, known, images, (where, form))
    _unique(truth["annotations"], where, "annotation")
    kept = [
        {key: value for key, value in person.items() if key != "segmentation"}
        for person in truth["annotations"]
        if person["image_id"] in images
    ]
    return {**truth, "images": list(images.values()), "annotations": kept}


def read_captions(path: Path) -> dict[int, tuple[str, ...]]:
    """Captions by image id, in the order of their ids.

    Raises:
        DataError: The file is no json or has other keys.
    """
    content = read_object(path)
    _need(content, {"annotations"}, path, "the file")
    captions: dict[int, list[str]] = {}
    for entry in content["annotations"]:
        _need(entry, {"id", "image_id", "caption"}, path, f"caption {entry.get('id')}")
    for entry in sorted(content["annotations"], key=lambda entry: int(entry["id"])):
        captions.setdefault(entry["image_id"], []).append(str(entry["caption"]).strip())
    return {image: tuple(texts) for image, texts in captions.items()}


def _layout_of(base: Path, split: str) -> Layout | None:
    folder = base / "annotations"
    official, merged = folder / f"person_keypoints_{split}.json", folder / "person_keypoints.json"
    for name, file, images in (
        (f"annotations/ and {split}/", official, base / split),
        (f"annotations/ and images/{split}/", official, base / "images" / split),
        ("one json for both splits, images/", merged, base / "images"),
    ):
        if file.is_file() and images.is_dir():
            captions = folder / file.name.replace("person_keypoints", "captions")
            return Layout(
                name=name,
                base=base,
                annotations=file,
                captions=captions if captions.is_file() else None,
                images=images,
                merged=file == merged,
            )
    return None


def outside_joints(truth: Mapping[str, Any]) -> list[str]:
    """A note on labelled joints that lie outside their image; none where there are none."""
    images = {image["id"]: image for image in truth["images"]}
    beyond = [
        (person["id"], images[person["image_id"]]["file_name"], len(outside))
        for person in truth["annotations"]
        if (outside := _outside(person["keypoints"], images[person["image_id"]]))
    ]
    if not beyond:
        return []
    number, name, _ = beyond[0]
    count = sum(joints for *_, joints in beyond)
    return [f"{count} joints lie outside their image, first of annotation {number} on {name}; no head learns them"]


def read_object(path: Path) -> dict[str, Any]:
    """The object that a json file in COCO's format holds.

    Raises:
        DataError: It is none, cannot be read, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a json {type(content).__name__}.", "Expected an object in the COCO format.")
    return content


def _need(entry: Mapping[str, Any], keys: Iterable[str], where: Path, what: str) -> None:
    absent = sorted(set(keys) - entry.keys())
    if absent:
        raise DataError(
            f"{where}: {what} has no {', '.join(absent)}; it has {', '.join(sorted(entry)) or 'no keys'}.",
            "Expected the COCO keypoint format (person_keypoints_*.json), not instances, captions or detections.",
        )


def _unique(entries: Iterable[Mapping[str, Any]], where: Path, what: str) -> None:
    seen: set[Any] = set()
    for entry in entries:
        if entry["id"] in seen:
            raise DataError(f"{where}: {what} id {entry['id']} occurs twice.", "Ids must be unique: mend the json.")
        seen.add(entry["id"])


def _complete(person: dict[str, Any], area_of_box: float) -> None:
    """Fill in what some converted files leave out; an annotation that lacks more is told so afterwards."""
    person.setdefault("iscrowd", 0)
    if "bbox" in person:
        person.setdefault("area", area_of_box * float(np.prod(person["bbox"][2:])))


def _check_person(
    person: Mapping[str, Any],
    known: set[Any],
    images: Mapping[Any, Mapping[str, Any]],
    rules: tuple[Path, Format],
) -> None:
    where, form = rules
    _need(person, _PERSON_KEYS, where, f"annotation {person.get('id')}")
    what = f"{where}: annotation {person['id']}"
    if person["id"] == 0:
        raise DataError(f"{what}: pycocotools takes id 0 for unmatched.", "Number annotations from 1.")
    if person["image_id"] not in known:
        raise DataError(f"{what} belongs to image {person['image_id']}, which is not listed.", "Mend the json.")
    keypoints, joints = person["keypoints"], len(form.skeleton)
    if len(keypoints) != 3 * joints or len(person["bbox"]) != 4:
        raise DataError(
            f"{what} has {len(keypoints)} keypoint and {len(person['bbox'])} box numbers.",
            f"Expected {3 * joints} ({joints} x 3: x, y, v) and 4 (x, y, width, height).",
        )
    strange = set(keypoints[2::3]) - {0, 1, 2}
    if strange:
        raise DataError(
            f"{what} has the visibility {sorted(strange)[0]:g}.",
            "Expected 0 (not labelled), 1 (hidden) or 2 (visible): convert the file to COCO's format.",
        )
    image = images.get(person["image_id"])
    if not form.strict or image is None:
        return
    for number in _outside(keypoints, image):
        x, y = keypoints[3 * number : 3 * number + 2]
        raise DataError(
            f"{what}: keypoint {number} at ({x:g}, {y:g}) lies outside {image['file_name']} "
            f"({image['width']} x {image['height']}).",
            "Mend the coordinates, or set its visibility to 0.",
        )


def _outside(keypoints: list[float], image: Mapping[str, Any]) -> list[int]:
    """Labelled joints that lie outside their image, by number."""
    right, bottom = image["width"] + _OUTSIDE_PX, image["height"] + _OUTSIDE_PX
    places = zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=True)
    return [
        number
        for number, (x, y, v) in enumerate(places)
        if v > 0 and not (-_OUTSIDE_PX <= x <= right and -_OUTSIDE_PX <= y <= bottom)
    ]
