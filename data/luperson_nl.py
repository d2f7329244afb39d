"""LUPerson-NL: ten million person images from videos with the noisy labels of a tracker, for pre-training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.decoded import Lmdb
from hcbench.data.formats import pretraining
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.loading import check_cache, check_split, make_report
from hcbench.data.formats.luperson_files import (
    KEYS_FILE,
    TRUST,
    index_lmdb,
    list_lmdb,
    lmdb_file,
    persons_of_keys,
    persons_of_numbers,
    read_keys,
)
from hcbench.data.formats.pretraining import batched, encoded_column, lazy_samples, source_problems
from hcbench.data.samples import Samples
from hcbench.errors import DataError

log = logging.getLogger(__name__)

SPLITS = pretraining.SPLITS
_LMDB = "lmdb"
_NOT_READ = (
    f"{KEYS_FILE} is a pickle, which can run any code when it is read: it was not opened. Labels are (video, person), "
    f"from the keys of the LMDB; {TRUST} takes its own"
)
CARD = DatasetCard(
    name="luperson-nl",
    title="LUPerson-NL",
    homepage="https://github.com/DengpanFu/LUPerson-NL",
    terms="Research only (not verified). Videos belong to those who made them.",
    obtain="BaiduDisk, with a code from the homepage.",
    tree="""\
ROOT/                                     with or without a folder around it
  lmdb/data.mdb                           encoded jpg by key {video:05d}_{person}_...; needs the package lmdb
  keys.pkl                                not read, unless with --trust-pickle (Python: trust_pickle=True)""",
    counts={"train": {"images": 10_683_716, "identities": 433_997}},
    unverified=frozenset({"images", "identities"}),
    fields=frozenset({"images", "identity", "group"}),
)


def load(
    root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, trust_pickle: bool = False
) -> Samples:
    """All images with noisy identities, decoded when they are asked for.

    Args:
        root: The folder of `CARD.tree`.
        split: `train`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the list of keys.
        trust_pickle: Take labels from keys.pkl, which may then hold plain lists, text and numbers, nothing else.
            A number that stands under several videos of the keys is a person of each. Without it a label is a person's
            number within a video, as the keys have it.

    Returns:
        Samples sorted by key; `identity` and `group` are 0..N-1.

    Raises:
        DataError: The folder, the LMDB, a key or the pickle is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    check_split(CARD, split, SPLITS)
    base = _find(root)
    check_cache(base, cache)
    keys, identity, _ = _labels(base, index_lmdb(base / _LMDB, cache).names, trust_pickle)
    size = lmdb_file(base / _LMDB).stat().st_size
    return lazy_samples(
        f"luperson-nl {split}", Lmdb(base / _LMDB, keys), keys, (height, width), size, group=identity, identity=identity
    )


def index(root: Path, split: str, *, trust_pickle: bool = False) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows of a manifest in batches: the images themselves, with their identities.

    Raises:
        DataError: The folder, the LMDB, a key or the pickle is not as it should be.
    """
    check_split(CARD, split, SPLITS)
    base = _find(root)
    keys, identity, _ = _labels(base, _keys(base), trust_pickle)
    for rows in batched(range(len(keys))):
        labels = identity[rows].tolist()
        yield {**encoded_column(Lmdb(base / _LMDB, keys[rows])), "identity": labels, "group_id": labels}


def verify(root: Path, *, trust_pickle: bool = False) -> VerifyReport:
    """Count keys and labels and decode some of the images, evenly spread. Nothing is written.

    Raises:
        DataError: The root is no folder, is not LUPerson-NL, or the package lmdb is missing.
    """
    base = _find(root)
    keys = _keys(base)
    notes = [_NOT_READ] if (base / KEYS_FILE).exists() and not trust_pickle else []
    problems: list[str] = []
    found = {"images": len(keys)}
    try:
        keys, identity, remark = _labels(base, keys, trust_pickle)
        found["identities"] = len(np.unique(identity))
        notes += [remark] if remark else []
    except DataError as error:
        problems.append(error.message)
    if len(keys):
        broken, spread = source_problems(Lmdb(base / _LMDB, keys))
        problems, notes = [*problems, *broken], [*notes, *spread]
    return make_report(CARD, root, "lmdb/", {"train": found}, problems=problems, notes=notes)


def _find(root: Path) -> Path:
    return find_base(root, CARD, [(_LMDB,)])[0]


def _keys(base: Path) -> NDArray[np.str_]:
    return np.array(sorted(name for name, _ in list_lmdb(base / _LMDB).entries), np.str_)


def _labels(base: Path, keys: NDArray[np.str_], trust_pickle: bool) -> tuple[NDArray[np.str_], NDArray[np.int64], str]:
    """Keys, the identity of each, and what is to be said of a pickle that was read, "" where there is nothing."""
    if trust_pickle:
        listed = read_keys(base / KEYS_FILE, "pids")
        strange = np.setdiff1d(listed.keys, keys)
        if len(strange):
            raise DataError(
                f"{len(strange)} of {len(listed.keys)} keys of {base / KEYS_FILE} are not in the LMDB, the first is "
                f"{strange[0]}.",
                "They belong to different releases.",
            )
        identity, remark = persons_of_numbers(listed)
        if remark:
            log.info("%s", remark)
        return listed.keys, identity, remark
    if (base / KEYS_FILE).exists():
        log.info("%s", _NOT_READ)
    return keys, persons_of_keys(keys, base / _LMDB), ""


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=(),
    options=frozenset({"trust_pickle"}),
    index=index,
)
