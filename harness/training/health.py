"""What a training's numbers say about its health: is the representation alive, was anything learned?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from hcbench.data.samples import Int, Samples
from hcbench.data.seeds import name_seed
from hcbench.harness.training.loss_log import LossLog
from hcbench.methods.base import Method
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.clustering import agreement
from hcbench.methods.parts.encoder import encode_all

MOST_IMAGES = 2_000
"""Images of the view that diagnostics look at; pairs grow with the square."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Numbers (stored as metrics `diagnostics.<name>`) and warnings for the user."""

    values: dict[str, float]
    warnings: tuple[str, ...] = field(default=())


def diagnose(method: Method, view: Samples, losses: LossLog, seed: int) -> Diagnosis:
    """Look at evaluation-mode features of (a sample of) the view, and at the last quarter of the losses."""
    picked = _pick(view, seed)
    features = encode_all(method.encoder, view.subset(picked).images).pooled
    values = diagnostics.describe(features)
    if view.group is not None:
        values["alignment"] = float(diagnostics.alignment(features, torch.from_numpy(view.group[picked])))
    pseudo_labels = method.pseudo_labels()
    if pseudo_labels is not None and view.identity is not None:
        found = agreement(pseudo_labels.cpu().numpy(), view.identity)
        values |= {} if math.isnan(found) else {"label_agreement": found}
    values |= method.diagnostics()
    return Diagnosis(values, tuple(_warnings(values, losses)))


def _warnings(values: dict[str, float], losses: LossLog) -> list[str]:
    late = {name: float(np.mean(losses.tail(name))) for name in losses.names()}
    optimisers = dict.fromkeys(name.partition(".")[0] for name in late)
    found = []
    for optimiser in optimisers:
        prefix = f"{optimiser}."
        parts = {name.removeprefix(prefix): value for name, value in late.items() if name.startswith(prefix)}
        parts.pop("effective_rank", None)  # the one of the whole view says more than a batch's
        found += diagnostics.warnings(parts, past_warmup=True)
    return found + diagnostics.warnings({"effective_rank": values["effective_rank"]}, past_warmup=True)


def _pick(view: Samples, seed: int) -> Int:
    """Up to `MOST_IMAGES` images, whole groups where there are groups."""
    if len(view) <= MOST_IMAGES:
        return np.arange(len(view))
    rng = np.random.default_rng(name_seed("diagnose", seed))
    units: Int = np.arange(len(view)) if view.group is None else view.group
    names, counts = np.unique(units, return_counts=True)
    order = rng.permutation(len(names))
    taken = order[np.cumsum(counts[order]) <= MOST_IMAGES]
    return np.flatnonzero(np.isin(units, names[taken]))
