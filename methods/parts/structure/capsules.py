"""Structure maps by exact intersection of rays with capsules.

Orthographic rays along z; B bodies, h x w pixels, K capsules with axis a + t u, 0 <= t <= 1, and radius r. Silhouettes
alone cannot tell front from back (turned by 180 degrees they are their own mirror images): depth or shading can.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.methods.parts.structure.base import StructureProvider, Subjects, need_joints
from hcbench.methods.parts.structure.body import Capsules, capsules, turn

LIGHT = (-0.35, -0.5, 0.8)
"""Direction of the light in the image frame: from the upper left, out of the camera."""
AMBIENT = 0.25
CHANNELS = {"capsule": ("silhouette", "depth", "shading"), "capsule-gray": ("shading",)}


class CapsuleProvider(StructureProvider):
    """Capsules around joints in space.

    Args:
        name: "capsule" (silhouette, depth and shading) or "capsule-gray" (shading alone, like grey mesh renders).
    """

    def __init__(self, name: str = "capsule") -> None:
        self.name, self.channel_names = name, CHANNELS[name]
        self.channels = len(self.channel_names)
        self.fingerprint = f"{name}-1"

    def check(self, subjects: Subjects) -> None:
        """See `StructureProvider`."""
        need_joints(subjects)

    def render(self, subjects: Subjects, yaw: Tensor, size: tuple[int, int]) -> Tensor:
        """See `StructureProvider`."""
        return draw(need_joints(subjects), yaw, subjects.frame, size, self.channel_names)


@torch.no_grad()
def draw(
    joints: Tensor, yaw: Tensor, frame: tuple[int, int], size: tuple[int, int], channels: tuple[str, ...]
) -> Tensor:
    """Maps float32 (B, C, h, w) in [-1, 1] of joints (B, 17, 3) in images of `frame`, turned by `yaw` degrees.

    Channels: "silhouette" is 1 on the body; "depth" is the distance in front of the pelvis in half statures;
    "shading" is ambient light and a lamp on a matt surface. All are -1 where there is no body.
    """
    joints = joints if joints.dtype == torch.float64 else joints.float()
    bodies = capsules(turn(joints, yaw.to(joints.device)))
    rows, columns = (
        (torch.arange(n, dtype=joints.dtype, device=joints.device) + 0.5) * full / n - 0.5
        for n, full in zip(size, frame, strict=True)
    )
    depth, owner = trace(bodies, rows, columns)
    body = depth > -torch.inf
    maps = []
    for channel in channels:
        if channel == "silhouette":
            values = torch.ones_like(depth)
        elif channel == "depth":
            values = (depth - bodies.pelvis[:, 2, None, None]) / (0.5 * bodies.stature[:, None, None])
        else:
            values = 2 * _brightness(bodies, depth, owner, rows, columns) - 1
        maps.append(torch.where(body, values.clamp(-1, 1), -1.0))
    return torch.stack(maps, dim=1).float()


def trace(bodies: Capsules, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest surface under every pixel.

    Args:
        bodies: B bodies.
        rows: (h,), y of the pixel rows.
        columns: (w,), x of the pixel columns.

    Returns:
        Largest z (B, h, w), -inf where there is no body, and the capsule it belongs to, int64 (B, h, w).
    """
    depth = torch.full((len(bodies.stature), len(rows), len(columns)), -torch.inf, dtype=rows.dtype, device=rows.device)
    owner = torch.zeros_like(depth, dtype=torch.int64)
    # One capsule at a time: planes of a batch stay in the cache.
    for k in range(bodies.start.shape[1]):
        z = _nearest(bodies.start[:, k], bodies.end[:, k] - bodies.start[:, k], bodies.radius[:, k], rows, columns)
        nearer = z > depth
        depth = torch.where(nearer, z, depth)
        owner.masked_fill_(nearer, k)
    return depth, owner


def _nearest(start: Tensor, axis: Tensor, radius: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Largest z (B, h, w) on one capsule per body: its side, or one of the two spheres at its ends.

    With w = (dx, dy, z) from the start, the side is |w - u (w.u) / |u|^2|^2 = r^2 where 0 <= w.u <= |u|^2.
    """
    ax, ay, az = (value[:, None, None] for value in start.unbind(1))
    ux, uy, uz = (value[:, None, None] for value in axis.unbind(1))
    r2 = radius.square()[:, None, None]
    flat = ux.square() + uy.square()
    length = (flat + uz.square()).clamp(min=1e-9)  # |u|^2
    dx, dy = columns - ax, rows[:, None] - ay
    along = dx * ux + dy * uy
    across = dx.square() + dy.square()
    # a z^2 - 2 b z + c = 0; a is 0 for a capsule that points at the camera, whose ends are all that is seen.
    a = flat / length
    b = along * (uz / length)
    discriminant = b.square() - a * (across - along.square() / length - r2)
    z = (b + discriminant.clamp(min=0).sqrt()) / a.clamp(min=1e-9)
    share = (along + z * uz) / length
    side = (discriminant >= 0) & (share >= 0) & (share <= 1) & (a > 1e-9)
    first = r2 - across
    last = first + 2 * along - flat
    nearest = torch.where(side, z, -torch.inf)
    nearest = torch.maximum(nearest, torch.where(first >= 0, first.clamp(min=0).sqrt(), -torch.inf))
    return az + torch.maximum(nearest, torch.where(last >= 0, uz + last.clamp(min=0).sqrt(), -torch.inf))


def _brightness(bodies: Capsules, depth: Tensor, owner: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Brightness (B, h, w) in [0, 1] of the surface at `depth`; meaningless where there is none."""
    batch = torch.arange(len(depth), device=depth.device)[:, None, None]
    start, radius = bodies.start[batch, owner], bodies.radius[batch, owner]
    axis = bodies.end[batch, owner] - start
    x, y = columns.expand_as(depth), rows[:, None].expand_as(depth)
    point = torch.stack([x, y, depth], dim=3) - start
    share = ((point * axis).sum(dim=3) / axis.square().sum(dim=3).clamp(min=1e-9)).clamp(0, 1)
    normal = (point - share[..., None] * axis) / radius[..., None]
    light = F.normalize(torch.tensor(LIGHT, dtype=depth.dtype, device=depth.device), dim=0)
    return AMBIENT + (1 - AMBIENT) * (normal @ light).clamp(min=0)
