"""Backbones: presets and any timm ViT, Swin or ResNet, behind the `Encoder` interface."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from timm.models import is_model_in_modules
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import ConfigError, did_you_mean, nearest_size
from hcbench.methods.parts.convolution import guard_narrow_maps
from hcbench.methods.parts.encoder import Encoder, Features
from hcbench.methods.parts.stems import ConvStem, PatchStem, initialise_stem


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Which backbone to build.

    Attributes:
        backbone: A preset (see `PRESETS`), or a timm name, plain or written "timm:NAME".
        height: Input height, pixels; `width` likewise.
        width: See height.
        extra_tokens: Names of extra learned tokens after [CLS], in order; ViT only.
        mean: Mean of red, green and blue (0..1) that the weights were trained with; None where it is ImageNet's, with
            which every encoder is fed (`normalise`). `std` likewise.
        std: See mean.
    """

    backbone: str
    height: int
    width: int
    extra_tokens: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A named `timm.create_model` call.

    Attributes:
        model: timm name that the arguments change.
        arguments: Keyword arguments of `create_model`, of json types.
        stem: Patch embedding class, None for timm's own.
        note: One sentence for `hcbench list backbones`.
    """

    model: str
    arguments: Mapping[str, Any]
    stem: type[nn.Module] | None = None
    note: str = ""


_MINI = {"embed_dim": 192, "depth": 6, "num_heads": 3}

PRESETS = {
    "vit-mini16": Preset(
        model="vit_tiny_patch16_224", arguments=_MINI, note="2.8 M parameters, plain 16x16 patches; any method"
    ),
    "vit-mini16-hmlp": Preset(
        model="vit_tiny_patch16_224",
        arguments=_MINI,
        stem=PatchStem,
        note="as vit-mini16 with a three-step patch stem; patches see nothing of each other; any method",
    ),
    "vit-mini16-stem": Preset(
        model="vit_tiny_patch16_224",
        arguments=_MINI,
        stem=ConvStem,
        note="as vit-mini16 with an overlapping convolutional stem; masked methods hide pixels before it",
    ),
    "vit-mini16-res": Preset(
        model="vit_tiny_r_s16_p8_224",
        arguments={"embed_dim": 192, "depth": 4, "num_heads": 3, "patch_size": 4},
        note="the default: 4 blocks behind a ResNet's 7x7 stem (timm's hybrid); masked methods hide pixels before it",
    ),
    "vit-mini8": Preset(
        model="vit_tiny_patch16_224",
        arguments={"patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3},
        note="0.7 M parameters, plain 8x8 patches: four times the tokens at half the width; any method",
    ),
    "swin-mini": Preset(
        model="swin_tiny_patch4_window7_224",
        arguments={"embed_dim": 48, "depths": (2, 2, 2, 2), "num_heads": (2, 4, 8, 16), "window_size": 8},
        note="small Swin whose windows divide person crops; methods without masking or extra tokens",
    ),
}
"""Backbones of our own by name; every other name is timm's."""


def build_encoder(spec: EncoderSpec, seed: int) -> TimmEncoder:
    """Build an untrained encoder; the same spec and seed give the same weights, whatever ran before.

    Raises:
        ConfigError: The backbone is unknown, unsupported, or cannot take the input size or extra tokens.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _create(spec)
        encoder: TimmEncoder
        if isinstance(model, VisionTransformer):
            encoder = VitEncoder(spec, model)
            encoder.initialise()
        else:
            encoder = MapEncoder(spec, model)
    return encoder


def timm_call(spec: EncoderSpec) -> tuple[str, dict[str, Any]]:
    """The timm name and keyword arguments (json types) that build the backbone of `spec`.

    A preset's stem is no json type and is not part of the call (see `PRESETS[...].stem`).
    """
    preset = PRESETS.get(spec.backbone)
    name = preset.model if preset else spec.backbone.removeprefix("timm:")
    if not timm.is_model(name):
        message = f"Unknown backbone {spec.backbone!r}."
        raise ConfigError(message, did_you_mean(name, PRESETS) + " Or any ViT, Swin or ResNet of timm.list_models().")
    arguments: dict[str, Any] = {"num_classes": 0, **(preset.arguments if preset else {})}
    if is_model_in_modules(name, {"vision_transformer", "vision_transformer_hybrid"}):
        arguments |= {
            "img_size": (spec.height, spec.width),
            "dynamic_img_size": True,
            "class_token": True,
            "global_pool": "token",
            "reg_tokens": len(spec.extra_tokens),
        }
    elif is_model_in_modules(name, {"swin_transformer", "swin_transformer_v2"}):
        arguments |= {"img_size": (spec.height, spec.width), "strict_img_size": False}
    return name, arguments


def _create(spec: EncoderSpec) -> nn.Module:
    name, arguments = timm_call(spec)
    preset = PRESETS.get(spec.backbone)
    if preset and preset.stem:
        arguments["embed_layer"] = preset.stem
    if spec.extra_tokens and "reg_tokens" not in arguments:
        raise ConfigError(
            f"Backbone {spec.backbone!r} has no tokens to add {', '.join(spec.extra_tokens)} to.",
            "Choose a ViT for methods with extra tokens.",
        )
    # timm's creators hand unknown sizes on to the model, whose own message would not name the setting.
    model = guard_narrow_maps(timm.create_model(name, **arguments))
    if isinstance(model, VisionTransformer) and "reg_tokens" in arguments:
        _check_size(spec, _pixels_per_token(model))
    elif isinstance(model, VisionTransformer) or not hasattr(model, "forward_features"):
        raise ConfigError(f"Backbone {spec.backbone!r} gives no feature map.", "Choose a ViT, Swin or ResNet.")
    elif isinstance(model, SwinTransformer | SwinTransformerV2):  # its windows fit any number of patches
        _check_size(spec, tuple(model.patch_embed.patch_size))
    return model


def _check_size(spec: EncoderSpec, patch: tuple[int, int]) -> None:
    """Refuse an input that is no whole number of patches, and name the nearest that is."""
    if spec.height % patch[0] or spec.width % patch[1]:
        near = nearest_size((spec.height, spec.width), patch)
        height, _, width = near.partition("x")
        raise ConfigError(
            f"An input of {spec.height}x{spec.width} cannot be cut into patches of {patch[0]}x{patch[1]}.",
            f"Choose multiples of the patch size; the nearest is {near}: --size {near}, or "
            f"pretrain.height={height} and pretrain.width={width}.",
        )


def _pixels_per_token(model: Any) -> tuple[int, int]:
    """Height and width of a token in input pixels; `patch_size` counts from the stem where there is one."""
    ratio = model.patch_embed.feat_ratio(as_scalar=False)
    return int(ratio[0]), int(ratio[1])


class TimmEncoder(Encoder):
    """A timm model as an encoder; `backbone` is the model itself, of a class without types."""

    backbone: Any

    def __init__(self, spec: EncoderSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = model
        self.dim = int(self.backbone.num_features)
        self.input_size = (spec.height, spec.width)

    def arguments(self) -> dict[str, Any]:
        """The spec as a dict."""
        return {"spec": asdict(self.spec)}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> TimmEncoder:
        """Build from the dict of a spec; subclasses are given the class they ask for."""
        lists = {name: tuple(value) for name, value in arguments["spec"].items() if isinstance(value, list | tuple)}
        spec = EncoderSpec(**{**arguments["spec"], **lists})
        rest = {key: value for key, value in arguments.items() if key != "spec"}
        encoder = cls(spec, _create(spec), **rest)
        if isinstance(encoder, VitEncoder):
            encoder.initialise()
        return encoder

    def weights(self) -> dict[str, Tensor]:
        """The backbone's own state dict, without prefix, so that plain timm loads it."""
        state: dict[str, Tensor] = self.backbone.state_dict()
        return state

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load the backbone's own state dict."""
        self.backbone.load_state_dict(weights)

    def adjusted(self, images: Tensor) -> Tensor:
        """Images normalised as `normalise` does, normalised as the weights want them."""
        if self.spec.mean is None or self.spec.std is None:
            return images
        own = torch.tensor([self.spec.mean, self.spec.std], dtype=images.dtype, device=images.device)
        usual = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], dtype=images.dtype, device=images.device)
        (mean, std), (usual_mean, usual_std) = own[..., None, None], usual[..., None, None]
        out: Tensor = images * (usual_std / std) + (usual_mean - mean) / std
        return out

    def refuse(self, knobs: Mapping[str, float]) -> None:
        """Raise if there are knobs: an encoder without them must not ignore them in silence."""
        if knobs:
            raise ConfigError(
                f"Backbone {self.spec.backbone!r} has no knobs, but was given {', '.join(sorted(knobs))}.",
                "Leave them out; only encoders of methods that train them have knobs.",
            )


class VitEncoder(TimmEncoder):
    """A ViT: [CLS], extra tokens, then patch tokens in row-major order.

    Letters in shapes: P = 1 + extra tokens, N = h * w patches, K = visible patches.
    """

    def __init__(self, spec: EncoderSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.grid_size = tuple(self.backbone.patch_embed.grid_size)
        self.patch_size = _pixels_per_token(model)
        # A stem before the patches lets neighbours see each other.
        self.overlapping = isinstance(self.backbone.patch_embed, HybridEmbed | ConvStem)
        if isinstance(self.backbone.patch_embed, HybridEmbed):
            # Processors convolve and pool this layout faster; the numbers in a checkpoint stay the same.
            self.backbone.patch_embed.backbone.to(memory_format=torch.channels_last)
        self.num_prefix = 1 + len(spec.extra_tokens)

    @torch.no_grad()
    def initialise(self) -> None:
        """MAE's initialisation and fixed 2-D sin-cos positions, for every method alike.

        Linear maps Xavier-uniform, biases 0, tokens N(0, 0.02); positions are zero for [CLS] and extra tokens.
        """
        vit = self.backbone
        for module in vit.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        initialise_stem(vit.patch_embed)
        nn.init.normal_(vit.cls_token, std=0.02)
        if vit.reg_token is not None:
            nn.init.normal_(vit.reg_token, std=0.02)
        if vit.pos_embed is not None:
            positions = sincos_positions(self.grid_size, self.dim)
            vit.pos_embed.zero_()
            vit.pos_embed[0, -len(positions) :] = positions
            vit.pos_embed.requires_grad_(False)

    def embed(self, images: Tensor) -> Tensor:
        """Tokens before the first block: prefix and patches with their positions, (B, P + N, D)."""
        vit = self.backbone
        images = self.adjusted(images)
        if self.overlapping:
            images = images.contiguous(memory_format=torch.channels_last)
        # timm keeps `_pos_embed` private; a test compares with its public forward pass.
        tokens: Tensor = vit._pos_embed(vit.patch_embed(images))
        return tokens

    def transform(self, tokens: Tensor) -> Tensor:
        """Blocks and final norm on any selection of embedded tokens, (B, *, D)."""
        vit = self.backbone
        out: Tensor = vit.norm(vit.blocks(vit.norm_pre(tokens)))
        return out

    def split(self, tokens: Tensor, grid: tuple[int, int]) -> Features:
        """Name the parts of normed tokens (B, P + h * w, D) of a grid (h, w)."""
        batch, _, dim = tokens.shape
        patches = tokens[:, self.num_prefix :].transpose(1, 2).reshape(batch, dim, *grid)
        named = {name: tokens[:, 1 + i] for i, name in enumerate(self.spec.extra_tokens)}
        return Features(tokens[:, 0], patches, named)

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """See `Encoder`; images of other sizes than the encoder's own get resampled positions."""
        self.refuse(knobs)
        return self.split(self.transform(self.embed(images)), self.grid_of(images))

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the token grid of images (B, 3, H, W)."""
        return images.shape[-2] // self.patch_size[0], images.shape[-1] // self.patch_size[1]

    def encode_visible(self, images: Tensor, keep: Tensor) -> Tensor:
        """Encode prefix tokens and visible patches only.

        Args:
            images: float (B, 3, H, W), normalised.
            keep: int64 (V * B, K), indices of the visible patches in row-major order; the batch may be
                encoded under V masks at once, first all images under the first mask.

        Returns:
            (V * B, P + K, D) after the final norm: [CLS], extra tokens, patches in the order of `keep`.
        """
        masks = len(keep) // len(images)
        if self.overlapping:
            tokens = self.embed(self._hide(images.repeat(masks, 1, 1, 1), keep))
        else:
            tokens = self.embed(images).repeat(masks, 1, 1)
        prefix, patches = tokens[:, : self.num_prefix], tokens[:, self.num_prefix :]
        visible = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[-1]))
        return self.transform(torch.cat([prefix, visible], dim=1))

    def _hide(self, images: Tensor, keep: Tensor) -> Tensor:
        """Set hidden patches to the mean colour, since the stem would carry them into visible tokens."""
        height, width = self.grid_of(images)
        mask = torch.zeros(len(images), height * width, dtype=images.dtype, device=images.device)
        mask.scatter_(1, keep, 1.0)
        pixels = mask.view(-1, 1, height, width)
        pixels = pixels.repeat_interleave(self.patch_size[0], 2).repeat_interleave(self.patch_size[1], 3)
        return images * pixels


class MapEncoder(TimmEncoder):
    """A backbone whose features are a map (Swin, ResNet): pooled is the mean of the map."""

    def __init__(self, spec: EncoderSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.channels_last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        was_training = model.training
        with torch.no_grad():
            probe = model.eval().forward_features(torch.zeros(1, 3, spec.height, spec.width))  # type: ignore[operator]
        model.train(was_training)
        if probe.ndim != 4:
            raise ConfigError(f"Backbone {spec.backbone!r} gives no feature map.", "Choose a ViT, Swin or ResNet.")
        self.grid_size = tuple(probe.shape[1:3] if self.channels_last else probe.shape[2:4])

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """See `Encoder`."""
        self.refuse(knobs)
        grid = self.backbone.forward_features(self.adjusted(images))
        if self.channels_last:
            grid = grid.permute(0, 3, 1, 2)
        return Features(grid.mean(dim=(2, 3)), grid)


def sincos_positions(grid: tuple[int, int], dim: int, temperature: float = 10000.0) -> Tensor:
    """Fixed 2-D positions (h * w, dim), row-major; channels sin x, cos x, sin y, cos y (MAE, HAP).

    Raises:
        ConfigError: `dim` is no multiple of 4.
    """
    if dim % 4:
        raise ConfigError(f"Sin-cos positions need a width that is a multiple of 4, not {dim}.", "Change the width.")
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    frequency = torch.exp(torch.arange(dim // 4, dtype=torch.float64) * (-4 * math.log(temperature) / dim))
    angle_x, angle_y = (axis.reshape(-1, 1).double() * frequency for axis in (x, y))
    return torch.cat([angle_x.sin(), angle_x.cos(), angle_y.sin(), angle_y.cos()], dim=1).float()
