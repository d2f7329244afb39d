"""The decoder of masked auto-encoders (MAE, HAP), and its target."""

from __future__ import annotations

import functools

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from hcbench.errors import ConfigError
from hcbench.methods.parts.backbones import sincos_positions
from hcbench.methods.parts.masking import Mask


class Decoder(nn.Module):
    """Visible tokens to pixels of all patches.

    Prefix tokens pass through and are dropped; mask tokens stand at the hidden places.

    Args:
        dim_in: Width D of the encoder.
        prefix: Prefix tokens P of the encoder.
        grid: Rows and columns of patches.
        patch_size: Height and width of a patch, pixels.
        dim: Width of the decoder.
        depth: Blocks of the decoder.
        heads: Attention heads.
    """

    def __init__(
        self,
        dim_in: int,
        prefix: int,
        grid: tuple[int, int],
        patch_size: tuple[int, int],
        *,
        dim: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(
                f"The decoder's width {dim} is no multiple of its {heads} heads.",
                "Change decoder_dim or decoder_heads.",
            )
        self.prefix = prefix
        self.embed = nn.Linear(dim_in, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        norm = functools.partial(nn.LayerNorm, eps=1e-6)  # models_mae.py, and HAP's likewise; torch's own is 1e-5
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(dim)
        self.predict = nn.Linear(dim, patch_size[0] * patch_size[1] * 3)
        self.register_buffer("positions", sincos_positions(grid, dim)[None], persistent=False)
        self.positions: Tensor
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, mask: Mask) -> Tensor:
        """Predicted patches (B, N, pixels * 3) from encoder tokens (B, P + K, D)."""
        embedded = self.embed(tokens)
        visible = embedded[:, self.prefix :]
        everywhere = self.mask_token.to(visible.dtype).repeat(*mask.hidden.shape, 1)
        index = mask.keep[:, :, None].expand(-1, -1, visible.shape[2])
        patches = everywhere.scatter(1, index, visible) + self.positions
        sequence = torch.cat([embedded[:, : self.prefix], patches], dim=1)
        out: Tensor = self.predict(self.norm(self.blocks(sequence))[:, self.prefix :])
        return out


def patchify(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Images (B, 3, H, W) as patches (B, N, pixels * 3), each in the order row, column, channel."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size[0], width // patch_size[1]
    cut = images.view(batch, channels, rows, patch_size[0], columns, patch_size[1])
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def normalised_patches(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Patches with mean 0 and unbiased variance 1 each: the target of the reconstruction."""
    patches = patchify(images.float(), patch_size)
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def reconstruction(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of the hidden patches; predicted and target (B, N, pixels * 3), hidden bool (B, N)."""
    error = (predicted.float() - target).square().mean(dim=2)
    return (error * hidden).sum() / hidden.sum()
