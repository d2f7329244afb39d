"""Facts of the benchmark `reid`."""

from __future__ import annotations

from hcbench.benchmarks.card import MetricInfo, TaskCard

CARD = TaskCard(
    name="reid",
    title="Person ReID",
    summary="Find the same person under another camera by cosine distance, under a closed-form metric of the "
    "training persons; zero-shot: nearest neighbours, without a head.",
    version="2",
    metrics=(
        MetricInfo(name="mAP", title="mAP", main=True),
        MetricInfo(name="R1", title="Rank-1"),
        MetricInfo(name="R5", title="Rank-5"),
        MetricInfo(name="R10", title="Rank-10"),
        MetricInfo(name="mINP", title="mINP"),
    ),
    needs=frozenset({"images", "identity", "camera"}),
    data=("people", "market1501", "msmt17", "cuhk03-np", "cuhk03-np-labeled", "dukemtmc", "occluded-duke"),
    protocols=("frozen", "finetune", "zero-shot"),
    implementation="hcbench.benchmarks.reid.task:Reid",
    implementations={
        "finetune": "hcbench.benchmarks.reid.finetune:FineTuneReid",
        "zero-shot": "hcbench.benchmarks.reid.zero_shot:ZeroShotReid",
    },
    options=frozenset({"rerank"}),
    reference="Zheng et al., Scalable Person Re-identification (Market-1501), ICCV 2015; mINP: Ye et al., TPAMI 2021; "
    "head: Fisher, Annals of Eugenics 1936",
)
