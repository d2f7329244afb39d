"""The settings of an evaluation (`evaluate.*`), readable without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Settings under `evaluate.*`; changing one never trains a cell again.

    Attributes:
        scale: Share of the people benchmark's identities; 1 is the benchmark, less is for trying things out.
        readout: "auto" chooses on validation among cls, mean and cls+stripes; or one of these. Also pose and cls+pose,
            with the token [POSE] of encoders that have one (genpoccl); others are skipped.
        replicates: Bootstrap replicates of every metric.
        epochs: Factor on the length of head training.
        batch_size: Images per forward pass of feature extraction.
        head_seed: Seed of head initialisation and order.
        shots: Labelled training images of each identity (attributes: of each attribute with and without it; pose and
            parsing: in all); 0 = all there are. Validation stays whole.
        recipe: How `finetune` trains: short, field, or another of the benchmark's own in `configs/protocols`.
        rerank: Whether reid re-ranks by k-reciprocal neighbours (k1 20, k2 6, lambda .3).
        boxes: By which boxes pose cuts out the persons that are scored: "gt", the annotators', or "detected". Heads are
            trained and chosen on the annotators'.
    """

    scale: float = 1.0
    readout: str = "auto"
    replicates: int = 1000
    epochs: float = 1.0
    batch_size: int = 250
    head_seed: int = 0
    shots: int = 0
    recipe: str = "short"
    rerank: bool = False
    boxes: str = "gt"
