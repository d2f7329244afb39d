"""CUHK03 under the new protocol with boxes drawn by hand: the files of `cuhk03_np`, another benchmark."""

from __future__ import annotations

from dataclasses import replace

from hcbench.data import cuhk03_np
from hcbench.data.task_splits import TaskSplits

CARD = replace(
    cuhk03_np.CARD,
    name="cuhk03-np-labeled",
    title="CUHK03 (new protocol, boxes drawn by hand)",
)
TASK_SPLITS = TaskSplits(train="labeled/train", val="labeled/val", test="labeled/test")
CORPUS_SPLIT = "labeled/trainval"
SPLITS = cuhk03_np.SPLITS

load = cuhk03_np.load
verify = cuhk03_np.verify
