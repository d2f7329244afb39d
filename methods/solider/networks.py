"""The semantic controller, and encoders that hold one.

A controlled encoder has the knob "lambda" in [0, 1]: 0 asks for appearance, 1 for semantics.

    encoder(images, **{"lambda": 0.2})

Its checkpoint holds the backbone's weights under timm's own names, and the controller's as `controller.*`. Plain timm
loads the backbone without the controller, which is not what was trained (lambda then has no say):

    weights = safetensors.torch.load_file("encoder.safetensors")
    model.load_state_dict({name: w for name, w in weights.items() if not name.startswith("controller.")})

Shapes: B images, C channels, D the width of the last map, h x w a map, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from hcbench.errors import ConfigError, MethodError
from hcbench.methods.parts.backbones import EncoderSpec, MapEncoder, TimmEncoder, VitEncoder
from hcbench.methods.parts.encoder import Encoder, Features

KNOB = "lambda"
_PREFIX = "controller."


class Controller(nn.Module):
    """Affine maps of features, driven by lambda (swin_transformer.py 1216-1231, 1334-1352).

        x <- x * softplus(W s) + B s,  s = [lambda, 1 - lambda]

    Args:
        widths: Channels C at every entry.
        start: "official" draws the weights from a truncated normal (.02) with zero biases, which shrinks features to
            .69; "identity" leaves features as they are, whatever lambda.
        dead: Further pairs of the released layout that nothing reads, frozen; kept so that files fit.
    """

    def __init__(self, widths: Sequence[int], *, start: str, dead: Sequence[int] = ()) -> None:
        super().__init__()
        everywhere, self.entries = (*widths, *dead), len(widths)
        # softplus of this bias is 1.
        scale, shift = ([_pair_map(width, start, bias) for width in everywhere] for bias in (math.log(math.e - 1), 0.0))
        for layer in (*scale[len(widths) :], *shift[len(widths) :]):
            layer.requires_grad_(False)
        self.scale, self.shift = nn.ModuleList(scale), nn.ModuleList(shift)

    def forward(self, x: Tensor, entry: int, lam: Tensor) -> Tensor:
        """Modulate x (B, ..., C) at an entry; lam float (B,)."""
        s = torch.stack([lam, 1 - lam], dim=1)
        scale, shift = F.softplus(self.scale[entry](s)), self.shift[entry](s)
        places = (len(x), *[1] * (x.ndim - 2), -1)
        out: Tensor = x * scale.view(places) + shift.view(places)
        return out

    @torch.no_grad()
    def reach(self) -> float:
        """How far lambda moves features: root mean square of what scales and shifts change from lambda 0 to 1."""
        ends = torch.eye(2, device=next(self.parameters()).device)
        pairs = zip(self.scale[: self.entries], self.shift[: self.entries], strict=True)
        changes = [torch.cat([F.softplus(scale(ends)), shift(ends)], dim=1).diff(dim=0) for scale, shift in pairs]
        return float(torch.cat(changes, dim=1).square().mean().sqrt())


def _pair_map(width: int, start: str, identity_bias: float) -> nn.Linear:
    layer = nn.Linear(2, width)
    if start == "official":
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    else:
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, identity_bias)
    return layer


class ControlledEncoder(TimmEncoder):
    """What controlled encoders share: the knob, and where the controller's weights are kept."""

    controller: Controller
    default_lambda: float

    def read_lambda(self, images: Tensor, knobs: dict[str, float | Tensor]) -> Tensor:
        """Lambda of every image, float32 (B,): the knob's, one number or one per image, else the default.

        Raises:
            ConfigError: There is a knob of another name, or a number outside [0, 1].
        """
        others = sorted(set(knobs) - {KNOB})
        if others:
            raise ConfigError(f"This encoder has no knob {', '.join(others)}.", f"Its only knob is {KNOB!r}.")
        value = knobs.get(KNOB, self.default_lambda)
        if not isinstance(value, Tensor) and not 0 <= value <= 1:
            raise ConfigError(f"The knob {KNOB!r} is {value}.", "Choose a number from 0 (appearance) to 1 (semantics).")
        return torch.as_tensor(value, dtype=torch.float32, device=images.device).expand(len(images))

    def knob_parameters(self) -> Iterator[nn.Parameter]:
        """The controller's."""
        return self.controller.parameters()

    def arguments(self) -> dict[str, Any]:
        """The spec and the default lambda."""
        return {**super().arguments(), "default_lambda": self.default_lambda}

    def weights(self) -> dict[str, Tensor]:
        """The backbone's weights without prefix, the controller's as `controller.*`."""
        own = {f"{_PREFIX}{name}": tensor for name, tensor in self.controller.state_dict().items()}
        return {**super().weights(), **own}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take what `weights` gave."""
        own = {name.removeprefix(_PREFIX): w for name, w in weights.items() if name.startswith(_PREFIX)}
        self.controller.load_state_dict(own)
        super().load_weights({name: w for name, w in weights.items() if not name.startswith(_PREFIX)})


class ControlledVit(ControlledEncoder, VitEncoder):
    """A ViT with the controller at the entries of blocks L/4, L/2 and 3L/4, on all tokens.

    Args:
        spec: What the backbone was built from.
        model: The backbone.
        default_lambda: Lambda where none is given.
        start: See `Controller`.
    """

    def __init__(
        self, spec: EncoderSpec, model: nn.Module, *, default_lambda: float = 0.0, start: str = "identity"
    ) -> None:
        super().__init__(spec, model)
        depth = len(self.backbone.blocks)
        # DEVIATION (tinyvision/SOLIDER swin_transformer.py 1334-1352): Swin only. Here the first part of a ViT stays
        # free of lambda, as the first stage of a Swin does.
        self.entries = sorted({max(1, depth * quarter // 4) for quarter in (1, 2, 3)} & set(range(depth)))
        if not self.entries:
            raise MethodError(
                f"The controller stands between the blocks of a ViT, but {spec.backbone!r} has {depth}.",
                "Choose a ViT with more blocks.",
            )
        self.default_lambda = default_lambda
        self.controller = Controller([self.dim] * len(self.entries), start=start)

    def forward(self, images: Tensor, **knobs: float | Tensor) -> Features:
        """See `Encoder`; the knob "lambda" is one number, or float (B,)."""
        lam = self.read_lambda(images, knobs)
        return self.split(self.transform(self.embed(images), lam), self.grid_of(images))

    def transform(self, tokens: Tensor, lam: Tensor | None = None) -> Tensor:
        """Blocks and final norm on embedded tokens (B, *, D); lam float (B,), by default `default_lambda`."""
        vit = self.backbone
        if lam is None:
            lam = self.read_lambda(tokens, {})
        tokens = vit.norm_pre(tokens)
        for index, block in enumerate(vit.blocks):
            if index in self.entries:
                tokens = self.controller(tokens, self.entries.index(index), lam)
            tokens = block(tokens)
        out: Tensor = vit.norm(tokens)
        return out


@dataclass(frozen=True, slots=True)
class StageFeatures(Features):
    """Features of a Swin with the maps behind them.

    Attributes:
        maps: The map after every stage, each (B, C, h, w), taken before the next stage's downsampling and controller;
            the last one is `grid`, after the final norm, the others are as the stages leave them.
    """

    maps: tuple[Tensor, ...] = ()


class ControlledSwin(ControlledEncoder, MapEncoder):
    """A Swin with the controller at the entries of stages 2, 3 and 4, after their downsampling.

    The first map does not depend on lambda. The released layout has a fourth pair that no map sees; it is kept.
    Arguments as for `ControlledVit`.
    """

    def __init__(
        self, spec: EncoderSpec, model: nn.Module, *, default_lambda: float = 0.0, start: str = "official"
    ) -> None:
        super().__init__(spec, model)
        widths = [int(info["num_chs"]) for info in self.backbone.feature_info]
        self.default_lambda = default_lambda
        self.controller = Controller(widths[1:], start=start, dead=widths[-1:])

    def forward(self, images: Tensor, **knobs: float | Tensor) -> StageFeatures:
        """See `Encoder`; the knob "lambda" is one number, or float (B,)."""
        lam, swin = self.read_lambda(images, knobs), self.backbone
        x, maps = swin.patch_embed(self.adjusted(images)), []
        for index, stage in enumerate(swin.layers):
            x = stage.downsample(x)
            if index:
                x = self.controller(x, index - 1, lam)
            for block in stage.blocks:
                x = block(x)
            maps.append(x)
        maps[-1] = swin.norm(x)
        grids = tuple(grid.permute(0, 3, 1, 2) for grid in maps)
        return StageFeatures(grids[-1].mean(dim=(2, 3)), grids[-1], maps=grids)


def controlled(encoder: Encoder, *, default_lambda: float, start: str = "auto") -> ControlledVit | ControlledSwin:
    """The same backbone, with the same weights, with a controller in it.

    Args:
        encoder: What the run built.
        default_lambda: Lambda where none is given.
        start: See `Controller`; "auto" is the released one on a Swin and the identity on a ViT.

    Raises:
        MethodError: The backbone has no place for the controller.
    """
    swin = isinstance(encoder, MapEncoder) and isinstance(encoder.backbone, SwinTransformer | SwinTransformerV2)
    if not isinstance(encoder, VitEncoder | MapEncoder) or not (swin or isinstance(encoder, VitEncoder)):
        raise MethodError(
            "SOLIDER's semantic controller has a place in a Swin and in a ViT, but not in this backbone.",
            "Choose a Swin or a ViT, or the method dino, which needs no controller.",
        )
    if start == "auto":
        start = "official" if swin else "identity"
    kind = ControlledSwin if swin else ControlledVit
    return kind(encoder.spec, encoder.backbone, default_lambda=default_lambda, start=start)
