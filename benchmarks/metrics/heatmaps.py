"""Heat maps of keypoints: drawing targets and reading coordinates back.

Legend: N = maps (any leading shape), K = joints, H and W = height and width of a map in cells. Coordinates are (x, y)
in cells, cell centres at whole numbers. What the methods mean:

| method | drawn (encode) | read (decode) |
|---|---|---|
| msra | centre rounded to the grid, patch of 3 sigma | - |
| quarter | - | maximum +- 0.25 towards the larger neighbour, both axes inside (HRNet; the default) |
| quarter-axis | - | the same, each axis checked on its own (mmpose) |
| dark | exact centre, whole map | blur, log, one Newton step with differences over 2 cells (DarkPose) |
| udp | exact centre, patch of 3 sigma, corner-aligned scale | blur, log, Newton step over 1 cell (mmpose UDP) |
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcbench.benchmarks.metrics.arrays import FloatArray, choice, ratio, to_numpy
from hcbench.errors import TaskError

ENCODERS = ("msra", "dark", "udp")
DECODERS = ("quarter", "quarter-axis", "dark", "udp")
_BLUR_SIGMA, _BLUR_RADIUS = 2.0, 5  # the 11 x 11 kernel that both DARK and UDP read with
_MAPS_PER_BLOCK = 512  # bounds the float64 copies of a decode

Cells: TypeAlias = NDArray[np.intp]


def encode_heatmaps(
    keypoints: ArrayLike,
    visible: ArrayLike,
    *,
    input_size: ArrayLike,
    heatmap_size: ArrayLike,
    sigma: float,
    method: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a Gaussian of height 1 for every joint.

    Args:
        keypoints: (..., K, 2) x, y in pixels of the network input.
        visible: (..., K) joints to draw are those > 0.
        input_size: (width, height) of the network input in pixels.
        heatmap_size: (W, H).
        sigma: Standard deviation in cells; the patch reaches 3 sigma.
        method: "msra", "dark" or "udp" (table above).

    Returns:
        Maps (..., K, H, W) and weights (..., K); the weight is 0, and the map empty, where a joint is invisible or
        its patch lies wholly outside the map.

    Raises:
        TaskError: Shapes differ, a visible joint is not finite or the method is unknown.

    >>> maps, weights = encode_heatmaps([[8, 8], [99, 8]], [1, 1], input_size=(16, 16), heatmap_size=(4, 4),
    ...                                 sigma=1, method="msra")
    >>> maps.shape, weights.tolist(), float(maps[0, 2, 2])
    ((2, 4, 4), [1.0, 0.0], 1.0)
    """
    choice(method, "method", ENCODERS)
    points, shown = to_numpy(keypoints).astype(np.float64), to_numpy(visible)
    if points.shape != (*shown.shape, 2):
        raise TaskError(
            f"keypoints {points.shape} and visible {shown.shape} do not fit, expected (..., K, 2), (..., K)."
        )
    shown = shown > 0
    if not np.isfinite(points[shown]).all():
        raise TaskError("A visible joint has a coordinate that is not finite; mark it as invisible instead.")
    cells, pixels = _size(heatmap_size, "heatmap_size"), _size(input_size, "input_size")
    scale = (pixels - 1) / (cells - 1) if method == "udp" else pixels / cells
    centre = np.where(shown[..., None], points, 0.0) / scale
    # Rounding half up by truncation, as all public implementations do: -0.9 goes to 0, not to -1.
    nearest = np.trunc(centre + 0.5)
    patch_centre = centre if method == "dark" else nearest
    radius = 3 * sigma
    # DEVIATION (mmpose, HRNet): there a patch that ends one cell left of or above the map keeps weight 1 (their test is
    # < 0) on a map that is then empty, which teaches that the joint is nowhere; here its weight is 0.
    inside = ((patch_centre - radius < cells) & (patch_centre + radius + 1 > 0)).all(axis=-1)
    drawn = shown & inside
    peak = nearest if method == "msra" else centre
    profiles = []
    for axis in (0, 1):
        offset = np.arange(cells[axis]) - peak[..., axis, None]
        profile = np.exp(-np.square(offset) / (2 * sigma**2))
        if method != "dark":
            profile *= np.abs(np.arange(cells[axis]) - nearest[..., axis, None]) <= radius
        profiles.append(profile)
    maps = profiles[1][..., :, None] * profiles[0][..., None, :] * drawn[..., None, None]
    return maps.astype(np.float32), drawn.astype(np.float32)


def decode_heatmaps(heatmaps: ArrayLike, *, method: str = "quarter") -> tuple[FloatArray, FloatArray]:
    """Read one coordinate per map: its first maximum in row-major order, refined below one cell.

    Args:
        heatmaps: (..., H, W) maps of floats.
        method: "quarter", "quarter-axis", "dark" or "udp" (table above).

    Returns:
        (..., 2) x, y in cells and (...) scores = the maximum. Where the maximum is not above 0 there is nothing to
        read: NaN coordinates, score 0.

    Raises:
        TaskError: A map has less than two dimensions or holds NaN, or the method is unknown.

    >>> xy, score = decode_heatmaps([[[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0.5, 0], [0, 0, 0, 0, 0], [0] * 5]])
    >>> xy.tolist(), score.tolist()
    ([[2.25, 2.0]], [1.0])
    """
    choice(method, "method", DECODERS)
    maps = to_numpy(heatmaps)
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise TaskError(f"heatmaps have shape {maps.shape}, expected (..., height, width).")
    flat = maps.reshape(-1, *maps.shape[-2:])
    xy, scores = np.empty((len(flat), 2)), np.empty(len(flat))
    for start in range(0, len(flat), _MAPS_PER_BLOCK):
        block = slice(start, start + _MAPS_PER_BLOCK)
        xy[block], scores[block] = _decode_block(flat[block].astype(np.float64), method)
    return xy.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


def heatmap_to_image(
    xy: ArrayLike, center: ArrayLike, box_size: ArrayLike, heatmap_size: ArrayLike, *, method: str = "quarter"
) -> FloatArray:
    """Carry coordinates from cells to pixels of the image that the box was cut from.

    Args:
        xy: (..., 2), for N boxes (N, K, 2).
        center: (2,) or (N, 2) box centres in image pixels.
        box_size: (2,) or (N, 2) width, height of the boxes, padded and of the input's aspect.
        heatmap_size: (W, H).
        method: The decoder's name. "quarter", "quarter-axis", "dark": a map of W cells spans the box width; "udp":
            its W - 1 intervals do. "darkpose" is DarkPose's own back-transform, several pixels from the others:
            both axes are scaled by (box width - 1) / (W - 1) around the middle cell.

    Returns:
        (..., 2) x, y in image pixels.

    >>> heatmap_to_image([[24, 32]], [100, 100], [48, 64], [48, 64]).tolist()
    [[100.0, 100.0]]
    """
    choice(method, "method", (*DECODERS, "darkpose"))
    points, cells = to_numpy(xy).astype(np.float64), _size(heatmap_size, "heatmap_size")
    middle, box = to_numpy(center).astype(np.float64), to_numpy(box_size).astype(np.float64)
    if middle.ndim == 2 and points.ndim == 3:
        middle, box = middle[:, None], box[:, None]
    if method == "darkpose":
        pixels: FloatArray = (points - (cells - 1) / 2) * (box[..., :1] - 1) / (cells[0] - 1) + middle
    else:
        pixels = points / (cells - 1 if method == "udp" else cells) * box + middle - box / 2
    return pixels


def _decode_block(maps: FloatArray, method: str) -> tuple[FloatArray, FloatArray]:
    count, _, width = maps.shape
    flat = maps.reshape(count, -1)
    first = flat.argmax(axis=1)
    top = flat[np.arange(count), first]
    if np.isnan(top).any():  # argmax stops at the first NaN
        raise TaskError("heatmaps hold NaN values, expected none.", "Look for a diverged head.")
    x, y = first % width, first // width
    if method in ("quarter", "quarter-axis"):
        shift = _quarter_shift(maps, x, y, each_axis=method == "quarter-axis")
    else:
        shift = _dark_shift(maps, x, y) if method == "dark" else _udp_shift(maps, x, y)
    readable = top > 0
    xy = np.where(readable[:, None], np.stack([x, y], axis=1) + shift, np.nan)
    return xy, np.where(readable, top, 0.0)


def _quarter_shift(maps: FloatArray, x: Cells, y: Cells, *, each_axis: bool) -> FloatArray:
    """A quarter cell towards the larger neighbour; the rule keeps two cells from the near border, one from the far."""
    count, height, width = maps.shape
    rows = np.arange(count)
    inside_x, inside_y = (x > 1) & (x < width - 1), (y > 1) & (y < height - 1)
    if not each_axis:
        inside_x = inside_y = inside_x & inside_y
    right, left = maps[rows, y, np.minimum(x + 1, width - 1)], maps[rows, y, np.maximum(x - 1, 0)]
    below, above = maps[rows, np.minimum(y + 1, height - 1), x], maps[rows, np.maximum(y - 1, 0), x]
    return 0.25 * np.stack([np.sign(right - left) * inside_x, np.sign(below - above) * inside_y], axis=1)


def _dark_shift(maps: FloatArray, x: Cells, y: Cells) -> FloatArray:
    """Newton step on the log of the blurred map, where two cells on every side exist (Zhang et al., CVPR 2020)."""
    count, height, width = maps.shape
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    shift = np.zeros((count, 2))
    if not inside.any():
        return shift
    at = _LogNeighbours(_modulate(maps[inside]), x[inside], y[inside], lowest=1e-10, highest=np.inf)
    gradient = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    xx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    yy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    xy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    shift[inside] = _newton(gradient, xx, xy, yy)
    return shift


def _udp_shift(maps: FloatArray, x: Cells, y: Cells) -> FloatArray:
    """Newton step with differences over one cell, borders repeated (Huang et al., CVPR 2020, as mmpose 1.x)."""
    at = _LogNeighbours(_modulate(maps), x, y, lowest=1e-3, highest=50.0)
    gradient = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    tiny = float(np.finfo(np.float32).eps)  # keeps the Hessian of a flat map invertible
    xx = at(1, 0) - 2 * at(0, 0) + at(-1, 0) + tiny
    yy = at(0, 1) - 2 * at(0, 0) + at(0, -1) + tiny
    xy = 0.5 * (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1))
    return _newton(gradient, xx, xy, yy)


class _LogNeighbours:
    """Logarithm of each map's value at an offset (dx, dy) from its own cell; beyond the border its edge is repeated."""

    def __init__(self, maps: FloatArray, x: Cells, y: Cells, *, lowest: float, highest: float) -> None:
        self._maps, self._x, self._y = maps, x, y
        self._range = lowest, highest
        self._rows = np.arange(len(maps))

    def __call__(self, dx: int, dy: int) -> FloatArray:
        _, height, width = self._maps.shape
        x, y = np.clip(self._x + dx, 0, width - 1), np.clip(self._y + dy, 0, height - 1)
        values: FloatArray = np.log(np.clip(self._maps[self._rows, y, x], *self._range))
        return values


def _newton(gradient: FloatArray, xx: FloatArray, xy: FloatArray, yy: FloatArray) -> FloatArray:
    """Minus inverse Hessian times gradient; no step where the Hessian is singular."""
    determinant = xx * yy - xy * xy
    gx, gy = gradient.T
    step = -np.stack([yy * gx - xy * gy, xx * gy - xy * gx], axis=1)
    return step * ratio(1.0, determinant, empty=0.0)[:, None]


def _modulate(maps: FloatArray) -> FloatArray:
    """Blur with zeros around the map, then stretch each map back to its old maximum."""
    _, height, width = maps.shape
    blurred = _blur_matrix(height) @ maps @ _blur_matrix(width)
    old, new = maps.max(axis=(1, 2), keepdims=True), blurred.max(axis=(1, 2), keepdims=True)
    return blurred * ratio(old, new, empty=1.0)


def _blur_matrix(length: int) -> FloatArray:
    """Convolution with the Gaussian kernel along one axis as a symmetric (length, length) matrix."""
    offsets = np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    kernel = np.exp(-np.square(offsets) / (2 * _BLUR_SIGMA**2))
    distance = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    half = np.append(kernel[_BLUR_RADIUS:] / kernel.sum(), 0.0)  # by distance; 0 beyond the kernel
    matrix: FloatArray = half[np.minimum(distance, _BLUR_RADIUS + 1)]
    return matrix


def _size(value: ArrayLike, name: str) -> FloatArray:
    size = to_numpy(value).astype(np.float64)
    if size.shape != (2,) or not (size > 1).all():
        raise TaskError(f"{name} is {size.tolist()}, expected (width, height), each above 1.")
    return size
