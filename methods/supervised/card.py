"""Facts of the labelled reference."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.rules import WEIGHT, Within


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of the labelled reference.

    Attributes:
        identity_weight: Weight of the identity loss; 0 leaves it and its classifier out.
        attribute_weight: Weight of the attribute loss; 0 leaves it and its classifiers out.
        neck: Whether classifiers read the vector behind a batch norm; benchmarks read it before (ReID's BNNeck).
        label_smoothing: Share of an identity's target that is spread over all identities.
        augmentation: Name of a preset of `hcbench.data.augment`.
        lr: Learning rate; None takes the recipe's.
        weight_decay: None takes the recipe's.
    """

    identity_weight: float = 1.0  # both at 1: the loss is minus the log-likelihood of all labels of an image
    attribute_weight: float = 1.0  # see identity_weight; paper: the mean over attributes beside a weighted identity
    neck: bool = True  # Luo et al., CVPRW 2019 (michuanhaohao/reid-strong-baseline)
    label_smoothing: float = 0.1  # the ReID field's (KaiyangZhou/deep-person-reid, cross_entropy_loss.py)
    augmentation: str = "people"  # the recipe's
    lr: float | None = None
    weight_decay: float | None = None


CARD = MethodCard(
    name="supervised",
    title="Supervised",
    summary="Classification of identities and attributes: what the same budget gives where labels are known.",
    paper="Lin et al., Improving Person Re-identification by Attribute and Identity Learning, Pattern Recognition 2019,"
    " arXiv 1703.07220",
    year=2019,
    needs=frozenset({"images", "identity", "attributes"}),
    layout="identities",
    supervision="labels",
    config=Config,
    implementation="hcbench.methods.supervised.method:Supervised",
    rules={"identity_weight": WEIGHT, "attribute_weight": WEIGHT, "label_smoothing": Within(0, 1, "[)")},
    sampling="images",
    deviations=(
        Deviation(
            point="attribute loss",
            official="softmax cross-entropy, mean over attributes",
            ours="weighted binary cross-entropy, sum over attributes (valencebond/Rethinking_of_PAR @0baa462)",
            why="the attribute field's plain recipe, and the one of the benchmark's heads",
        ),
        Deviation(
            point="attribute re-weighting",
            official="predicted attributes are weighted and joined to the identity feature",
            ours="none: linear classifiers on the batch-normalised pooled vector (BNNeck); option neck",
            why="plain; without the norm, features of so few steps share one direction and little else",
        ),
        Deviation(
            point="labels",
            official="clean, by hand",
            ours="identities with the corpus's noise (one in ten is wrong), as plip is given them; attributes without",
            why="one noise for every method; corpus.noise=0 is the oracle row",
        ),
        Deviation(
            point="optimiser",
            official="SGD from ImageNet weights",
            ours="the recipe's, from random weights",
            why="one recipe for every method",
        ),
    ),
)
