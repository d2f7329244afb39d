"""What a benchmark promises the evaluation, one function per promise.

Each takes a `BenchmarkUnderTest` and gives a note for the screen; where the promise is broken, it raises a TaskError
that says what was found, what was expected and what to do next. `benchmark_contract.py` runs them.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.benchmarks.base import Scores, Task
from hcbench.benchmarks.card import OPTIONS, MetricInfo, TaskCard
from hcbench.data.samples import Samples
from hcbench.errors import HcbenchError, TaskError, did_you_mean
from hcbench.harness.contract.benchmark_under_test import CONFIG, BenchmarkUnderTest
from hcbench.harness.jobs.atomic_files import write_json, write_table
from hcbench.harness.planning.registry import implementation
from hcbench.harness.store.names import clashing_names, name_trouble

SHOTS = ("identity", "attribute", "image")


def complete_card(tested: BenchmarkUnderTest) -> str:
    """The card is complete, without the class."""
    card = tested.card
    if not card.version:
        raise TaskError(
            "The card has no version.", 'Write version="1"; change it with every edit that changes numbers.'
        )
    if not card.summary.endswith("."):
        raise TaskError(f"The card's summary is {card.summary!r}; expected one sentence.", "End it with a full stop.")
    if not card.data:
        raise TaskError("The card names no data.", 'Write data=("people",), or the names of data sets.')
    fields = {item.name for item in dataclasses.fields(Samples)} - {"name", "fingerprint", "ids"}
    for need in sorted(card.needs):
        if need not in fields:
            raise TaskError(f"The card needs {need!r}, which no data can know.", did_you_mean(need, fields))
    for option in sorted(card.options - OPTIONS):
        raise TaskError(f"The card names an option {option!r}.", did_you_mean(option, OPTIONS))
    if card.shots not in SHOTS:
        raise TaskError(f"The card counts shots per {card.shots!r}.", did_you_mean(card.shots, SHOTS))
    _check_protocols(card)
    _check_metrics(card.metrics)
    return f"version {card.version}; metrics: {', '.join(metric.name for metric in card.metrics)}"


def _check_protocols(card: TaskCard) -> None:
    if not card.protocols:
        raise TaskError("The card names no protocol.", 'Write protocols=("frozen",).')
    for protocol in card.implementations:
        if protocol not in card.protocols:
            raise TaskError(
                f"The card has an implementation for {protocol!r}, which is none of its protocols.",
                did_you_mean(protocol, card.protocols),
            )


def _check_metrics(metrics: tuple[MetricInfo, ...]) -> None:
    for metric in metrics:
        _check_name(metric.name)
    twice = [name for name, count in Counter(metric.name for metric in metrics).items() if count > 1]
    if twice:
        raise TaskError(f"Two metrics are called {twice[0]!r}.", "Give each its own name.")
    for first, second in clashing_names(metric.name for metric in metrics):
        raise TaskError(
            f"The metrics {first!r} and {second!r} cannot be told apart by every store.",
            "Large and small letters alone do not tell names apart, and none may be a folder of another (a, a/b).",
        )
    if not any(metric.main for metric in metrics):
        raise TaskError("No metric is the main one.", "Write main=True for the metric that the main table shows.")


def _check_name(name: str) -> None:
    # It is also written on the cell's own run, below the benchmark's name.
    if trouble := name_trouble(name) or (name_trouble(f"benchmark.{name}") and "is too long"):
        raise TaskError(
            f"The metric {name!r} cannot be stored: its name {trouble}.",
            'Use letters, digits and "_-. :/"; what tables write, such as "AP@.5", is its title.',
        )


def importable_classes(tested: BenchmarkUnderTest) -> str:
    """The class of every protocol is a Task."""
    for protocol in tested.card.protocols:
        named = tested.card.under(protocol)
        cls = implementation(named)
        if not inspect.isclass(cls) or not issubclass(cls, Task):
            raise TaskError(
                f"{named.implementation} ({protocol}) is no class over Task.",
                "Write `class ...(Task)`, with Task from hcbench.benchmarks.base.",
            )
        if missing := sorted(cls.__abstractmethods__):
            raise TaskError(f"{cls.__name__} ({protocol}) lacks {' and '.join(missing)}.", "See `Task`.")
        if "card" not in dir(cls) or cls.card.name != tested.card.name:
            raise TaskError(f"{cls.__name__}.card is not the card.", "Write `card = CARD` in the class.")
    return ", ".join(tested.card.protocols)


def data_that_fit(tested: BenchmarkUnderTest) -> str:
    """Every split of its data knows what the benchmark needs."""
    task = tested.build()
    for split, samples in tested.splits.items():
        if reason := task.skip_reason(samples):
            raise TaskError(
                f"It cannot be run on {split} of {tested.data}: {reason}.", "Name data that fit in the card."
            )
    if reason := task.unscorable_reason(tested.splits["test"]):
        raise TaskError(f"It cannot be scored on {tested.data}: {reason}.", "Name data that fit in the card.")
    return ", ".join(f"{split} {len(samples)}" for split, samples in tested.splits.items())


def whole_evaluation(tested: BenchmarkUnderTest) -> str:
    """Fit, predict and score work on a few images, and every metric of the card gets a number."""
    scores = tested.evaluated.scores
    if not isinstance(scores, Scores):
        raise TaskError(f"`score` gives a {type(scores).__name__}; expected Scores.", "See hcbench.benchmarks.base.")
    if missing := sorted({metric.name for metric in _main(tested)} - scores.summary.keys()):
        raise TaskError(f"`score` gives no {' and '.join(missing)}.", "Put every main metric into `Scores.summary`.")
    return ", ".join(f"{metric.name} {float(scores.summary[metric.name]):.3f}" for metric in _main(tested))


def sound_numbers(tested: BenchmarkUnderTest) -> str:
    """Scores are fractions, or NaN where they are not defined; a main metric is defined."""
    undefined = []
    percent = {metric.name: metric.percent for metric in tested.card.metrics}
    main = {metric.name for metric in _main(tested)}
    for name, given in tested.evaluated.scores.summary.items():
        value = float(given)
        if math.isnan(value):
            if name in main:
                raise TaskError(
                    f"The main metric {name} is NaN on {len(tested.splits['test'])} sound images.",
                    "Give a main metric that is defined there; NaN is for what the data do not show.",
                )
            undefined.append(name)
        elif math.isinf(value):
            raise TaskError(f"{name} is {value}.", "Give NaN where a metric is not defined, and say why in the record.")
        elif percent.get(name) and not -1e-9 <= value <= 1 + 1e-9:
            raise TaskError(
                f"{name} is {value:g}; expected a fraction from 0 to 1.",
                "Divide by 100, or write percent=False for a metric with a unit of its own.",
            )
    if undefined and not tested.evaluated.scores.record:
        raise TaskError(f"{', '.join(undefined)} NaN, and the record is empty.", "Say why in `Scores.record`.")
    return f"not defined here: {', '.join(undefined)}" if undefined else "all are defined"


def storable_scores(tested: BenchmarkUnderTest) -> str:
    """What a score holds can be stored: the record as JSON, values per sample as one table."""
    scores = tested.evaluated.scores
    for name in scores.summary:  # there may be more than the card's
        _check_name(name)
    lengths = {name: len(column) for name, column in scores.per_sample.items()}
    if "sample" not in lengths:
        raise TaskError("`per_sample` has no column `sample`.", "Start from `scoring.sample_columns(truth)`.")
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise TaskError(f"Columns of `per_sample` differ in length: {listing}.", "One row per query or image.")
    try:
        write_json(tested.folder / "record.json", {"record": scores.record, "chosen": scores.chosen})
        write_table(tested.folder / "per_sample.parquet", scores.per_sample)
    except (TypeError, ValueError) as error:
        raise TaskError(f"The scores cannot be stored: {error}.", "Use numbers, texts, lists and dicts.") from error
    return f"{lengths['sample']} rows"


def right_replicates(tested: BenchmarkUnderTest) -> str:
    """Bootstrap replicates have the length that the settings ask for, for every main metric."""
    replicates = tested.evaluated.scores.replicates
    if missing := sorted({metric.name for metric in _main(tested)} - replicates.keys()):
        raise TaskError(
            f"There are no replicates of {' and '.join(missing)}.",
            "Evaluate the metric on each row of `metrics.bootstrap.resample_weights`.",
        )
    for name, values in replicates.items():
        if np.shape(values) != (CONFIG.replicates,):
            raise TaskError(
                f"The replicates of {name} have the shape {np.shape(values)}; expected ({CONFIG.replicates},).",
                "Give `self.config.replicates` of them.",
            )
    return f"{CONFIG.replicates} of {', '.join(replicates)}"


def no_labels_in_predictions(tested: BenchmarkUnderTest) -> str:
    """`predict` gives the same after `score` has seen the truth: it keeps no label."""
    first = tested.evaluated
    _same(first.predictions, first.task.predict(first.inputs), "`predict`", "after `score` has seen the truth",
          "Keep nothing of the truth, and draw from a generator of a fixed seed.")  # fmt: skip
    return ", ".join(first.predictions)


def same_twice(tested: BenchmarkUnderTest) -> str:
    """A fresh evaluation gives the same numbers and replicates."""
    one, other = tested.evaluated.scores, tested.again().scores
    hint = "Draw from `heads.head_generator(self.config.head_seed, ...)`; resample with the card's resample_seed."
    first = {name: np.asarray(value) for name, value in one.summary.items()}
    second = {name: np.asarray(value) for name, value in other.summary.items()}
    _same(first, second, "`score`", "the second time", hint)
    _same(one.replicates, other.replicates, "The replicates", "the second time", hint)
    return "scores and replicates"


def oracle_is_best(tested: BenchmarkUnderTest) -> str:
    """The truth as prediction scores the best value of every main metric."""
    perfect, learned = tested.perfect, tested.evaluated.scores
    capped = bool(perfect.record.get("undefined"))
    for metric in _main(tested):
        value, reached = float(perfect.summary[metric.name]), float(learned.summary[metric.name])
        best = 1.0 if metric.higher_is_better else 0.0
        exact = metric.percent and not capped
        if math.isnan(value) or _better(metric, reached, value) or (exact and abs(value - best) > 1e-6):
            expected = f"{best:g}" if exact else f"no worse than the {reached:.3f} of a head"
            raise TaskError(
                f"The truth scores {metric.name} {value:.3f}; expected {expected}.",
                "Mend `oracle` or the metric: what is right must score best.",
            )
    note = ", ".join(f"{metric.name} {float(perfect.summary[metric.name]):.3f}" for metric in _main(tested))
    return f"{note}; so few images do not show everything" if capped else note


def blind_is_worse(tested: BenchmarkUnderTest) -> str:
    """Features that tell no image from another do not score like the truth."""
    perfect = tested.perfect
    try:
        blind = tested.blind.scores
    except HcbenchError as refusal:
        return f"refused: {refusal.message}"
    for metric in _main(tested):
        value, best = float(blind.summary[metric.name]), float(perfect.summary[metric.name])
        if not math.isnan(value) and not _better(metric, best, value):
            raise TaskError(
                f"Features that are equal for all images score {metric.name} {value:.3f}, the truth {best:.3f}.",
                "Look for labels that reach `predict`, or for ties that are broken in favour of what is right.",
            )
    return ", ".join(f"{metric.name} {float(blind.summary[metric.name]):.3f}" for metric in _main(tested))


def _main(tested: BenchmarkUnderTest) -> tuple[MetricInfo, ...]:
    return tested.card.on(tested.data).main_metrics


def _better(metric: MetricInfo, one: float, other: float) -> bool:
    """Whether a value is better than another by more than rounding."""
    return (one - other if metric.higher_is_better else other - one) > 1e-6


def _same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]], who: str, when: str, hint: str) -> None:
    for name, values in one.items():
        again = other.get(name)
        if again is None or not np.array_equal(values, again, equal_nan=np.asarray(values).dtype.kind == "f"):
            raise TaskError(f"{who} gives another {name} {when}.", hint)
