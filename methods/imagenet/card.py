"""Facts of the ImageNet control."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.methods.card import MethodCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which file; the plan fills it in.

    Attributes:
        sha256: Of the file, its first 16 digits.
    """

    sha256: str = ""


CARD = MethodCard(
    name="imagenet",
    title="ImageNet",
    summary="The backbone with timm's published weights, where they lie on this machine; nothing is downloaded.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="given",
    config=Config,
    implementation="hcbench.methods.imagenet.method:ImageNet",
    sampling="images",
    trains=False,
    nameless=frozenset({"sha256"}),
    trained_on=("ImageNet-1k or what timm says of the weights",),
)
"""Not among the controls of every table: it stands there where there are weights for the backbone."""
