"""CUHK03 under the new protocol with boxes drawn by hand: the files of `cuhk03_np`, another benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hcbench.data import cuhk03_np
from hcbench.data.card import VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats.loading import check_split
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits

_KIND = "labeled"

CARD = replace(
    cuhk03_np.CARD,
    name="cuhk03-np-labeled",
    title="CUHK03 (new protocol, boxes drawn by hand)",
    counts={split: counts for split, counts in cuhk03_np.CARD.counts.items() if split.startswith(_KIND)},
)
SPLITS = tuple(split for split in cuhk03_np.SPLITS if split.startswith(_KIND))
RENUMBERED = tuple(split for split in cuhk03_np.RENUMBERED if split.startswith(_KIND))
TASK_SPLITS = TaskSplits(train="labeled/train", val="labeled/val", test="labeled/test")
CORPUS_SPLIT = "labeled/trainval"


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split with boxes drawn by hand. Fields, arguments and errors are those of `cuhk03_np.load`."""
    check_split(CARD, split, SPLITS)
    return cuhk03_np.load(root, split, height=height, width=width, cache=cache)


def verify(root: Path) -> VerifyReport:
    """Check what is there of this kind. What is looked at, and errors, are those of `cuhk03_np.verify`."""
    return cuhk03_np.verify_kinds(CARD, root, [_KIND])


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=RENUMBERED,
    task_splits=TASK_SPLITS,
    corpus_split=CORPUS_SPLIT,
)
