"""The backbone that SOLIDER's published weights were trained with: Swin as mmdetection has it, not as timm does.

Three differences change what the same weights compute (measured against the official forward: without them the pooled
cosine falls to .92-.95 at 256x128):

1. windows are always 7x7 and odd blocks always shift by 3, also where the map is smaller than a window;
2. maps are padded before the cyclic shift and cropped after the way back, and the mask belongs to the padded map
   (tinyvision/SOLIDER swin_transformer.py; timm pads what it has shifted); padded places are not masked;
3. patch merging orders the four merged tokens differently, which `weights.py` undoes in the weights.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from torch import Tensor, nn

from hcbench.methods.parts.backbones import EncoderSpec
from hcbench.methods.solider.networks import ControlledSwin, StageFeatures

WINDOW: Final = 7


class PadFirstBlock(SwinTransformerBlock):  # type: ignore[misc]  # timm has no types
    """timm's block with the zero padding before the cyclic shift; parameters and names are unchanged."""

    def _attn(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % self.window_size[1], 0, -height % self.window_size[0]))
        padded = x.shape[1:3]
        mask = self.get_attn_mask(x)
        x = torch.roll(x, shifts=tuple(-s for s in self.shift_size), dims=(1, 2))
        windows = window_partition(x, self.window_size).view(-1, self.window_area, channels)
        windows = self.attn(windows, mask=mask).view(-1, *self.window_size, channels)
        x = window_reverse(windows, self.window_size, *padded)
        x = torch.roll(x, shifts=tuple(self.shift_size), dims=(1, 2))
        return x[:, :height, :width].contiguous()


class ReleasedSwin(ControlledSwin):
    """SOLIDER's Swin-T, -S or -B, maps normalised after every stage.

    `norms` are the official `norm0..2`; the last map has the backbone's own final norm. Input sizes are multiples of 4.
    Arguments as for `ControlledSwin`.
    """

    def __init__(self, spec: EncoderSpec, model: nn.Module, **arguments: Any) -> None:
        super().__init__(spec, model, **arguments)
        swin = self.backbone
        swin.set_input_size(img_size=(spec.height, spec.width), window_size=WINDOW, always_partition=True)
        for stage in swin.layers:
            for block in stage.blocks:
                block.__class__ = PadFirstBlock
        self.norms = nn.ModuleList(nn.LayerNorm(int(info["num_chs"])) for info in swin.feature_info[:-1])

    def forward(self, images: Tensor, **knobs: float | Tensor) -> StageFeatures:
        """See `Encoder`; all maps are normalised."""
        found = super().forward(images, **knobs)
        normed = [
            norm(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, grid in zip(self.norms, found.maps, strict=False)
        ]
        return StageFeatures(found.pooled, found.grid, maps=(*normed, found.grid))

    def weights(self) -> dict[str, Tensor]:
        """Backbone, `controller.*`, and the stage norms as `norms.*`."""
        return {**super().weights(), **{f"norms.{name}": w for name, w in self.norms.state_dict().items()}}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take what `weights` gave."""
        own = {name.removeprefix("norms."): w for name, w in weights.items() if name.startswith("norms.")}
        self.norms.load_state_dict(own)
        super().load_weights({name: w for name, w in weights.items() if not name.startswith("norms.")})
