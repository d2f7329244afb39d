"""The entrance of every metric: arrays or CPU tensors are converted and checked here, once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcbench.errors import TaskError

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]
AnyArray: TypeAlias = NDArray[Any]


def to_numpy(value: ArrayLike) -> AnyArray:
    """Turn an array, nested list or torch tensor into a NumPy array without importing torch."""
    detach = getattr(value, "detach", None)
    if detach is not None:
        tensor = detach().cpu()
        if "bfloat16" in str(tensor.dtype):  # NumPy has no such type; float32 holds every bfloat16 exactly
            tensor = tensor.float()
        value = tensor.numpy()
    return np.asarray(value)


def rounded_as(number: float, scores: ArrayLike) -> float:
    """Round a number to the precision of an array or tensor of floats; whole numbers round nothing.

    >>> rounded_as(0.35, np.zeros(1, np.float16)), rounded_as(0.35, [0, 1])
    (0.35009765625, 0.35)
    """
    new_tensor = getattr(scores, "new_tensor", None)
    if new_tensor is not None:  # bfloat16 among them, which `to_numpy` widens
        rounded = new_tensor(number)
        return float(rounded) if rounded.is_floating_point() else float(number)
    kind = to_numpy(scores).dtype
    return float(kind.type(number)) if np.issubdtype(kind, np.floating) else float(number)


def score_matrix(value: ArrayLike, name: str, axes: str = "(queries, gallery)") -> NDArray[np.floating[Any]]:
    """Check a matrix of distances, similarities or probabilities: not empty, no NaN; infinite values are legal.

    float32 and float64 stay as they are, so that large matrices are not copied.

    Args:
        value: The matrix.
        name: What it is called in messages.
        axes: What its two dimensions are called there.

    Raises:
        TaskError: The matrix has another number of dimensions, is empty or holds NaN.
    """
    matrix = to_numpy(value)
    if matrix.ndim != 2 or matrix.size == 0:
        raise TaskError(
            f"{name} has shape {matrix.shape}, expected {axes}, neither of them empty.",
            "If one is empty, check the split and the filters that were applied to it.",
        )
    if matrix.dtype == np.float16:
        matrix = matrix.astype(np.float32)
    elif matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if np.isnan(np.min(matrix)):  # the minimum propagates NaN and needs no temporary array
        raise TaskError(
            f"{name} holds {int(np.isnan(matrix).sum())} NaN values, expected none.",
            "Look for diverged features or a division by a zero norm.",
        )
    return matrix


def label_vector(value: ArrayLike, name: str, length: int) -> AnyArray:
    """Check a vector of identities or cameras: one dimension, the expected length.

    Raises:
        TaskError: The shape differs.
    """
    labels = to_numpy(value)
    if labels.shape != (length,):
        raise TaskError(f"{name} has shape {labels.shape}, expected ({length},).")
    return labels


def coordinates(value: ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    """Convert to float64 and check the shape; None stands for any length.

    Raises:
        TaskError: The shape differs.
    """
    points = to_numpy(value).astype(np.float64)
    fits = points.ndim == len(shape) and all(
        wanted is None or found == wanted for found, wanted in zip(points.shape, shape, strict=True)
    )
    if not fits:
        wanted_text = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
        raise TaskError(f"{name} has shape {points.shape}, expected ({wanted_text}).")
    return points


def choice(value: str, name: str, allowed: tuple[str, ...]) -> str:
    """Give the value back when it is one of the allowed ones.

    Raises:
        TaskError: It is not.
    """
    if value not in allowed:
        raise TaskError(f"{name}={value!r} is unknown, expected one of {', '.join(map(repr, allowed))}.")
    return value


def ratio(numerator: ArrayLike, denominator: ArrayLike, *, empty: float) -> FloatArray:
    """Divide; where the denominator is zero the result is `empty` (0 by rule, or NaN = undefined).

    >>> ratio([1.0, 0.0], [2.0, 0.0], empty=0.0).tolist()
    [0.5, 0.0]
    """
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    result: FloatArray = np.full(top.shape, empty, dtype=np.float64)
    np.divide(top, bottom, out=result, where=bottom != 0)
    return result
