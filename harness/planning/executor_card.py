"""`ExecutorCard`: the facts of a way to run jobs; its contract stands in `harness/jobs/executors/base.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorCard:
    """Facts of one executor; where cells run decides no number and is part of no fingerprint.

    Attributes:
        name: What `--executor` takes.
        summary: One sentence for `hcbench list executors`.
        implementation: "module:Class" of an `Executor`, imported only when jobs run.
    """

    name: str
    summary: str
    implementation: str
