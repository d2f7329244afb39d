"""Patch embeddings other than one 16x16 convolution, for timm's ViT.

A checkpoint of a backbone with such a stem loads in plain timm with `embed_layer=` one of these classes.
They honour timm's contract of a patch embedding: `num_patches`, `grid_size`, `patch_size`, and an output
(B, h, w, D) that the ViT flattens itself (`dynamic_img_size=True`).
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn


class _Stem(nn.Module):
    """What both stems share; `proj` maps (B, 3, H, W) to (B, D, H / 16, W / 16)."""

    def __init__(
        self,
        img_size: tuple[int, int] = (224, 224),
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 192,
        **unused: Any,
    ) -> None:
        super().__init__()
        if patch_size != 16:
            raise ValueError(f"stems make 16x16 patches, not {patch_size}x{patch_size}")
        self.img_size = img_size
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size[0] // patch_size, img_size[1] // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = self.layers(in_chans, embed_dim)

    def layers(self, channels: int, dim: int) -> nn.Sequential:
        raise NotImplementedError

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Grid of an image of another size."""
        return img_size[0] // 16, img_size[1] // 16

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Pixels per token."""
        return 16 if as_scalar else (16, 16)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to tokens (B, h, w, D)."""
        tokens: Tensor = self.proj(x)
        return tokens.permute(0, 2, 3, 1)


class ConvStem(_Stem):
    """Four 3x3 convolutions of stride 2 and a 1x1 one (Xiao et al. 2021, arXiv 2106.14881, figure 2).

    Neighbouring tokens share pixels, so masked methods must hide pixels before the stem.
    """

    def layers(self, channels: int, dim: int) -> nn.Sequential:
        """The convolutions, doubling their width up to `dim`."""
        widths = [dim // 8, dim // 4, dim // 2, dim]
        modules: list[nn.Module] = []
        for width in widths:
            modules += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        return nn.Sequential(*modules, nn.Conv2d(channels, dim, 1))


class PatchStem(_Stem):
    """A hierarchy of non-overlapping convolutions (hMLP stem; Touvron et al. 2022, arXiv 2203.09795, section 5).

    Patches see nothing of each other: 4x4, then 2x2, then 2x2.
    """

    def layers(self, channels: int, dim: int) -> nn.Sequential:
        """Patchify in three steps, with a norm and GELU between."""
        # DEVIATION (facebookresearch/deit, hMLP_stem): layer norm over channels instead of batch norm, and
        # none after the last convolution: batch statistics would carry masked patches into visible ones.
        width = dim // 4
        return nn.Sequential(
            nn.Conv2d(channels, width, 4, 4), LayerNorm2d(width), nn.GELU(),
            nn.Conv2d(width, width, 2, 2), LayerNorm2d(width), nn.GELU(),
            nn.Conv2d(width, dim, 2, 2),
        )  # fmt: skip


@torch.no_grad()
def initialise_stem(module: nn.Module) -> None:
    """Initialise the convolutions of any patch embedding.

    A convolution whose stride equals its kernel is a linear map per patch and is initialised as one (MAE);
    an overlapping one has He initialisation.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.stride == layer.kernel_size and layer.kernel_size != (1, 1):
            nn.init.xavier_uniform_(layer.weight.view(layer.out_channels, -1))
        else:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
