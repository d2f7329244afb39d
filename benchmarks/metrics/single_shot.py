"""Single-gallery-shot CMC (classic CUHK03 split) as an exact expectation over all draws of the gallery.

One image per gallery identity is drawn. Given that the query's own identity shows image p, another identity i stands
before it with probability (images of i ranked before p) / (images of i), independently of the others. The rank of p
is therefore 1 plus a Poisson-binomial number, whose distribution is built up identity by identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.benchmarks.metrics.arrays import AnyArray, FloatArray

_MATCHES_PER_BLOCK = 4096


def expected_single_shot_cmc(
    distance: NDArray[np.floating[Any]],
    query_ids: AnyArray,
    gallery_ids: AnyArray,
    query_cameras: AnyArray,
    gallery_cameras: AnyArray,
    length: int,
) -> FloatArray | None:
    """Average the exact curve over all queries that have a match on another camera.

    Args:
        distance: (Q, G) checked distances.
        query_ids: (Q,) identities.
        gallery_ids: (G,) identities.
        query_cameras: (Q,) cameras.
        gallery_cameras: (G,) cameras.
        length: Number of ranks.

    Returns:
        (length,) expected curve, or None when no query has such a match.
    """
    names, identity = np.unique(gallery_ids, return_inverse=True)
    images = np.bincount(identity, minlength=len(names))
    total, counted = np.zeros(length), 0
    pending: list[FloatArray] = []
    shares: list[FloatArray] = []

    def flush() -> None:
        nonlocal total
        if pending:
            total = total + np.concatenate(shares) @ _rank_curve(np.concatenate(pending), length)
            pending.clear()
            shares.clear()

    for row, name, camera in zip(distance, query_ids, query_cameras, strict=True):
        matches = np.flatnonzero((gallery_ids == name) & (gallery_cameras != camera))
        if not len(matches):
            continue
        counted += 1
        pending.append(_overtake_probability(row, matches, identity, images))
        shares.append(np.full(len(matches), 1.0 / len(matches)))
        if sum(map(len, pending)) >= _MATCHES_PER_BLOCK:
            flush()
    flush()
    return total / counted if counted else None


def _overtake_probability(
    row: NDArray[np.floating[Any]], matches: NDArray[np.intp], identity: NDArray[np.intp], images: NDArray[np.intp]
) -> FloatArray:
    """Chance (matches, identities) that the drawn image of each identity stands before each match."""
    place = np.empty(len(row), dtype=np.intp)
    place[np.argsort(row, kind="stable")] = np.arange(len(row))
    chance = np.empty((len(matches), len(images)))
    for line, match in zip(chance, matches, strict=True):
        ahead = place < place[match]
        line[:] = np.bincount(identity[ahead], minlength=len(images)) / images
    chance[:, identity[matches[0]]] = 0.0  # exactly one image of the own identity is drawn, and that is the match
    return chance


def _rank_curve(chance: FloatArray, length: int) -> FloatArray:
    """P(rank <= k) for k = 1..length from independent chances (M, identities) to be overtaken."""
    exactly = np.zeros((len(chance), length))  # column j: probability that j identities stand before
    exactly[:, 0] = 1.0
    for column in chance.T:
        kept = exactly * (1.0 - column)[:, None]
        kept[:, 1:] += exactly[:, :-1] * column[:, None]
        exactly = kept
    return np.cumsum(exactly, axis=1)
