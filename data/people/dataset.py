"""People as `Samples`: pre-training views and benchmark splits."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people import attributes, body, captions, descriptions, figure, motion, scene, view, wardrobe
from hcbench.data.people.cache import Rendered, Shard, obtain
from hcbench.data.people.fit import fitted, render_size
from hcbench.data.people.spec import (
    GROUP_SIZE,
    REFERENCE_GROUPS,
    REGIMES,
    STREET,
    Draws,
    Keys,
    PeopleSpec,
    constant,
    draw_levels,
    draw_street,
    factor_keys,
    mix,
)
from hcbench.data.samples import Samples
from hcbench.errors import BudgetError, ConfigError

log = logging.getLogger(__name__)

SHARD_GROUPS: Final = 64
"""Groups per shard. Budgets take prefixes of one permutation, so a larger budget reuses the shards of a smaller one."""
IDENTITY_NOISE: Final = 0.10
KEYPOINT_NOISE: Final = 0.02
"""Deviation of keypoint jitter in statures, over both axes together."""
BENCHMARK: Final = {"train": (800, 5), "val": (150, 6), "test": (400, 6)}
"""Identities and images per identity."""
DISTRACTORS: Final = 600
FIRST_DISTRACTOR: Final = 1_000_000
"""Group numbers of the persons who match nobody start here."""
_MIN_IDENTITIES: Final = 8


class Stacked:
    """An image array over shards of different lengths; indices are resolved without copying the shards."""

    def __init__(self, pieces: Sequence[NDArray[np.uint8]]) -> None:
        self.pieces = list(pieces)
        self.ends = np.cumsum([len(piece) for piece in self.pieces])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return (len(self), *self.pieces[0].shape[1:])

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        if isinstance(index, (int, np.integer)):
            return np.asarray(self[np.array([index])][0])
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        index = np.where(index < 0, index + len(self), index)
        owner = np.searchsorted(self.ends, index, side="right")
        out = np.empty((len(index), *self.pieces[0].shape[1:]), np.uint8)
        for piece in np.unique(owner):
            rows = np.flatnonzero(owner == piece)
            first = self.ends[piece] - len(self.pieces[piece])
            out[rows] = self.pieces[piece][index[rows] - first]
        return out


def shards(spec: PeopleSpec, groups: NDArray[np.int64], *, variants: int = GROUP_SIZE) -> list[Shard]:
    """Units of rendering work for these groups, in order; render each with `prepare` in a process of one thread."""
    groups = np.asarray(groups, np.int64)
    return [Shard(spec, groups[i : i + SHARD_GROUPS], variants) for i in range(0, len(groups), SHARD_GROUPS)]


def prepare(shard: Shard, cache: Path) -> int:
    """Render a shard into the cache unless it is there; returns its number of images. Safe in parallel."""
    return len(obtain(shard, cache).images)


def _one_thread() -> None:
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0")
    import torch

    torch.set_num_threads(1)


def _gather(work: list[Shard], cache: Path | None, workers: int) -> list[Rendered]:
    if workers > 1 and cache is not None and len(work) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(work)), mp_context=context, initializer=_one_thread) as pool:
            list(pool.map(partial(prepare, cache=cache), work))
    return [obtain(shard, cache) for shard in work]


def pretraining_view(spec: PeopleSpec, groups: NDArray[np.int64], *, cache: Path | None, workers: int = 1) -> Samples:
    """Images of `groups` (int64 (G,)): variants 0..4 of each, group-major, with labels as methods are given them.

    Args:
        spec: The corpus; its split is pretrain.
        groups: Group numbers below REFERENCE_GROUPS, no number twice.
        cache: Folder of rendered shards; None renders into memory.
        workers: Rendering processes of one thread each.

    Raises:
        ConfigError: `spec` is a benchmark split.
        BudgetError: A group does not exist or is named twice.
    """
    if spec.split != "pretrain":
        raise ConfigError(f"Pre-training on the split {spec.split!r} was asked for.", "Use split='pretrain'.")
    groups = np.asarray(groups, np.int64)
    if not len(groups) or groups.min() < 0 or groups.max() >= REFERENCE_GROUPS:
        raise BudgetError(
            f"Groups must be between 0 and {REFERENCE_GROUPS - 1}; found {len(groups)} groups"
            + (f" from {groups.min()} to {groups.max()}." if len(groups) else "."),
            f"The people corpus has {REFERENCE_GROUPS} groups of {GROUP_SIZE} images; ask for a smaller budget.",
        )
    if len(np.unique(groups)) != len(groups):
        raise BudgetError("A group is named twice.", "Take groups from a permutation.")
    work = shards(spec, groups)
    return _samples(spec, work, cache, workers, f"people/{spec.layout} {len(groups)} groups", sentences=1)


def benchmark_shards(
    split: str, *, style: str = "B", regime: str = STREET, height: int = 128, width: int = 64, scale: float = 1.0
) -> list[Shard]:
    """Units of rendering work of a benchmark split; see `benchmark_split` for the arguments.

    Raises:
        ConfigError: `split` is no benchmark split, `regime` is no regime, or `scale` is not in (0, 1].
    """
    if regime not in REGIMES:
        raise ConfigError(f"{regime!r} is no regime of the people.", f"Choose one of {', '.join(REGIMES)}.")
    if split not in BENCHMARK:
        raise ConfigError(f"{split!r} is no benchmark split.", f"Choose one of {', '.join(BENCHMARK)}.")
    if not 0.0 < scale <= 1.0:
        raise ConfigError(f"scale is {scale}; it must lie in (0, 1].", "1 is the benchmark itself.")
    identities, variants = BENCHMARK[split]
    count = max(_MIN_IDENTITIES, round(identities * scale))
    height, width = render_size(height, width)
    spec = PeopleSpec(
        split=split, style=style, height=height, width=width, noise=0.0, caption_detail="everything",
        street_share=REGIMES[regime],
    )  # fmt: skip
    work = shards(spec, np.arange(count), variants=variants)
    extra = max(_MIN_IDENTITIES, round(DISTRACTORS * scale)) if split == "test" and regime == STREET else 0
    return work + shards(spec, FIRST_DISTRACTOR + np.arange(extra), variants=1)


def benchmark_split(
    split: str, *, style: str = "B", regime: str = STREET, height: int = 128, width: int = 64, scale: float = 1.0,
    cache: Path | None, workers: int = 1,
) -> Samples:  # fmt: skip
    """A benchmark split: train 800 x 5, val 150 x 6, test 400 x 6 images and 600 distractors, without label noise.

    In the regime street people stand, walk, ride or carry in the tight boxes of a detector; everyday they do all that
    the renderer knows, at all scales. The persons are the same.

    Every image has two captions that name everything. Distractors are persons of their own with one image each and
    identity -1, on the street alone: everyday nobody is searched for. `scale` < 1 shrinks the number of identities for
    tests (at least 8). A size that the renderer does not know is that of resized people, see `fit`.

    Raises:
        ConfigError: `split` is no benchmark split, `regime` is no regime, `scale` is not in (0, 1],
            or people of this size cannot be rendered.
    """
    work = benchmark_shards(split, style=style, regime=regime, height=height, width=width, scale=scale)
    spec = work[0].spec
    samples = _samples(spec, work, cache, workers, f"people/{split} style {style} {regime}", sentences=2)
    if samples.captions is not None and samples.identity is not None:
        _log_twins(samples.name, samples.captions, samples.identity)
    return fitted(samples, height, width)


def _samples(
    spec: PeopleSpec, work: list[Shard], cache: Path | None, workers: int, name: str, sentences: int
) -> Samples:
    rendered = _gather(work, cache, workers)
    groups = np.concatenate([np.repeat(s.groups, s.variants) for s in work])
    variants = np.concatenate([np.tile(np.arange(s.variants), len(s.groups)) for s in work]).astype(np.int64)
    keys = factor_keys(spec, groups, variants)
    person = wardrobe.draw_person(keys, spec.split, spec.style)
    street = draw_street(spec, keys)
    pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]), street)
    bones = body.draw_bones(Draws(keys["skeleton"]), person.woman, person.elder, spec.style)
    yaw = view.draw_yaw(Draws(keys["view"]))
    noisy = spec.noise if spec.split == "pretrain" else 0.0
    labels = {key: np.concatenate([r.labels[key] for r in rendered]) for key in rendered[0].labels}
    # What is fixed by the layout names the identity and the pose: elsewhere every image is a person or pose of its own.
    image = np.arange(len(groups), dtype=np.int64)
    identity = groups if spec.layout == "identities" else image
    identity = np.where(groups >= FIRST_DISTRACTOR, -1, identity)
    visible = labels["area"] / np.maximum(labels["full_area"], 1.0)
    ids = np.array([f"{spec.split}/{spec.layout}/{g:06d}-{v}" for g, v in zip(groups, variants, strict=True)])
    points, joints = labels["keypoints"], _joints(spec, keys, pose, bones, street)
    if spec.split == "pretrain" and spec.noise > 0:
        noise = Draws(mix(np.array([constant("noise", name) for name in ids], np.uint64)))
        points = jittered(points, labels["stature"], noise, spec.noise)
        joints = jittered_joints(joints, labels["stature"], noise, spec.noise)
        if spec.layout == "identities":
            identity = wrong_identities(groups, noise, spec.noise)
    truth = captions.facts(person, pose)
    if spec.split == "pretrain" and spec.layout == "identities":
        shown = descriptions.showing([r.parts for r in rendered], labels["keypoints"], truth)
        said = descriptions.describe(truth, shown, keys["template"], noisy)
        _log_same_looks(name, truth, groups)
    else:
        worded = captions.with_wrong_words(truth, keys["template"], noisy)
        said = captions.write(worded, keys["template"], spec.split, draw_levels(spec, keys), sentences)
    traits = attributes.attributes(person, pose, yaw)
    return Samples(
        name=name,
        fingerprint=_digest(work, identity, points, joints, said.captions, traits),
        images=Stacked([r.images for r in rendered]),
        ids=ids,
        group=groups,
        identity=identity,
        camera=scene.draw_cameras(keys, variants, spec.split),
        pose_id=groups if spec.layout == "poses" else image,
        keypoints=points,
        joints=joints,
        area=labels["area"],
        boxes=labels["boxes"],
        captions=said.captions,
        phrases=said.phrases,
        attributes=traits,
        attribute_names=attributes.ATTRIBUTES,
        parts=Stacked([r.parts for r in rendered]),
        part_names=figure.PARTS,
        slices={
            "skin_tone": person.skin_tone,
            "view": np.array(["front", "side", "back"])[_sector(yaw)],
            "occlusion": np.array(["free", "occluded"])[(visible < 0.85).astype(int)],
            "action": np.array(motion.FAMILIES)[pose.family],
            "stature": np.array(["short", "tall"])[(bones.stature > 1.70).astype(int)],
        },
    )


def _digest(work: list[Shard], *labels: object) -> str:
    """Hash of the pixels' keys and of every label that is handed out."""
    digest = hashlib.sha256("+".join(shard.key for shard in work).encode())
    for label in labels:
        digest.update(label.tobytes() if isinstance(label, np.ndarray) else repr(label).encode())
    return digest.hexdigest()[:24]


def _sector(yaw: NDArray[np.float64]) -> NDArray[np.int64]:
    away = np.abs((yaw + np.pi) % (2 * np.pi) - np.pi)
    return np.digitize(away, [np.pi / 4, 3 * np.pi / 4]).astype(np.int64)


def _joints(
    spec: PeopleSpec, keys: Mapping[str, Keys], pose: motion.Pose, bones: body.Bones, street: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The joints in space as the camera sees them, float32 (N, 17, 3); every one is known, also outside the image.

    They are drawn from the same keys as the pictures, so that cached pictures need no new labels.
    """
    skeleton = body.forward_kinematics(pose, bones)
    camera = view.draw_view(Draws(keys["view"]), Draws(keys["framing"]), skeleton, spec.height, spec.width, street)
    return camera.project(body.keypoints(skeleton)).astype(np.float32)


def jittered(
    keypoints: NDArray[np.float32], stature: NDArray[np.float32], draws: Draws, noise: float
) -> NDArray[np.float32]:
    """Move labelled keypoints by KEYPOINT_NOISE statures (root mean square distance) times `noise`."""
    moved = keypoints.copy()
    moved[..., :2] += _steps(stature, draws, noise, 34).reshape(-1, 17, 2) * (keypoints[..., 2:] > 0)
    return moved


def jittered_joints(
    joints: NDArray[np.float32], stature: NDArray[np.float32], draws: Draws, noise: float
) -> NDArray[np.float32]:
    """Move all joints: in the image by the steps of their keypoints, in depth by steps of the same deviation."""
    steps = _steps(stature, draws, noise, 51)
    moved = joints.copy()
    moved[..., :2] += steps[:, :34].reshape(-1, 17, 2)
    moved[..., 2] += steps[:, 34:]
    return moved


def _steps(stature: NDArray[np.float32], draws: Draws, noise: float, count: int) -> NDArray[np.float64]:
    gauss = np.stack([draws.normal(f"jitter/{i}", limit=4.0) for i in range(count)], axis=1)
    return np.asarray(gauss * (KEYPOINT_NOISE / np.sqrt(2.0) * noise * stature)[:, None])


def wrong_identities(group: NDArray[np.int64], draws: Draws, noise: float) -> NDArray[np.int64]:
    """Labels of which IDENTITY_NOISE * noise name another person of the same shard.

    Within the shard, so that a larger budget keeps the wrong labels of a smaller one (its last shard may change).
    """
    wrong = draws.flag("wrong identity", min(1.0, IDENTITY_NOISE * noise))
    position = np.arange(len(group)) // GROUP_SIZE
    first = position // SHARD_GROUPS * SHARD_GROUPS
    size = np.minimum(SHARD_GROUPS, len(group) // GROUP_SIZE - first)
    step = 1 + (draws.uniform("which") * np.maximum(size - 1, 1)).astype(np.int64)
    other = group[(first + (position - first + step) % size) * GROUP_SIZE]
    return np.asarray(np.where(wrong, other, group))


def _log_same_looks(name: str, truth: captions.Facts, groups: NDArray[np.int64]) -> None:
    """Persons who look the same in words cannot be told apart by captions."""
    _, first = np.unique(groups, return_index=True)
    looks = np.stack([v[first] for n, v in truth.columns.items() if n not in ("family", "manner")], axis=1)
    _, counts = np.unique(looks, axis=0, return_counts=True)
    log.info("%s: %d of %d persons look the same in words as another.", name, counts[counts > 1].sum(), len(first))


def _log_twins(name: str, said: tuple[tuple[str, ...], ...], identities: NDArray[np.int64]) -> None:
    """Test captions should tell identities apart; twins count as errors of every method."""
    owners: dict[str, set[int]] = {}
    for texts, identity in zip(said, identities, strict=True):
        for text in texts:
            owners.setdefault(text, set()).add(int(identity))
    twins = {identity for people in owners.values() if len(people) > 1 for identity in people if identity >= 0}
    total = len(np.unique(identities[identities >= 0]))
    log.info("%s: %d of %d identities share a caption with another one.", name, len(twins), total)
