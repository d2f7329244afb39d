from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hcbench.data.duplicates import difference_hashes, near_duplicates, near_hashes
from hcbench.errors import DataError


@pytest.mark.parametrize("block", [3, 7, 1000])
def test_pairs_equal_those_of_the_whole_matrix(block: int) -> None:
    rng = np.random.default_rng(0)
    corpus = rng.normal(size=(50, 8)).astype(np.float32)
    test = rng.normal(size=(20, 8)).astype(np.float32)
    test[3], test[9] = 5 * corpus[41], corpus[7] + 0.01
    found = near_duplicates(corpus, test, least=0.6, block=block)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (corpus, test)]
    similar = unit[0] @ unit[1].T
    assert set(zip(found.corpus.tolist(), found.test.tolist(), strict=True)) == set(
        zip(*map(np.ndarray.tolist, np.nonzero(similar >= 0.6)), strict=True)
    )
    assert np.all(np.diff(found.score) <= 0)
    assert (found.corpus[0], found.test[0]) == (41, 3)
    assert found.share_of_test(20) == len(set(found.test.tolist())) / 20


def test_nothing_alike_and_nothing_at_all() -> None:
    assert len(near_duplicates(np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[2:])) == 0
    empty = near_duplicates(np.empty((0, 4), np.float32), np.eye(4, dtype=np.float32))
    assert (len(empty), empty.share_of_test(4), empty.share_of_test(0)) == (0, 0.0, 0.0)
    black = np.zeros((2, 4), np.float32)
    assert len(near_duplicates(black, black)) == 0, "a vector of zeros points nowhere"


def test_embeddings_of_two_networks_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 4\) and \(3, 5\)"):
        near_duplicates(np.zeros((3, 4), np.float32), np.zeros((3, 5), np.float32))
    with pytest.raises(DataError, match="no numbers"):
        near_duplicates(np.full((3, 4), np.nan, np.float32), np.zeros((3, 4), np.float32))


def test_hashes_find_copies_and_tell_strangers_apart() -> None:
    rng = np.random.default_rng(1)
    # Smooth pictures: in white noise any resizing makes another picture.
    coarse = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    large = [Image.fromarray(one).resize((64, 128), Image.Resampling.BICUBIC) for one in coarse]
    images = np.stack([np.asarray(one).transpose(2, 0, 1) for one in large])
    smaller = np.stack([np.asarray(one.resize((48, 96))).transpose(2, 0, 1) for one in large[:5]])
    dim = (images[:5] * 0.8).astype(np.uint8)
    hashes = difference_hashes(images, block=7)
    assert hashes.shape == (40, 8)
    for copies in (smaller, dim):
        found = near_hashes(hashes, difference_hashes(copies), block=9)
        assert (
            found.corpus[np.argsort(found.test)].tolist()
            == found.test[np.argsort(found.test)].tolist()
            == list(range(5))
        )
    reference = [
        [bin(int.from_bytes(a.tobytes()) ^ int.from_bytes(b.tobytes())).count("1") for b in hashes] for a in hashes
    ]
    found = near_hashes(hashes, hashes, most=20, block=11)
    assert len(found) == (np.array(reference) <= 20).sum()
