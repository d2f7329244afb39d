"""PLIP's released weights, version 1 (Zplusdragon/PLIP: `PLIP_RN50.pth.tar`, `PLIP_MRN50.pth.tar`).

`ImgEncoder_state_dict` holds CLIP's modified ResNet-50 in CLIP's names without `visual.`; `TxtEncoder_state_dict` holds
transformers' BertModel below `encoder.`, with a table `position_ids` that newer versions of the library do not keep.
The text tower is of use only with the word list that it was trained with, bert-base-uncased's `vocab.txt`, which the
user supplies; without it the image tower alone is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.fitting import Adapted, Adapter, require_names, tensors
from hcbench.methods.parts.weights.reading import State, Tree
from hcbench.methods.parts.weights.wrappers import Taken, take
from hcbench.methods.plip.released import ReleasedResNet, build

MAX_TOKENS: Final = 64
"""Where texts are cut (Zplusdragon/PLIP test_dataloader.py:45-49); the tower has more positions."""
_HEAD_WIDTH: Final = 64
"""Width of an attention head in every BERT."""
_IMAGE, _TEXT, _DECODER = "ImgEncoder_state_dict", "TxtEncoder_state_dict", "Decoder_state_dict"
_POSITIONS: Final = "attention.pos_embed"
_CONVOLUTIONS: Final = {"1": "conv1_1x1", "2": "conv2_kxk", "3": "conv3_1x1"}
_SHORTCUT: Final = {"0": "conv", "1": "bn"}


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The image tower alone; see `hcbench.methods.parts.weights.fitting.Adapter`."""
    return adapter(None)(tree, size)


def adapter(vocabulary: Path | None) -> Adapter:
    """An adapter for both towers, or for the image tower where no vocabulary is given.

    Args:
        vocabulary: bert-base-uncased's `vocab.txt`, a token per line.
    """

    def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
        encoder = build(size)
        taken = image_tower(tree)
        image = taken.state
        text = tensors(tree.get(_TEXT, {}), "module.", "_orig_mod.", "encoder.")
        text.pop("embeddings.position_ids", None)  # constants, which transformers no longer stores
        dropped = taken.dropped + tuple(f"{_DECODER}.{name}" for name in tensors(tree.get(_DECODER, {})))
        projection = {name: w for name, w in image.items() if name.startswith("image_projection.")}
        if not text or vocabulary is None:
            why = "no vocab.txt was found beside the file" if text else "the file holds no text tower"
            left = tuple(f"{_TEXT}.{name}" for name in text) + tuple(projection)
            backbone = {name: w for name, w in image.items() if name not in projection}
            return _adapted(encoder, backbone, dropped + left, f"PLIP v1, image tower only: {why}", taken)
        _join_text(encoder, text, projection, read_vocabulary(vocabulary))
        weights = {**image, **{f"text.bert.{name}": w for name, w in text.items()}}
        return _adapted(encoder, weights, dropped, "PLIP v1, image and text tower", taken)

    return adapt


def _adapted(encoder: ReleasedResNet, weights: State, dropped: tuple[str, ...], note: str, taken: Taken) -> Adapted:
    return Adapted(encoder, weights, dropped, note, said=taken.said, positions=_POSITIONS, trained_at=((256, 128),))


def image_tower(tree: Tree) -> Taken:
    """The image tower's tensors under our names, its positions as the file has them.

    Raises:
        WeightsError: The names are not PLIP's.
    """
    taken = take(tree, ("attnpool.positional_embedding",), prefer=(_IMAGE, "state_dict"))
    state = taken.state
    require_names(state, ("conv3.weight", "layer4.0.conv3.weight", "attnpool.positional_embedding"), "PLIP v1")
    # The entry of the image tower is this layout's own; what else was taken off is worth a word.
    said = () if taken.wrapper == (_IMAGE,) else taken.said
    return replace(taken, state={renamed(name): tensor for name, tensor in state.items()}, said=said)


def renamed(name: str) -> str:
    """A name of the official image tower in timm's words; unknown names stay as they are.

    >>> renamed("layer2.0.downsample.1.weight"), renamed("bn3.bias")
    ('stages.1.0.shortcut.conv.bn.weight', 'stem.conv3.bn.bias')
    """
    if found := re.fullmatch(r"(conv|bn)([123])\.(\w+)", name):
        return f"stem.conv{found[2]}.{found[1]}.{found[3]}"
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)([123])\.(\w+)", name):
        return f"stages.{int(found[1]) - 1}.{found[2]}.{_CONVOLUTIONS[found[4]]}.{found[3]}.{found[5]}"
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)", name):
        return f"stages.{int(found[1]) - 1}.{found[2]}.shortcut.conv.{_SHORTCUT[found[3]]}.{found[4]}"
    if found := re.fullmatch(r"attnpool\.([qkv])_proj\.(\w+)", name):
        return f"attention.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"attnpool\.c_proj\.(\w+)", name):
        return f"image_projection.linear.{found[1]}"
    return _POSITIONS if name == "attnpool.positional_embedding" else name


def read_vocabulary(path: Path) -> list[str]:
    """The lines of a `vocab.txt`.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"The word list {path} cannot be read: {error}.", "Give bert-base-uncased's vocab.txt with --vocab FILE."
        ) from error


def _join_text(encoder: ReleasedResNet, text: State, projection: State, words: Sequence[str]) -> None:
    """Put a BERT of the file's size beside the image tower, and a projection of the file's shape."""
    # Half a second's import that the image tower alone does without.
    from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
    from hcbench.methods.parts.tokenizer import Tokenizer

    table = "embeddings.word_embeddings.weight"
    require_names(
        text, (table, "embeddings.position_embeddings.weight", "encoder.layer.0.intermediate.dense.weight"), "BERT"
    )
    require_names(projection, ("image_projection.linear.weight",), "PLIP v1 with an output projection")
    rows, dim = text[table].shape
    if len(words) != rows:
        raise WeightsError(
            f"The word list has {len(words):,} words, but the text tower was trained with {rows:,}.",
            "Take the vocab.txt of bert-base-uncased (30,522 lines) and put it beside the file, or name it with "
            "--vocab FILE; without any, the image tower alone is scored.",
        )
    spec = TextSpec(
        dim=dim,
        layers=len({name.split(".")[2] for name in text if name.startswith("encoder.layer.")}),
        heads=max(1, dim // _HEAD_WIDTH),
        mlp_dim=text["encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_tokens=text["embeddings.position_embeddings.weight"].shape[0],
        pool="pooler",
    )
    out = projection["image_projection.linear.weight"].shape[0]
    if out != dim:
        raise WeightsError(
            f"Image vectors of the file have {out} numbers, text vectors {dim}: they share no space.",
            "The file is damaged, or mixed from two models.",
        )
    encoder.join_text(
        TextTower(spec, Tokenizer.from_vocabulary(words, max_tokens=min(MAX_TOKENS, spec.max_tokens))),
        ImageProjection(encoder.dim, out),
    )


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """CLIP's image tower without its text tower, which CLIP's own files hold, too."""
    return "attnpool.positional_embedding" in names and "token_embedding.weight" not in names
