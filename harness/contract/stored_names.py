"""What a method logs can be stored under its own name: MLflow takes few characters, and some stores keep files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

from hcbench.errors import MethodError
from hcbench.harness.contract.method_under_test import MethodUnderTest
from hcbench.harness.store.names import clashing_names, name_trouble


def storable_names(tested: MethodUnderTest) -> str:
    """Names of losses, diagnostics, settings and figures can be stored as they are, and are told apart."""
    run = tested.first
    numbers = [f"train.{name}" for name in run.trained.losses.names()]
    numbers += [f"diagnostics.{name}" for name in run.method.diagnostics()]
    settings = [f"{tested.card.name}.{item.name}" for item in dataclasses.fields(tested.card.config)]
    batch, _ = tested.one_batch(tested.loop(run.method))
    with torch.no_grad():
        figures = list(run.method.eval().figures(batch, torch.Generator().manual_seed(0)))
    for name in figures:
        if "/" in name:
            raise MethodError(f"The figure {name!r} cannot be stored: its name holds '/'.", "It is a file's name.")
    check_names("number", numbers)
    check_names("setting", settings)
    check_names("figure", figures)
    return f"{len(numbers)} numbers, {len(settings)} settings"


def check_names(kind: str, names: Iterable[str]) -> None:
    """Raise a MethodError for the first name that a store would refuse, or mix up with another."""
    several = list(names)
    for name in several:
        if trouble := name_trouble(name):
            raise MethodError(
                f"The {kind} {name!r} cannot be stored under its name, which {trouble}.",
                'Use letters, digits and "_-. :/", 250 at most. (A run would store it, written in another way.)',
            )
    for first, second in clashing_names(several):
        raise MethodError(
            f"The {kind}s {first!r} and {second!r} cannot be told apart by every store.",
            "Large and small letters alone do not tell names apart, and none may be a folder of another (a, a/b).",
        )
