"""Colour of what a ray hits: cloth, skin, faces, hair, under one key light and a sky.

Legend of shapes: K primitives of the batch, F fragments (a pixel and the primitive that it sees), N images.
Colours are linear light. Everything is evaluated on fragments only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.data.people import figure
from hcbench.data.people.raycast import GEOMETRY, Capsules, evaluate

MATERIAL: Final = (
    *(f"{name}_{axis}" for name in ("side", "up", "front", "origin") for axis in "xyz"),
    *(f"{name}_{channel}" for name in ("rgb", "rgb2", "rgb3") for channel in "rgb"),
    "kind", "pattern", "split", "density", "wrap", "strap", "folds", "shine", "feature", "flags",
)  # fmt: skip
"""Columns of the material table. side, up, front are image directions divided by pixels per metre."""

LIGHT: Final = (
    "light_x", "light_y", "light_z", "key_r", "key_g", "key_b", "sky_r", "sky_g", "sky_b", "ground_r", "ground_g",
    "ground_b",
)  # fmt: skip
"""Columns of the light table (one row per image), in the image frame; (x, y, z) points towards the light."""


_PATTERN, _STRAP, _FACE, _SPLIT, _SHOE, _HAIR, _FLAP = (1 << bit for bit in range(7))


def flags(values: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Which details a primitive has, as bits, from its columns: one look-up per fragment instead of one per detail."""
    kind = values["kind"]
    return np.asarray(
        _PATTERN * (values["pattern"] > 0)
        + _STRAP * ((kind == figure.TORSO) & (values["strap"] > 0))
        + _FACE * ((kind == figure.HEAD) & (values["strap"] > 0))
        + _SPLIT * (values["split"] < 2.0)
        + _SHOE * (kind == figure.SHOE)
        + _HAIR * (kind == figure.HAIR)
        + _FLAP * ((kind == figure.THING) & (values["feature"] > 0)),
        np.float64,
    )


class Columns:
    """Named rows of a table (C, K), each gathered for F fragments when first asked for; most are needed on few."""

    def __init__(self, table: Tensor, names: tuple[str, ...], index: Tensor) -> None:
        self.table, self.index = table, index
        self.position = {name: row for row, name in enumerate(names)}
        self.gathered: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        """float32 (F,)."""
        if name not in self.gathered:
            self.gathered[name] = self.table[self.position[name]].index_select(0, self.index)
        return self.gathered[name]

    def at(self, name: str, rows: Tensor) -> Tensor:
        """The values at some fragments, float32 (len(rows),)."""
        if name in self.gathered:
            return self.gathered[name].index_select(0, rows)
        return self.table[self.position[name]].index_select(0, self.index.index_select(0, rows))


LANES: Final = 64


def padded(rows: Tensor) -> Tensor:
    """Repeat the last index up to a multiple of LANES.

    Vector units treat the end of an array by scalar code that may round differently; with full vectors an image does
    not depend on its neighbours in the batch. Writing the repeated fragment again writes the same value.
    """
    missing = -len(rows) % LANES
    return torch.cat([rows, rows[-1:].expand(missing)]) if missing and len(rows) else rows


@dataclass(frozen=True, slots=True)
class Fragments:
    """F fragments.

    Attributes:
        primitive: int64 (F,).
        pixel: int64 (F,), image * H * W + row * W + column.
        px: float32 (F,), column.
        py: float32 (F,), row.
    """

    primitive: Tensor
    pixel: Tensor
    px: Tensor
    py: Tensor


@dataclass(frozen=True, slots=True)
class Surface:
    """Geometry of F fragments: depth (pixels), unit normal, axis parameter, coordinates on the primitive (metres)."""

    z: Tensor
    nx: Tensor
    ny: Tensor
    nz: Tensor
    t: Tensor
    lu: Tensor  # towards the primitive's side axis
    lv: Tensor  # towards its up axis
    dx: Tensor  # offset from the origin, pixels
    dy: Tensor
    dz: Tensor


def surface(capsules: Capsules, material: Columns, fragments: Fragments) -> Surface:
    """Exact hit points and normals of the fragments."""
    column = Columns(capsules.table, GEOMETRY, fragments.primitive)
    z, disc, t, _, qx, qy, _ = evaluate(column, fragments.px, fragments.py)
    qx -= column["ex"] * t
    qy -= column["ey"] * t
    qz = disc.clamp_(min=1e-6).sqrt_()
    nx = qx.mul_(column["l11"]).add_(qy * column["l21"]).add_(qz * column["l31"])
    ny = qy.mul_(column["l22"]).add_(qz * column["l32"])
    nz = qz.mul_(column["l33"])
    inverse = (nx * nx).add_(ny * ny).add_(nz * nz).clamp_(min=1e-8).rsqrt_()
    dx, dy = fragments.px - material["origin_x"], fragments.py - material["origin_y"]
    dz = z - material["origin_z"]

    def along(axis: str) -> Tensor:
        out = dx * material[f"{axis}_x"]
        out += dy * material[f"{axis}_y"]
        out += dz * material[f"{axis}_z"]
        return out

    return Surface(z, nx.mul_(inverse), ny.mul_(inverse), nz.mul_(inverse), t, along("side"), along("up"), dx, dy, dz)


def _depthwise(material: Columns, s: Surface, rows: Tensor) -> Tensor:
    """Offset towards the primitive's front axis, metres."""
    return (
        _pick(s.dx, rows) * material.at("front_x", rows)
        + _pick(s.dy, rows) * material.at("front_y", rows)
        + _pick(s.dz, rows) * material.at("front_z", rows)
    )


def _facing(material: Columns, s: Surface, rows: Tensor, axis: str) -> Tensor:
    """Normal . axis; positive towards it (scaled by metres per pixel)."""
    return (
        _pick(s.nx, rows) * material.at(f"{axis}_x", rows)
        + _pick(s.ny, rows) * material.at(f"{axis}_y", rows)
        + _pick(s.nz, rows) * material.at(f"{axis}_z", rows)
    )


def _wave(phase: Tensor) -> Tensor:
    """A square wave of period 1 with soft edges, 0 .. 1."""
    return torch.sin(phase * (2 * math.pi)).mul_(2.5).add_(0.5).clamp_(0.0, 1.0)


def _inside(distance: Tensor, softness: float) -> Tensor:
    """1 where distance < 0, falling to 0 over `softness`."""
    return distance.mul(-1.0 / softness).add_(0.5).clamp_(0.0, 1.0)


def _blend(rgb: list[Tensor], rows: Tensor, amount: Tensor, other: list[Tensor]) -> None:
    """rgb[rows] moves to `other` by `amount`, in place."""
    for channel, target in zip(rgb, other, strict=True):
        base = channel.index_select(0, rows)
        channel.index_copy_(0, rows, base + amount * (target - base))


def albedo(material: Columns, s: Surface) -> list[Tensor]:
    """Colour of the surface before light: three tensors (F,)."""
    rgb = [material[f"rgb_{c}"].clone() for c in "rgb"]
    _patterns(rgb, material, s)
    _straps(rgb, material, s)
    _faces(rgb, material, s)
    _details(rgb, material, s)
    return rgb


def _rows(material: Columns, flag: int) -> Tensor:
    """Fragments whose primitive has this detail."""
    bits = material["flags"].numpy().astype(np.uint8)
    return padded(torch.from_numpy(np.flatnonzero(bits & flag)))


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, rows)


def _second(material: Columns, rows: Tensor, name: str = "rgb2") -> list[Tensor]:
    return [material.at(f"{name}_{c}", rows) for c in "rgb"]


def _patterns(rgb: list[Tensor], material: Columns, s: Surface) -> None:
    rows = _rows(material, _PATTERN)
    if not len(rows):
        return
    code, density = material.at("pattern", rows), material.at("density", rows)
    v, lu, facing = _pick(s.lv, rows), _pick(s.lu, rows), _facing(material, s, rows, "front")
    u = torch.atan2(_facing(material, s, rows, "side"), facing).mul_(material.at("wrap", rows))
    front = (facing > 0).float()
    across, upwards = _wave(v * density * 10.0), _wave(u * density * 12.0)
    torso = (material.at("kind", rows) == figure.TORSO).float()
    amount = torch.zeros_like(u)
    for value, weight in (
        (figure.STRIPED, across),
        (figure.PINSTRIPED, upwards),
        (figure.CHECKED, 0.5 * (across + upwards)),
        (figure.DOTTED, (across * upwards)),
        (figure.LOGO, _inside((lu * lu * 1.4 + (v + 0.13).square()).sqrt() - 0.062, 0.02) * front * torso),
        (figure.TWO_TONE, _inside(-0.10 - v, 0.02) * torso),
        (figure.DENIM, torch.sin(u * 55.0 + 3.0 * torch.sin(v * 23.0)).mul_(0.10).add_(0.10)),
        (figure.BLOTCHES, _wave(u * 7.0 * density + 0.35 * torch.sin(v * 45.0) + 0.2 * torch.sin(v * 97.0 + u * 60.0))),
        (figure.OPEN, _inside(lu.abs() - 0.042 - 0.10 * (v + 0.12).clamp(min=0.0), 0.02) * front * torso),
    ):
        amount += weight * (code == value)
    _blend(rgb, rows, amount, _second(material, rows))


def _straps(rgb: list[Tensor], material: Columns, s: Surface) -> None:
    rows = _rows(material, _STRAP)
    if not len(rows):
        return
    strap = material.at("strap", rows)
    lu, lv, facing = _pick(s.lu, rows), _pick(s.lv, rows), _facing(material, s, rows, "front")
    two = _inside((lu.abs() - 0.088).abs() - 0.019, 0.02) * _inside(-0.30 - lv, 0.03) * (facing > 0)
    side = (strap == 2).float() * 2.0 - 1.0  # +1: the bag hangs at the left hip, the strap lies on the right shoulder
    diagonal = _inside((lu * side + 0.085 + 0.46 * lv).abs() - 0.018, 0.02)
    amount = two * (strap == 1) + diagonal * (strap > 1)
    _blend(rgb, rows, amount, _second(material, rows, "rgb3"))


def _faces(rgb: list[Tensor], material: Columns, s: Surface) -> None:
    """Eyes, brows, mouth, blush, hairline, beard and glasses, drawn on the skull in head heights."""
    rows = _rows(material, _FACE)
    if not len(rows):
        return
    feature = material.at("feature", rows)
    glasses, beard, bare = feature.remainder(2.0), (feature / 2).floor().remainder(2.0), (feature >= 4).float()
    # The head's own axes: its table was turned by (front, up, side) to flatten it along its side.
    head = 1.0 / 0.227
    x, y, z = _depthwise(material, s, rows) * head, _pick(s.lv, rows) * head, _pick(s.lu, rows) * head
    ax = x.abs()
    front = ((z - 0.05) * 8.0).clamp_(0.0, 1.0)
    hair = _second(material, rows)
    dark = [h * 0.6 for h in hair]
    scalp = ((0.75 * y - 0.80 * z - 0.02) * 14.0).clamp_(0.0, 1.0) * bare * 0.55
    _blend(rgb, rows, scalp, hair)
    jaw = ((-0.12 - y - 0.25 * (0.4 - z).clamp(min=0.0)) * 12.0).clamp_(0.0, 1.0) * ((z + 0.02) * 10.0).clamp_(0.0, 1.0)
    _blend(rgb, rows, jaw * beard * 0.8, hair)
    socket = torch.exp(-((ax - 0.155).square() * 70.0 + (y - 0.03).square() * 160.0)) * front
    _blend(rgb, rows, socket * 0.35, [c * 0.25 for c in _skin(material, rows)])
    white = _inside(((ax - 0.155).square() + (y - 0.015).square() * 3.0).sqrt() - 0.075, 0.05) * front
    _blend(rgb, rows, white * 0.55 * (1 - glasses), [torch.full_like(x, 0.62)] * 3)
    pupil = _inside(((ax - 0.150).square() + (y - 0.015).square()).sqrt() - 0.045, 0.05) * front
    black = [torch.full_like(x, 0.012)] * 3
    _blend(rgb, rows, pupil, black)
    brow = _inside((y - 0.125 + 0.15 * (ax - 0.15).abs()).abs() - 0.02, 0.04) * _inside(ax - 0.25, 0.05)
    _blend(rgb, rows, brow * _inside(0.06 - ax, 0.05) * front * 0.75, dark)
    mouth = _inside(((x * 0.42).square() + (y + 0.285).square() * 4.0).sqrt() - 0.045, 0.03) * front
    red = _skin(material, rows)
    _blend(rgb, rows, mouth * 0.75, [red[0] * 0.62, red[1] * 0.26, red[2] * 0.26])
    under = torch.exp(-((x * 9.0).square() + ((y + 0.185) * 16.0).square())) * front
    _blend(rgb, rows, under * 0.35, [c * 0.35 for c in red])
    frame = _inside((y - 0.015).abs() - 0.085, 0.04) * _inside(0.035 - ax, 0.03) * front
    temple = _inside((y - 0.04).abs() - 0.022, 0.03) * (z > -0.1)
    _blend(rgb, rows, torch.maximum(frame * _inside(ax - 0.29, 0.04), temple) * glasses * 0.9, black)


def _skin(material: Columns, rows: Tensor) -> list[Tensor]:
    return [material.at(f"rgb_{c}", rows) for c in "rgb"]


def _details(rgb: list[Tensor], material: Columns, s: Surface) -> None:
    """Boots over the shin, soles, strands of hair, flaps of bags."""
    rows = _rows(material, _SPLIT)
    if len(rows):
        beyond = ((_pick(s.t, rows) - material.at("split", rows)) * 24.0).clamp_(0.0, 1.0)
        _blend(rgb, rows, beyond, _second(material, rows, "rgb3"))
    rows = _rows(material, _SHOE)
    if len(rows):
        _blend(rgb, rows, _inside(_pick(s.lv, rows) + 0.018, 0.02), _second(material, rows))
    rows = _rows(material, _HAIR)
    if len(rows):
        lu, lv, lw = _pick(s.lu, rows), _pick(s.lv, rows), _depthwise(material, s, rows)
        strand = torch.sin(lw * 210.0 + lu * 130.0 + 4.0 * torch.sin(lv * 28.0)).mul_(0.22).add_(0.12).clamp_(min=0.0)
        _blend(rgb, rows, strand, _second(material, rows))
    rows = _rows(material, _FLAP)
    if len(rows):
        lv = _pick(s.lv, rows)
        _blend(rgb, rows, _inside((lv + 0.03).abs() - 0.012, 0.015) * 0.7, _second(material, rows))


def light(rgb: list[Tensor], material: Columns, lights: Columns, s: Surface, shadow: Tensor) -> list[Tensor]:
    """Key light with soft shadow, sky above, bounce below, folds of cloth, a highlight; three tensors (F,)."""
    lx, ly, lz = lights["light_x"], lights["light_y"], lights["light_z"]
    lambert = s.nx * lx + s.ny * ly + s.nz * lz
    wrinkle = torch.sin(s.lv * 46.0 + 2.6 * torch.sin(s.lu * 31.0 + s.lv * 9.0))
    bend = (s.t - 0.5).square_().mul_(2.4).add_(0.45)
    fold = wrinkle.mul_(bend).mul_(material["folds"]).mul_(0.11)
    diffuse = lambert.add(0.22).mul_(1 / 1.22).clamp_(min=0.0).mul_(shadow)
    up = s.ny.mul(-0.5).add_(0.5)
    # Light that comes from all sides reaches what faces the viewer best: creases and edges are a little darker.
    open_sky = s.nz.mul(0.32).add_(0.68).mul_(shadow.mul(0.35).add_(0.65))
    # The half vector between light and viewer (0, 0, 1).
    norm = (2.0 + 2.0 * lz).clamp_(min=1e-3).rsqrt_()
    glint = (s.nx * lx + s.ny * ly + s.nz * (lz + 1.0)).mul_(norm).clamp_(min=0.0)
    glint = glint.square_().square_().square_().square_().mul_(material["shine"]).mul_(shadow)
    out = []
    for channel, colour in zip("rgb", rgb, strict=True):
        ground = lights[f"ground_{channel}"]
        ambient = (lights[f"sky_{channel}"] - ground).mul_(up).add_(ground).mul_(open_sky)
        received = ambient.add_(lights[f"key_{channel}"] * diffuse)
        out.append(colour.mul_(received * (1.0 + fold)).add_(glint * lights[f"key_{channel}"]))
    return out
