"""Facts of the benchmark `text-reid`."""

from __future__ import annotations

from hcbench.benchmarks.card import MetricInfo, TaskCard

CARD = TaskCard(
    name="text-reid",
    title="Text-to-image ReID",
    summary="Find a person by a caption, with a linear image projection and a small text tower; "
    "zero-shot: with the text tower that the method has trained itself, without a head.",
    version="3",
    metrics=(
        MetricInfo(name="R1", title="Rank-1", main=True),
        MetricInfo(name="R5", title="Rank-5"),
        MetricInfo(name="R10", title="Rank-10"),
        MetricInfo(name="mAP", title="mAP"),
        MetricInfo(name="mINP", title="mINP"),
    ),
    needs=frozenset({"images", "identity", "captions"}),
    data=("people", "cuhk-pedes", "icfg-pedes", "rstpreid"),
    protocols=("frozen", "finetune", "zero-shot"),
    text_tower=True,
    implementation="hcbench.benchmarks.text_reid.task:TextReid",
    implementations={
        "finetune": "hcbench.benchmarks.text_reid.finetune:FineTuneTextReid",
        "zero-shot": "hcbench.benchmarks.text_reid.zero_shot:ZeroShotTextReid",
    },
    reference="Li et al., Person Search with Natural Language Description (CUHK-PEDES), CVPR 2017; "
    "CMPM: Zhang and Lu, ECCV 2018",
)
