"""Pseudo labels of body parts from a teacher's tokens (SOLIDER section 3.1; utils.py 658-700).

Per image: two-means on token norms part foreground from background, K-means parts the foreground, and the mean height
of a part gives it its number. No prototypes are shared between images.

Shapes: N images, T = h * w tokens, C channels, K parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# DEVIATION (tinyvision/SOLIDER utils.py 658-700): one batched, deterministic computation on the tokens' own device
# instead of scikit-learn on one image after the other: an exact split of the norms, K-means from one start.


@dataclass(frozen=True, slots=True)
class PartLabels:
    """What the tokens of N images show.

    Attributes:
        maps: int64 (N, h, w): 0 background, 1..K parts from top to bottom; all 0 where an image is not kept.
        kept: bool (N,), images whose foreground is large enough to be told apart.
        foreground: float (N,), share of foreground tokens, of images that are not kept too.
    """

    maps: Tensor
    kept: Tensor
    foreground: Tensor


@torch.no_grad()
def part_labels(tokens: Tensor, parts: int, generator: torch.Generator, *, steps: int = 10) -> PartLabels:
    """Label every token of every image.

    Args:
        tokens: float (N, C, h, w).
        parts: K.
        generator: A CPU generator, for the starts of K-means.
        steps: Lloyd steps.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        return _label(tokens.flatten(2).transpose(1, 2).float(), tokens.shape[2:], parts, generator, steps)


def _label(x: Tensor, grid: tuple[int, ...], parts: int, generator: torch.Generator, steps: int) -> PartLabels:
    height, width = grid
    front = foreground(x.norm(dim=2))
    count = front.sum(dim=1)
    # Fewer tokens than parts can happen only on grids of a few tokens.
    kept = (2 * count > height * width) & (count >= parts)
    maps = torch.zeros(front.shape, dtype=torch.int64, device=x.device)
    chosen = kept.nonzero()[:, 0]
    if len(chosen):
        members = cluster(x[chosen], front[chosen], parts, generator, steps=steps)
        # Equal tokens can leave a part empty; such an image shows no parts.
        complete = members.any(dim=1).all(dim=1)
        rows = torch.arange(height, device=x.device).repeat_interleave(width)
        maps[chosen[complete]] = _number(members[complete], rows)
        kept[chosen[~complete]] = False
    return PartLabels(maps.view(-1, height, width), kept, count / (height * width))


def foreground(norms: Tensor) -> Tensor:
    """Split norms (N, T) into two groups of least squared deviation; True in the group of larger norms.

    In one dimension the best groups are the two sides of one of the T - 1 cuts of the sorted norms, so all cuts are
    compared, by cumulative sums. Norms that are all equal have no foreground.
    """
    total = norms.shape[1]
    centred = norms.double() - norms.double().mean(dim=1, keepdim=True)
    ordered = centred.sort(dim=1).values
    left = ordered.cumsum(dim=1)[:, :-1]
    right = ordered.sum(dim=1, keepdim=True) - left
    size = torch.arange(1, total, device=norms.device)
    # The less the groups deviate from their means, the more these two terms explain of the variance.
    cut = (left.square() / size + right.square() / (total - size)).argmax(dim=1, keepdim=True)
    return centred > ordered.gather(1, cut)


def cluster(x: Tensor, member: Tensor, clusters: int, generator: torch.Generator, *, steps: int) -> Tensor:
    """K-means of some tokens of every image: k-means++ starts, then Lloyd steps.

    A cluster that loses its last token is given the token that is farthest from its centre.

    Args:
        x: float (N, T, C).
        member: bool (N, T), the tokens that count, at least `clusters` of them in every image.
        clusters: K.
        generator: A CPU generator.
        steps: Lloyd steps.

    Returns:
        bool (N, T, K), one True for every token that counts.
    """
    centres = _starts(x, member, clusters, generator)
    for _ in range(steps):
        near = _assign(x, member, centres)
        weight = near.to(x.dtype)
        means = (weight.transpose(1, 2) @ x) / weight.sum(dim=1).clamp(min=1)[:, :, None]
        centres = torch.where(near.any(dim=1)[:, :, None], means, _farthest(x, member, centres, near))
    return _assign(x, member, centres)


def _starts(x: Tensor, member: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ centres (N, K, C): each next one drawn by the squared distance to the nearest one before it."""
    odds, centres = member.to(x.dtype), x[:, :0]
    for _ in range(clusters):
        # Members that all stand on centres leave no odds: any of them will do.
        odds = torch.where(odds.sum(dim=1, keepdim=True) > 0, odds, member.to(x.dtype))
        index = torch.multinomial(odds.cpu(), 1, generator=generator).to(x.device)
        centres = torch.cat([centres, _pick(x, index)], dim=1)
        odds = _squared_distances(x, centres).amin(dim=2) * member
    return centres


def _assign(x: Tensor, member: Tensor, centres: Tensor) -> Tensor:
    nearest = _squared_distances(x, centres).argmin(dim=2)
    one_hot = torch.nn.functional.one_hot(nearest, centres.shape[1]).bool()
    return one_hot & member[:, :, None]


def _farthest(x: Tensor, member: Tensor, centres: Tensor, near: Tensor) -> Tensor:
    """For the k-th cluster the k-th farthest token from its own centre, (N, K, C), so that no two get the same."""
    own = (_squared_distances(x, centres) * near).sum(dim=2).masked_fill(~member, -1.0)
    index = own.topk(centres.shape[1], dim=1).indices
    return _pick(x, index)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Tokens (N, k, C) at places int64 (N, k)."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def _squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """(N, T, K), by differences: small distances between long vectors would drown in the rounding of a product."""
    return torch.cdist(x, centres, compute_mode="donot_use_mm_for_euclid_dist").square()


def _number(members: Tensor, rows: Tensor) -> Tensor:
    """Number the parts of (n, T, K) by their mean row, from 1 at the top; 0 for tokens of none, int64 (n, T)."""
    weight = members.double()
    height = (weight * rows[None, :, None]).sum(dim=1) / weight.sum(dim=1)
    rank = height.argsort(dim=1, stable=True).argsort(dim=1)
    return (members * (rank + 1)[:, None]).sum(dim=2)
