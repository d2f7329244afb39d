"""What loaders share: digests that see content and nothing else, and a level that half a copy cannot pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcbench.data.card import DatasetCard
from hcbench.data.files.names import some
from hcbench.data.formats import loading
from hcbench.data.formats.loading import check_cache, digest, make_report
from hcbench.errors import DataError


def test_digests_see_content_alone(monkeypatch):
    names = np.array(["a", "bc", "é"])
    first = digest("x", names, np.arange(5))
    assert first == digest("x", names.astype("U40"), np.arange(5))
    assert first == digest("x", names, np.arange(10)[::2] // 2)
    others = [
        digest("y", names, np.arange(5)),
        digest("x", np.array(["ab", "c", "é"]), np.arange(5)),
        digest("x", names, np.arange(5, dtype=np.int32)),
        digest("x", names, np.arange(5)[:, None]),
        digest("x", names),
        digest("x", None, names, np.arange(5)),
    ]
    assert len({first, *others}) == 7
    monkeypatch.setattr(loading, "_PIECE", 2)
    assert digest(np.arange(6).reshape(3, 2)) != digest(np.arange(6).reshape(3, 2).T.copy().reshape(3, 2))


def card(unverified=()):
    return DatasetCard(name="toy", title="Toy", homepage="", terms="", obtain="", tree="", fields=frozenset(),
                       counts={"train": {"images": 5, "persons": 2}}, unverified=frozenset(unverified))  # fmt: skip


@pytest.mark.parametrize(
    ("unverified", "found", "level"),
    [
        ((), {"images": 5, "persons": 2}, "exact"),
        ((), {"images": 4, "persons": 2}, "subset"),
        ((), {"images": 6, "persons": 2}, "mismatch"),
        (("persons",), {"images": 5, "persons": 1}, "exact"),
        (("images", "persons"), {"images": 5, "persons": 2}, "exact"),
        # A number that nobody verified is no error, but half a copy is not the whole.
        (("images", "persons"), {"images": 6, "persons": 2}, "exact"),
        (("images", "persons"), {"images": 3, "persons": 2}, "subset"),
    ],
)
def test_levels(unverified, found, level):
    assert make_report(card(unverified), Path("toy"), "", {"train": found}).level == level
    assert make_report(card(unverified), Path("toy"), "", {"train": found}, problems=["broken"]).level == "mismatch"


def test_a_cache_inside_the_dataset_is_refused_even_through_a_link(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    check_cache(tmp_path / "set", tmp_path / "settled")
    with pytest.raises(DataError, match="lies inside the dataset"):
        check_cache(tmp_path / "set", tmp_path / "link" / "cache")


def test_long_lists_are_cut():
    assert some(["a", "b"]) == "a, b"
    assert some([str(k) for k in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
