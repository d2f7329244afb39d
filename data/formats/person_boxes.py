"""Which boxes persons are cut out by: those that annotators drew, or those that a detector found.

The field reports both, and never in one column. Heads are trained and chosen on drawn boxes either way; a detector's
are those of the split that is scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from hcbench.data.dataset import Dataset
    from hcbench.data.task_splits import Load

GROUND_TRUTH: Final = "gt"
DETECTED: Final = "detected"
BOXES: Final = (GROUND_TRUTH, DETECTED)


Reader = Literal["load", "load_detected"]


def reader(data_set: Dataset, split: str, boxes: str = GROUND_TRUTH) -> Reader:
    """Which member of a data set reads a benchmark's split, by the boxes that are asked for.

    Args:
        data_set: It has detections where it has `load_detected`, which takes what `load` takes.
        split: `train`, `val` or `test`.
        boxes: One of `BOXES`.

    Returns:
        `load_detected` for the test split where a detector's boxes are asked for and known, else `load`: samples
        without `box_scores` then tell the benchmark that there are none.
    """
    detected = boxes == DETECTED and split == "test" and data_set.load_detected is not None
    return "load_detected" if detected else "load"


def loader(data_set: Dataset, split: str, boxes: str = GROUND_TRUTH) -> Load:
    """The member that `reader` names, with the same arguments."""
    detected = data_set.load_detected if reader(data_set, split, boxes) == "load_detected" else None
    return data_set.load if detected is None else detected
