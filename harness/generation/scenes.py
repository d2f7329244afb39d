"""What is to be generated: one scene per group, that is a prompt and, where a backend follows one, a pose.

Poses come from COCO (a folder or its keypoint json) or from any manifest that knows keypoints; prompts from COCO's
captions, from a manifest or from a text file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.coco_files import SPLITS, Layout, find_layout, read_captions, read_truth
from hcbench.data.windows import crop_windows, to_crop
from hcbench.errors import ConfigError, DataError, did_you_mean

Points = NDArray[np.float64]

NO_CAPTION: Final = "a photo of a person"
"""The prompt of a pose whose photograph has no caption that mentions a person."""
LEAST_KEYPOINTS: Final = 5
LEAST_AREA: Final = 32.0**2
COCO_LICENCE: Final = "pose and caption: COCO annotations, CC BY 4.0"
FEW, CUT, SMALL, CROWD = "fewer than 5 keypoints", "fewer than 5 keypoints on the canvas", "small person", "crowd"
"""Why a pose is left out."""

_PERSON_WORDS: Final = (
    "person", "people", "man", "men", "woman", "women", "boy", "boys", "girl", "girls", "guy", "guys", "lady",
    "ladies", "gentleman", "gentlemen", "child", "children", "kid", "kids", "baby", "toddler", "adult", "adults",
    "male", "female", "player", "players", "skier", "skiers", "surfer", "surfers", "snowboarder", "snowboarders",
    "skateboarder", "skateboarders", "rider", "riders", "batter", "pitcher", "catcher", "umpire", "tourist",
    "tourists", "pedestrian", "pedestrians", "officer", "officers", "bride", "groom", "couple", "worker", "workers",
    "chef", "student", "students", "someone", "somebody", "human", "humans", "mother", "father", "cyclist",
    "cyclists", "jockey", "swimmer", "dancer",
)  # fmt: skip
_MENTIONS_PERSON: Final = re.compile(rf"\b(?:{'|'.join(_PERSON_WORDS)})\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What all images of a group share.

    Attributes:
        prompt: What the generator is told.
        dataset: The data set or file that it comes from; with its split, `coco/train2017`, where that is known.
        origin: Its place there, for people to find it again.
        licence: Terms of what was used; empty where they are not known.
        pose_id: Id of the pose in its source.
        keypoints: float64 (17, 3), COCO order, in pixels of the canvas; v = 0 where unknown or off the canvas.
        own_caption: Whether the prompt is the source's own; False where `NO_CAPTION` stands in.
    """

    prompt: str
    dataset: str
    origin: str
    licence: str = ""
    pose_id: int | None = None
    keypoints: Points | None = None
    own_caption: bool = True


def read_poses(source: Path, split: str | None, canvas: tuple[int, int]) -> tuple[list[Scene], Counter[str]]:
    """Scenes of all usable poses of a source, in the order of its ids, and how many were left out for which reason.

    A pose of COCO counts as GenPoCCL has it: no crowd, at least 5 labelled keypoints, an area of at least 32 x 32; its
    box is enlarged 1.25 times and widened to the canvas. A pose of a manifest is its whole image, widened likewise.

    Args:
        source: A COCO folder, a COCO keypoint json, or a manifest (.parquet).
        split: Split of COCO: train2017 or val2017. None: the one that a json's name tells, train2017 of a folder.
        canvas: Height and width of the canvas.

    Raises:
        DataError: The source is not there, not as it should be, or holds no usable pose.
        ConfigError: A json is another split's by its name.
    """
    if source.is_dir() or source.suffix == ".json":
        layout, named = _layout(source, split)
        scenes, rejected = _coco_poses(layout, named, canvas)
    elif source.suffix == ".parquet" and source.is_file():
        scenes, rejected = _manifest_poses(source, canvas)
    elif source.exists():
        raise DataError(
            f"--poses {source} is a {source.suffix or 'file without ending'}.",
            "Give a COCO folder, a COCO keypoint json, or a manifest (.parquet).",
        )
    else:
        raise DataError(f"--poses {source}: there is nothing.", "Give a COCO folder, a json or a manifest that exists.")
    if not scenes:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(rejected.items())) or "it is empty"
        raise DataError(
            f"{source} holds no usable pose ({reasons}).", "A pose needs at least 5 keypoints that are known."
        )
    return scenes, rejected


def read_prompts(source: Path, split: str | None) -> list[Scene]:
    """Scenes without a pose, one per caption: lines of a text file, captions of a manifest or of COCO.

    Of COCO only captions that mention a person count. `split` is as in `read_poses`.

    Raises:
        DataError: The source is not there, not as it should be, or holds no usable caption.
        ConfigError: A json is another split's by its name.
    """
    if source.is_dir():
        layout, named = _layout(source, split)
        if layout.captions is None:
            raise DataError(
                f"{source} has no captions for {named}.",
                f"Copy captions_{named}.json beside {layout.annotations.name}.",
            )
        truth = read_truth(layout, named)  # a file of both splits: captions of this one alone
        image_ids = {int(image["id"]) for image in truth["images"]}
        scenes = list(_coco_prompts(layout.captions, image_ids, _coco(named)))
    elif not source.is_file():
        raise DataError(f"--captions {source}: there is no such file.", "Give a text file with one caption per line.")
    elif source.suffix == ".json":
        scenes = list(_coco_prompts(source, None, _coco(_named_split(source, split))))
    elif source.suffix == ".parquet":
        rows = _manifest_rows(source, ("captions",), ("source", "split"))
        texts = [(place, _first(row["captions"])) for place, row in enumerate(rows)]
        first_place = {text: place for place, text in reversed(texts) if text}
        scenes = [
            Scene(prompt=text, dataset=_dataset(rows[place], source), origin=str(place))
            for text, place in first_place.items()
        ]
        scenes.sort(key=lambda scene: int(scene.origin))
    else:
        scenes = [
            Scene(prompt=text, dataset=source.name, origin=f"{source.name}:{line}") for line, text in _lines(source)
        ]
    if not scenes:
        raise DataError(f"{source} holds no caption that can be used.", "Expected captions that mention a person.")
    return scenes


def with_prompts(scenes: Sequence[Scene], source: Path) -> list[Scene]:
    """The scenes with the captions of a text file, dealt to them in turn; or a COCO caption json's, by photograph.

    Raises:
        DataError: The file is not there or holds no caption.
        ConfigError: A caption json was given for poses that are not COCO's.
    """
    if not source.is_file():
        raise DataError(f"--captions {source}: there is no such file.", "Give a text file with one caption per line.")
    if source.suffix != ".json":
        lines = [text for _, text in _lines(source)]
        if not lines:
            raise DataError(f"{source} holds no caption.", "Write one caption per line.")
        return [replace(scene, prompt=lines[i % len(lines)], own_caption=True) for i, scene in enumerate(scenes)]
    by_image = read_captions(source)
    named = []
    for scene in scenes:
        found = re.fullmatch(r".*?(\d+)\.\w+#\d+", scene.origin) if scene.dataset.split("/")[0] == "coco" else None
        if found is None:
            raise ConfigError(
                f"{source} has captions by COCO photograph, the poses come from {scene.dataset}.",
                "Give a text file with one caption per line.",
            )
        text = person_caption(by_image.get(int(found[1]), ()))
        named.append(replace(scene, prompt=text or NO_CAPTION, own_caption=text is not None))
    return named


def person_caption(captions: Sequence[str]) -> str | None:
    """The first of the captions that mentions a person.

    >>> person_caption(["A dog on a beach.", "A woman walks a dog."])
    'A woman walks a dog.'
    """
    return next((text for text in captions if _MENTIONS_PERSON.search(text)), None)


def _coco_poses(layout: Layout, split: str, canvas: tuple[int, int]) -> tuple[list[Scene], Counter[str]]:
    truth = read_truth(layout, split)
    captions = read_captions(layout.captions, truth) if layout.captions else {}
    files = {image["id"]: image["file_name"] for image in truth["images"]}
    rejected: Counter[str] = Counter()
    scenes = []
    for person in sorted(truth["annotations"], key=lambda person: (person["image_id"], person["id"])):
        points = np.array(person["keypoints"], np.float64).reshape(17, 3)
        reason = _unfit(person, points)
        if reason is None:
            window = crop_windows(np.array([person["bbox"]], np.float64), *canvas)
            points = _onto(points, window, canvas)
            reason = CUT if (points[:, 2] > 0).sum() < LEAST_KEYPOINTS else None
        if reason is not None:
            rejected[reason] += 1
            continue
        text = person_caption(captions.get(person["image_id"], ()))
        scenes.append(
            Scene(
                prompt=text or NO_CAPTION, dataset=_coco(split),
                origin=f"{files[person['image_id']]}#{person['id']}",
                licence=COCO_LICENCE, pose_id=int(person["id"]), keypoints=points, own_caption=text is not None,
            )
        )  # fmt: skip
    return scenes, rejected


def _unfit(person: Mapping[str, Any], points: Points) -> str | None:
    """Why a person of COCO gives no pose. Hidden keypoints count, since they are drawn, too."""
    if person["iscrowd"]:
        return CROWD
    if (points[:, 2] > 0).sum() < LEAST_KEYPOINTS:
        return FEW
    if person["area"] < LEAST_AREA or min(person["bbox"][2:]) <= 0:
        return SMALL
    return None


def _manifest_poses(path: Path, canvas: tuple[int, int]) -> tuple[list[Scene], Counter[str]]:
    rows = _manifest_rows(
        path, ("keypoints", "width", "height"), ("captions", "pose_id", "image_path", "licence", "source", "split")
    )
    for row in rows:
        row["pose_id"] = _annotation(row) if row["pose_id"] is None else row["pose_id"]
    beyond = 1 + max((row["pose_id"] for row in rows if row["pose_id"] is not None), default=-1)
    rejected: Counter[str] = Counter()
    scenes: list[Scene] = []
    seen: set[int] = set()
    for place, row in enumerate(rows):
        if row["pose_id"] is not None and row["pose_id"] in seen:
            continue  # another variant of a pose that was taken
        points, size = row["keypoints"], (row["width"], row["height"])
        if points is None:
            rejected[FEW] += 1
            continue
        if len(points) != 51 or None in size or min(size) < 1:
            raise DataError(
                f"{path}: row {place} has {len(points)} keypoint numbers and the size {size[0]} x {size[1]}.",
                "Expected 51 (17 x 3: x, y, v), and the size in pixels.",
            )
        known = np.array(points, np.float64).reshape(17, 3)
        window = crop_windows(np.array([[-0.5, -0.5, *size]]), *canvas, scale=1.0)  # pixel centres lie at integers
        mapped = _onto(known, window, canvas)
        if (mapped[:, 2] > 0).sum() < LEAST_KEYPOINTS:
            rejected[FEW if (known[:, 2] > 0).sum() < LEAST_KEYPOINTS else CUT] += 1
            continue
        pose = beyond + place if row["pose_id"] is None else int(row["pose_id"])
        seen.add(pose)
        text = _first(row["captions"])
        scenes.append(
            Scene(
                prompt=text or NO_CAPTION, dataset=_dataset(row, path), origin=str(row["image_path"] or place),
                licence=row["licence"] or "", pose_id=pose, keypoints=mapped, own_caption=bool(text),
            )
        )  # fmt: skip
    return scenes, rejected


def _onto(points: Points, window: tuple[Any, Any], canvas: tuple[int, int]) -> Points:
    """Keypoints on the canvas; those that are unknown, not finite or off it become (0, 0, 0)."""
    height, width = canvas
    xy = to_crop(points[:, :2], window[0], window[1], height, width)
    on = (xy >= -0.5).all(axis=1) & (xy <= (width - 0.5, height - 0.5)).all(axis=1)  # False for NaN
    keep = (points[:, 2] > 0) & on
    return np.where(keep[:, None], np.column_stack([xy, points[:, 2]]), 0.0)


def _annotation(row: Mapping[str, Any]) -> int | None:
    """The annotation that a crop of COCO is of, which its name tells."""
    found = re.fullmatch(r".*#(\d+)", row["image_path"] or "") if row["source"] == "coco" else None
    return int(found[1]) if found else None


def _coco(split: str) -> str:
    """What scenes of a split of COCO come from; `split` is empty where it is not known."""
    return f"coco/{split}" if split else "coco"


def _named_split(source: Path, split: str | None) -> str:
    """The requested split; by default train2017 of a folder, and the split in the name of a json ("" if it has none).

    Raises:
        DataError: COCO has no such split.
        ConfigError: The name tells another one: poses that models are scored on must not pass for others.
    """
    if split is not None and split not in SPLITS:
        raise DataError(f"COCO has no split {split!r}.", did_you_mean(split, SPLITS))
    if source.is_dir():
        return split or SPLITS[0]  # it holds both, whatever it is called
    named = next((one for one in SPLITS if one in source.name), "")
    if split is not None and named not in ("", split):
        raise ConfigError(f"{source.name} is of {named}, by its name, and --split is {split}.", "Leave --split out.")
    return split or named


def _layout(source: Path, split: str | None) -> tuple[Layout, str]:
    """Where a split of COCO lies, and which it is; empty where nobody tells."""
    named = _named_split(source, split)
    if source.is_dir():
        return find_layout(source, named), named
    if not source.is_file():
        raise DataError(
            f"--poses {source}: there is no such file.", "Give COCO's person_keypoints json, or its folder."
        )
    captions = source.with_name(source.name.replace("person_keypoints", "captions"))
    merged = _is_merged(source)
    layout = Layout(
        name="one json", base=source.parent, annotations=source, images=source.parent,
        captions=captions if captions != source and captions.is_file() else None, merged=merged,
    )  # fmt: skip
    return layout, named or (SPLITS[0] if merged else "")


def _is_merged(path: Path) -> bool:
    """Whether a json names the split of each image; one for a single split does not."""
    try:
        images = json.loads(path.read_bytes())["images"]
        return any("split" in image for image in images)
    except (ValueError, KeyError, TypeError):
        return False  # `read_truth` says what is wrong with it


def _coco_prompts(path: Path, images: set[int] | None, dataset: str) -> Iterator[Scene]:
    for image, texts in sorted(read_captions(path).items()):
        if images is not None and image not in images:
            continue
        for number, text in enumerate(texts):
            if _MENTIONS_PERSON.search(text):
                yield Scene(
                    prompt=text, dataset=dataset, origin=f"image {image}, caption {number}", licence=COCO_LICENCE
                )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Line numbers and texts of the lines that are not empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.", "Expected UTF-8, one caption per line.") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _manifest_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of a manifest with the columns `needed` and `optional`; an optional column that it lacks is None."""
    import pyarrow.parquet as pq

    try:
        there = pq.read_schema(path).names
        absent = [name for name in needed if name not in there]
        if absent:
            raise DataError(
                f"{path} has no column {', '.join(absent)}; it has {', '.join(there)}.",
                "Expected a manifest of hcbench (hcbench.data.manifest.schema).",
            )
        columns = [name for name in (*needed, *optional) if name in there]
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.", "Write the manifest again.") from error
    return [dict.fromkeys(optional) | row for row in rows]


def _dataset(row: Mapping[str, Any], path: Path) -> str:
    """Where a row of a manifest says that it comes from; else the manifest."""
    return "/".join(filter(None, (row["source"], row["split"]))) if row["source"] else path.name


def _first(captions: Sequence[str] | None) -> str | None:
    return next((text for text in captions or () if text), None)
