"""`Results`: the one tidy form of everything that was measured, and all that a report may read.

A row of its tables is a `CellRow` or a `ScoreRow` of `hcbench/records.py`, with the columns called as the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything measured in a workspace.

    Attributes:
        cells: One row per cell: `cell` (fingerprint), `method`, `title`, `supervision`, `supervision_title`,
            `budget`, `budget_images` (int), `seed` (int), `backbone`, `corpus`, `layout`, `profile`, `precision`,
            `status` (done, failed, diverged, skipped, out-of-memory, interrupted; anything else, such as running,
            is still to finish), `reason`, `created` (datetime), and the ledger as columns `ledger.<name>`
            (`reports/ledger.py` lists the names that it knows). Six columns may be left out: `config`, the
            resolved settings as json by dotted key (`corpus.noise`, `pretrain.height`, `<method>.<name>`),
            `overrides`, the same for those that the user changed, `sources`, json of what a method is given to its
            source, which must be equal, `nameless`, settings that name no row (by comma),
            `supervision_order`, the place of the supervision group among others (without
            it groups stand in order of appearance), and `least_passes`, the passes over its images below which a cell
            is compute-limited (without it none is).
        scores: One row per cell, evaluation and metric: `cell`, `evaluation` (fingerprint), `benchmark`,
            `benchmark_title`, `version`, `data`, `protocol`, `config` (json of `evaluate.*`), `readout`, `metric`,
            `metric_title`, `value` (fraction 0..1, NaN = undefined), `main` (bool), `higher_is_better` (bool),
            `percent` (bool), `status`, `reason`; where it was looked into, `leak` (clean, overlap, unknown: what the
            cell was trained on, held against the data) and `leak_reason`. A failed evaluation has one row with metric
            "" and NaN.
        replicates: (evaluation, metric) to (B,) bootstrap replicates; column b is the same resample of the test
            set for every cell of a benchmark version, so paired differences are differences of columns.
        footer: Versions, commit, workspace: what stands below every table.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    replicates: Mapping[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    footer: Mapping[str, str] = field(default_factory=dict)
