"""Near-duplicates between a corpus and a test set: images that are too alike to be strangers.

By embeddings, of any network at hand; without one, by a difference hash of the pixels, which finds copies that were
resized or compressed anew and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.data.samples import Float, ImageArray, Int
from hcbench.errors import DataError

COSINE = 0.98
"""Similarity from which two embeddings are called near-duplicates; the reader of a list decides, not the number."""
BITS = 5
"""Bits of 64 that two difference hashes of near-duplicates differ in at most."""
MOST_PAIRS = 5_000_000
"""Pairs that anybody may want to hold in memory; more of them are no near-duplicates."""
_BLOCK = 2_048
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of near-duplicates, most alike first.

    Attributes:
        corpus: int64 (P,), rows of the corpus.
        test: int64 (P,), rows of the test set.
        score: float32 (P,), cosine similarity, or minus the number of different bits.
    """

    corpus: Int
    test: Int
    score: Float

    def __len__(self) -> int:
        return len(self.corpus)

    def share_of_test(self, size: int) -> float:
        """Share of a test set of `size` images that has a near-duplicate in the corpus, 0..1."""
        return len(np.unique(self.test)) / size if size else 0.0


def near_duplicates(corpus: Float, test: Float, *, least: float = COSINE, block: int = _BLOCK) -> Matches:
    """Pairs whose embeddings point the same way; block by block, so memory grows with the pairs alone.

    Args:
        corpus: float32 (N, D).
        test: float32 (M, D).
        least: Cosine similarity from which on a pair counts, above -1 and at most 1.
        block: Rows of each side that are compared at once.

    Raises:
        DataError: The embeddings are not two arrays of the same width, or hold what is no number.
    """
    if corpus.ndim != 2 or test.ndim != 2 or corpus.shape[1] != test.shape[1]:
        raise DataError(
            f"Embeddings of shapes {corpus.shape} and {test.shape} cannot be compared.",
            "Expected (N, D) and (M, D), of one network.",
        )
    found = []
    for start_b, part_b in _blocks(test, block):
        right = _unit(part_b)
        for start_a, part_a in _blocks(corpus, block):
            similar = _unit(part_a) @ right.T
            rows, columns = np.nonzero(similar >= least)
            found.append((rows + start_a, columns + start_b, similar[rows, columns]))
    return _sorted(found)


def difference_hashes(images: ImageArray, *, block: int = _BLOCK) -> NDArray[np.uint8]:
    """The 64-bit difference hash of every image: which of neighbouring grey values is the brighter, on a grid of 9 x 8.

    Args:
        images: uint8 (N, 3, H, W).
        block: Images that are decoded at once.

    Returns:
        uint8 (N, 8).
    """
    hashes = np.empty((len(images), 8), np.uint8)
    for start in range(0, len(images), block):
        rows = np.arange(start, min(start + block, len(images)))
        for row, image in zip(rows, images[rows], strict=True):
            grey = Image.fromarray(image.transpose(1, 2, 0)).convert("L").resize((9, 8), Image.Resampling.BOX)
            values = np.asarray(grey, np.int16)
            hashes[row] = np.packbits(values[:, 1:] > values[:, :-1], axis=1)[:, 0]
    return hashes


def near_hashes(corpus: NDArray[np.uint8], test: NDArray[np.uint8], *, most: int = BITS, block: int = 512) -> Matches:
    """Pairs whose hashes differ in few bits. A plain picture, whose hash is 0, is like nothing.

    Args:
        corpus: uint8 (N, 8), of `difference_hashes`.
        test: uint8 (M, 8).
        most: Bits that may differ, 0..64.
        block: Rows of each side that are compared at once.
    """
    found = []
    left, right = (np.ascontiguousarray(hashes).view(np.uint64)[:, 0] for hashes in (corpus, test))
    for start_b, part_b in _blocks(right, block):
        for start_a, part_a in _blocks(left, block):
            different = np.bitwise_count(part_a[:, None] ^ part_b[None])
            rows, columns = np.nonzero((different <= most) & (part_a != 0)[:, None] & (part_b != 0))
            found.append((rows + start_a, columns + start_b, -different[rows, columns].astype(np.float32)))
    return _sorted(found)


def joined(parts: Iterable[tuple[int, Matches]]) -> Matches:
    """The pairs of a corpus that was looked at in parts.

    Args:
        parts: First row of each part, and its pairs.

    Raises:
        DataError: There are more than `MOST_PAIRS`; known before all parts are looked at.
    """
    found, total = [], 0
    for start, part in parts:
        found.append((part.corpus + start, part.test, part.score))
        total += len(part)
        if total > MOST_PAIRS:
            raise DataError(
                f"More than {MOST_PAIRS:,} pairs are that much alike.", "That is too many to look at: be stricter."
            )
    return _sorted(found)


def _blocks(values: NDArray[Kind], block: int) -> Iterator[tuple[int, NDArray[Kind]]]:
    for start in range(0, len(values), block):
        yield start, values[start : start + block]


def _unit(rows: Float) -> Float:
    values = rows.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError("Some embeddings are no numbers.", "Look at the network that made them.")
    lengths: Float = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12).astype(np.float32)
    return values / lengths


def _sorted(found: list[tuple[Int, Int, Float]]) -> Matches:
    if not found:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    corpus, test, score = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((test, corpus, -score))
    return Matches(corpus[order], test[order], score[order].astype(np.float32))
