"""Facts of PLIP."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.rules import POSITIVE, SHARE, WEIGHT, OneOf, Rules, Within
from hcbench.methods.space import WEIGHT_FACTOR, Around
from hcbench.methods.weight_layout import WeightLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of PLIP; defaults are the paper's (v2) where a source is given, widths are those of a small tower.

    Attributes:
        lambda_tic: Weight of the colourisation; 0 leaves it and its decoder out.
        lambda_iap: Weight of the phrase prediction; 0 leaves it and its block out.
        label_norm: Of the identity matches: "l1" makes them a distribution, "l2" is the public code's.
        pool: Of the image: "cls" ([CLS] where there is one), "mean", "max", or "auto": [CLS] of a ViT, else max.
        spread: First deviation of both sides' vectors, which are standardised over a batch; 0 leaves them as they are.
        tic_dist: "l2norm" of an image, rescaled to 256 x 128 pixels; "mse"; "l1".
        tic_dim: Width of the colour decoder, all four scales together.
        mse_pool: What a channel gate sees of its map: "avg" or "max".
        mse_gate: "sigmoid" or "softmax".
        mask_schedule: How the share of masked phrases grows: "sqrt", "linear", "square"; "const" stays at the start.
        mask_start: Probability that a phrase is masked at the first step.
        mask_end: The same at the last step.
        text_dim: Width of the text tower, and of the space that both towers share.
        text_layers: Blocks of the text tower.
        text_heads: Attention heads, of the block that predicts phrases too.
        text_tokens: Tokens of a caption, the rest is cut.
        text_pool: "mean" of all tokens, or BERT's "pooler".
        text_lr_factor: On the learning rate of the text tower.
        augmentation: Name of a preset of `hcbench.data.augment`.
        lr: Learning rate; None takes the recipe's.
        weight_decay: None takes the recipe's.
    """

    lambda_tic: float = 0.02  # paper 4.1
    lambda_iap: float = 0.1  # paper 4.1
    label_norm: str = "l1"  # code: l2 (Downstreams/CMPM-C/loss.py:14-48)
    pool: str = "auto"  # paper: max
    spread: float = 0.2  # paper: none, of towers that were trained before
    tic_dist: str = "l2norm"  # paper: Euclidean
    tic_dim: int = 256  # paper: 1024
    mse_pool: str = "avg"  # paper A.6.2; main text: max
    mse_gate: str = "sigmoid"  # paper A.6.2; main text: softmax
    mask_schedule: str = "sqrt"  # utils.py:16, squareroot
    mask_start: float = 0.2  # utils.py:16
    mask_end: float = 0.8  # utils.py:16
    text_dim: int = 256  # paper: 768
    text_layers: int = 4  # paper: 12
    text_heads: int = 4  # paper: 12
    text_tokens: int = 64  # test_dataloader.py:45-49
    text_pool: str = "mean"  # paper v2; v1: pooler
    text_lr_factor: float = 1.0  # paper: 0.1, of a BERT that was trained before
    augmentation: str = "people"  # the recipe's; paper: "flip"
    lr: float | None = None  # paper: 0.002 (Adan)
    weight_decay: float | None = None  # paper: 0.02


DEVIATIONS = (
    Deviation(
        point="pretext tasks",
        official="no code was released; prose and figures",
        ours="written from them, with the numbers that are given there",
        why="colourisation and phrase prediction exist as text only",
    ),
    Deviation(
        point="pyramid of a ViT",
        official="the four stages of a ResNet or Swin",
        ours="the same where a backbone has stages; a single token grid is resampled to their four scales",
        why="any backbone: one for every method of a comparison",
    ),
    Deviation(
        point="image pooling",
        official="max over the last map (v2)",
        ours="[CLS] of a ViT, max elsewhere; option pool",
        why="the vector that other methods train and benchmarks read",
    ),
    Deviation(
        point="standardised vectors",
        official="none",
        ours="each dimension of both sides' vectors has mean 0 and a learned deviation, first .2, in a batch; in "
        "evaluation by running statistics; option spread",
        why="from random weights the contrast makes all vectors one within five steps and never leaves that point",
    ),
    Deviation(
        point="label distribution",
        official="matches divided by the root of their number (code)",
        ours="by their number; option label_norm=l2",
        why="the printed form; the loss is then never negative",
    ),
    Deviation(
        point="scale of the colour loss",
        official="a norm over all pixels of 256 x 128, weight 0.02",
        ours="the same norm, rescaled from any size to 256 x 128",
        why="the weight would mean something else at every input size",
    ),
    Deviation(
        point="text tower",
        official="BERT-base, trained before, of which the last layers learn",
        ours="a small one from random weights without dropout, all of it learns; its tokens are the corpus's word list",
        why="no download, one cost for all methods, one vocabulary for every budget",
    ),
    Deviation(
        point="size of text tower and colour decoder (cpu recipe only)",
        official="width 768, 12 blocks, 64 tokens; a decoder of width 1024",
        ours="text_dim=192, text_layers=2, text_tokens=48, tic_dim=128",
        why="texts are read twice, and would cost as much as the images; one description in a thousand is longer",
    ),
    Deviation(
        point="weights of the pretext losses (cpu recipe only)",
        official=".02 for colours, .1 for phrases",
        ours="lambda_tic=0.00476, lambda_iap=0.0527",
        why="the search's choice on validation",
    ),
    Deviation(
        point="pixels",
        official="normalised by their own mean (.357, .323, .328) and deviation (.252, .242, .239)",
        ours="by ImageNet's (released weights: by their own)",
        why="one normalisation of what every method sees",
    ),
    Deviation(
        point="batch",
        official="pairs at random, of 312 thousand persons",
        ours="whole groups: several images and captions of each person",
        why="the batch rule of all methods; identities repeat in a batch",
    ),
    Deviation(
        point="captions",
        official="SYNTH-PEDES, generated by SPAC",
        ours="the corpus's descriptions: one from a prompt and two styles, of which one is drawn per image",
        why="the embedded corpus knows what it shows",
    ),
    Deviation(
        point="optimiser",
        official="Adan, steps at epochs 30 and 50",
        ours="the recipe's",
        why="one optimiser and schedule for every method",
    ),
)

RULES: Rules = {
    "lambda_tic": WEIGHT,
    "lambda_iap": WEIGHT,
    "label_norm": OneOf(("l1", "l2")),
    "pool": OneOf(("auto", "cls", "mean", "max")),
    "spread": Within(0, means="0 leaves vectors as they are"),
    "tic_dist": OneOf(("l2norm", "mse", "l1")),
    "mse_pool": OneOf(("avg", "max")),
    "mse_gate": OneOf(("sigmoid", "softmax")),
    "mask_schedule": OneOf(("sqrt", "linear", "square", "const")),
    "mask_start": SHARE,
    "mask_end": SHARE,
    "text_pool": OneOf(("mean", "pooler")),
    "text_lr_factor": POSITIVE,
}

CARD = MethodCard(
    name="plip",
    title="PLIP",
    summary="Image and text towers aligned by identity, with colours to restore and attribute phrases to fill in.",
    paper="Zuo et al., PLIP: Language-Image Pre-training for Person Representation Learning, NeurIPS 2024, "
    "arXiv 2305.08386",
    year=2024,
    needs=frozenset({"images", "identity", "captions", "phrases"}),
    layout="identities",
    supervision="captions",
    config=Config,
    implementation="hcbench.methods.plip.method:Plip",
    text_tower="always",
    licence="MIT",
    deviations=DEVIATIONS,
    rules=RULES,
    space={"lambda_tic": Around(WEIGHT_FACTOR), "lambda_iap": Around(WEIGHT_FACTOR)},
    weight_layouts=(
        WeightLayout(
            name="plip",
            title="PLIP",
            adapter="hcbench.methods.plip.weights:adapter",
            recognises="hcbench.methods.plip.weights:recognises",
            published_on="synth-pedes",
            vocabulary="vocab.txt",
        ),
    ),
)
