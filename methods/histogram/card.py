"""Facts of the histogram control."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import MethodCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of the histogram control.

    Attributes:
        stripes: Horizontal stripes whose histograms make the pooled vector.
        levels: Bins per colour channel; a histogram has levels³ bins.
        patch: Side of a grid cell, input pixels.
    """

    stripes: int = 8
    levels: int = 4
    patch: int = 16


CARD = MethodCard(
    name="histogram",
    title="Histogram",
    summary="Colour histograms of horizontal stripes: the hand-made feature to beat.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="control",
    config=Config,
    implementation="hcbench.methods.histogram.method:Histogram",
    sampling="images",
    trains=False,
)
