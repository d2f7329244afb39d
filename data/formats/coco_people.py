"""One reading of a file in COCO's format, for loader, metric and `verify` alike: ids, categories, numbers, who counts.

People's own files differ from COCO's: the person has another category id, ids are texts, a field is null or counts what
it should not. Here they become what the rest relies on. What a file says twice is counted, not believed: a joint is
labelled by its visibility, whatever `num_keypoints` says. A person without labelled joints, an area or a box inside the
image cannot be scored; it is marked as COCO marks it (`num_keypoints` 0, which evaluation ignores), and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.errors import DataError

PERSON_ID = 1
"""The category that persons have after reading, as in COCO itself."""
OWN_ID = "own_id"
"""Where an image or annotation keeps the id that its file gives it, when that is no whole number."""
_LARGEST_ID = 2**63 - 1
_LARGEST_EXACT = 2**53
"""Up to it every whole number has a float of its own; larger ones stay floats, which arrays can hold."""

LEAST = 0.01
"""Area in square pixels and side of a box in pixels from which on a person is scored: in float32, positions of joints
are not finer."""
NO_AREA = f"persons without an area above {LEAST}"
NO_BOX = "persons whose box is empty or outside its image"
NO_JOINTS = "persons without a labelled joint"


def plain_id(value: Any) -> str:
    """An id as text, the same for 7, 7.0 and "7".

    Raises:
        DataError: It is no number or text.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{value!r} is no id.", "Ids are whole numbers or texts: mend the json.")
    name = str(value).strip()
    if not name or not name.isprintable():
        raise DataError(f"{value!r} is no id.", "Expected a text that can be printed: mend the json.")
    return name


def whole_number(name: str) -> int | None:
    """An id as the whole number that it is; None where it is another text, or too large for the arrays of ids."""
    try:
        found = int(name)
    except ValueError:
        return None
    return found if abs(found) <= _LARGEST_ID else None


def number_ids(ids: Iterable[Any]) -> dict[str, int]:
    """Whole numbers for ids (`plain_id`): the ids themselves where all are such, else 1, 2, 3 ... in sorted order.

    >>> number_ids([4, "7"]), number_ids(["b", "a"])
    ({'4': 4, '7': 7}, {'a': 1, 'b': 2})
    """
    names = sorted({plain_id(one) for one in ids})
    whole = {name: found for name in names if (found := whole_number(name)) is not None}
    if len(whole) == len(names) and len(set(whole.values())) == len(names):
        return whole
    return {name: number for number, name in enumerate(names, start=1)}


def ids_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """From the ids that a file gave its entries to those that they have after reading."""
    return {plain_id(entry.get(OWN_ID, entry["id"])): int(entry["id"]) for entry in entries}


def person_category(truth: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """The id of the category `person`, and the names of all others by id.

    A file's only category is that of persons, whatever its name; of a file that lists none, the annotations tell.

    Raises:
        DataError: There are several categories and not exactly one is called person.
    """
    categories = truth["categories"] if isinstance(truth["categories"], list) else []
    listed = [one for one in categories if isinstance(one, Mapping)]
    listed = listed or [{"id": one["category_id"]} for one in truth["annotations"] if "category_id" in one]
    names = {plain_id(one.get("id")): str(one.get("name", "")) for one in listed} or {str(PERSON_ID): "person"}
    found = [key for key, name in names.items() if name.strip().casefold() == "person"] or list(names)
    if len(found) != 1:
        listing = ", ".join(f"{key} {name!r}" for key, name in names.items()) or "none"
        raise DataError(
            f"{where} holds the categories {listing}; expected one that is called 'person'.",
            "Name the category of persons so, or take the others out.",
        )
    return found[0], {key: name for key, name in names.items() if key != found[0]}


def number(value: Any, what: str) -> float | None:
    """A number, also where it is written as a text; None for null and for an empty text.

    Raises:
        DataError: It is something else, or not finite.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{what} is {value!r}; expected a number.", "Mend that value, or write null for nothing.")
    exact = found.is_integer() and abs(found) <= _LARGEST_EXACT
    return int(found) if exact and not isinstance(value, float) else found


def numbers(value: Any, count: int, what: str) -> list[float] | None:
    """A list of `count` numbers; None for null and for an empty list.

    Raises:
        DataError: It is something else.
    """
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != count:
        held = f"{len(value)} numbers" if isinstance(value, list) else type(value).__name__
        raise DataError(f"{what} has {held}; expected {count}.", "Mend that entry, or write null for nothing.")
    read = [number(one, what) for one in value]
    if any(one is None for one in read):
        raise DataError(f"{what} holds null between its numbers.", "Mend that entry, or write null for the whole.")
    return [one for one in read if one is not None]


def clipped(box: Sequence[float], image: Mapping[str, Any]) -> NDArray[np.float64]:
    """The part of a box (x, y, w, h) inside its image; some official boxes reach a little beyond."""
    extent = [image["width"], image["height"]]
    low, high = np.clip(box[:2], 0, extent), np.clip(np.add(box[:2], box[2:]), 0, extent)
    return np.concatenate([low, high - low])


def labelled_joints(person: Mapping[str, Any], counted: Sequence[int] | None = None) -> int:
    """How many joints of an annotation are labelled, hidden or visible: of all, or of those at some positions."""
    visibility = person["keypoints"][2::3]
    return sum(v > 0 for v in (visibility if counted is None else [visibility[joint] for joint in counted]))


def why_not_counted(person: Mapping[str, Any], image: Mapping[str, Any], joints: int) -> str | None:
    """Why a person who is no crowd, with so many labelled joints, cannot be scored: mmpose's rule plus the area."""
    if not joints:
        return NO_JOINTS
    if person["area"] <= LEAST:
        return NO_AREA
    return None if min(clipped(person["bbox"], image)[2:]) > LEAST else NO_BOX


def mark_uncounted(
    persons: Iterable[dict[str, Any]], images: Mapping[Any, Mapping[str, Any]], counted: Sequence[int] | None = None
) -> tuple[Counter[str], int]:
    """Set `num_keypoints` to what is labelled, or to 0 for persons who cannot be scored.

    Args:
        persons: Annotations, changed in place.
        images: Images by id.
        counted: Positions of the joints that count; None = all.

    Returns:
        How many persons are left out for each reason (those without any labelled joint aside, who are many in COCO),
        and how often the file's own `num_keypoints` said something else than its joints.
    """
    left_out: Counter[str] = Counter()
    miscounted = 0
    for person in persons:
        joints = labelled_joints(person, counted)
        miscounted += person["num_keypoints"] != joints
        reason = None if person["iscrowd"] else why_not_counted(person, images[person["image_id"]], joints)
        person["num_keypoints"] = joints if reason is None else 0
        if reason not in (None, NO_JOINTS):
            left_out[str(reason)] += 1
    return left_out, miscounted


def renumbered(entries: Sequence[dict[str, Any]], key: str, ids: Mapping[str, int]) -> None:
    """Put whole numbers in the place of an id; an `id` that was another keeps it under `OWN_ID`."""
    for entry in entries:
        raw = entry[key]
        entry[key] = ids[plain_id(raw)]
        if key == "id" and plain_id(raw) != str(entry[key]):
            entry[OWN_ID] = str(raw)
