"""Facts of HAP, which is GenPoCCL's code without [POSE]."""

from __future__ import annotations

from hcbench.methods.card import MethodCard
from hcbench.methods.genpoccl.card import HAP_DEVIATIONS, HAP_SPACE, RULES, WITHOUT_KEYPOINTS, Config
from hcbench.methods.weight_layout import WeightLayout

CARD = MethodCard(
    name="hap",
    title="HAP",
    summary="Masked auto-encoding that hides body parts first and aligns two masked views of one image.",
    paper="Yuan et al., HAP: Structure-Aware Masked Image Modeling for Human-Centric Perception, NeurIPS 2023, "
    "arXiv 2310.20695",
    year=2023,
    needs=frozenset({"images", "keypoints"}),
    optional=WITHOUT_KEYPOINTS,
    layout="poses",
    supervision="structure",
    config=Config,
    implementation="hcbench.methods.hap.method:HAP",
    rules=RULES,
    defaults={"gamma_mp": 0.0, "group_flip": False},
    sampling="images",
    backbones=("vit",),
    licence="none stated",
    deviations=HAP_DEVIATIONS,
    space=HAP_SPACE,
    weight_layouts=(
        WeightLayout(
            name="hap",
            title="HAP",
            adapter="hcbench.methods.hap.weights:adapt",
            recognises="hcbench.methods.hap.weights:recognises",
            published_on="luperson",
        ),
    ),
)
