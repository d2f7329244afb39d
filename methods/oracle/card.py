"""Facts of the oracle."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import MethodCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The oracle has no settings."""


CARD = MethodCard(
    name="oracle",
    title="Oracle",
    summary="Ground truth in the place of predictions: the most that each metric can give. Only where asked for.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="truth",
    config=Config,
    implementation="hcbench.methods.oracle.method:Oracle",
    sampling="images",
    trains=False,
)
