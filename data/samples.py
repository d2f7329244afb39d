"""`Samples`: images with everything that is known of each, the one currency between the floors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hcbench.data.skeletons import COCO, Skeleton

Int = NDArray[np.int64]
Float = NDArray[np.float32]

COCO_FLIP = COCO.flip
"""Index of the mirrored keypoint of each keypoint."""


class Phrase(NamedTuple):
    """The part of a caption that names one attribute: its characters `start` to `end`, the latter left out."""

    slot: str
    start: int
    end: int


class ImageArray(Protocol):
    """Anything that gives uint8 images (n, 3, H, W) for an array of indices: a memory map, a decoder."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """N images and what is known of each; a field that is not known is None.

    Attributes:
        name: What these samples are, for people to read ("people/poses 1pct", "coco val2017").
        fingerprint: Hash of the content; equal fingerprints mean equal samples.
        images: uint8 (N, 3, H, W), RGB.
        ids: str (N,), stable and unique.
        group: int64 (N,), images that share what the corpus layout holds fixed.
        identity: int64 (N,), person; -1 = distractor that matches nobody.
        camera: int64 (N,).
        query: bool (N,), the queries of a ReID set, whose other images are the gallery; None = every image is both.
        left_out: Files that the data set itself says not to count (Market-1501's -1), and that are not among the N.
        pose_id: int64 (N,).
        keypoints: float32 (N, K, 3), the joints of `skeleton` in its order, x and y in pixels of `images` (pixel
            centres at integers), v = 0 not labelled, 1 hidden, 2 visible.
        skeleton: Names, mirror images and OKS widths of the K keypoints: COCO's 17 where nothing else is said.
        joints: float32 (N, 17, 3), the joints of `keypoints` in space, orthographic: x and y in pixels of
            `images`, z in pixels towards the camera, the origin of z free; NaN where one is not known.
        area: float32 (N,), person area in square pixels (of the original image where there is one).
        boxes: float32 (N, 4), x, y, w, h of the person, same frame as `area`.
        box_scores: float32 (N,), confidence of the detector that found `boxes`.
        head_boxes: float32 (N, 4), x, y, w, h of the head, same frame as `boxes`: what PCKh measures errors by.
        captions: One tuple of captions per image; of a large corpus, something that reads like it.
        phrases: The phrases of each of `captions`, in order of appearance: per image, per caption, a tuple.
        attributes: int8 (N, A) in {0, 1, -1 = unspecified}.
        attribute_names: A names, in the order of `attributes`.
        attribute_groups: For each attribute the question that it is one answer to ("upper colour"); attributes of one
            question exclude each other. Empty where nobody says: no accuracy by question is given then.
        parts: uint8 (N, H, W) part mask, array-like: positions in `part_names`, 255 = counts as nothing.
        part_names: Names of the ids of `parts`.
        slices: Labels for group slices of results (skin tone, occlusion, view), each (N,).
        image_id: int64 (N,), id of the original image the crop was taken from.
        crop_center: float32 (N, 2), centre of the crop window in the original image.
        crop_size: float32 (N, 2), width and height of the crop window in the original image.
        coco_truth: Official COCO ground truth (a dict as in the json file) of the original images.
        notes: What a loader left out or read otherwise than it is written, how many and why: a sentence each that
            names the data, for the screen and the record of results.
    """

    name: str
    fingerprint: str
    images: ImageArray
    ids: NDArray[np.str_]
    group: Int | None = None
    identity: Int | None = None
    camera: Int | None = None
    query: NDArray[np.bool_] | None = None
    left_out: int = 0
    pose_id: Int | None = None
    keypoints: Float | None = None
    skeleton: Skeleton = COCO
    joints: Float | None = None
    area: Float | None = None
    boxes: Float | None = None
    box_scores: Float | None = None
    head_boxes: Float | None = None
    captions: tuple[tuple[str, ...], ...] | None = None
    phrases: tuple[tuple[tuple[Phrase, ...], ...], ...] | None = None
    attributes: NDArray[np.int8] | None = None
    attribute_names: tuple[str, ...] = ()
    attribute_groups: tuple[str, ...] = ()
    parts: ImageArray | None = None
    part_names: tuple[str, ...] = ()
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    image_id: Int | None = None
    crop_center: Float | None = None
    crop_size: Float | None = None
    coco_truth: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def known(self) -> frozenset[str]:
        """Names of the fields that are known, `images` included."""
        skip = {
            "name",
            "fingerprint",
            "ids",
            "slices",
            "attribute_names",
            "attribute_groups",
            "part_names",
            "skeleton",
            "left_out",
            "notes",
        }
        return frozenset(f.name for f in fields(self) if f.name not in skip and getattr(self, f.name) is not None)

    def subset(self, indices: Int, name: str | None = None) -> Samples:
        """The samples at `indices` (int64 (M,)), in that order; pixels are read only when asked for."""
        picked: dict[str, Any] = {
            "images": Indexed(self.images, indices),
            "parts": None if self.parts is None else Indexed(self.parts, indices),
            "slices": {key: value[indices] for key, value in self.slices.items()},
            "captions": None if self.captions is None else tuple(self.captions[int(i)] for i in indices),
            "phrases": None if self.phrases is None else tuple(self.phrases[i] for i in indices),
            "fingerprint": f"{self.fingerprint}[{_digest(indices)}]",
            "name": name or self.name,
        }
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in picked and isinstance(value, np.ndarray):
                picked[f.name] = value[indices]
        return replace(self, **picked)


class Indexed:
    """A lazy selection of an image array."""

    def __init__(self, source: ImageArray, indices: Int) -> None:
        self.source, self.indices = source, np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return self.source[self.indices[index]]


def _digest(indices: Int) -> str:
    return hashlib.sha256(np.ascontiguousarray(indices, np.int64).tobytes()).hexdigest()[:12]
