"""Facts of DINO, which is SOLIDER's code without semantics."""

from __future__ import annotations

from hcbench.methods.card import MethodCard
from hcbench.methods.solider.card import DINO_DEVIATIONS, RULES, Config
from hcbench.methods.weight_layout import WeightLayout

CARD = MethodCard(
    name="dino",
    title="DINO",
    summary="Self-distillation: every crop of an image predicts what a moving average of the network says of another.",
    paper="Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294",
    year=2021,
    needs=frozenset({"images"}),
    layout="identities",
    supervision="images",
    config=Config,
    implementation="hcbench.methods.dino.method:DINO",
    rules=RULES,
    defaults={"semantic_loss": 0.0},
    sampling="images",
    licence="Apache-2.0",
    deviations=DINO_DEVIATIONS,
    weight_layouts=(
        WeightLayout(
            name="dino",
            title="DINO",
            adapter="hcbench.methods.dino.weights:adapt",
            recognises="hcbench.methods.dino.weights:recognises",
            published_on="imagenet",
        ),
    ),
)
