"""Facts of SOLIDER, and the Config that DINO shares."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.rules import POSITIVE, SHARE, WEIGHT, OneOf, Rules, Within
from hcbench.methods.space import WEIGHT_FACTOR, Around, Range
from hcbench.methods.weight_layout import WeightLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of self-distillation with or without semantics; defaults are SOLIDER's unless said otherwise.

    Attributes:
        semantic_loss: Weight of the semantic loss; 0 leaves out the controller, the part head and the second stage.
        dino_fraction: Share of images seen before the semantic loss begins; 0 trains with it from the start.
        restart: Whether warm-up and decay of the learning rate begin anew with the semantic loss.
        parts: Body parts K that an image is clustered into.
        lambda_share: Probability that an image is trained with lambda = 1 instead of 0.
        default_lambda: Lambda of the saved encoder where none is given.
        controller_lr: Factor on the learning rate of the controller.
        controller_start: "official" or "identity", see `networks.Controller`; "auto" is the released one on a Swin
            and the identity on a ViT.
        label_tokens: Tokens that pseudo labels are made of, at the least: a Swin whose last map is coarser gives an
            earlier one.
        kmeans_steps: Lloyd steps of the clustering.
        train_part_head: Whether the part head is trained; False reproduces the release.
        part_temperature: Divides the part head's cosines.
        head_hidden: Width of the heads' hidden layers.
        head_bottleneck: Width of the vectors that are compared with prototypes.
        head_outputs: Prototypes of the DINO head.
        head_norm: Batch norm in the DINO head, which shows what differs between images from the first step on.
        freeze_last_layer: Share of the run in which the prototypes of the DINO head rest.
        local_crops: Small crops of each image, at half the height and width.
        student_temp: Softmax temperature of the student.
        teacher_temp: Softmax temperature of the teacher.
        centering: What keeps the teacher's outputs apart, "mean" or "sinkhorn"; see `targets.py`.
        koleo: Weight of the KoLeo loss on the student's global crops, which keeps images apart; see `spread.py`.
        center_momentum: Of the teacher's centre.
        teacher_momentum: Of the teacher's weights at the start of a stage; 1 at its end.
        augmentation: Name of a multi-crop of `hcbench.methods.parts.multicrop`.
        lr: Learning rate; None takes the recipe's.
        weight_decay: None takes the recipe's.
    """

    semantic_loss: float = 1.0  # main_solider.py --semantic_loss
    dino_fraction: float = 10 / 11  # run_dino.sh: 100 epochs; resume_solider.sh: 10
    restart: bool = False  # resume_solider.sh begins anew, at a tenth of the rate
    parts: int = 3  # main_solider.py --partnum
    lambda_share: float = 0.5  # main_solider.py 373
    default_lambda: float = 0.0  # swin_transformer.py: semantic_weight
    controller_lr: float = 1.0  # main_solider.py: one rate for all
    controller_start: str = "auto"  # ours
    label_tokens: int = 32  # ours; 256x128 pixels have 8x4 tokens of a Swin
    kmeans_steps: int = 10  # ours; scikit-learn runs until centres rest
    train_part_head: bool = True  # ours; official: forgotten (main_solider.py 272-279)
    part_temperature: float = 1.0  # main_solider.py: none
    head_hidden: int = 2048  # vision_transformer.py: DINOHead
    head_bottleneck: int = 256  # vision_transformer.py: DINOHead
    head_outputs: int = 65536  # main_solider.py --out_dim
    head_norm: bool = False  # main_solider.py --use_bn_in_head
    freeze_last_layer: float = 0.01  # main_solider.py --freeze_last_layer: 1 epoch of 100
    local_crops: int = 8  # main_solider.py --local_crops_number
    student_temp: float = 0.1  # main_solider.py: DINOLoss
    teacher_temp: float = 0.04  # main_solider.py --teacher_temp, no warm-up
    centering: str = "mean"  # DINOv2: "sinkhorn"
    koleo: float = 0.0  # DINOv2: 0.1
    center_momentum: float = 0.9  # main_solider.py: DINOLoss
    teacher_momentum: float = 0.996  # main_solider.py --momentum_teacher
    augmentation: str = "people"  # the recipe's; paper: "dino"
    lr: float | None = None  # paper: see `paper_lr`
    weight_decay: float | None = None  # paper: 0.04, rising to 0.4


def paper_lr(batch_images: int, *, base: float = 5e-4) -> float:
    """The learning-rate rule of DINO and SOLIDER's first stage: base * images / 256; the second has base 5e-5.

    >>> paper_lr(384)
    0.00075
    """
    return round(base * batch_images / 256, 12)


DINO_DEVIATIONS = (
    Deviation(
        point="schedules",
        official="weight decay rises from .04 to .4; the learning rate ends at 1e-6",
        ours="constant weight decay, learning rate to 0: the recipe's, for every method",
        why="the loop owns schedules, so that methods differ only in what they learn from",
    ),
    Deviation(
        point="clipping",
        official="every parameter tensor at norm 3",
        ours="the norm of all parameters together, at the recipe's limit",
        why="one rule for every method",
    ),
    Deviation(
        point="crop sizes",
        official="any other than three sizes crashes (undefined variable)",
        ours="local crops are half the input, in whole tokens; widths are .8-1.2 of the output's own",
        why="any input size",
    ),
    Deviation(
        point="colours",
        official="hue, grey and solarisation",
        ours="the recipe's brightness, contrast and saturation (paper recipe: official)",
        why="clothing colour tells people apart; hue jitter removes it",
    ),
    Deviation(
        point="short runs (cpu recipe only)",
        official="a moving mean is taken off the teacher's outputs; no batch norm in the head; temperatures .1 and "
        ".04; a momentum of .996",
        ours="prototypes share every batch alike (centering=sinkhorn, as SwAV and DINOv2); batch norm in the head, of "
        "each size of crop apart (head_norm=true, DINO's own option); koleo=0.5 (DINOv2); student_temp=0.05, "
        "teacher_temp=0.03; teacher_momentum=0.9",
        why="a moving mean lets a teacher that moves fast collapse, and one that moves slowly says nothing in a few "
        "hundred steps (docs/default-recipe.md); in 360 steps .996 would leave the teacher half of its random start",
    ),
    Deviation(
        point="size of the head, number of crops (cpu recipe only)",
        official="2048-2048-256 with 65,536 prototypes; 8 local crops",
        ours="head_hidden=512, head_bottleneck=128, head_outputs=2048; local_crops=2",
        why="in proportion to a backbone of 2 M parameters",
    ),
    Deviation(
        point="last layer of the head",
        official="weight normalisation with a frozen gain of 1",
        ours="unit rows, written out",
        why="the same map and the same gradients with one parameter less",
    ),
)

RULES: Rules = {
    "semantic_loss": Within(0, means="0 leaves semantics out"),
    "dino_fraction": Within(0, 1, "[)"),
    "parts": Within(2),
    "lambda_share": SHARE,
    "default_lambda": SHARE,
    "controller_lr": POSITIVE,
    "controller_start": OneOf(("auto", "identity", "official")),
    "part_temperature": POSITIVE,
    "freeze_last_layer": SHARE,
    "local_crops": Within(0),
    "student_temp": POSITIVE,
    "teacher_temp": POSITIVE,
    "centering": OneOf(("mean", "sinkhorn")),
    "koleo": WEIGHT,
    "center_momentum": SHARE,
    "teacher_momentum": SHARE,
}

CARD = MethodCard(
    name="solider",
    title="SOLIDER",
    summary="Self-distillation that also learns pseudo labels of body parts; a knob chooses how much of them to show.",
    paper="Chen et al., Beyond Appearance: a Semantic Controllable Self-Supervised Learning Framework for "
    "Human-Centric Visual Tasks, CVPR 2023, arXiv 2303.17602",
    year=2023,
    needs=frozenset({"images"}),
    layout="identities",
    supervision="images",
    config=Config,
    implementation="hcbench.methods.solider.method:Solider",
    sampling="images",
    backbones=("vit", "swin"),
    licence="none stated; DINO, which it builds on: Apache-2.0",
    rules=RULES,
    space={
        "semantic_loss": Around(WEIGHT_FACTOR),
        "dino_fraction": Range(0.3, 0.95, when="semantic_loss"),
    },
    # README of each task; parsing's scripts ship 0. Text ReID is none of the official tasks and follows ReID.
    knobs={"lambda": {"reid": 0.2, "text-reid": 0.2, "attributes": 0.8, "pose": 0.8, "parsing": 0.8}},
    knobs_with="semantic_loss",
    deviations=(
        *DINO_DEVIATIONS,
        Deviation(
            point="part head",
            official="left out of the optimiser, so it stays random",
            ours="trained; train_part_head=false reproduces the release",
            why="the evident intention (main_solider.py 225, 272-279)",
        ),
        Deviation(
            point="second stage",
            official="a run of its own, at a tenth of the learning rate; warm-up, centre and frozen layer begin again",
            ours="goes on inside one budget: centre and learning rate go on (restart=true: the learning rate begins "
            "again, in full), the momentum begins again",
            why="both stages count against images seen",
        ),
        Deviation(
            point="start and weight of the semantic loss (cpu recipe only)",
            official="after 100 of 110 epochs, in a run of its own; weight 1",
            ours="dino_fraction=0.496 with restart=true; semantic_loss=0.238",
            why="after 10/11 of one cosine the rate moves nothing, and half of the steps leave room for a second "
            "warm-up; the search's choice around two thirds and 1",
        ),
        Deviation(
            point="masked views of lambda = 0",
            official="run through the student, then multiplied by 0",
            ours="left out; the mean still counts them",
            why="the same loss and gradients for half the cost",
        ),
        Deviation(
            point="pseudo labels",
            official="scikit-learn per image on the CPU: two-means on norms, K-means",
            ours="batched: the exact best split of norms, K-means from one k-means++ start",
            why="speed; the exact split is never worse",
        ),
        Deviation(
            point="teacher pass at lambda = 1",
            official="over all images",
            ours="over those that the teacher has not seen at lambda = 1 already",
            why="the same labels for half the cost",
        ),
        Deviation(
            point="part head's temperature (cpu recipe only)",
            official="1: logits are bare cosines",
            ours="part_temperature=0.1",
            why="at 1 the semantic gradient in the blocks is a ninth of DINO's or less, and the knob moves nothing",
        ),
        Deviation(
            point="controller's learning rate (cpu recipe only)",
            official="that of all weights",
            ours="20 times that (controller_lr=20)",
            why="its maps have two inputs, not hundreds, so that the same rate moves what they give a hundredth as far",
        ),
        Deviation(
            point="images with equal tokens",
            official="K-means warns and returns fewer parts",
            ours="dropped, as images of small foreground are; so is a foreground of fewer than K tokens",
            why="an empty part has no place in the order",
        ),
        Deviation(
            point="no image kept in a step",
            official="crashes",
            ours="semantic loss 0, logged",
            why="random backbones often keep none",
        ),
        Deviation(
            point="map that is labelled",
            official="the last, after its norm",
            ours="on a Swin whose last map has fewer than 32 tokens the deepest map that has 32, as its stage leaves "
            "it, with a norm of its own before the part head",
            why="8 tokens of 128x64 pixels cannot show three parts; a norm would make all token norms equal",
        ),
        Deviation(
            point="backbone",
            official="an own Swin; other networks do not run",
            ours="timm's Swin; on a ViT the controller stands at the entries of blocks L/4, L/2 and 3L/4, on all "
            "tokens, and starts as the identity",
            why="one backbone for every method",
        ),
        Deviation(
            point="start from ImageNet weights",
            official="an option of the fine-tuning code, for converted Swin files",
            ours="not built: pre-training begins at random, and a file cannot be its start",
            why="every method starts from the same untrained backbone",
        ),
        Deviation(
            point="export to ONNX",
            official="fails; asked for by users",
            ours="not built: a checkpoint is timm's weights and the controller's",
            why="nothing here would run it or check what it computes",
        ),
    ),
    weight_layouts=(
        WeightLayout(
            name="solider",
            title="SOLIDER",
            adapter="hcbench.methods.solider.weights:adapt",
            recognises="hcbench.methods.solider.weights:recognises",
            published_on="luperson",
        ),
    ),
)
