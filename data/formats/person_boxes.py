"""Which boxes persons are cut out by: those that annotators drew, or those that a detector found.

The field reports both, and never in one column. Heads are trained and chosen on drawn boxes either way; a detector's
are those of the split that is scored.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hcbench.data.task_splits import Load

GROUND_TRUTH: Final = "gt"
DETECTED: Final = "detected"
BOXES: Final = (GROUND_TRUTH, DETECTED)


def loader(module: ModuleType, split: str, boxes: str = GROUND_TRUTH) -> Load:
    """What reads a benchmark's split of a data set, by the boxes that are asked for.

    Args:
        module: The data set's own. It has detections where it has `load_detected`, which takes what `load` takes.
        split: `train`, `val` or `test`.
        boxes: One of `BOXES`.

    Returns:
        `load_detected` for the test split where a detector's boxes are asked for and known, else `load`: samples
        without `box_scores` then tell the benchmark that there are none.
    """
    found = getattr(module, "load_detected", None) if boxes == DETECTED and split == "test" else None
    load: Load = module.load if found is None else found
    return load
