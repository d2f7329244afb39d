"""The image tower that PLIP's released weights (v1) were trained with: CLIP's modified ResNet-50.

timm's `resnet50_clip` is the same network up to its last map. Behind it stands CLIP's attention pool, here with 8 heads
(CLIP: 32) and positions of person crops (8 x 4 at 256 x 128). Its output projection is the image's way into the space
that images and texts share, so it is not a part of this class but the encoder's `image_projection`:

    pooled vector (2048) -> image_projection (c_proj) -> image vector (768), compared with BERT's pooler output
"""

from __future__ import annotations

from typing import Final

import timm
from timm.layers import AttentionPool2d
from torch import Tensor, nn

from hcbench.methods.parts.backbones import EncoderSpec, MapEncoder, timm_call
from hcbench.methods.parts.encoder import Features

BACKBONE: Final = "timm:resnet50_clip"
HEADS: Final = 8
MEAN: Final = (0.357, 0.323, 0.328)
STD: Final = (0.252, 0.242, 0.239)
"""With MEAN, of the images that PLIP was trained with (Zplusdragon/PLIP, test transforms)."""


class ReleasedResNet(MapEncoder):
    """PLIP v1's image tower: the last map as grid, the attention pool before its projection as pooled vector.

    A checkpoint holds the backbone's weights under timm's names, and the pool's as `attention.*`.

    Args:
        spec: Names `BACKBONE`, and the pixels that the weights expect.
        model: timm's `resnet50_clip`, whose own head is not used.
    """

    def __init__(self, spec: EncoderSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.backbone.head = nn.Identity()
        self.attention = AttentionPool2d(
            self.dim, feat_size=self.grid_size, out_features=0, num_heads=HEADS, qkv_separate=True
        )

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """See `Encoder`; images of other sizes get resampled positions."""
        grid = super().forward(images, **knobs).grid
        return Features(self.attention(grid), grid)

    def weights(self) -> dict[str, Tensor]:
        """The backbone's weights without prefix, the pool's as `attention.*`."""
        own = {f"attention.{name}": tensor for name, tensor in self.attention.state_dict().items()}
        return {**super().weights(), **own}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take what `weights` gave."""
        own = {name.removeprefix("attention."): w for name, w in weights.items() if name.startswith("attention.")}
        self.attention.load_state_dict(own)
        super().load_weights({name: w for name, w in weights.items() if not name.startswith("attention.")})


def build(size: tuple[int, int]) -> ReleasedResNet:
    """The tower for inputs of a height and width, untrained."""
    spec = EncoderSpec(BACKBONE, *size, mean=MEAN, std=STD)
    name, arguments = timm_call(spec)
    return ReleasedResNet(spec, timm.create_model(name, **arguments))
