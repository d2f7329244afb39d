"""What each field of `Samples` is, as data: type and shape, for whoever checks what a loader gives.

`samples.py` says the same in words; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """Type and shape of a field.

    Attributes:
        dtype: As numpy writes it; empty for what is no array.
        shape: Its axes: N images, K joints of the skeleton, A attributes, H and W pixels, or a plain number.
    """

    dtype: str
    shape: tuple[str | int, ...]


FIELDS = {
    "images": FieldFacts("uint8", ("N", 3, "H", "W")),
    "group": FieldFacts("int64", ("N",)),
    "identity": FieldFacts("int64", ("N",)),
    "camera": FieldFacts("int64", ("N",)),
    "query": FieldFacts("bool", ("N",)),
    "pose_id": FieldFacts("int64", ("N",)),
    "keypoints": FieldFacts("float32", ("N", "K", 3)),
    "joints": FieldFacts("float32", ("N", 17, 3)),
    "area": FieldFacts("float32", ("N",)),
    "boxes": FieldFacts("float32", ("N", 4)),
    "box_scores": FieldFacts("float32", ("N",)),
    "head_boxes": FieldFacts("float32", ("N", 4)),
    "captions": FieldFacts("", ("N",)),
    "phrases": FieldFacts("", ("N",)),
    "attributes": FieldFacts("int8", ("N", "A")),
    "parts": FieldFacts("uint8", ("N", "H", "W")),
    "image_id": FieldFacts("int64", ("N",)),
    "crop_center": FieldFacts("float32", ("N", 2)),
    "crop_size": FieldFacts("float32", ("N", 2)),
    "coco_truth": FieldFacts("", ()),
}
"""Every field that a data set may know, `images` included; those that `Samples` always has are not among them."""

NUMBERED = frozenset({"identity", "group"})
"""Fields whose numbers mean nothing beyond the numbering that they belong to."""
