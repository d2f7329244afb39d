"""Facts of the benchmark `pose`."""

from __future__ import annotations

from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.people.spec import EVERYDAY

# AP is the metric of the field, but it stays near its floor (below .04) for models that train in minutes, so that
# it cannot tell methods apart there. AP50, which can, leads the table, and AP stands beside it. On MPII neither is
# defined, and PCKh leads; of the training images that are held out for validation no heads are known, so that PCK .05
# chooses there (`measures.criterion`).
CARD = TaskCard(
    name="pose",
    title="Human pose",
    summary="The joints of a person (seventeen on people) by a small heat-map head on the token grid.",
    version="3",
    metrics=(
        MetricInfo(name="AP50", title="AP50", main=True),
        MetricInfo(name="AP", title="AP"),
        MetricInfo(name="AP75", title="AP75"),
        MetricInfo(name="AR", title="AR"),
        MetricInfo(name="PCK20", title="PCK .20"),
        MetricInfo(name="PCK10", title="PCK .10"),
        MetricInfo(name="PCK05", title="PCK .05", main_on_val=("mpii",)),
        MetricInfo(name="PCKh", title="PCKh", main_on=("mpii",)),
        MetricInfo(name="PCKh10", title="PCKh .10"),
    ),
    needs=frozenset({"images", "keypoints", "boxes"}),  # and areas where OKS is defined: see `Pose.skip`
    data=("people", "coco", "mpii", "aic", "crowdpose", "ochuman"),
    regime=EVERYDAY,
    protocols=("frozen", "finetune"),
    implementation="hcbench.benchmarks.pose.task:Pose",
    implementations={"finetune": "hcbench.benchmarks.pose.finetune:FineTunePose"},
    options=frozenset({"boxes"}),
    shots="image",
    reference="Lin et al., Microsoft COCO, ECCV 2014 (OKS, cocodataset.org/#keypoints-eval); Andriluka et al., MPII, "
    "CVPR 2014 (PCKh); PCK as mmpose",
)
