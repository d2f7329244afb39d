"""Exact rays through tapered capsules, culled by tiles.

Legend of shapes: N images, P primitives per image, S pixels per tile (64), T tiles that hold something.

The camera is orthographic, a ray runs along z through a pixel centre. A tapered capsule is the union of spheres with
centres c(t) = c0 + t e and radii r(t) = r0 + t dr, t in [0, 1]. With q the pixel's offset from c0, e = (ex, ey, dz),
a = ex² + ey² - dr², B = q·e + r0 dr, C = r0² - |q|², the sphere t is hit where disc(t) = C + 2 B t - a t² > 0, at depth
z(t) = z0 + t dz + sqrt(disc(t)). z is concave in t with its maximum at

    t* = B/a + dz sqrt(D / (a (a + dz²))),   D = C + B²/a,

clamped to [0, 1]; the ray hits exactly if D > 0 and disc(t*) > 0, and z(t*) is the depth of the surface.

A capsule flattened by f along the unit vector w is the round one after the map M with M^-1 = I + (1/f - 1) w wᵀ. Factor
G = M^-T M^-1 = LᵀL with L lower triangular: L differs from M^-1 by a rotation only, so the capsule stays round in the
coordinates L p, and a ray along z stays a ray along z there. The formula above therefore holds for flattened capsules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE: Final = 8
FEATHER: Final = 0.5
"""Radii are drawn `FEATHER` pixels smaller and fade over one pixel outside: half the coverage lies at the true edge."""
_EMPTY: Final = -1.0e9
_DEPTH_STEPS: Final = 128.0
_RANKS: Final = 64
_TINY: Final = 1e-6
"""Square roots of exact zeros take a slow path in vector libraries (20 times), those of tiny numbers do not."""

GEOMETRY: Final = (
    "x0", "y0", "z0", "l11", "l21", "l22", "l31", "l32", "l33", "ex", "ey", "dz", "r0", "dr", "inv_a", "kz", "a",
    "cut", "cut_length", "edge",
)  # fmt: skip
"""Columns of the parameter table, all in pixels."""


def where_true(mask: Tensor) -> Tensor:
    """Indices of true elements of the flattened mask, int64; NumPy finds them 20 times faster than `Tensor.nonzero`."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


@dataclass(frozen=True, slots=True)
class Capsules:
    """K primitives ready for rays.

    Attributes:
        table: float32 (len(GEOMETRY), K).
        image: int64 (K,), the image each belongs to; ascending.
        centre: float32 (K, 2, 2), start and end in the image plane, for culling.
        reach: float32 (K,), largest radius in pixels.
        images: Number of images N.
    """

    table: Tensor
    image: Tensor
    centre: Tensor
    reach: Tensor
    images: int


def prepare_capsules(
    start: NDArray[np.float64], end: NDArray[np.float64], radius0: NDArray[np.float64], radius1: NDArray[np.float64],
    flat_axis: NDArray[np.float64], flatten: NDArray[np.float64], cut: NDArray[np.float64],
    image: NDArray[np.int64], images: int,
) -> Capsules:  # fmt: skip
    """Parameters of K capsules in the image frame (pixels): start, end and unit `flat_axis` are float64 (K, 3)."""
    gain = 1.0 / flatten**2 - 1.0
    w = flat_axis
    g11, g22, g33 = (1.0 + gain * w[:, i] ** 2 for i in range(3))
    g12, g13, g23 = gain * w[:, 0] * w[:, 1], gain * w[:, 0] * w[:, 2], gain * w[:, 1] * w[:, 2]
    l33 = np.sqrt(g33)
    l31, l32 = g13 / l33, g23 / l33
    l22 = np.sqrt(g22 - l32**2)
    l21 = (g12 - l31 * l32) / l22
    l11 = np.sqrt(np.maximum(g11 - l31**2 - l21**2, 1e-12))
    d = end - start
    ex = l11 * d[:, 0]
    ey = l21 * d[:, 0] + l22 * d[:, 1]
    dz = l31 * d[:, 0] + l32 * d[:, 1] + l33 * d[:, 2]
    r0, dr = radius0.copy(), radius1 - radius0
    # Seen end-on, one end's disc swallows the other (a <= 0): grow the small end inside the large one's outline until
    # a is just positive. The outline stays exact.
    flat = ex**2 + ey**2
    limit = np.sqrt(np.maximum(flat - np.maximum(1e-3, 1e-3 * flat), 0.0))
    excess = np.maximum(np.abs(dr) - limit, 0.0)
    r0 = np.where(dr > 0, r0 + excess, r0)
    dr = np.sign(dr) * np.minimum(np.abs(dr), limit)
    a = np.maximum(flat - dr**2, 1e-6)
    length = np.sqrt(flat) / np.sqrt(l11 * l22)
    edge = 1.0 / np.sqrt(l11 * l22)
    columns = {
        "x0": start[:, 0], "y0": start[:, 1], "z0": start[:, 2], "l11": l11, "l21": l21, "l22": l22, "l31": l31,
        "l32": l32, "l33": l33, "ex": ex, "ey": ey, "dz": dz, "r0": r0, "dr": dr, "inv_a": 1.0 / a,
        "kz": dz / np.sqrt(a * (a + dz**2)), "a": a, "cut": np.where(cut > 0, 1.0, 1e6), "cut_length": length,
        "edge": edge,
    }  # fmt: skip
    table = np.stack([columns[name] for name in GEOMETRY]).astype(np.float32)
    centre = np.stack([start[:, :2], end[:, :2]], axis=1).astype(np.float32)
    reach = np.maximum(radius0, radius1).astype(np.float32)
    return Capsules(
        torch.from_numpy(table), torch.from_numpy(np.ascontiguousarray(image, np.int64)), torch.from_numpy(centre),
        torch.from_numpy(reach), images,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TileLists:
    """Which primitives touch which tiles, tiles sorted by falling count.

    Attributes:
        tile: int64 (T,), image * tiles per image + tile.
        lists: int64 (R, T), primitive of each rank; valid for ranks below the tile's count.
        counts: For each rank the number of tiles that have it.
    """

    tile: Tensor
    lists: Tensor
    counts: list[int]


def cull(capsules: Capsules, height: int, width: int) -> TileLists:
    """Primitive-tile pairs whose distance allows a hit."""
    down, across = height // TILE, width // TILE
    rows = torch.arange(down, dtype=torch.float32) * TILE + (TILE - 1) / 2
    columns = torch.arange(across, dtype=torch.float32) * TILE + (TILE - 1) / 2
    (ax, ay), (bx, by) = capsules.centre[:, 0].T, capsules.centre[:, 1].T
    ux, uy = bx - ax, by - ay
    squared = (ux * ux + uy * uy).clamp_(min=1e-9)
    px = columns[None, None, :] - ax[:, None, None]
    py = rows[None, :, None] - ay[:, None, None]
    ux, uy = ux[:, None, None], uy[:, None, None]
    t = ((px * ux + py * uy) / squared[:, None, None]).clamp_(0.0, 1.0)
    near = (px - t * ux).square_() + (py - t * uy).square_()
    bound = capsules.reach + (TILE / 2) * 2**0.5 + 1.0
    touches = where_true(near < bound.square()[:, None, None])
    primitive = torch.div(touches, down * across, rounding_mode="floor")
    local = touches - primitive * (down * across)
    tile = capsules.image.index_select(0, primitive) * (down * across) + local
    order = torch.argsort(tile, stable=True)  # by tile, then by primitive
    primitive, tile = primitive[order], tile[order]
    present, first_count = torch.unique_consecutive(tile, return_counts=True)
    by_count = torch.argsort(first_count, descending=True, stable=True)
    position = torch.empty_like(by_count)
    position[by_count] = torch.arange(len(by_count))
    starts = torch.cumsum(first_count, 0) - first_count
    owner = torch.repeat_interleave(torch.arange(len(present)), first_count)
    rank = torch.arange(len(tile)) - starts[owner]
    ranks = int(first_count.max()) if len(present) else 0
    lists = torch.zeros((ranks, len(present)), dtype=torch.int64)
    lists[rank, position[owner]] = primitive
    counts = torch.bincount(rank, minlength=ranks).tolist() if ranks else []
    return TileLists(present[by_count], lists, counts)


@dataclass(frozen=True, slots=True)
class Hits:
    """The F pixels where anything is seen, tensors (F,).

    Attributes:
        image: int64, image of the pixel.
        x: int64, column.
        y: int64, row.
        front: int64, primitive of the front-most fragment, feathered edges included.
        body: int64, primitive of the front-most fragment whose core covers the pixel centre; -1 = none.
        cover: float32, coverage by anything, 0 .. 1.
    """

    image: Tensor
    x: Tensor
    y: Tensor
    front: Tensor
    body: Tensor
    cover: Tensor


class Lookup(Protocol):
    """Named columns of the parameter table."""

    def __getitem__(self, name: str, /) -> Tensor: ...


def evaluate(column: Lookup, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The formula of the module docstring; all arguments broadcast.

    Returns:
        (z, disc, t, t_free, qx, qy, radius): depth, discriminant (positive = hit), axis parameter clamped and free,
        offset from the start in round coordinates, radius there.
    """
    dx, dy = px - column["x0"], py - column["y0"]
    qx = dx * column["l11"]
    qy = dx * column["l21"]
    qy += dy * column["l22"]
    b = qx * column["ex"]
    b += qy * column["ey"]
    b += column["r0"] * column["dr"]
    c = column["r0"] * column["r0"] - qx * qx
    c -= qy * qy
    t_middle = b * column["inv_a"]
    root = t_middle * b
    root += c
    t_free = root.clamp_(min=_TINY).sqrt_()
    t_free *= column["kz"]
    t_free += t_middle
    t = t_free.clamp(0.0, 1.0)
    b += b
    b -= column["a"] * t
    disc = b.mul_(t).add_(c)
    z = disc.clamp(min=_TINY).sqrt_()
    z += column["dz"] * t
    z -= dx.mul_(column["l31"])
    z -= dy.mul_(column["l32"])
    z /= column["l33"]
    z += column["z0"]
    radius = column["dr"] * t
    radius += column["r0"]
    return z, disc, t, t_free, qx, qy, radius


def trace(capsules: Capsules, height: int, width: int) -> Hits:
    """The front-most primitives of all pixels that anything touches."""
    tiles = cull(capsules, height, width)
    across, total = width // TILE, (height // TILE) * (width // TILE)
    count = len(tiles.tile)
    inside = torch.arange(TILE * TILE)
    local = tiles.tile % total
    px = ((local % across) * TILE)[None] + (inside % TILE)[:, None]
    py = ((local // across) * TILE)[None] + (inside // TILE)[:, None]
    px, py = px.float(), py.float()
    front_key = torch.full((TILE * TILE, count), _EMPTY)
    body_key = torch.full((TILE * TILE, count), _EMPTY)
    cover = torch.zeros((TILE * TILE, count))
    for rank, n in enumerate(tiles.counts):
        table = capsules.table.index_select(1, tiles.lists[rank, :n])
        column = dict(zip(GEOMETRY, table.unbind(0), strict=True))
        column["r0"] = column["r0"] - FEATHER / column["edge"]
        z, disc, _, t_free, _, _, radius = evaluate(column, px[:, :n], py[:, :n])
        # 1 inside the core; outside, 1 - distance: disc = (r - d)(r + d), about 2 r (r - d) near the edge.
        alpha = disc.div_(radius.clamp_(min=0.3).mul_(2.0)).mul_(column["edge"]).add_(1.0)
        hem = column["cut"] - t_free
        hem = hem.mul_(column["cut_length"]).add_(1.0)
        alpha = torch.minimum(alpha, hem).clamp_(0.0, 1.0)
        key = z.mul_(_DEPTH_STEPS).floor_().mul_(float(_RANKS)).add_(float(rank))
        # Fragments that do not count sink below every depth (comparisons and `where` are ten times slower).
        body = (alpha - 1.0).mul_(1e17).clamp_(min=_EMPTY).add_(key)
        front = (alpha - 0.02).mul_(1e17).clamp_(min=_EMPTY, max=0.0).add_(key)
        torch.maximum(front_key[:, :n], front, out=front_key[:, :n])
        torch.maximum(body_key[:, :n], body, out=body_key[:, :n])
        torch.maximum(cover[:, :n], alpha, out=cover[:, :n])
    return _resolve(front_key, body_key, cover, tiles, local, across, total)


def _resolve(
    front_key: Tensor, body_key: Tensor, cover: Tensor, tiles: TileLists, local: Tensor, across: int, total: int
) -> Hits:
    """Turn keys into primitives where there is something: the rank is the key modulo the number of ranks."""
    flat = where_true(front_key > _EMPTY / 2)
    inside = torch.div(flat, max(len(tiles.tile), 1), rounding_mode="floor")
    tile = flat - inside * len(tiles.tile)
    front, body = front_key.view(-1).index_select(0, flat), body_key.view(-1).index_select(0, flat)

    def primitive(key: Tensor) -> Tensor:
        rank = key.clamp(min=-1e8).remainder_(float(_RANKS)).long()
        return tiles.lists.view(-1).index_select(0, rank.mul_(len(tiles.tile)).add_(tile).clamp_(max=limit))

    limit = max(tiles.lists.numel() - 1, 0)
    absent = where_true(body <= _EMPTY / 2)
    column, row = (local % across) * TILE, torch.div(local, across, rounding_mode="floor") * TILE
    lanes = torch.arange(TILE * TILE)
    return Hits(
        image=torch.div(tiles.tile, total, rounding_mode="floor").index_select(0, tile),
        x=column.index_select(0, tile) + (lanes % TILE).index_select(0, inside),
        y=row.index_select(0, tile) + torch.div(lanes, TILE, rounding_mode="floor").index_select(0, inside),
        front=primitive(front),
        body=primitive(body).index_fill_(0, absent, -1),
        cover=cover.view(-1).index_select(0, flat),
    )
