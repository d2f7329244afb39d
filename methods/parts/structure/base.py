"""`StructureProvider`: one interface over everything that draws a body from its own view and from others.

No body model is imported here, nor anywhere in the package: what needs one (SMPL, HMR) is a user's own adapter.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hcbench.errors import MethodError

GROUP = "hcbench.structure"
"""Entry-point group of users' own providers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subjects:
    """The images whose structure is asked for.

    Attributes:
        indices: int64 (B,), positions in the corpus view.
        frame: Height and width of the images, pixels.
        joints: float (B, 17, 3), COCO order; x and y in pixels of the images, z towards the camera; or None.
    """

    indices: Tensor
    frame: tuple[int, int]
    joints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)


class StructureProvider(ABC):
    """Draws structure maps.

    Attributes:
        name: As it was asked for; results of providers with different names do not compare.
        channels: C of the maps.
        fingerprint: Hash of what decides the maps, besides the joints.
        lifted: Whether depth was guessed from flat keypoints.
    """

    name: str
    channels: int
    fingerprint: str
    lifted: bool = False

    def check(self, subjects: Subjects) -> None:
        """Raise if the maps of `subjects` cannot be drawn; called with every batch before anything is computed."""
        del subjects

    @abstractmethod
    def render(self, subjects: Subjects, yaw: Tensor, size: tuple[int, int]) -> Tensor:
        """The maps of `subjects`, turned.

        Args:
            subjects: B images.
            yaw: float (B,), degrees about the body's vertical axis; 0 is the image's own view.
            size: Height and width (h, w) of the maps.

        Returns:
            float32 (B, C, h, w) in [-1, 1], on the device of `subjects.indices`; a pure function of the arguments.
        """


class NoStructure(StructureProvider):
    """One map for everyone from every side: a degenerate ablation, in which there is no view but the image's own.

    It tells heights, from -1 at the top to 1 at the bottom, and nothing of a body. An even one would be nothing but
    zeros behind the first instance norm, whose gradient there is some three hundred times too large in every layer.
    """

    name, channels, fingerprint = "none", 1, "heights"

    def render(self, subjects: Subjects, yaw: Tensor, size: tuple[int, int]) -> Tensor:
        """See `StructureProvider`."""
        heights = torch.linspace(-1, 1, size[0], device=subjects.indices.device)
        return heights[:, None].expand(len(subjects), 1, *size)


def need_joints(subjects: Subjects) -> Tensor:
    """The joints of `subjects`.

    Raises:
        MethodError: They are not known, as on real photographs.
    """
    if subjects.joints is None:
        raise MethodError(
            "The corpus knows no joints in space, from which a structure map could be drawn.",
            "Name another source of structure: rendered:<dir> (grey body renders), params:<npz> (joints of any pose "
            f"estimator) or entrypoint:<name> (your own adapter, entry-point group {GROUP}).",
        )
    return subjects.joints


def file_hash(path: Path) -> str:
    """Hash of a file's content, 16 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
