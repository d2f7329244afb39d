"""Facts of the random control."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import MethodCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The random control has no settings."""


CARD = MethodCard(
    name="random",
    title="Random init",
    summary="The untrained backbone: what the architecture and the head alone can do.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="control",
    config=Config,
    implementation="hcbench.methods.random.method:Random",
    sampling="images",
    trains=False,
)
