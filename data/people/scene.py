"""Where people are seen: places with their textures and clutter, light, the camera's colours, things in the way.

Each camera looks at one place, a panorama painted once per process; an image shows a window of it. Camera, window,
light and occluder are drawn from keys that know neither identity nor pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.spec import CAMERAS, FIRST_CAMERA, Draws, Keys, constant

Array = NDArray[np.float64]
Picture = NDArray[np.float32]

PLACE_WIDTH: Final = 5
"""A place is this many image widths wide and 2 image heights high; its ground line lies in the middle."""
OCCLUDER_SHARE: Final = 0.16
AUTO_EXPOSURE: Final = 0.9
"""How far a camera makes up for the light of the hour: 1 = wholly."""
SPOTS: Final = 4
"""Windows of its place that a camera looks through: the same few come again and again, a little moved."""
PALE: Final = 0.52
"""Display level about which surroundings lie."""
FLATNESS: Final = 0.06
"""What is left of the contrast of a painted place, and of its colours (`PLACE_CHROMA`): real surroundings are paler and
flatter than clothes."""
PLACE_CHROMA: Final = 0.15
STEP: Final = 0.20
"""How much paler the ground is than what stands on it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Scene of N images.

    Attributes:
        camera: int64 (N,) camera id.
        left: float64 (N,), where the window starts in the place, 0 .. 1.
        horizon: float64 (N,), row of the ground line in image heights.
        mirrored: bool (N,).
        light: float64 (N, 3) unit vector towards the light, image frame.
        key: float64 (N, 3), colour of the key light.
        sky: float64 (N, 3), light from above; `ground` from below.
        ground: float64 (N, 3).
        exposure: float64 (N, 3), gain per channel (camera and hour).
        contrast: float64 (N,), how much steeper than linear the camera's curve is about its middle.
        saturation: float64 (N,), what the camera keeps of colours.
        haze: float64 (N,), share of veil.
        blur: float64 (N,), weight of the neighbours in a 3 x 3 blur; `blurs` rounds of it.
        blurs: int64 (N,).
        noise: float64 (N,), deviation in display units.
        noise_offset: int64 (N,).
        occluder: int64 (N,), sprite or -1.
        occluder_x: float64 (N,), centre in image widths.
        occluder_y: float64 (N,), bottom (or centre) in image heights.
    """

    camera: NDArray[np.int64]
    left: Array
    horizon: Array
    mirrored: NDArray[np.bool_]
    light: Array
    key: Array
    sky: Array
    ground: Array
    exposure: Array
    contrast: Array
    saturation: Array
    haze: Array
    blur: Array
    blurs: NDArray[np.int64]
    noise: Array
    noise_offset: NDArray[np.int64]
    occluder: NDArray[np.int64]
    occluder_x: Array
    occluder_y: Array


def draw_cameras(keys: dict[str, Keys], variants: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    """Camera ids int64 (N,), uniform over the split's; variants 0, 1, 2 of a group have three different ones."""
    count = CAMERAS[split]
    group, image = Draws(keys["group"]), Draws(keys["camera"])
    half = (count - 1) // 2
    first = group.choice("first camera", np.ones(count))
    second = first + 1 + group.choice("second camera", np.ones(half))
    third = first + 1 + half + group.choice("third camera", np.ones(count - 1 - half))
    free = image.choice("camera", np.ones(count))
    local = np.select([variants == 0, variants == 1, variants == 2], [first, second, third], free) % count
    return np.asarray(FIRST_CAMERA[split] + local)


def draw_setting(keys: dict[str, Keys], variants: NDArray[np.int64], split: str, style: str) -> Setting:
    """Draw the scenes of N images."""
    scene, light = Draws(keys["scene"]), Draws(keys["light"])
    ids = draw_cameras(keys, variants, split)
    place = Draws(np.array([constant("camera", style, split, int(i)) for i in ids], np.uint64))
    elevation = light.uniform("elevation", 0.5, 1.2)
    azimuth = light.uniform("azimuth", -0.5, 0.5)
    direction = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.abs(np.cos(azimuth)) * np.cos(elevation) + 0.15], 1
    )
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    warm = light.uniform("warm", -1.0, 1.0)[:, None] * np.array([0.05, 0.005, -0.06])
    strength = light.uniform("strength", 0.9, 1.15) * (1.15 if style == "A" else 0.95)
    level = light.uniform("level", 0.43, 0.51)
    cast = _cast(place)
    night = light.flag("night", 0.02)
    exposure = np.exp(light.normal("exposure", 0.0, 0.085) + place.normal("exposure", 0.0, 0.09))
    # A camera sets its own exposure, so that the light of the hour changes the picture less than the light itself.
    exposure = exposure * np.where(night, 0.65, 1.0) * (0.8 / (0.75 * level + 0.42 * strength)) ** AUTO_EXPOSURE
    draws = Draws(keys["occluder"])
    rough = 0.95 if style == "B" else 0.75
    return Setting(
        camera=ids,
        left=(scene.choice("spot", np.ones(SPOTS)) + scene.uniform("left", 0.25, 0.75)) / SPOTS,
        horizon=np.clip(place.uniform("horizon", 0.67, 0.74) + scene.normal("horizon", 0.0, 0.02), 0.5, 0.88),
        mirrored=np.zeros(len(ids), bool),
        light=direction,
        key=strength[:, None] * (1.0 + warm),
        sky=level[:, None] * (1.0 - 0.6 * warm),
        ground=level[:, None] * 0.55 * (1.0 + 0.2 * warm),
        exposure=exposure[:, None] * cast,
        contrast=place.uniform("contrast", 0.40, 0.55),
        saturation=place.uniform("saturation", 0.75, 0.9),
        haze=np.maximum(0.0, light.uniform("haze", -0.25, 0.08)) + 0.03 * (style == "B"),
        blur=light.uniform("blur", 0.02, 0.17),
        blurs=light.choice("blurs", (0.52, 0.40, 0.06, 0.02)),
        noise=rough * (0.007 + 0.012 * light.uniform("noise") ** 2 + 0.006 * place.uniform("noise") ** 2),
        noise_offset=(scene.bits("noise")[:, 0] % np.uint64(1 << 18)).astype(np.int64),
        occluder=np.where(draws.flag("occluded", OCCLUDER_SHARE), draws.choice("sprite", SPRITE_WEIGHTS), -1),
        occluder_x=draws.uniform("x", -0.02, 1.02),
        occluder_y=draws.uniform("y", 0.92, 1.12),
    )


def _cast(place: Draws) -> Array:
    """White balance of a camera: along the daylight axis (blue to amber), hardly along green-magenta."""
    amber = place.normal("amber", 0.0, 0.03)[:, None] * np.array([1.0, 0.15, -1.0])
    green = place.normal("green", 0.004, 0.008)[:, None] * np.array([-0.5, 1.0, -0.5])
    return np.asarray(np.exp(amber + green))


# ---------------------------------------------------------------------------------------------------------------------
# Places


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Array:
    """Band-limited noise about 0 with deviation near 1, bilinear between lattice points `cell` pixels apart."""
    rows, columns = int(height / cell) + 3, int(width / cell) + 3
    lattice = rng.standard_normal((rows, columns))
    y, x = np.arange(height) / cell, np.arange(width) / cell
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = y - iy, x - ix
    fy, fx = (fy * fy * (3 - 2 * fy))[:, None], (fx * fx * (3 - 2 * fx))[None]
    top = lattice[iy][:, ix] * (1 - fx) + lattice[iy][:, ix + 1] * fx
    low = lattice[iy + 1][:, ix] * (1 - fx) + lattice[iy + 1][:, ix + 1] * fx
    return np.asarray(top * (1 - fy) + low * fy)


def _fractal(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 4) -> Array:
    total = np.zeros((height, width))
    for octave in range(octaves):
        size = cell / 2**octave
        if size >= 1.0:
            total += _smooth_noise(rng, height, width, size) * 0.6**octave
    return total


def _muted(rng: np.random.Generator, low: float, high: float, saturation: float) -> Array:
    """A display colour of limited saturation: streets are grey, brown, green and blue rather than magenta."""
    anchors = np.array([[1.06, 1.0, 0.90], [0.94, 1.0, 1.06], [0.95, 1.04, 0.92], [1.12, 0.97, 0.84], [1.0, 1.0, 1.0]])
    tint = 1.0 + (anchors[rng.integers(len(anchors))] - 1.0) * saturation * rng.uniform(0.4, 2.0)
    return np.asarray(np.clip(rng.uniform(low, high) * tint, 0.02, 0.97))


def _grid_lines(height: int, width: int, dy: float, dx: float, line: float, shift: bool) -> Array:
    """Mortar of bricks or joints of slabs, 0 .. 1."""
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    row = np.floor(y / dy)
    offset = (row % 2) * dx / 2 if shift else 0.0
    gy, gx = np.abs((y / dy) % 1 - 0.5) * dy, np.abs(((x + offset) / dx) % 1 - 0.5) * dx
    return np.asarray(np.clip(np.maximum(gy - (dy / 2 - line), gx - (dx / 2 - line)), 0, 1))


@lru_cache(maxsize=40)
def place(camera: int, style: str, height: int, width: int) -> Picture:
    """The place that a camera looks at, float32 (3, 2 height, PLACE_WIDTH width), linear light.

    The ground line is row `height`.
    """
    rng = np.random.default_rng(int(constant("place", style, camera)))
    unit = height / 128.0
    full_w = PLACE_WIDTH * width
    wall = _wall(rng, height, full_w, unit, style)
    _clutter(rng, wall, unit)
    ground = _ground(rng, height, full_w, unit, style)
    picture = np.concatenate([wall, ground], axis=0)
    base = max(1, int(2 * unit))
    picture[height - base : height + base // 2] *= 0.72  # the crease where wall and ground meet
    soften = rng.uniform(0.0, 1.0)
    if soften > 0.45:  # out of focus
        for _ in range(1 + int(soften * 3 * unit)):
            picture[1:-1] = (picture[:-2] + 2 * picture[1:-1] + picture[2:]) / 4
            picture[:, 1:-1] = (picture[:, :-2] + 2 * picture[:, 1:-1] + picture[:, 2:]) / 4
    picture = _quiet(picture)
    return np.ascontiguousarray((np.clip(picture, 0, 1) ** 2).transpose(2, 0, 1), np.float32)


def _quiet(picture: Array) -> Array:
    """The painted place, paler and flatter: display values (H, W, 3)."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    # About the mean of what one image would show, so that one view is as bright as the next.
    window = grey.shape[1] // PLACE_WIDTH
    around = np.pad(grey.mean(axis=0), (window // 2, window - window // 2 - 1), mode="edge")
    level = PALE + FLATNESS * (grey - np.convolve(around, np.full(window, 1.0 / window), mode="valid"))
    # Ground lies in the light, walls stand half in the shade, everywhere.
    level += np.where(np.arange(len(grey)) < len(grey) // 2, -0.5 * STEP, 0.5 * STEP)[:, None]
    return np.asarray(level[..., None] + PLACE_CHROMA * (picture - grey[..., None]))


def _wall(rng: np.random.Generator, height: int, width: int, unit: float, style: str) -> Array:
    kind = rng.integers(6) if style == "A" else rng.integers(2, 8)
    colour = _muted(rng, 0.32, 0.78, 1.2)
    noise = _fractal(rng, height, width, 40 * unit)
    wall = colour[None, None] * (1.0 + 0.07 * noise[..., None])
    fine = _smooth_noise(rng, height, width, 1.7)[..., None]
    if kind in (0, 6):  # bricks
        mortar = _grid_lines(height, width, 5 * unit, 12 * unit, 0.9 * unit, True)[..., None]
        wall = wall * (1 + 0.06 * fine) * (1 - mortar) + np.clip(colour * 1.2, 0, 0.9) * mortar
    elif kind in (1, 7):  # slabs
        joints = _grid_lines(height, width, rng.uniform(16, 30) * unit, rng.uniform(20, 40) * unit, 0.8 * unit, False)
        wall *= 1 - 0.35 * joints[..., None]
    elif kind == 2:  # hedge and trees
        leaves = _fractal(rng, height, width, 9 * unit, 3)[..., None]
        green = np.array([0.24, 0.36, 0.17]) * rng.uniform(0.8, 1.5)
        wall = green * (1.0 + 0.42 * leaves + 0.12 * fine)
    elif kind == 3:  # street into the distance: pale sky above facades
        skyline = (height * rng.uniform(0.25, 0.55) + 8 * unit * _smooth_noise(rng, 1, width, 30 * unit)[0]).astype(int)
        above = np.arange(height)[:, None] < skyline[None]
        sky = np.array([0.72, 0.80, 0.88]) * rng.uniform(0.85, 1.1)
        wall = np.where(above[..., None], sky, wall * 0.9)
    elif kind == 4:  # shutters, corrugated
        wave = np.sin(np.arange(height) * 2 * np.pi / (4 * unit))[:, None, None]
        wall *= 1 + 0.10 * wave
    else:  # plaster
        wall *= 1 + 0.04 * fine
    return np.asarray(wall * np.linspace(1.05, 0.9, height)[:, None, None])


def _ground(rng: np.random.Generator, height: int, width: int, unit: float, style: str) -> Array:
    kind = rng.integers(4) if style == "A" else rng.integers(1, 5)
    colour = _muted(rng, 0.28, 0.66, 0.8)
    ground = colour * (1 + 0.05 * _fractal(rng, height, width, 30 * unit)[..., None])
    fine = _smooth_noise(rng, height, width, 1.5)[..., None]
    depth = np.linspace(0.0, 1.0, height)[:, None]
    if kind in (0, 4):  # slabs in perspective
        rows = (np.sqrt(depth + 0.02) * 9) % 1
        joints = np.clip(1 - np.minimum(rows, 1 - rows) * 14, 0, 1)
        x = (np.arange(width)[None] - width / 2) / (0.35 + 1.2 * depth)
        columns = (x / (15 * unit)) % 1
        joints = np.maximum(joints, np.clip(1 - np.minimum(columns, 1 - columns) * 12, 0, 1))
        ground = ground * (1 - 0.25 * joints[..., None])
    elif kind == 1:  # grass
        ground = np.array([0.33, 0.42, 0.20]) * rng.uniform(0.75, 1.2) * (1 + 0.16 * fine)
    elif kind == 2:  # asphalt with a line
        ground *= 1 + 0.06 * fine
        row = int(rng.uniform(0.08, 0.3) * height)
        ground[row : row + max(1, int(3 * unit))] = np.array([0.74, 0.73, 0.68])
    else:
        ground *= 1 + 0.08 * fine
    return np.asarray(ground * (0.86 + 0.22 * depth[..., None]))


def _box(picture: Array, x0: float, x1: float, y0: float, y1: float, colour: Array, shade: float = 0.0) -> None:
    """An upright box with a soft left-right shading."""
    height, width = picture.shape[:2]
    a, b, c, d = max(0, int(x0)), min(width, int(x1)), max(0, int(y0)), min(height, int(y1))
    if b > a and d > c:
        ramp = 1.0 + shade * np.linspace(-1, 1, b - a)[None, :, None]
        picture[c:d, a:b] = np.clip(colour * ramp, 0, 1)


def _clutter(rng: np.random.Generator, wall: Array, unit: float) -> None:
    """Windows, doors, posters, trunks, lamp posts, parked things, passers-by far away."""
    height, width = wall.shape[:2]
    x = rng.uniform(-20, 20) * unit
    while x < width:
        kind = rng.integers(8)
        w = rng.uniform(14, 30) * unit
        if kind in (0, 1):  # window with frame and panes
            top, low = rng.uniform(0.1, 0.4) * height, rng.uniform(0.5, 0.75) * height
            _box(wall, x - unit, x + w + unit, top - unit, low + 2 * unit, _muted(rng, 0.5, 0.85, 0.6))
            glass = np.array([0.20, 0.25, 0.30]) * rng.uniform(0.6, 2.2)
            half = (x + w / 2, (top + low) / 2)
            for px0, px1 in ((x + unit, half[0] - unit * 0.5), (half[0] + unit * 0.5, x + w - unit)):
                _box(wall, px0, px1, top + unit, half[1], np.clip(glass * 1.3, 0, 1), 0.15)
                _box(wall, px0, px1, half[1] + unit, low, np.clip(glass, 0, 1), 0.15)
        elif kind == 2:  # door
            _box(wall, x, x + w * 0.9, rng.uniform(0.25, 0.45) * height, height, _muted(rng, 0.15, 0.5, 2.5), 0.1)
        elif kind == 3:  # trunk or lamp post
            thin = rng.uniform(2.0, 7.0) * unit
            _box(wall, x, x + thin, rng.uniform(-0.2, 0.3) * height, height, np.array([0.24, 0.19, 0.15]), 0.35)
        elif kind == 4:  # poster or sign
            top = rng.uniform(0.25, 0.5) * height
            _box(wall, x, x + w * 0.6, top, top + w * 0.8, _muted(rng, 0.3, 0.8, 5.0))
            _box(wall, x + w * 0.08, x + w * 0.5, top + w * 0.15, top + w * 0.3, _muted(rng, 0.3, 0.9, 4.0))
        elif kind == 5:  # parked car or kiosk
            colour = _muted(rng, 0.2, 0.75, 3.0)
            _box(wall, x, x + w * 1.9, 0.80 * height, 0.985 * height, colour, 0.1)
            _box(wall, x + w * 0.35, x + w * 1.5, 0.68 * height, 0.81 * height, np.array([0.16, 0.19, 0.22]), 0.2)
            _box(wall, x, x + w * 1.9, 0.955 * height, height, np.array([0.07, 0.07, 0.08]))
        elif kind == 6:  # people far away, as blurred columns
            for _ in range(int(rng.integers(1, 4))):
                px, tall = x + rng.uniform(0, w), rng.uniform(0.24, 0.34) * height
                foot = height * rng.uniform(0.985, 1.0)
                body_w = tall * 0.24
                _box(wall, px, px + body_w, foot - tall * 0.82, foot - tall * 0.42, _muted(rng, 0.15, 0.75, 4.0), 0.2)
                _box(wall, px + body_w * 0.15, px + body_w * 0.85, foot - tall * 0.44, foot, _muted(rng, 0.1, 0.4, 1.0))
                _box(wall, px + body_w * 0.3, px + body_w * 0.72, foot - tall, foot - tall * 0.82,
                     np.array([0.55, 0.42, 0.34]) * rng.uniform(0.4, 1.4))  # fmt: skip
        x += w * rng.uniform(1.1, 3.2)


# ---------------------------------------------------------------------------------------------------------------------
# Occluders: sprites with an alpha plane

SPRITES: Final = ("pole", "post", "bin", "rail", "plant", "hedge", "bollard", "bicycle stand")
SPRITE_WEIGHTS: Final = (5.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A thing in the way: linear-light colour float32 (3, h, w), alpha float32 (h, w), both at image resolution."""

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]


@lru_cache(maxsize=64)
def sprite(index: int, style: str, height: int) -> Sprite:
    """Occluder `index` (see SPRITES), as tall as it appears in images of `height`; painted at 4 x, then averaged."""
    rng = np.random.default_rng(int(constant("sprite", style, index)))
    unit = 4.0 * height / 128.0
    name = SPRITES[index]
    tall = {"pole": 1.25, "post": 1.25, "bin": 0.30, "rail": 0.34, "plant": 0.36, "hedge": 0.30, "bollard": 0.30,
            "bicycle stand": 0.26}[name] * 128 * unit  # fmt: skip
    wide = {"pole": 5.0, "post": 9.0, "bin": 25.0, "rail": 72.0, "plant": 30.0, "hedge": 60.0, "bollard": 9.0,
            "bicycle stand": 40.0}[name] * unit  # fmt: skip
    h, w = int(tall) // 4 * 4, max(8, int(wide) // 4 * 4)
    y, x = np.arange(h)[:, None] / h, np.arange(w)[None] / w
    round_x = np.sqrt(np.clip(1 - (2 * x - 1) ** 2, 0, 1)) + 0 * y  # shading of a cylinder
    alpha: NDArray[Any] = np.ones((h, w))
    colour = _muted(rng, 0.25, 0.5, 1.5)[None, None] * (0.45 + 0.65 * round_x)[..., None]
    if name == "post":
        colour = np.array([0.42, 0.33, 0.25]) * (0.5 + 0.6 * round_x[..., None])
        colour = colour * (1 + 0.12 * _smooth_noise(rng, h, w, 6.0)[..., None])
    elif name == "bin":
        alpha = ((np.abs(2 * x - 1) < 0.92 - 0.14 * y) | (y < 0.12)) & ~((y < 0.05) & (np.abs(2 * x - 1) > 0.85))
        ribs = 0.9 + 0.1 * np.sin(x * 60)
        colour = np.array([0.16, 0.30, 0.22]) * (0.55 + 0.7 * round_x[..., None]) * ribs[..., None]
        colour = np.where((y < 0.12)[..., None], colour * 0.65, colour)
    elif name in ("rail", "bicycle stand"):
        bars = np.abs((x * (9 if name == "rail" else 4)) % 1 - 0.5) > 0.41
        beams = (y < 0.07) | (np.abs(y - 0.62) < 0.03)
        alpha = (bars & (y > 0.03)) | beams
        metal = _muted(rng, 0.4, 0.7, 0.8)
        colour = metal * np.where(beams, 1.1, 0.8)[..., None] * (1 + 0 * x[..., None])
    elif name in ("plant", "hedge"):
        clumps = _fractal(rng, h, w, 22.0 * unit / 4, 3)
        crown = 1.0 - ((2 * x - 1) ** 2 * 0.9 + ((y - 0.38) / 0.42) ** 2) if name == "plant" else 8 * (y - 0.12)
        pot = (np.abs(2 * x - 1) < 0.5 - 0.15 * (y - 0.7)) & (y > 0.72)
        leaf = (crown + 0.45 * clumps) > 0.15
        alpha = (leaf | pot) if name == "plant" else leaf
        green = np.array([0.20, 0.38, 0.14]) * (1 + 0.45 * np.clip(clumps, -1, 1.4))[..., None]
        pot_rgb = np.array([0.50, 0.28, 0.18]) * (0.6 + 0.5 * round_x[..., None])
        colour = np.where((leaf & ~pot if name == "plant" else leaf)[..., None], green, pot_rgb)
    elif name == "bollard":
        colour = np.where(((y * 6).astype(int) % 2 == 0)[..., None], colour, np.array([0.75, 0.72, 0.66]) * (
            0.45 + 0.65 * round_x)[..., None])  # fmt: skip
        alpha = (y > 0.06) | (np.abs(2 * x - 1) < np.sqrt(np.clip(y / 0.06, 0, 1)))
    alpha = np.asarray(np.broadcast_to(alpha, (h, w)), np.float64)
    linear = np.clip(np.broadcast_to(colour, (h, w, 3)), 0, 1) ** 2 * alpha[..., None]

    def shrink(a: Array) -> Array:
        return np.asarray(a.reshape(h // 4, 4, w // 4, 4, -1).mean(axis=(1, 3)))

    small = shrink(alpha)[..., 0]
    rgb = shrink(linear) / np.maximum(small, 1e-6)[..., None]
    return Sprite(np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32), small.astype(np.float32))
