"""Which patches a masked auto-encoder hides: at random, in blocks, or body parts first (HAP).

Everything is vectorised over the batch, on the CPU, from one generator. Shapes: B images, N = h * w patches
in row-major order, K kept patches. A method adds up scores per patch; the K lowest stay visible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BODY_PARTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 1), (0, 2), (1, 2), (1, 3), (2, 4)),  # face
    ((5, 7), (7, 9)),  # left arm
    ((6, 8), (8, 10)),  # right arm
    ((11, 13), (13, 15)),  # left leg
    ((12, 14), (14, 16)),  # right leg
    ((6, 11), (5, 12)),  # torso
)
"""HAP's six parts as limbs between COCO-17 keypoints (junkunyuan/HAP mask_strategy.py)."""

_BLOCK, _PART = 2.0, 100.0
_PART_SHARE = 0.3
_BLOCK_TRIES = 10
_MIN_BLOCK = 12 / 128  # HAP's least block, 12 patches, as a share of its grid of 128
_MAX_ASPECT = 1 / 0.3


@dataclass(frozen=True, slots=True)
class Mask:
    """Hidden patches of a batch.

    Attributes:
        keep: int64 (B, K), ascending indices of the visible patches.
        hidden: bool (B, N).
    """

    keep: Tensor
    hidden: Tensor

    def to(self, device: torch.device) -> Mask:
        """The mask on `device`."""
        return Mask(self.keep.to(device), self.hidden.to(device))


def visible_count(patches: int, ratio: float) -> int:
    """Patches that stay visible: int(N * (1 - ratio)), at least one."""
    return max(1, int(patches * (1 - ratio)))


def mask_lowest(scores: Tensor, ratio: float) -> Mask:
    """Keep the patches with the lowest scores (B, N)."""
    kept = visible_count(scores.shape[1], ratio)
    keep = scores.argsort(dim=1)[:, :kept].sort(dim=1).values
    return Mask(keep, torch.ones(scores.shape, dtype=torch.bool).scatter_(1, keep, False))


def random_scores(batch: int, patches: int, generator: torch.Generator) -> Tensor:
    """Scores (B, N) in 0..1; they also order the ties of all other scores."""
    # DEVIATION (junkunyuan/HAP models_mae.py random_masking): official integer scores leave ties to argsort.
    return torch.rand(batch, patches, generator=generator)


def block_scores(batch: int, grid: tuple[int, int], cover: int, generator: torch.Generator) -> Tensor:
    """2 on patches covered by blocks, else 0; (B, N) (BEiT's block-wise masking as in HAP's mask_block.py).

    Blocks are added until `cover` patches are covered: area uniform between the least block and what is
    missing, log-uniform aspect, smaller than the grid in each direction; a block that cannot be placed in ten
    tries ends the image.
    """
    height, width = grid
    covered = torch.zeros(batch, height, width, dtype=torch.bool)
    tries = torch.zeros(batch, dtype=torch.int64)
    least = _MIN_BLOCK * height * width
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    missing = torch.full((batch,), cover)
    while True:
        active = (missing > 0) & (tries < _BLOCK_TRIES)
        if not active.any():
            return covered.flatten(1) * _BLOCK
        draw = torch.rand(4, batch, generator=generator)
        area = least + draw[0] * (missing - least)
        aspect = torch.exp((2 * draw[1] - 1) * math.log(_MAX_ASPECT))
        h, w = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = active & (h >= 1) & (w >= 1) & (h < height) & (w < width)
        top, left = (draw[2] * (height - h + 1)).floor(), (draw[3] * (width - w + 1)).floor()
        top, left, h, w = (v[:, None, None] for v in (top, left, h, w))
        block = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
        added = (block & ~covered).sum(dim=(1, 2))
        # DEVIATION (junkunyuan/HAP mask_block.py): official code counts patches covered before once more.
        accepted = fits & (added > 0) & (added <= missing)
        covered |= block & accepted[:, None, None]
        missing = missing - added * accepted
        tries = torch.where(accepted, 0, tries + 1)


def part_members(keypoints: Tensor, grid: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Patches of each body part, bool (B, 6, N): those in the boxes that its limbs' two keypoints span.

    Args:
        keypoints: float (B, 17, 3), x and y in input pixels; v = 0 drops a keypoint and its limbs.
        grid: Rows and columns of patches.
        patch: Height and width of a patch.
    """
    height, width = grid
    known = keypoints[..., 2] > 0
    column = ((keypoints[..., 0] + 0.5) / patch[1]).floor().clamp(0, width - 1)
    row = ((keypoints[..., 1] + 0.5) / patch[0]).floor().clamp(0, height - 1)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    parts = []
    for limbs in BODY_PARTS:
        a, b = torch.tensor(limbs).unbind(dim=1)
        (top, bottom), (left, right) = (
            (v[..., None, None] for v in (torch.minimum(z[:, a], z[:, b]), torch.maximum(z[:, a], z[:, b])))
            for z in (row, column)
        )
        inside = (y >= top) & (y <= bottom) & (x >= left) & (x <= right)
        inside &= (known[:, a] & known[:, b])[..., None, None]
        parts.append(inside.any(dim=1).flatten(1))
    return torch.stack(parts, dim=1)


def part_scores(members: Tensor, generator: torch.Generator, *, count: str = "per_image") -> Tensor:
    """About 100 on the body-part patches to hide first, else 0; (B, N).

    The parts come in random order, and n of the six are used; each gives a share U(0, 0.3) of its patches.

    Args:
        members: bool (B, 6, N) of `part_members`.
        generator: The only source of randomness.
        count: "per_image" draws n from 0..6 for every image, "shrinking" from 0..(n of the image before).
    """
    batch, parts, patches = members.shape
    place = torch.rand(batch, parts, generator=generator).argsort(dim=1).argsort(dim=1)
    draws = torch.rand(batch, generator=generator)
    used = place < _part_counts(draws, parts, count)[:, None]
    share = _PART_SHARE * torch.rand(batch, parts, generator=generator)
    give = (members.sum(dim=2) * share).int() * used
    order = torch.rand(batch, parts, patches, generator=generator)
    # Rank of a patch among its part's members, others behind them.
    rank = order.masked_fill(~members, 2.0).argsort(dim=2).argsort(dim=2)
    hidden = members & (rank < give[:, :, None])
    return (hidden * (_PART - place[:, :, None])).amax(dim=1)


def _part_counts(draws: Tensor, parts: int, count: str) -> Tensor:
    """How many parts each image masks, int64 (B,)."""
    if count == "per_image":
        return (draws * (parts + 1)).long()
    counts, most = [], parts
    for draw in draws.tolist():
        most = int(draw * (most + 1))
        counts.append(most)
    return torch.tensor(counts)
