"""The settings of an evaluation (`evaluate.*`), readable without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Settings under `evaluate.*`; changing one never trains a cell again.

    Attributes:
        scale: Share of the people benchmark's identities; 1 is the benchmark, less is for trying things out.
        readout: "auto" chooses on validation; or one of the encoder's readouts.
        replicates: Bootstrap replicates of every metric.
        epochs: Factor on the length of head training.
        batch_size: Images per forward pass of feature extraction.
        head_seed: Seed of head initialisation and order.
    """

    scale: float = 1.0
    readout: str = "auto"
    replicates: int = 1000
    epochs: float = 1.0
    batch_size: int = 250
    head_seed: int = 0
