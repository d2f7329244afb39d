"""PLIP's networks beside its towers: feature pyramid, text-guided colour decoder, phrase decoder.

Shapes: B images, C channels, h x w a quarter of the input H x W, D width of texts and of the shared space, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.errors import ConfigError, nearest_size
from hcbench.methods.parts.backbones import MapEncoder
from hcbench.methods.parts.convolution import ConvTranspose2d
from hcbench.methods.parts.encoder import Encoder, Features

SCALES = (4, 8, 16, 32)
"""Input pixels per cell of the four maps."""


class Pyramid:
    """Reads four feature maps out of an encoder's own forward pass.

    A backbone with stages (ResNet, Swin) gives the outputs of the last four, as timm's `feature_info` names them.
    DEVIATION (paper A.6): any other has one token grid, which is averaged for coarser scales. For finer ones it stays
    as it is: whoever needs more cells can interpolate, after a map of the channels for far less work.

    Args:
        encoder: Any; it is called, not held as a part.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.stages = _stages(encoder)
        self.channels: list[int] = [stage["num_chs"] for stage in self.stages] or [encoder.dim] * len(SCALES)

    def __call__(self, images: Tensor) -> tuple[Features, list[Tensor]]:
        """Features of normalised images (B, 3, H, W), and maps (B, C_k, H / s_k, W / s_k), or coarser."""
        if not self.stages:
            features: Features = self.encoder(images)
            rows = features.grid.shape[-2]
            sizes = [cells(images, scale) for scale in SCALES]
            return features, [resample(features.grid, s) if s[0] < rows else features.grid for s in sizes]
        encoder: Any = self.encoder
        caught: list[Tensor] = []
        hooks = [
            encoder.backbone.get_submodule(stage["module"]).register_forward_hook(
                lambda module, inputs, output: caught.append(output)
            )
            for stage in self.stages
        ]
        try:
            features = encoder(images)
        finally:
            for hook in hooks:
                hook.remove()
        return features, [x.permute(0, 3, 1, 2) if encoder.channels_last else x for x in caught]


def _stages(encoder: Encoder) -> list[dict[str, Any]]:
    """What timm says of the last four stages; nothing where there are fewer."""
    if not isinstance(encoder, MapEncoder):
        return []
    info = list(getattr(encoder.backbone, "feature_info", []))
    return info[-len(SCALES) :] if len(info) >= len(SCALES) else []


def cells(images: Tensor, scale: int) -> tuple[int, int]:
    """Rows and columns of a map of images (B, 3, H, W), at least one each."""
    return max(1, images.shape[-2] // scale), max(1, images.shape[-1] // scale)


def resample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, C, *, *) at another size: averaged where that is smaller, else interpolated."""
    if size[0] < maps.shape[-2]:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


class Gate(nn.Module):
    """Multimodal squeeze and excitation: a text scales the channels of a map (paper 3.3, A.6.2).

    Args:
        channels: C.
        dim: Width D of the text vector.
        pool: "avg" or "max" over the map.
        gate: "sigmoid" or "softmax" over the channels.
    """

    def __init__(self, channels: int, dim: int, *, pool: str, gate: str) -> None:
        super().__init__()
        self.pool, self.gate = pool, gate
        self.inner, self.outer = nn.Linear(channels + dim, channels), nn.Linear(channels, channels)

    def forward(self, maps: Tensor, text: Tensor) -> Tensor:
        """Scaled maps (B, C, h, w), of maps and texts (B, D)."""
        squeezed = maps.mean(dim=(2, 3)) if self.pool == "avg" else maps.amax(dim=(2, 3))
        raw = self.outer(F.relu(self.inner(torch.cat([squeezed, text.to(squeezed.dtype)], dim=1))))
        scale = torch.sigmoid(raw) if self.gate == "sigmoid" else raw.softmax(dim=1)
        return maps * scale[:, :, None, None]


class ColourDecoder(nn.Module):
    """A colour image from the pyramid of a grey one and a text (paper 3.3).

    Args:
        channels: Channels of the four maps.
        size: Height and width of the image, multiples of 4.
        text_dim: D.
        dim: Channels of the four maps together, behind their lateral convolutions; a multiple of 4.
        pool: See `Gate`.
        gate: See `Gate`.

    Raises:
        ConfigError: `size` or `dim` is no multiple of 4.
    """

    def __init__(
        self, channels: Sequence[int], size: tuple[int, int], text_dim: int, *, dim: int, pool: str, gate: str
    ) -> None:
        super().__init__()
        if any(length % SCALES[0] for length in size):
            raise ConfigError(
                f"PLIP restores colours at a quarter of the input and doubles it twice; {size[0]}x{size[1]} "
                "cannot be cut into quarters.",
                "Choose a pretrain.height and pretrain.width that are multiples of 4 (the nearest: "
                f"{nearest_size(size, (SCALES[0], SCALES[0]))}), or plip.lambda_tic=0.",
            )
        if dim % len(SCALES):
            raise ConfigError(f"plip: tic_dim is {dim}.", f"Use a multiple of {len(SCALES)}, one part per scale.")
        self.cells = (size[0] // SCALES[0], size[1] // SCALES[0])
        self.laterals = nn.ModuleList(nn.Conv2d(c, dim // len(SCALES), 1) for c in channels)
        self.gate1 = Gate(dim, text_dim, pool=pool, gate=gate)
        self.up1 = _doubling(dim, dim // 4)
        self.gate2 = Gate(dim // 4, text_dim, pool=pool, gate=gate)
        self.up2 = _doubling(dim // 4, 3)

    def forward(self, maps: Sequence[Tensor], text: Tensor) -> Tensor:
        """Colours (B, 3, H, W), normalised as images are; text is (B, D)."""
        sides = [resample(lateral(x), self.cells) for lateral, x in zip(self.laterals, maps, strict=True)]
        # Nothing is said of what stands between the two steps; a ReLU keeps them from being one linear map.
        half = F.relu(self.up1(self.gate1(torch.cat(sides, dim=1), text)))
        colours: Tensor = self.up2(self.gate2(half, text))
        return colours


def _doubling(channels: int, out: int) -> ConvTranspose2d:
    return ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)


class PhraseDecoder(nn.Module):
    """Words of masked tokens, from their text and the image: a pre-norm block and a linear map (paper 3.4, A.6.3).

    Args:
        dim: D.
        heads: Attention heads.
        words: Vocabulary.
    """

    def __init__(self, dim: int, heads: int, words: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.head = nn.Linear(dim, words)

    def forward(self, hidden: Tensor, image: Tensor, present: Tensor, masked: Tensor) -> Tensor:
        """Logits (M, words) of the M masked tokens.

        Args:
            hidden: (B, L, D), the text tower's last states of the masked caption.
            image: (B, D), added to every token.
            present: bool (B, L), False = padding.
            masked: bool (B, L), True = a token to predict.
        """
        fused = hidden + image[:, None].to(hidden.dtype)
        normed = self.before(fused)
        seen, _ = self.attention(normed, normed, normed, key_padding_mask=~present, need_weights=False)
        words = (fused + seen)[masked]  # only masked tokens go on from here
        logits: Tensor = self.head(words + self.mlp(self.between(words)))
        return logits
