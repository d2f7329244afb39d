"""Files in the format of COCO keypoints: which layout a folder has, and a json whose every entry was checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard
from hcbench.data.files.under_root import check_names
from hcbench.data.files.walk import folders_in
from hcbench.data.formats.coco_people import (
    OWN_ID,
    PERSON_ID,
    ids_of,
    mark_uncounted,
    number,
    number_ids,
    numbers,
    person_category,
    plain_id,
    renumbered,
    whole_number,
)
from hcbench.data.formats.listing import contents, find_annotated
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
_FAR = 10.0
"""How far outside a joint may lie where sets have such joints, in sides of the image: farther, it is an error of the
file, and of a size that float32 cannot tell exactly."""
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
        counted: Positions of the joints of which one must be labelled for a person to be scored; None = any.
    """

    skeleton: Skeleton = COCO
    area_of_box: float = 0.0
    strict: bool = False
    counted: tuple[int, ...] | None = None


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
    if not os.path.isdir(root):
        raise DataError(f"{root} is no folder.", f"Give the folder that holds COCO:\n{TREE}")
    own = _layout_of(root, split)
    if own is not None:
        return own
    folders = [path for path in folders_in(root) if not path.name.startswith("__")]
    below = {folder: layout for folder in folders if (layout := _layout_of(folder, split)) is not None}
    if len(below) == 1:
        return next(iter(below.values()))
    if below:
        names = ", ".join(folder.name for folder in below)
        raise DataError(f"{root} holds COCO {split} more than once: {names}.", "Give one of these folders as the root.")
    raise DataError(f"{root} is no COCO keypoint folder for {split}: it holds {contents(root)}.", f"Expected:\n{TREE}")


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

    What comes back follows `coco_people`: ids are whole numbers, persons are category 1, other categories are left out,
    `num_keypoints` counts what is labelled and is 0 for persons who cannot be scored. Crowds and persons without
    keypoints stay, as evaluation needs them; masks (`segmentation`) are left out, since keypoint evaluation never looks
    at them and they are most of the file. Where the format allows it, `area` and `iscrowd` are filled in. `left_out`
    counts what was left out, by reason, `miscounted` the persons whose `num_keypoints` was wrong.

    Raises:
        DataError: The file is no json, has other keys, or an entry contradicts itself; the entry is named.
    """
    truth = read_object(layout.annotations)
    where = layout.annotations
    _need(truth, {"images", "annotations", "categories"}, where, "the file")
    for key in ("images", "annotations"):
        _check_objects(truth[key], where, key)
    listed = [_image(image, where, layout.merged) for image in truth["images"]]
    strange = {str(image["split"]) for image in listed if image["split"] not in SPLITS} if layout.merged else set()
    if strange:
        raise DataError(
            f"{where}: images of the unknown splits {sorted(strange)}.",
            f'Each image needs "split": one of {", ".join(SPLITS)}.',
        )
    _unique(listed, where, "image")
    numbers_of = [image["id"] for image in listed]
    names = [image["file_name"] for image in listed]
    check_names(layout.images, names, lambda place: f"{where}: the file_name of image {numbers_of[place]} is")
    renumbered(listed, "id", number_ids(image["id"] for image in listed))
    by_own_id = ids_of(listed)
    images = {image["id"]: image for image in listed if not layout.merged or image["split"] == split}
    person, others = person_category(truth, str(where))
    kept: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for entry in truth["annotations"]:
        _need(entry, {"id", "image_id"}, where, f"annotation {entry.get('id')}")
        category = plain_id(entry.get("category_id", person))
        if category in others:
            left_out[f"annotations of other categories ({others[category] or category})"] += (
                by_own_id.get(plain_id(entry["image_id"])) in images
            )
            continue
        if category != person:
            raise DataError(
                f"{where}: annotation {entry['id']} is of category {category}, which the file does not list.",
                f"Persons are category {person} here: mend the json.",
            )
        kept.append(_person(entry, by_own_id, images, (where, form)))
    _unique(kept, where, "annotation")
    renumbered(kept, "id", number_ids(one["id"] for one in kept))
    kept = [one for one in kept if one["image_id"] in images]
    uncounted, miscounted = mark_uncounted(kept, images, form.counted)
    left_out.update(uncounted)
    return {
        **truth,
        "images": list(images.values()),
        "annotations": kept,
        "categories": [{"id": PERSON_ID, "name": "person"} | ({} if person == str(PERSON_ID) else {OWN_ID: person})],
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        "miscounted": miscounted,
    }


def left_out_notes(truth: Mapping[str, Any]) -> list[str]:
    """What `read_truth` left out, a sentence for each reason, and where it counted joints by itself."""
    notes = [f"{count} {reason} are left out" for reason, count in truth["left_out"].items()]
    if truth["miscounted"]:
        notes.append(f"num_keypoints of {truth['miscounted']} persons is not the number of their labelled joints; "
                     "the joints count")  # fmt: skip
    return notes


def read_captions(path: Path, truth: Mapping[str, Any] | None = None) -> dict[int, tuple[str, ...]]:
    """Captions by image id, in the order of their ids.

    Args:
        path: The json.
        truth: What `read_truth` read, whose image ids count; captions of images that it does not list are left out.
            None takes the file's own ids, which must be whole numbers.

    Raises:
        DataError: The file is no json or has other keys, or a caption is no text.
    """
    content = read_object(path)
    _need(content, {"annotations"}, path, "the file")
    _check_objects(content["annotations"], path, "annotations")
    captions: dict[int, list[str]] = {}
    for entry in content["annotations"]:
        _need(entry, {"id", "image_id", "caption"}, path, f"caption {entry.get('id')}")
        if not isinstance(entry["caption"], str | None):
            raise DataError(
                f"{path}: caption {entry['id']} is {entry['caption']!r:.80}.", "Expected a text, or null for nothing."
            )
    ids = None if truth is None else ids_of(truth["images"])
    order = number_ids(entry["id"] for entry in content["annotations"])
    for entry in sorted(content["annotations"], key=lambda entry: order[plain_id(entry["id"])]):
        own = plain_id(entry["image_id"])
        image = whole_number(own) if ids is None else ids.get(own)
        if ids is None and image is None:
            raise DataError(f"{path}: caption {entry['id']} is of image {own!r}.", "Expected a whole number.")
        if image is not None and entry["caption"] is not None:
            captions.setdefault(image, []).append(str(entry["caption"]).strip())
    return {image: tuple(texts) for image, texts in captions.items()}


def _layout_of(base: Path, split: str) -> Layout | None:
    folder = base / "annotations"
    official, merged = folder / f"person_keypoints_{split}.json", folder / "person_keypoints.json"
    for name, file, images in (
        (f"annotations/ and {split}/", official, base / split),
        (f"annotations/ and images/{split}/", official, base / "images" / split),
        ("one json for both splits, images/", merged, base / "images"),
    ):
        if os.path.isfile(file) and os.path.isdir(images):
            captions = folder / file.name.replace("person_keypoints", "captions")
            return Layout(
                name=name,
                base=base,
                annotations=file,
                captions=captions if os.path.isfile(captions) else None,
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


def _check_objects(value: Any, where: Path, key: str) -> None:
    """Refuse what is no list of objects; the first entry that is none is named."""
    if not isinstance(value, list):
        raise DataError(f"{where}: {key} is {value!r:.80}.", "Expected a list of objects in the COCO format.")
    for place, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise DataError(f"{where}: entry {place} of {key} is {entry!r:.80}.", "Expected an object: mend the json.")


def _need(entry: Mapping[str, Any], keys: Iterable[str], where: Path, what: str) -> None:
    absent = sorted(set(keys) - entry.keys())
    if absent:
        raise DataError(
            f"{where}: {what} has no {', '.join(absent)}; it has {', '.join(sorted(entry)) or 'no keys'}.",
            "Expected the COCO keypoint format (person_keypoints_*.json), not instances, captions or detections.",
        )


def _unique(entries: Iterable[Mapping[str, Any]], where: Path, what: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        own = plain_id(entry["id"])
        if own in seen:
            raise DataError(f"{where}: {what} id {own} occurs twice.", "Ids must be unique: mend the json.")
        seen.add(own)


def _image(entry: Mapping[str, Any], where: Path, merged: bool) -> dict[str, Any]:
    """An image of the file with its sides as numbers.

    Raises:
        DataError: A key is missing, or a side is no number above 0.
    """
    what = f"image {entry.get('id')}"
    _need(entry, _IMAGE_KEYS | ({"split"} if merged else set()), where, what)
    sides = {side: number(entry[side], f"{where}: the {side} of {what}") for side in ("height", "width")}
    for side, value in sides.items():
        if value is None or value <= 0:
            raise DataError(f"{where}: the {side} of {what} is {entry[side]!r}.", "Expected pixels: mend the json.")
    if not isinstance(entry["file_name"], str) or not entry["file_name"]:
        raise DataError(f"{where}: the file_name of {what} is {entry['file_name']!r}.", "Expected a name.")
    if "crowdIndex" in entry:  # CrowdPose's
        sides["crowdIndex"] = number(entry["crowdIndex"], f"{where}: the crowdIndex of {what}")
    return {**entry, **sides}


def _person(
    entry: Mapping[str, Any],
    by_own_id: Mapping[str, int],
    images: Mapping[Any, Mapping[str, Any]],
    rules: tuple[Path, Format],
) -> dict[str, Any]:
    """An annotation as the rest relies on it; null stands for nothing known.

    Raises:
        DataError: A key is missing, or a value is not what it should be; the annotation is named.
    """
    where, form = rules
    optional = {"area", "iscrowd"} if form.area_of_box else set()
    _need(entry, _PERSON_KEYS - optional, where, f"annotation {entry['id']}")
    what = f"{where}: annotation {entry['id']}"
    if plain_id(entry["id"]) == "0":
        raise DataError(f"{what}: pycocotools takes id 0 for unmatched.", "Number annotations from 1.")
    image_id = by_own_id.get(plain_id(entry["image_id"]))
    if image_id is None:
        raise DataError(f"{what} belongs to image {entry['image_id']}, which is not listed.", "Mend the json.")
    count = len(form.skeleton)
    keypoints = numbers(entry["keypoints"], 3 * count, f"{what}: keypoints ({count} x 3: x, y, v)")
    box = numbers(entry["bbox"], 4, f"{what}: bbox (x, y, width, height)") or [0.0] * 4
    area = number(entry.get("area"), f"{what}: area")
    if area is None:
        area = form.area_of_box * float(np.prod(np.maximum(box[2:], 0)))
    person = {key: value for key, value in entry.items() if key != "segmentation"} | {
        "image_id": image_id,
        "category_id": PERSON_ID,
        "keypoints": keypoints or [0] * (3 * count),
        "bbox": box,
        "area": max(area, 0),
        "iscrowd": int(bool(number(entry.get("iscrowd"), f"{what}: iscrowd"))),
        "num_keypoints": number(entry["num_keypoints"], f"{what}: num_keypoints"),
    }
    strange = set(person["keypoints"][2::3]) - {0, 1, 2}
    if strange:
        raise DataError(
            f"{what} has the visibility {sorted(strange)[0]:g}.",
            "Expected 0 (not labelled), 1 (hidden) or 2 (visible): convert the file to COCO's format.",
        )
    image = images.get(image_id)
    if image is not None:
        reach = 0.0 if form.strict else _FAR * max(image["width"], image["height"])
        for joint in _outside(person["keypoints"], image, reach):
            x, y = person["keypoints"][3 * joint : 3 * joint + 2]
            raise DataError(
                f"{what}: keypoint {joint} at ({x:g}, {y:g}) lies outside {image['file_name']} "
                f"({image['width']} x {image['height']}).",
                "Mend the coordinates, or set its visibility to 0.",
            )
    return person


def _outside(keypoints: list[float], image: Mapping[str, Any], reach: float = 0.0) -> list[int]:
    """Labelled joints that lie outside their image, by more than `reach` pixels, by number."""
    least = -_OUTSIDE_PX - reach
    right, bottom = image["width"] - least, image["height"] - least
    places = zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=True)
    return [
        number
        for number, (x, y, v) in enumerate(places)
        if v > 0 and not (least <= x <= right and least <= y <= bottom)
    ]
