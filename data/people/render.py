"""From (spec, groups, variants) to images with exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.data.people import body, figure, motion, raycast, scene, shade, view, wardrobe
from hcbench.data.people.spec import Draws, PeopleSpec, draw_street, factor_keys

Array = NDArray[np.float64]
BATCH: Final = 64
"""Images per internal batch: enough to make the cost of a call small."""
_CAMERA_BATCH: Final = 4
_MIDDLE: Final = 112.0
"""Display level that a camera's contrast leaves alone."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything about N images before a ray is cast; pure functions of the factor keys."""

    spec: PeopleSpec
    person: wardrobe.Person
    pose: motion.Pose
    skeleton: body.Skeleton
    view: view.View
    setting: scene.Setting
    primitives: dict[str, Array]

    def __len__(self) -> int:
        return len(self.view.scale)


@dataclass(frozen=True, slots=True)
class Pictures:
    """N rendered images and their ground truth.

    Attributes:
        images: uint8 (N, 3, H, W).
        parts: uint8 (N, H, W), ids of `figure.PARTS`.
        depth: float32 (N, H, W), pixels towards the camera; -inf where no person is.
        keypoints: float32 (N, 17, 3), x, y, v with v = 2 visible, 1 hidden, 0 outside (then x = y = 0).
        skeleton: float32 (N, 17, 2), x, y of all keypoints, also of those outside.
        area: float32 (N,), visible pixels of the person.
        full_area: float32 (N,), pixels of the person were nothing in front.
        boxes: float32 (N, 4), x, y, w, h of the visible person.
        stature: float32 (N,), the person's height when standing, in pixels.
    """

    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    depth: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    skeleton: NDArray[np.float32]
    area: NDArray[np.float32]
    full_area: NDArray[np.float32]
    boxes: NDArray[np.float32]
    stature: NDArray[np.float32]


def build_world(spec: PeopleSpec, groups: NDArray[np.int64], variants: NDArray[np.int64]) -> World:
    """Draw N images; `groups` and `variants` are int64 (N,)."""
    keys = factor_keys(spec, groups, variants)
    person = wardrobe.draw_person(keys, spec.split, spec.style)
    street = draw_street(spec, keys)
    pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]), street)
    bones = body.draw_bones(Draws(keys["skeleton"]), person.woman, person.elder, spec.style)
    skeleton = body.forward_kinematics(pose, bones)
    camera = view.draw_view(Draws(keys["view"]), Draws(keys["framing"]), skeleton, spec.height, spec.width, street)
    setting = scene.draw_setting(keys, variants, spec.split, spec.style)
    primitives = figure.build_figure(
        skeleton, wardrobe.in_local_light(person, Draws(keys["light"])), pose, Draws(keys["scene"])
    )
    return World(spec, person, pose, skeleton, camera, setting, primitives)


def render(
    spec: PeopleSpec, groups: NDArray[np.int64], variants: NDArray[np.int64], *, background_only: bool = False
) -> Pictures:
    """Render N images; the result of each depends on (spec, group, variant) alone."""
    return render_world(build_world(spec, groups, variants), background_only=background_only)


@torch.no_grad()
def render_world(world: World, *, background_only: bool = False) -> Pictures:
    """Render a world in batches of `BATCH`; `background_only` leaves person, chair and occluder out."""
    _settle_allocator()
    parts = [
        _render_batch(world, slice(first, first + BATCH), background_only) for first in range(0, len(world), BATCH)
    ]
    names = Pictures.__dataclass_fields__
    return Pictures(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _render_batch(world: World, rows: slice, background_only: bool) -> Pictures:
    spec, setting = world.spec, world.setting
    h, w = spec.height, spec.width
    index = np.arange(len(world))[rows]
    n = len(index)
    canvas = _background(world, index)
    parts = torch.zeros(n * h * w, dtype=torch.uint8)
    depth = torch.full((n * h * w,), -torch.inf)
    if not background_only:
        _contact_shadow(canvas, world, index)
        capsules, material = _primitives(world, rows)
        hits = raycast.trace(capsules, h, w)
        _draw(canvas, parts, depth, capsules, material, hits, world, rows)
    skeleton = world.view.project(body.keypoints(world.skeleton))[rows]
    part_map, depth_map = parts.view(n, h, w), depth.view(n, h, w)
    body_map = part_map.numpy().copy()
    if not background_only:
        _occlude(canvas, part_map, setting, index, spec)
    images = _camera(canvas, setting, index)
    seen = part_map.numpy()
    person = (seen > 0) & (seen < figure.PART["object"])
    return Pictures(
        images=images, parts=seen, depth=depth_map.numpy(),
        keypoints=_visibility(skeleton, seen, depth_map.numpy(), world.view.scale[rows]),
        skeleton=skeleton[..., :2].astype(np.float32), area=person.sum(axis=(1, 2)).astype(np.float32),
        full_area=((body_map > 0) & (body_map < figure.PART["object"])).sum(axis=(1, 2)).astype(np.float32),
        boxes=mask_boxes(person),
        stature=(world.skeleton.bones.stature[rows] * world.view.scale[rows]).astype(np.float32),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _settle_allocator() -> None:
    """Free one large block, after which glibc serves planes from its heap instead of mapping fresh pages each time.

    Its threshold for mapping follows the largest mapped block that was freed (up to 32 MiB). Without this, each
    temporary plane may be mapped and faulted in anew.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def mask_boxes(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Tight boxes (x, y, w, h) of masks (N, H, W); an empty mask gives zeros."""
    columns: NDArray[np.bool_] = np.any(mask, axis=1)
    rows: NDArray[np.bool_] = np.any(mask, axis=2)
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1 = mask.shape[2] - columns[:, ::-1].argmax(axis=1)
    y1 = mask.shape[1] - rows[:, ::-1].argmax(axis=1)
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
    return np.asarray(boxes * np.any(columns, axis=1, keepdims=True), np.float32)


def _visibility(
    skeleton: Array, parts: NDArray[np.uint8], depth: NDArray[np.float32], scale: Array
) -> NDArray[np.float32]:
    """2 where the surface at the joint's pixel belongs to the joint, 1 where something lies in front, 0 outside."""
    n, h, w = parts.shape
    x, y = np.rint(skeleton[..., 0]).astype(int), np.rint(skeleton[..., 1]).astype(int)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    rows, xc, yc = np.arange(n)[:, None], x.clip(0, w - 1), y.clip(0, h - 1)
    in_front = depth[rows, yc, xc] - skeleton[..., 2]
    # Flesh between a joint's centre and its surface, metres: face points lie on the skin, hips deepest.
    flesh = np.array([0.05] * 5 + [0.11] * 2 + [0.08] * 4 + [0.17] * 2 + [0.10] * 2 + [0.10] * 2)
    clear = (in_front < flesh * scale[:, None]) & (parts[rows, yc, xc] != figure.PART["occluder"])
    out = np.zeros((n, skeleton.shape[1], 3), np.float32)
    out[..., :2] = np.where(inside[..., None], skeleton[..., :2], 0.0)
    out[..., 2] = np.where(inside, np.where(clear, 2, 1), 0)
    return out


def _background(world: World, index: NDArray[np.int64]) -> Tensor:
    """Windows of the places, linear light, float32 (n, 3, H, W)."""
    spec, s = world.spec, world.setting
    h, w = spec.height, spec.width
    canvas = np.empty((len(index), 3, h, w), np.float32)
    level = (s.sky * 0.75 + s.key * 0.42).astype(np.float32)[:, :, None, None]
    for row, i in enumerate(index):
        picture = scene.place(int(s.camera[i]), spec.style, h, w)
        x = int(s.left[i] * (picture.shape[2] - w))
        y = h - int(s.horizon[i] * h)
        window = picture[:, y : y + h, x : x + w]
        np.multiply(window[..., ::-1] if s.mirrored[i] else window, level[i], out=canvas[row])
    return torch.from_numpy(canvas)


def _contact_shadow(canvas: Tensor, world: World, index: NDArray[np.int64]) -> None:
    """Soft dark ellipses under feet, hips and between: separable, so two short vectors per ellipse."""
    h, w = canvas.shape[2:]
    sk = world.skeleton
    ground = np.stack([sk.ankle[:, 0], sk.ankle[:, 1], sk.toe[:, 0], sk.toe[:, 1], sk.pelvis], axis=1)[index]
    raised = ground[..., 1].copy()
    ground[..., 1] = 0.0
    points = np.einsum("nij,nmj->nmi", world.view.linear[index], ground) + world.view.offset[index, None]
    scale = world.view.scale[index, None]
    wide = np.array([0.10, 0.10, 0.09, 0.09, 0.34]) * scale * (1 + 1.5 * np.clip(raised, 0, 0.5))
    tall = wide * np.array([0.35, 0.35, 0.35, 0.35, 0.22])
    weight = np.array([0.36, 0.36, 0.27, 0.27, 0.30]) * np.clip(1.2 - 1.6 * raised, 0.25, 1.0)
    weight[:, 4] = 0.30
    dx = (np.arange(w) - points[..., :1]) / wide[..., None]
    dy = (np.arange(h) - points[..., 1:2]) / tall[..., None]
    fx = torch.from_numpy((np.exp(-0.5 * dx**2) * weight[..., None]).astype(np.float32))
    fy = torch.from_numpy(np.exp(-0.5 * dy**2).astype(np.float32))
    dark = torch.bmm(fy.transpose(1, 2), fx).clamp_(max=0.75).neg_().add_(1.0)
    canvas.mul_(dark[:, None])


def _primitives(world: World, rows: slice) -> tuple[raycast.Capsules, Tensor]:
    """Active primitives of the rows in pixels, and their material table float32 (len(MATERIAL), K)."""
    p = {name: value[rows] for name, value in world.primitives.items()}
    linear, offset, scale = world.view.linear[rows], world.view.offset[rows], world.view.scale[rows]
    image, slot = np.nonzero(p["active"] > 0)

    def place(points: Array) -> Array:
        return np.asarray(np.einsum("kij,kj->ki", linear[image], points[image, slot]) + offset[image])

    def turn(vectors: Array) -> Array:
        return np.asarray(np.einsum("kij,kj->ki", linear[image], vectors[image, slot]) / scale[image, None])

    per_metre = scale[image]
    radius0 = np.maximum(p["radius0"][image, slot] * per_metre, 0.9)
    radius1 = np.maximum(p["radius1"][image, slot] * per_metre, 0.9)
    axes = {name: turn(p[name]) for name in ("side", "up", "front")}
    capsules = raycast.prepare_capsules(
        place(p["start"]), place(p["end"]), radius0, radius1, axes["front"], p["flatten"][image, slot],
        p["cut"][image, slot], image, len(linear),
    )  # fmt: skip
    columns = [axes[name] / per_metre[:, None] for name in ("side", "up", "front")]
    columns.append(place(p["origin"]))
    columns += [p[name][image, slot] for name in ("rgb", "rgb2", "rgb3")]
    scalars = [p[name][image, slot] for name in shade.MATERIAL[21:-1]]
    scalars.append(
        shade.flags({name: p[name][image, slot] for name in ("kind", "pattern", "strap", "split", "feature")})
    )
    scalars.append(p["part"][image, slot])
    table = np.concatenate([np.concatenate(columns, axis=1).T, np.stack(scalars)]).astype(np.float32)
    return capsules, torch.from_numpy(table)


def _draw(
    canvas: Tensor, parts: Tensor, depth: Tensor, capsules: raycast.Capsules, material: Tensor, hits: raycast.Hits,
    world: World, rows: slice,
) -> None:  # fmt: skip
    """Shade the fragments and lay them over the canvas."""
    h, w = canvas.shape[2:]
    pixel = (hits.image * h + hits.y) * w + hits.x
    # A front fragment that only feathers the pixel lies over the body fragment behind it: both are shaded.
    edges = raycast.where_true((hits.body >= 0) & (hits.body != hits.front))
    # Deepest first; padded, so that no fragment's arithmetic depends on where an array ends.
    order = shade.padded(torch.cat([edges, torch.arange(len(pixel))]))
    primitive = torch.cat([hits.body.index_select(0, edges), hits.front.index_select(0, order[len(edges) :])])
    column, row = hits.x.index_select(0, order).float(), hits.y.index_select(0, order).float()
    frag = shade.Fragments(primitive, pixel.index_select(0, order), column, row)
    columns = shade.Columns(material, shade.MATERIAL, primitive)
    part = material[-1].index_select(0, primitive).to(torch.uint8)
    first = order[len(edges) :]
    surface = shade.surface(capsules, columns, frag)
    light = shade.Columns(_lights(world, rows), shade.LIGHT, capsules.image.index_select(0, primitive))
    skip = len(edges)
    depth.index_copy_(0, frag.pixel[skip:], surface.z[skip:])
    depth.index_copy_(0, frag.pixel[:skip], surface.z[:skip])
    shadow = _shadow(depth, frag, surface.z, light, h, w)
    rgb = shade.light(shade.albedo(columns, surface), columns, light, surface, shadow)
    alpha = hits.cover.index_select(0, first)
    alpha.index_copy_(0, edges, _own_cover(capsules, frag, skip + edges))
    base = hits.image.index_select(0, order).mul_(2 * h * w).add_(frag.pixel)  # index of the red value
    flat = canvas.view(-1)
    for channel in range(3):
        where = base + channel * (h * w)
        flat.index_copy_(0, where[:skip], rgb[channel][:skip])
        under = flat.index_select(0, where[skip:])
        flat.index_copy_(0, where[skip:], (rgb[channel][skip:] - under).mul_(alpha).add_(under))
    mostly = raycast.where_true(alpha >= 0.5)
    parts.index_copy_(0, frag.pixel[:skip], part[:skip])
    parts.index_copy_(0, frag.pixel[skip:].index_select(0, mostly), part[skip:].index_select(0, mostly))
    faint = raycast.where_true((alpha < 0.5) & (hits.body.index_select(0, first) < 0))
    depth.index_fill_(0, frag.pixel[skip:].index_select(0, faint), -torch.inf)


def _own_cover(capsules: raycast.Capsules, frag: shade.Fragments, rows: Tensor) -> Tensor:
    """Coverage of the fragments `rows` by their own primitive, 0 .. 1."""
    table = capsules.table.index_select(1, frag.primitive.index_select(0, rows))
    column = dict(zip(raycast.GEOMETRY, table.unbind(0), strict=True))
    column["r0"] = column["r0"] - raycast.FEATHER / column["edge"]
    _, disc, _, t_free, _, _, radius = raycast.evaluate(
        column, frag.px.index_select(0, rows), frag.py.index_select(0, rows)
    )
    alpha = disc / (radius.clamp(min=0.3) * 2.0) * column["edge"] + 1.0
    hem = (column["cut"] - t_free) * column["cut_length"] + 1.0
    return torch.minimum(alpha, hem).clamp_(0.0, 1.0)


def _lights(world: World, rows: slice) -> Tensor:
    s = world.setting
    return torch.from_numpy(
        np.concatenate([s.light[rows], s.key[rows], s.sky[rows], s.ground[rows]], axis=1).T.astype(np.float32)
    )


def _shadow(depth: Tensor, frag: shade.Fragments, z: Tensor, light: shade.Columns, h: int, w: int) -> Tensor:
    """March a few steps towards the light over the depth map: 1 lit, 0 in shadow."""
    unit = h / 128.0
    base = frag.pixel - (frag.py * w + frag.px).long()
    shadow = torch.zeros_like(z)
    for step in (2.0, 4.5, 8.0, 13.0):
        reach = step * unit
        x = (frag.px + light["light_x"] * reach).round_().clamp_(0, w - 1)
        y = (frag.py + light["light_y"] * reach).round_().clamp_(0, h - 1)
        above = depth.index_select(0, base + (y * w + x).long())
        above = above.clamp_(min=-1e4) - z - light["light_z"] * reach
        soft = (above - 0.8 * unit).mul_(0.5 / unit).clamp_(0.0, 1.0)
        thin = (28.0 * unit - above).mul_(0.25 / unit).clamp_(0.0, 1.0)
        shadow = torch.maximum(shadow, soft.mul_(thin).mul_(1.0 - step / 26.0))
    return shadow.neg_().add_(1.0)


def _occlude(canvas: Tensor, parts: Tensor, s: scene.Setting, index: NDArray[np.int64], spec: PeopleSpec) -> None:
    h, w = spec.height, spec.width
    for row, i in enumerate(index):
        if s.occluder[i] < 0:
            continue
        thing = scene.sprite(int(s.occluder[i]), spec.style, h)
        th, tw = thing.alpha.shape
        x0, y1 = int(s.occluder_x[i] * w - tw / 2), int(s.occluder_y[i] * h)
        y0 = y1 - th
        a, b, c, d = max(0, x0), min(w, x0 + tw), max(0, y0), min(h, y1)
        if b <= a or d <= c:
            continue
        alpha = torch.from_numpy(thing.alpha[c - y0 : d - y0, a - x0 : b - x0])
        rgb = torch.from_numpy(thing.rgb[:, c - y0 : d - y0, a - x0 : b - x0])
        level = torch.from_numpy((s.sky[i] * 0.75 + s.key[i] * 0.42).astype(np.float32))[:, None, None]
        region = canvas[row, :, c:d, a:b]
        region.add_((rgb * level - region) * alpha)
        parts[row, c:d, a:b].numpy()[thing.alpha[c - y0 : d - y0, a - x0 : b - x0] > 0.5] = figure.PART["occluder"]


@lru_cache(maxsize=1)
def _noise_bank() -> Tensor:
    """Gaussian noise, float32 (2^19,); images start reading at a place of their own."""
    generator = np.random.default_rng(20240229)
    return torch.from_numpy(generator.standard_normal((1 << 18) + (1 << 20)).astype(np.float32))


def _camera(canvas: Tensor, s: scene.Setting, index: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Blur, haze, white balance, tone curve and sensor noise; uint8 (n, 3, H, W); in cache-sized steps."""
    out = torch.empty(canvas.shape, dtype=torch.uint8)
    bank = _noise_bank()
    size = canvas[0].numel()
    for first in range(0, len(index), _CAMERA_BATCH):
        rows = index[first : first + _CAMERA_BATCH]
        part = canvas[first : first + _CAMERA_BATCH]

        def row(values: Array) -> Tensor:
            return torch.from_numpy(np.asarray(values, np.float32)).view(len(part), -1, 1, 1)  # noqa: B023

        for number in range(int(s.blurs[rows].max())):
            _blur(part, row(s.blur[rows] * (s.blurs[rows] > number)))
        # Display values are 255 sqrt(linear): the square of 255 goes into the gain.
        gain = s.exposure[rows] * 65025.0
        veil = s.haze[rows][:, None]
        part.mul_(row(gain * (1.0 - veil))).add_(row(gain * veil * 0.55)).clamp_(1e-3, 65025.0).sqrt_()
        # Steeper about the middle, clipped at black and white, with part of the colours: as surveillance cameras do.
        part.sub_(_MIDDLE).mul_(row(1.0 + s.contrast[rows])).add_(_MIDDLE).clamp_(0.0, 255.0)
        grey = part[:, :1] * 0.299 + part[:, 1:2] * 0.587 + part[:, 2:] * 0.114
        part.sub_(grey).mul_(row(s.saturation[rows])).add_(grey)
        for position, i in enumerate(rows):
            start = int(s.noise_offset[i])
            part[position].view(-1).add_(bank[start : start + size] * float(255.0 * s.noise[i]))
        out[first : first + _CAMERA_BATCH] = part.clamp_(0.0, 255.0)
    return out.numpy()


def _blur(images: Tensor, weight: Tensor) -> None:
    """(weight, 1 - 2 weight, weight) along rows and columns, in place; the outermost pixels stay."""
    for dim in (2, 3):
        size = images.shape[dim]
        sides = torch.add(images.narrow(dim, 0, size - 2), images.narrow(dim, 2, size - 2)).mul_(weight)
        images.narrow(dim, 1, size - 2).mul_(1.0 - 2.0 * weight).add_(sides)
