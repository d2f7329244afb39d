"""The embedded people as a `Maker`: the same pictures and labels that `--corpus people` trains on, as a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench import __version__
from hcbench.data.people.cache import source_hash
from hcbench.data.people.dataset import SHARD_GROUPS, pretraining_view
from hcbench.data.people.spec import GROUP_SIZE, PeopleSpec
from hcbench.harness.generation.job import Made, Picture

LICENCE = "Apache-2.0 (rendered by hcbench)"


class RendererMaker:
    """Renders units of 64 groups, which is also how wrong labels are dealt: what `run` sees, the manifest holds.

    Args:
        spec: The corpus; its noise is in the labels that are written.
        groups: int64 (G,), group numbers.
    """

    def __init__(self, spec: PeopleSpec, groups: NDArray[np.int64]) -> None:
        self.spec, self.groups = spec, groups

    def flops_per_image(self) -> float:
        """See `Maker`; ray casting is not what torch's counter knows."""
        return 0.0

    def make(self, unit: int) -> Made:
        """See `Maker`."""
        groups = self.groups[unit * SHARD_GROUPS : (unit + 1) * SHARD_GROUPS]
        view = pretraining_view(self.spec, groups, cache=None)
        pixels = np.asarray(view.images[np.arange(len(view))]).transpose(0, 2, 3, 1)
        layout = self.spec.layout
        pictures = []
        for i in range(len(view)):
            group, variant = int(groups[i // GROUP_SIZE]), i % GROUP_SIZE
            row = {
                "group_id": group, "variant": variant, "captions": list((view.captions or ((),))[i]),
                # Of what the layout does not hold fixed every image is one of its own: nothing to be told.
                "identity": _number(view.identity, i) if layout == "identities" else None,
                "pose_id": group if layout == "poses" else None, "camera": _number(view.camera, i),
                "keypoints": _numbers(view.keypoints, i), "joints": _numbers(view.joints, i),
                "source": "people", "licence": LICENCE, "split": self.spec.split,
            }  # fmt: skip
            pictures.append(Picture(row, pixels[i]))
        return Made(pictures, {"backend": "renderer", **asdict(self.spec), "hcbench": __version__})


def renderer_settings(spec: PeopleSpec, groups: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """What decides the bytes of all images."""
    return {
        "backend": "renderer", **asdict(spec), "groups": len(groups), "seed": seed, "variants": GROUP_SIZE,
        "renderer": source_hash()[:12],
    }  # fmt: skip


def units_of(groups: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """Images of every unit."""
    return [min(SHARD_GROUPS, len(groups) - i) * GROUP_SIZE for i in range(0, len(groups), SHARD_GROUPS)]


def _number(values: NDArray[np.int64] | None, i: int) -> int | None:
    return None if values is None else int(values[i])


def _numbers(values: NDArray[np.float32] | None, i: int) -> list[float] | None:
    return None if values is None else [float(v) for v in np.asarray(values[i], np.float32).ravel()]
