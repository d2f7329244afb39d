"""The generative networks: structure encoder, AdaIN decoder, multi-scale discriminator.

Shapes: B images of H x W pixels (multiples of 4), C structure channels, code F of S slices with E numbers each.
Convolutions of encoder and decoder pad by reflection, those with dilation and the discriminator's with zeros, so that
they take small images too.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.methods.parts.convolution import Conv2d

SLOPE = 0.2
_DILATIONS = (3, 6, 9)
_SCALES = 3


def _conv(cin: int, cout: int, kernel: int, stride: int = 1, *, dilation: int = 1, reflect: bool = True) -> Conv2d:
    padding = (kernel // 2) * dilation
    mirrored = reflect and padding > 0 and dilation == 1
    return Conv2d(
        cin, cout, kernel, stride, padding, dilation=dilation, padding_mode="reflect" if mirrored else "zeros"
    )


def _normed(cin: int, cout: int, kernel: int, stride: int = 1, *, dilation: int = 1) -> nn.Sequential:
    """Convolution, instance norm, leaky ReLU."""
    return nn.Sequential(
        _conv(cin, cout, kernel, stride, dilation=dilation), nn.InstanceNorm2d(cout), nn.LeakyReLU(SLOPE)
    )


class ResBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes; instance norm or none."""

    def __init__(self, dim: int, *, norm: bool) -> None:
        super().__init__()
        self.first, self.second = _conv(dim, dim, 3, reflect=norm), _conv(dim, dim, 3, reflect=norm)
        self.norm = nn.InstanceNorm2d(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) to the same shape."""
        y: Tensor = self.norm(self.second(F.leaky_relu(self.norm(self.first(x)), SLOPE)))
        return x + y


class StructureEncoder(nn.Module):
    """E_str: structure maps (B, C, H, W) to structure codes (B, 8 * dim, H / 4, W / 4).

    Args:
        channels: C.
        dim: Width of the first layer.
        blocks: Residual blocks.
    """

    def __init__(self, channels: int, dim: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            _normed(channels, dim, 3, 2),
            _normed(dim, 2 * dim, 3),
            _normed(2 * dim, 2 * dim, 3),
            _normed(2 * dim, 4 * dim, 3, 2),
            *(ResBlock(4 * dim, norm=True) for _ in range(blocks)),
        )
        self.near = _normed(4 * dim, 2 * dim, 1)
        self.far = nn.ModuleList(
            nn.Sequential(_normed(4 * dim, 2 * dim, 1), _normed(2 * dim, 2 * dim, 3, dilation=dilation))
            for dilation in _DILATIONS
        )
        self.fuse = _normed(8 * dim, 8 * dim, 1)
        self.apply(_kaiming)

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        x = self.down(maps)
        out: Tensor = self.fuse(torch.cat([self.near(x), *(branch(x) for branch in self.far)], dim=1))
        return out


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance norm of (B, D, h, w), then scale and shift, (B, D) each; the scale is taken as it is, without 1 +."""
    return F.instance_norm(x, eps=1e-5) * scale[:, :, None, None] + shift[:, :, None, None]


class AdainBlock(nn.Module):
    """Two 3x3 convolutions with AdaIN around which the input passes; its numbers come from a slice of the code.

    Args:
        dim: Width.
        code: Length E of the slice.
        hidden: Width of the two hidden layers of the MLPs.
    """

    def __init__(self, dim: int, code: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = _conv(dim, dim, 3), _conv(dim, dim, 3)
        self.scale, self.shift = _mlp(code, hidden, 2 * dim), _mlp(code, hidden, 2 * dim)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(B, dim, h, w) and (B, E) to (B, dim, h, w)."""
        scale, shift = self.scale(code).chunk(2, dim=1), self.shift(code).chunk(2, dim=1)
        y = F.leaky_relu(adain(self.first(x), scale[0], shift[0]), SLOPE)
        return x + adain(self.second(y), scale[1], shift[1])


def _mlp(cin: int, hidden: int, cout: int) -> nn.Sequential:
    act = partial(nn.LeakyReLU, SLOPE)
    return nn.Sequential(
        nn.Linear(cin, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, cout)
    )  # fmt: skip


class Decoder(nn.Module):
    """G: a structure code and an identity code to an image (B, 3, H, W), normalised as the encoder's input is.

    Args:
        dim: Width of the structure code, 8 * that of `StructureEncoder`.
        code: Length of the whole identity code; block k of S reads slice k of S.
        blocks: AdaIN blocks S; they divide `code`.
        hidden: Width of the MLPs.
    """

    def __init__(self, dim: int, code: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AdainBlock(dim, code // blocks, hidden) for _ in range(blocks))
        layers: list[nn.Module] = []
        for width in (dim, dim // 2):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                _conv(width, width // 2, 5),
                nn.GroupNorm(1, width // 2),  # a layer norm over channels and places, with a weight per channel
                nn.LeakyReLU(SLOPE),
            ]
        for _ in range(2):
            layers += [_conv(dim // 4, dim // 4, 3), nn.LeakyReLU(SLOPE)]
        self.up = nn.Sequential(*layers, _conv(dim // 4, 3, 1))
        self.apply(_kaiming)

    def forward(self, structure: Tensor, code: Tensor) -> Tensor:
        """Structure codes (B, dim, H / 4, W / 4) and identity codes (B, S * E) to images; linear output."""
        x = structure
        for block, part in zip(self.blocks, code.chunk(len(self.blocks), dim=1), strict=True):
            x = block(x, part)
        out: Tensor = self.up(x)
        return out

    def mlp_parameters(self) -> int:
        """Parameters of the MLPs alone."""
        mlps = [mlp for block in self.blocks if isinstance(block, AdainBlock) for mlp in (block.scale, block.shift)]
        return sum(p.numel() for mlp in mlps for p in mlp.parameters())


class Discriminator(nn.Module):
    """D: images to one map of logits per scale; scale k sees them halved k times.

    Args:
        dim: Width of the first layers.
        blocks: Residual blocks of each scale.
    """

    def __init__(self, dim: int, blocks: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_critic(dim, blocks) for _ in range(_SCALES))
        self.apply(_small)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, 1, h, w)."""
        maps = []
        for number, critic in enumerate(self.scales):
            if number:
                images = F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
            maps.append(critic(images))
        return maps


def _critic(dim: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for cin, cout, kernel, stride in (
        (3, dim, 1, 1),
        (dim, dim, 3, 1),
        (dim, dim, 3, 2),
        (dim, dim, 3, 1),
        (dim, 2 * dim, 3, 2),
    ):
        layers += [_conv(cin, cout, kernel, stride, reflect=False), nn.LeakyReLU(SLOPE)]
    layers += [ResBlock(2 * dim, norm=False) for _ in range(blocks)]
    return nn.Sequential(*layers, _conv(2 * dim, 1, 1))


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _small(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
