"""Facts of the pixels control."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import MethodCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of the pixels control.

    Attributes:
        columns: Columns of the shrunken image; rows follow the input's shape.
        patch: Side of a grid cell, input pixels.
        patch_side: Side of the shrunken patch that describes a cell.
    """

    columns: int = 8
    patch: int = 16
    patch_side: int = 8


CARD = MethodCard(
    name="pixels",
    title="Pixels",
    summary="Shrunken pixels as features: what needs no representation at all.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="control",
    config=Config,
    implementation="hcbench.methods.pixels.method:Pixels",
    sampling="images",
    trains=False,
)
