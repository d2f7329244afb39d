"""Adapters for plain layouts: any ViT state dict in timm's names, torchvision's ResNets, any model by its timm name.

What a project wraps around them (entries, prefixes, decoders) is taken off in `methods/<name>/weights.py`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import Any, Final

import timm
from timm.layers import resize_rel_pos_bias_table

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import WeightsError
from hcbench.methods.parts.backbones import EncoderSpec, TimmEncoder, VitEncoder, build_encoder
from hcbench.methods.parts.weights.fitting import Adapted, Adapter, require_names, without
from hcbench.methods.parts.weights.reading import State, Tree
from hcbench.methods.parts.weights.wrappers import Taken, take

_VITS: Final = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large", (1280, 32): "huge"}
_RESNETS: Final = {
    ((2, 2, 2, 2), False, (64, 64)): "resnet18",
    ((3, 4, 6, 3), False, (64, 64)): "resnet34",
    ((3, 4, 6, 3), True, (64, 64)): "resnet50",
    ((3, 4, 23, 3), True, (64, 64)): "resnet101",
    ((3, 8, 36, 3), True, (64, 64)): "resnet152",
    ((3, 4, 6, 3), True, (128, 128)): "wide_resnet50_2",
    ((3, 4, 23, 3), True, (128, 128)): "wide_resnet101_2",
    ((3, 4, 6, 3), True, (128, 4)): "resnext50_32x4d",
    ((3, 4, 23, 3), True, (256, 8)): "resnext101_32x8d",
}
"""Blocks of the four layers, whether they are bottlenecks, the first 3x3 convolution's channels out and per group."""
_CONSTANT: Final = re.compile("(relative_position_index|attn_mask)$")
_MOCO: Final = ("encoder_k.", "queue")
"""What MoCo's training files hold beside the encoder of queries."""
PATCHES: Final = ("patch_embed.proj.weight",)
"""The name by which a ViT is found in a file, whatever wraps it."""
_BIASES: Final = "relative_position_bias_table"


def vit(
    taken: Taken, size: tuple[int, int], *, note: str, heads: tuple[str, ...] = (),
    trained_at: tuple[tuple[int, int], ...] = ((224, 224),),
) -> Adapted:  # fmt: skip
    """A ViT in timm's names, its size read off the tensors.

    Args:
        taken: Names as in timm: `patch_embed.proj.weight`, `blocks.0...`, `norm.weight`; classifiers are left out.
        size: Input height and width, pixels.
        note: What the file is.
        heads: What names begin with that are known and not needed, such as a decoder's.
        trained_at: Input sizes that the project's own files were trained at, pixels.

    Raises:
        WeightsError: The names or sizes are no timm ViT's.
    """
    state = taken.state
    require_names(state, ("patch_embed.proj.weight", "cls_token", "pos_embed", "blocks.0.attn.qkv.weight"), "ViT")
    width, patch = state["patch_embed.proj.weight"].shape[0], state["patch_embed.proj.weight"].shape[-1]
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    if (width, depth) not in _VITS:
        raise WeightsError(
            f"A ViT of width {width} and depth {depth} is none that timm has a name for.",
            f"Known are {', '.join(f'{w} x {d} ({name})' for (w, d), name in _VITS.items())}.",
        )
    encoder = build_encoder(EncoderSpec(f"timm:vit_{_VITS[width, depth]}_patch{patch}_224", *size), seed=0)
    state, dropped = without(state, *heads, "head.", "head_dist.", "fc.")
    if "fc_norm.weight" in state and "norm.weight" not in state:
        note += "; fine-tuned on the mean of its patches: its fc_norm, which follows that mean, has no place here"
    return Adapted(encoder, state, dropped + taken.dropped, note, said=taken.said, trained_at=trained_at)


def resnet(tree: Tree, size: tuple[int, int]) -> Adapted:
    """A ResNet in torchvision's names (timm has the same), whatever wraps it; depth and width are read off the tensors.

    Raises:
        WeightsError: The names are no ResNet's, or its sizes none that timm has a name for.
    """
    taken = take(tree, ("layer1.0.conv2.weight", "layer4.0.conv2.weight"))
    state, moco = without(taken.state, *_MOCO)
    moco = taken.dropped + moco
    require_names(state, ("conv1.weight", "layer1.0.conv2.weight", "layer4.0.conv2.weight"), "ResNet")
    middle = state["layer1.0.conv2.weight"].shape
    found = (
        tuple(len({n.split(".")[1] for n in state if n.startswith(f"layer{i}.")}) for i in (1, 2, 3, 4)),
        "layer1.0.conv3.weight" in state,
        tuple(middle[:2]),
    )
    if found not in _RESNETS:
        raise WeightsError(
            f"A ResNet of {', '.join(map(str, found[0]))} blocks and {middle[0]} x {middle[1]} channels in its first "
            "3x3 convolution is none of torchvision's.",
            "If timm has it, name it: --as timm:NAME. `hcbench list backbones` shows some.",
        )
    adapted = timm_model(_RESNETS[found])(state, size)
    return replace(adapted, dropped=moco + adapted.dropped, said=taken.said)


def timm_model(name: str) -> Adapter:
    """An adapter for the state dict of a timm or torchvision model of this name, whatever wraps it.

    Images are normalised as timm says for that name; where that differs between the weights that timm knows for one
    architecture, name them too (`vit_base_patch16_224.dino`).

    Raises:
        WeightsError: timm has no such model.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`hcbench list backbones` shows some."
        raise WeightsError(f"timm has no model {name!r}.", hint)
    known = timm.get_pretrained_cfg(name)

    def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
        mean, std = _normalisation(known)
        encoder = build_encoder(EncoderSpec(f"timm:{name}", *size, mean=mean, std=std), seed=0)
        taken = take(tree, sorted(encoder.weights(), key=lambda key: -key.count(".")))
        taken = replace(taken, state=_of_dinov2(taken.state))
        registers = taken.state["reg_token"].shape[-2] if "reg_token" in taken.state else 0
        if registers and isinstance(encoder, VitEncoder):
            tokens = tuple(f"register{number}" for number in range(registers))
            encoder = build_encoder(replace(encoder.spec, extra_tokens=tokens), seed=0)
        own = encoder.weights()
        heads = _heads(None if known is None else known.classifier)
        dropped = tuple(key for key in taken.state if key.startswith(heads) and key not in own)
        state = {key: value for key, value in taken.state.items() if key not in dropped and not _CONSTANT.search(key)}
        state, said = _windows(state, encoder)
        return Adapted(
            encoder,
            state,
            taken.dropped + dropped,
            f"{name}, backbone only",
            said=(*taken.said, *said),
            trained_at=() if known is None else (tuple(known.input_size[1:]),),
        )

    return adapt


def _of_dinov2(state: State) -> State:
    """DINOv2's own names in timm's (timm vision_transformer.py:_convert_dinov2); other states stay as they are."""
    if "mask_token" not in state:
        return state
    out = {}
    for name, tensor in state.items():
        if name == "mask_token":
            continue
        new = re.sub(r"^(blocks\.\d+\.mlp)\.w12\.", r"\1.fc1.", name)
        new = re.sub(r"^(blocks\.\d+\.mlp)\.w3\.", r"\1.fc2.", new)
        out["reg_token" if name == "register_tokens" else new] = tensor
    return out


def _windows(state: State, encoder: TimmEncoder) -> tuple[State, tuple[str, ...]]:
    """A Swin's tables of relative positions, brought to the encoder's windows, which small maps make smaller.

    Bicubic, as microsoft/Swin-Transformer (utils.py:load_pretrained) and timm (swin_transformer.py) do.
    """
    own = encoder.weights()
    other = [
        name for name, table in state.items()
        if name.endswith(_BIASES) and name in own and table.ndim == 2 and table.shape != own[name].shape
        and table.shape[1] == own[name].shape[1]
    ]  # fmt: skip
    out = dict(state)
    for name in other:
        window = encoder.backbone.get_submodule(name.removesuffix(f".{_BIASES}")).window_size
        out[name] = resize_rel_pos_bias_table(state[name], new_window_size=window, new_bias_shape=own[name].shape)
    said = f"relative positions: {len(other)} tables resampled to the windows of this input's maps"
    return out, (said,) if other else ()


def _normalisation(known: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Mean and deviation of the pixels that timm's weights expect, as an `EncoderSpec` has them: None as usual."""
    if known is None or (tuple(known.mean), tuple(known.std)) == (IMAGENET_MEAN, IMAGENET_STD):
        return None, None
    return tuple(known.mean), tuple(known.std)


def _heads(classifier: str | tuple[str, ...] | None) -> tuple[str, ...]:
    names = (classifier,) if isinstance(classifier, str) else classifier or ()
    return tuple(f"{name}." for name in (*names, "head", "fc", "classifier"))


def is_auto_encoder(names: frozenset[str], tree: Tree) -> bool:
    """Whether a file holds a ViT with MAE's decoder, and no pair of student and teacher."""
    pair = "teacher" in tree and "student" in tree
    return {"patch_embed.proj.weight", "decoder_embed.weight"} <= names and not pair


def is_resnet(names: frozenset[str], tree: Tree) -> bool:
    """Whether a file holds a ResNet in torchvision's names, and not CLIP's with its attention pool."""
    stages = {"layer1.0.conv2.weight", "layer4.0.conv2.weight"}
    return stages <= names and not {"attnpool.positional_embedding", "patch_embed.proj.weight"} & names
