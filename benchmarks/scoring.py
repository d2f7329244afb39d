"""What every `score` and every selection share: trials, bootstrap clusters, columns that name a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.samples import Int, Samples
from hcbench.errors import TaskError


def best_trial(trials: Sequence[Mapping[str, Any]], criterion: str) -> int:
    """Position of the trial with the highest criterion; the first one among equals, NaN last.

    Raises:
        TaskError: The criterion is undefined for every trial.
    """
    values = [float(trial[criterion]) for trial in trials]
    if all(math.isnan(value) for value in values):
        raise TaskError(
            f"Validation {criterion} is undefined for each of the {len(trials)} settings tried.",
            "Look for NaN in the features, and whether the validation split has labels.",
        )
    return max(range(len(values)), key=lambda i: (-math.inf if math.isnan(values[i]) else values[i], -i))


def selection(trials: Sequence[Mapping[str, Any]], criterion: str) -> dict[str, Any]:
    """What validation chose, in the form that results store: the best trial and the table behind it."""
    best = trials[best_trial(trials, criterion)]
    chosen = {key: value for key, value in best.items() if key != criterion}
    return {**chosen, "criterion": f"val {criterion}", "value": best[criterion], "trials": [dict(t) for t in trials]}


def clusters(samples: Samples) -> Int:
    """Bootstrap clusters (N,): images of one person stay together, any other image is a cluster of its own.

    Ids of persons are their identity; images without one get negative ids in the order of the split.
    """
    alone = -1 - np.arange(len(samples), dtype=np.int64)
    if samples.identity is None:
        return alone
    return np.where(samples.identity >= 0, samples.identity, alone)


def identity_codes(identity: Int) -> NDArray[np.float32]:
    """Unit vectors, one row per image: equal for images of one person, orthogonal for two; distractors share one.

    Args:
        identity: (N,), below 0 for distractors.

    >>> identity_codes(np.array([7, -1, 7, 3])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    persons, place = np.unique(np.maximum(identity, -1), return_inverse=True)
    return np.eye(len(persons), dtype=np.float32)[place]


def sample_columns(samples: Samples, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[Any]]:
    """Columns that name and describe samples: `sample`, `identity`, `camera` and one `slice_<name>` per slice.

    Args:
        samples: The test split.
        rows: Positions (M,) of the samples in question, one per query; all by default.
    """
    picked = np.arange(len(samples)) if rows is None else rows
    columns: dict[str, NDArray[Any]] = {"sample": samples.ids[picked]}
    for name in ("identity", "camera"):
        values = getattr(samples, name)
        if values is not None:
            columns[name] = values[picked]
    return columns | {f"slice_{key}": value[picked] for key, value in samples.slices.items()}


def need(samples: Samples, name: str) -> Any:
    """A field that the card says is needed.

    Raises:
        TaskError: The samples do not know it.
    """
    value = getattr(samples, name)
    if value is None:
        raise TaskError(
            f"{samples.name} does not know {name}.", "Ask `Task.skip` before fitting, or choose other data."
        )
    return value
