"""Facts of MAE, which is GenPoCCL's code with one random mask and no contrast."""

from __future__ import annotations

from hcbench.methods.card import Deviation, MethodCard
from hcbench.methods.genpoccl.card import HEADS, RULES, Config
from hcbench.methods.weight_layout import WeightLayout

CARD = MethodCard(
    name="mae",
    title="MAE",
    summary="Masked auto-encoding: predict three quarters of the patches from the rest.",
    paper="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv 2111.06377",
    year=2022,
    needs=frozenset({"images"}),
    layout="identities",
    supervision="images",
    config=Config,
    implementation="hcbench.methods.mae.method:MAE",
    rules=RULES,
    # MAE: one mask of ratio .75 at random (facebookresearch/mae models_mae.py, main_pretrain.py).
    defaults={
        "gamma_align": 0.0,
        "gamma_mp": 0.0,
        "mask": "random",
        "mask_ratio": 0.75,
        "num_masks": 1,
        "group_flip": False,
    },
    sampling="images",
    backbones=("vit",),
    licence="CC-BY-NC-4.0",
    deviations=(
        HEADS,
        Deviation(
            point="crop ratio",
            official="3/4..4/3 of a square output",
            ours="3/4..4/3 of the output's own width/height",
            why="squares distort tall person crops",
        ),
    ),
    weight_layouts=(
        WeightLayout(
            name="mae",
            title="MAE",
            adapter="hcbench.methods.mae.weights:adapt",
            recognises="hcbench.methods.mae.weights:recognises",
            published_on="imagenet",
        ),
    ),
)
