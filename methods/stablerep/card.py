"""Facts of StableRep."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.rules import POSITIVE, WEIGHT, OneOf, Rules, Within
from hcbench.methods.space import WEIGHT_FACTOR, Around
from hcbench.methods.weight_layout import WeightLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of StableRep; defaults are the paper's where a source is given.

    Attributes:
        temperature: Of the multi-positive loss.
        projector: Widths of the projection head's layers, the output last.
        bn: "per_view" takes batch statistics of each view alone, "global" of all views together.
        labels: "caption" makes equal captions positives, "position" reproduces the official batch positions.
        num_crop: Augmented views per drawn image.
        language: StableRep+: a text tower, and the image-text loss beside the multi-positive one.
        text_weight: Weight of the image-text loss; it counts only with `language`, as do the next six.
        text_dim: Width of the text tower.
        text_layers: Blocks of the text tower.
        text_heads: Attention heads of the text tower.
        text_tokens: Tokens of a caption, the rest is cut.
        shared_dim: Width of the space of images and texts, where `text_proj` is linear.
        text_proj: What leads there from images and texts: "linear" maps, or an "mlp" each with widths `projector`.
        augmentation: Name of a preset of `hcbench.data.augment`.
        lr: Learning rate; None takes the recipe's.
        weight_decay: None takes the recipe's.
    """

    temperature: float = 0.1  # models/losses.py:49, never scheduled
    projector: tuple[int, ...] = (4096, 4096, 256)  # models/StableRep.py:242-250
    bn: str = "per_view"  # models/StableRep.py: one projector call per view
    labels: str = "caption"  # official: batch position (main_stablerep.py:325)
    num_crop: int = 1  # README commands
    language: bool = False  # --add_language
    text_weight: float = 1.0  # w2 = w1 = 1
    text_dim: int = 256  # official: 512
    text_layers: int = 4  # official: 12
    text_heads: int = 4  # official: 8
    text_tokens: int = 64  # official: 77
    shared_dim: int = 512  # official
    text_proj: str = "linear"  # --vl_projection
    augmentation: str = "people"  # the recipe's; paper: "strong" (dataset/data.py)
    lr: float | None = None  # paper: see `paper_lr`
    weight_decay: float | None = None  # paper: 0.1


def paper_lr(batch_images: int, *, num_crop: int = 1, base: float = 2.0e-4) -> float:
    """The official learning-rate rule: base * images / 256 * num_crop / 2 (main_stablerep.py).

    >>> paper_lr(8256)
    0.003225
    """
    return round(base * batch_images / 256 * num_crop / 2, 12)


DEVIATIONS = (
    Deviation(
        point="labels",
        official="batch positions, so equal captions in one batch are negatives",
        ours="caption ids; labels=position reproduces the official behaviour",
        why="with a few hundred captions, equal ones meet in a batch often",
    ),
    Deviation(
        point="label mask",
        official="kept until the batch size changes",
        ours="computed at every step",
        why="changed labels were ignored in silence",
    ),
    Deviation(
        point="batch norm",
        official="SyncBatchNorm",
        ours="BatchNorm1d",
        why="SyncBatchNorm does not run on CPUs with several processes",
    ),
    Deviation(
        point="crop ratio",
        official="3/4..4/3 of a square output",
        ours="3/4..4/3 of the output's own width/height",
        why="squares distort tall person crops",
    ),
    Deviation(
        point="weight decay of tokens",
        official="[CLS] and positions are decayed",
        ours="not decayed, positions are fixed",
        why="one rule and one backbone for every method",
    ),
    Deviation(
        point="text tower (StableRep+)",
        official="CLIP's: causal, 12 layers, 49 thousand byte pairs, the vector at the end of the text",
        ours="BERT's, small, with the corpus's word list, the mean over tokens; linear projections as there, "
        "or text_proj=mlp",
        why="one text tower for every method that has texts",
    ),
    Deviation(
        point="size of heads and text tower (cpu recipe only)",
        official="projector 4096-4096-256; tower of width 512, 77 tokens, shared space of 512",
        ours="projector=512,128; text_dim=192, text_tokens=48, shared_dim=128",
        why="in proportion to a backbone of 2 M parameters; one description in a thousand is longer",
    ),
    Deviation(
        point="drawn images",
        official="6 of 10 images of a caption per step",
        ours="as many as the batch rule of the recipe says (paper recipe: 6 of 10)",
        why="methods of one budget differ only in what a group holds fixed",
    ),
    Deviation(
        point="captions with fewer images than are drawn",
        official="none: every caption has its 10",
        ours="where captions differ in their number of images, a caption repeats its own within a step; where all have "
        "equally many, drawing more than that is an error",
        why="one sampler for every method; leaving such groups out would change the budget",
    ),
)

RULES: Rules = {
    "bn": OneOf(("per_view", "global")),
    "labels": OneOf(("caption", "position")),
    "num_crop": Within(1),
    "temperature": POSITIVE,
    "text_weight": WEIGHT,
    "text_proj": OneOf(("linear", "mlp")),
}

CARD = MethodCard(
    name="stablerep",
    title="StableRep",
    titles={"language": "StableRep+"},
    summary="Contrastive learning in which all images generated from one caption are positives of each other.",
    paper="Tian et al., StableRep: Synthetic Images from Text-to-Image Models Make Strong Visual Representation "
    "Learners, NeurIPS 2023, arXiv 2306.00984",
    year=2023,
    needs=frozenset({"images", "group", "captions"}),
    layout="captions",
    supervision="generated",
    config=Config,
    implementation="hcbench.methods.stablerep.method:StableRep",
    text_tower="language",
    licence="Apache-2.0",
    deviations=DEVIATIONS,
    least_per_group=2,
    rules=RULES,
    space={"text_weight": Around(WEIGHT_FACTOR, when="language")},
    weight_layouts=(
        WeightLayout(
            name="stablerep",
            title="StableRep",
            adapter="hcbench.methods.stablerep.weights:adapt",
            recognises="hcbench.methods.stablerep.weights:recognises",
        ),
    ),
)
