"""Which tasks a copy of a data set can serve: what a run would load is loaded, and the truth itself is scored.

`verify` of a data set looks at its files. Whether a benchmark finds what it needs in them is known here alone: images
for each of the three splits, the fields that it asks for, persons under two cameras. The truth in the place of
predictions (the oracle) tries all of it at once, on what is chosen on and on what is scored.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hcbench.benchmarks.base import EvaluateConfig, Task
from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.catalogue import dataset, lacking, task_splits
from hcbench.data.samples import Samples
from hcbench.data.task_splits import NAMES, TaskSplits
from hcbench.errors import HcbenchError, TaskError
from hcbench.harness.jobs.outcomes import classify
from hcbench.harness.planning.registry import Registry, implementation
from hcbench.harness.scoring.benchmark_data import benchmark_splits, scaled

SIZE = (64, 32)
"""Height and width of the images that are tried, pixels: small, since only labels count here."""
ENOUGH = 4000
"""Images of a split whose truth is scored; of larger splits a part is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskTrial:
    """Whether a copy can serve a benchmark.

    Attributes:
        benchmark: Its name.
        heads: Why heads cannot be trained and chosen on the copy; empty where they can.
        scored: Why the copy cannot be scored; empty where it can.
        absent: Which of the two, `heads` and `scored`, have no images here at all, or must not be used so.
        images: Images by split, of those that could be loaded.
        main: What the truth itself scores in the benchmark's main metric; NaN where the copy cannot be scored.
        metric: The main metric's title.
    """

    benchmark: str
    heads: str = ""
    scored: str = ""
    absent: frozenset[str] = frozenset()
    images: dict[str, int] = field(default_factory=dict)
    main: float = math.nan
    metric: str = ""

    @property
    def served(self) -> bool:
        """Whether a run works that uses all that is here: a split that lies here must not be in the way of it."""
        wrong = {name for name, reason in (("heads", self.heads), ("scored", self.scored)) if reason}
        return len(wrong) < 2 and wrong <= self.absent

    def text(self, data: str) -> str:
        """One line for people to read.

        Args:
            data: Name of the data set.
        """
        size = ", ".join(f"{split} {count:,}" for split, count in self.images.items())
        if not self.heads and not self.scored:
            return f"{self.benchmark}: can be run ({size} images; the truth itself has {self.metric} {self.main:.3g})"
        if self.heads and self.scored:
            return f"{self.benchmark}: cannot be run: {self.heads}" + (
                "" if self.heads == self.scored else f" And it cannot be scored: {self.scored}"
            )
        if self.heads:
            return f"{self.benchmark}: cannot be run: {self.heads} Other heads can be scored on it: --test-on {data}."
        return f"{self.benchmark}: cannot be run: {self.scored} Heads for other data (--test-on) can be trained on it."


def try_tasks(name: str, root: Path, registry: Registry) -> tuple[TaskTrial, ...]:
    """Try a copy for every benchmark that knows its data set, by name; nothing is written into it.

    Args:
        name: The data set, of a plug-in too.
        root: Its folder.
        registry: Knows the benchmarks.
    """
    own = dataset(name).name
    cards = [card for _, card in sorted(registry.benchmarks.items()) if own in card.data]
    with tempfile.TemporaryDirectory(prefix="hcbench-verify-") as folder, _quiet():
        loaded = _Loaded(own, root, Path(folder))
        return tuple(
            _lacks(card, why) if (why := lacking(own, root, card.name)) else _try(card, loaded) for card in cards
        )


class _Loaded:
    """The splits of a copy, each loaded once, or why it cannot be."""

    def __init__(self, data: str, root: Path, cache: Path) -> None:
        self.data, self.root, self.cache = data, root, cache
        self._found: dict[tuple[TaskSplits, str], Samples | str] = {}

    def split(self, benchmark: str, split: str) -> Samples | str:
        """The samples of a benchmark's `train`, `val` or `test`, or a sentence that says why there are none."""
        key = (task_splits(self.data, benchmark), split)
        if key not in self._found:
            try:
                self._found[key] = benchmark_splits(
                    self.data, str(self.root), height=SIZE[0], width=SIZE[1], scale=1.0, cache=self.cache,
                    splits=(split,), benchmark=benchmark,
                )[split]  # fmt: skip
            except Exception as error:  # of a plug-in, too: a run would tell it as the reason of a failure
                self._found[key] = _reason(error)
        return self._found[key]


def _lacks(card: TaskCard, why: str) -> TaskTrial:
    """The trial of a benchmark for which a copy lacks something that is given out elsewhere."""
    return TaskTrial(
        benchmark=card.name,
        heads=f"{why}.",
        scored=f"{why}.",
        absent=frozenset({"heads", "scored"}),
        images={},
        main=math.nan,
        metric="",
    )


def _try(card: TaskCard, loaded: _Loaded) -> TaskTrial:
    task: Task = implementation(card)(EvaluateConfig(replicates=1))
    parts = {split: loaded.split(card.name, split) for split in NAMES}
    reasons: dict[str, str] = {}
    main = math.nan
    for split, samples in parts.items():
        if isinstance(samples, str):
            reasons[split] = f"{split}: {samples}"
            continue
        try:
            main = _truth_scores(task, samples, card.on(loaded.data, split).main_metrics[0], split)
        except Exception as error:  # as above
            reasons[split] = f"{split}: {_reason(error)}"
    gone = {"heads": isinstance(parts["train"], str), "scored": isinstance(parts["test"], str)}
    return TaskTrial(
        benchmark=card.name,
        heads=next((reasons[split] for split in ("train", "val") if split in reasons), ""),
        scored=reasons.get("test", ""),
        absent=frozenset(part for part, absent in gone.items() if absent),
        images={split: len(samples) for split, samples in parts.items() if not isinstance(samples, str)},
        main=math.nan if "test" in reasons else main,
        metric=card.on(loaded.data).main_metrics[0].title,
    )


def _truth_scores(task: Task, samples: Samples, metric: MetricInfo, split: str) -> float:
    """What the truth scores in the main metric of a split; NaN of `train`, which nothing is scored on.

    NaN also where a benchmark does not say what its right predictions are.

    Raises:
        TaskError: The benchmark cannot use such samples, or its metric is not defined on them.
    """
    reason = task.skip_reason(samples) or (task.unscorable_reason(samples) if split == "test" else None)
    if split == "train":
        reason = reason or task.untrainable_reason(samples)
    if reason:
        raise TaskError(f"{reason}.")
    if split == "train":
        return math.nan
    part = scaled(samples, ENOUGH / len(samples)) if len(samples) > ENOUGH else samples
    try:
        return _main_value(task, part, metric)
    except HcbenchError:
        if part is samples:
            raise
        return _main_value(task, samples, metric)  # what is rare may all lie in the rest


def _main_value(task: Task, samples: Samples, metric: MetricInfo) -> float:
    predictions = task.oracle(samples)
    if predictions is None:
        return math.nan
    value = float(task.score(predictions, samples).summary[metric.name])
    if math.isnan(value):
        raise TaskError(f"{metric.title} is not defined on {samples.name}.")
    return value


def _reason(error: Exception) -> str:
    """Why something cannot be, as a run would say it, and what to do."""
    hint = error.hint.splitlines()[:1] if isinstance(error, HcbenchError) else []
    return " ".join([classify(error)[1], *hint])


@contextmanager
def _quiet() -> Iterator[None]:
    """What loaders log was said by `verify` already."""
    logger = logging.getLogger("hcbench")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
