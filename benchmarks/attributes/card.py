"""Facts of the benchmark `attributes`."""

from __future__ import annotations

from hcbench.benchmarks.card import MetricInfo, TaskCard

CARD = TaskCard(
    name="attributes",
    title="Person attributes",
    summary="One linear classifier per attribute on frozen features, weighted binary cross-entropy, threshold .5.",
    version="2",
    metrics=(
        MetricInfo(name="mA", title="mA", main=True),
        MetricInfo(name="f1", title="F1"),
        MetricInfo(name="accuracy", title="Accuracy"),
        MetricInfo(name="precision", title="Precision"),
        MetricInfo(name="recall", title="Recall"),
        MetricInfo(name="ma_defined", title="mA (defined)"),
        MetricInfo(name="f1_mean_of_instances", title="F1 (mean of persons)"),
        MetricInfo(name="question_accuracy", title="Accuracy by question"),
    ),
    needs=frozenset({"images", "attributes"}),
    data=("people", "pa100k", "peta", "peta-zs", "peta-persons", "rapv1", "rapv2", "rapzs", "market1501", "dukemtmc"),
    protocols=("frozen", "finetune"),
    implementation="hcbench.benchmarks.attributes.task:Attributes",
    implementations={"finetune": "hcbench.benchmarks.attributes.finetune:FineTuneAttributes"},
    shots="attribute",
    reference="Jia et al., Rethinking of Pedestrian Attribute Recognition, arXiv 2107.03576; accuracy by question: "
    "Lin et al., Improving Person Re-identification by Attribute and Identity Learning, Pattern Recognition 2019",
)
