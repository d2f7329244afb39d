"""Facts of the benchmark `parsing`."""

from __future__ import annotations

from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.people.spec import EVERYDAY

CARD = TaskCard(
    name="parsing",
    title="Human parsing",
    summary="A class for every pixel by a 1x1 convolution on the token grid, enlarged to the mask.",
    version="2",
    metrics=(
        MetricInfo(name="miou", title="mIoU", main=True),
        MetricInfo(name="miou_present", title="mIoU (present)"),
        MetricInfo(name="pixel_accuracy", title="Pixel acc."),
        MetricInfo(name="mean_accuracy", title="Mean acc."),
        MetricInfo(name="mean_accuracy_present", title="Mean acc. (present)"),
    ),
    needs=frozenset({"images", "parts"}),
    data=("people", "lip", "cihp"),
    regime=EVERYDAY,
    protocols=("frozen", "finetune"),
    implementation="hcbench.benchmarks.parsing.task:Parsing",
    implementations={"finetune": "hcbench.benchmarks.parsing.finetune:FineTuneParsing"},
    shots="image",
    reference="Gong et al., Look into Person, CVPR 2017; Li et al., Self-Correction for Human Parsing, TPAMI 2020",
)
