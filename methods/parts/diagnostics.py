"""Numbers that say whether a representation is alive, and warnings when it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_NEAR = 0.02
"""A contrastive loss within this share of ln(B - 1) has learned nothing."""
RANK_LOW = 4.0
"""An effective rank below this means that features collapsed to a few directions."""
PROTOTYPES_LOW = 0.05
"""Fewer prototypes in use than this share of a batch's rows mean that a teacher tells images apart no more."""

COLLAPSE = ("variance", "uniformity", "alignment", "effective_rank", "prototypes_in_use")
"""How names of logged numbers end that tell a collapse while it happens."""


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    """Exponential of the entropy of the singular values' shares (Roy and Vetterli 2007), 1..min(N, D).

    Args:
        features: (N, D), N > 1; centred here.

    >>> round(effective_rank(torch.eye(4)), 3)  # three directions are left after centring
    3.0
    """
    centred = features.double() - features.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if total == 0:
        return 1.0
    shares = values / total
    return float(torch.exp(torch.special.entr(shares).sum()))


@torch.no_grad()
def alignment(features: Tensor, labels: Tensor) -> Tensor:
    """Mean cosine of positive pairs, 0-d; NaN without a positive pair."""
    z = F.normalize(features.float(), dim=1)
    positives = _positives(labels)
    return (z @ z.T)[positives].mean()


@torch.no_grad()
def uniformity(features: Tensor) -> Tensor:
    """Log of the mean Gaussian potential of all pairs (Wang and Isola 2020), 0-d; 0 = collapsed, -4 = uniform."""
    z = F.normalize(features.float(), dim=1)
    squared = 2 - 2 * (z @ z.T)
    pairs = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return torch.exp(-2 * squared[pairs]).mean().log()


@torch.no_grad()
def share_without_positive(labels: Tensor) -> Tensor:
    """Share of rows (N,) whose label no other row has, 0-d."""
    return (~_positives(labels).any(dim=1)).float().mean()


@torch.no_grad()
def dead_dimensions(features: Tensor, *, tolerance: float = 1e-3) -> float:
    """Share of dimensions of (N, D) whose deviation is below `tolerance` times the mean deviation."""
    deviation = features.double().std(dim=0)
    return float((deviation <= tolerance * deviation.mean()).double().mean())


@torch.no_grad()
def feature_variance(features: Tensor) -> Tensor:
    """Mean over dimensions of the variance of L2-normalised features times D, 0-d; about 1 = spread, 0 = collapsed."""
    z = F.normalize(features.float(), dim=1)
    return z.var(dim=0).sum()


@torch.no_grad()
def describe(features: Tensor) -> dict[str, float]:
    """Effective rank, dead dimensions and uniformity of (N, D) features, for the end of training."""
    return {
        "effective_rank": effective_rank(features),
        "dead_dimensions": dead_dimensions(features),
        "uniformity": float(uniformity(features)),
    }


def contrastive_warning(loss: float, rows: int) -> str | None:
    """A warning if a contrastive loss over `rows` rows still is that of chance after warm-up."""
    chance = math.log(max(2, rows - 1))
    if abs(loss - chance) > LOG_NEAR * chance:
        return None
    return f"the contrastive loss {loss:.3f} is within {LOG_NEAR:.0%} of ln(B - 1) = {chance:.3f}: nothing is learned"


def rank_warning(rank: float) -> str | None:
    """A warning if features have collapsed."""
    return (
        f"the effective rank {rank:.1f} is below {RANK_LOW:.0f}: features have collapsed" if rank < RANK_LOW else None
    )


def prototype_warning(in_use: float, rows: float) -> str | None:
    """A warning if the teacher of a self-distillation gives a batch's rows only a few prototypes."""
    if in_use >= PROTOTYPES_LOW * rows:
        return None
    return f"{rows:.0f} views share {in_use:.0f} prototypes: self-distillation has collapsed"


def warnings(parts: Mapping[str, float], *, past_warmup: bool) -> list[str]:
    """Warnings from a step's log: `<x>_loss` with `<x>_rows`, `prototypes_in_use` with `_rows`, `effective_rank`.

    >>> warnings({"mp_loss": 4.55, "mp_rows": 96}, past_warmup=True)
    ['mp: the contrastive loss 4.550 is within 2% of ln(B - 1) = 4.554: nothing is learned']
    """
    found: list[str] = []
    for name, rows in parts.items():
        stem = name.removesuffix("_rows")
        if past_warmup and stem != name and f"{stem}_loss" in parts:
            text = contrastive_warning(parts[f"{stem}_loss"], int(rows))
            found += [f"{stem}: {text}"] if text else []
    collapsed: list[str | None] = []
    if past_warmup and "prototypes_in_use" in parts:
        collapsed.append(prototype_warning(parts["prototypes_in_use"], parts["prototypes_rows"]))
    if "effective_rank" in parts:
        collapsed.append(rank_warning(parts["effective_rank"]))
    return found + [text for text in collapsed if text]


def _positives(labels: Tensor) -> Tensor:
    same = labels[:, None] == labels[None, :]
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
