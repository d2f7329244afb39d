"""Facts of SimCLR, which is StableRep's code with two crops of one image."""

from __future__ import annotations

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.stablerep.card import RULES, Config

CARD = MethodCard(
    name="simclr",
    title="SimCLR",
    summary="Contrastive learning in which two augmented views of one image are positives.",
    paper="Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, "
    "arXiv 2002.05709",
    year=2020,
    needs=frozenset({"images"}),
    layout="identities",
    supervision="images",
    config=Config,
    implementation="hcbench.methods.simclr.method:SimCLR",
    rules=RULES,
    # SimCLR's default head (2048-2048-128 on ResNet-50) and its temperature .1 for long ImageNet training.
    defaults={"num_crop": 2, "projector": (2048, 128), "bn": "global"},
    sampling="images",
    licence="Apache-2.0",
    deviations=(
        Deviation(
            point="augmentation",
            official="hue, grey and strong crops",
            ours="the recipe's, shared by all methods (paper recipe: strong)",
            why="clothing colour tells people apart; hue jitter removes it",
        ),
        Deviation(
            point="optimiser",
            official="LARS, batch 4096, batch norm after the last layer of the head",
            ours="the recipe's optimiser and batch; no norm after the last layer",
            why="one batch rule, optimiser and head for every contrastive method",
        ),
        Deviation(
            point="size of the head (cpu recipe only)",
            official="2048-128",
            ours="projector=512,128",
            why="in proportion to a backbone of 2 M parameters",
        ),
    ),
)
