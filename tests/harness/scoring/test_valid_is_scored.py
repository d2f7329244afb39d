"""The oracle is perfect on every copy that `verify` calls valid, whatever odd things the copy holds.

One reading for loader, metric and `verify`: a copy of each data set that a benchmark knows is changed on disk as
people's copies are. Where `verify` says valid and the trial of tasks says that it can be scored, the truth as
prediction has the upper bound of every metric; where something is refused, it is an error of hcbench that says what.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from oddities import CHANGES
from small_copies import COPIES

from hcbench.benchmarks.base import EvaluateConfig
from hcbench.benchmarks.card import TaskCard
from hcbench.benchmarks.parsing.classes import IGNORED, Classes
from hcbench.data.catalogue import dataset
from hcbench.data.samples import Samples
from hcbench.errors import HcbenchError
from hcbench.harness.planning.registry import implementation, load_registry
from hcbench.harness.scoring.benchmark_data import benchmark_splits
from hcbench.harness.scoring.task_trial import try_tasks

ODDITIES = st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 2**20)), min_size=1, max_size=3)
KNOWN = sorted({name for card in load_registry(()).benchmarks.values() for name in card.data} - {"people"})


def test_there_is_a_copy_of_every_data_set_that_a_benchmark_knows() -> None:
    assert sorted(COPIES) == KNOWN


def most(benchmark: str, samples: Samples) -> dict[str, float]:
    """The upper bound of every metric whose bound is not 1; those of `people` and plain sets are 1.

    A ratio with nothing below it counts 0 in the field's evaluators: a person without any attribute, an attribute or a
    class that a split never shows. A question of several answers is answered wrongly where none of them is right.
    """
    if benchmark == "attributes":
        labels = samples.attributes
        assert labels is not None
        both = ((labels == 1).any(axis=0) * 0.5 + (labels == 0).any(axis=0) * 0.5).mean()
        persons = float((labels == 1).any(axis=1).mean())
        own = ("f1", "accuracy", "precision", "recall", "f1_mean_of_instances")
        questions = np.array(samples.attribute_groups)
        several = [labels[:, questions == one] for one in dict.fromkeys(samples.attribute_groups)]
        answered = [1.0 if group.shape[1] == 1 else float((group == 1).any(axis=1).mean()) for group in several]
        asked = {"question_accuracy": float(np.mean(answered))} if answered else {}
        return {"mA": float(both)} | dict.fromkeys(own, persons) | asked
    if benchmark == "parsing":
        classes = Classes.of(samples)
        shown = np.setdiff1d(classes.masks(samples, slice(None)), [IGNORED]).size / len(classes.names)
        return {"miou": shown, "mean_accuracy": shown}
    return {}


def scored(name: str, card: TaskCard, root: Path, cache: Path) -> None:
    """Score the truth of the test split, and hold it against the bounds."""
    task = implementation(card)(EvaluateConfig(replicates=5))
    samples = benchmark_splits(
        name, str(root), height=96, width=48, scale=1.0, cache=cache, splits=("test",), boxes="gt", benchmark=card.name
    )["test"]
    predictions = task.oracle(samples)
    assert predictions is not None
    scores = task.score(predictions, samples)
    bounds = most(card.name, samples)
    found = {one.name: scores.summary[one.name] for one in card.metrics if one.name in scores.summary}
    assert {one.name for one in card.on(name).main_metrics} <= found.keys()
    assert bool(samples.attribute_groups) == ("question_accuracy" in found)
    defined = {key: value for key, value in found.items() if not np.isnan(value)}
    assert defined == pytest.approx({key: bounds.get(key, 1.0) for key in defined}, abs=1e-9)
    assert card.on(name).main_metrics[0].name in defined


def held(name: str, root: Path, cache: Path) -> str:
    """Verify a copy and score it; gives how it ended. Whatever is no error of hcbench comes out."""
    data_set, registry = dataset(name), load_registry(())
    try:
        report = data_set.verify(root)
    except HcbenchError:
        return "refused"
    valid = report.level != "mismatch"
    assert valid or all(report.problems), "what is wrong is said"
    assert valid or report.problems
    trials = {one.benchmark: one for one in try_tasks(name, root, registry)} if valid else {}
    for trial in trials.values():
        words = f"{trial.heads} {trial.scored}"
        assert not any(
            f"{kind}Error:" in words for kind in ("Type", "Value", "Key", "Index", "Attribute", "Unicode")
        ), words
    for card in registry.benchmarks.values():
        if name in card.data:
            try:
                scored(name, card, root, cache)
            except (HcbenchError, AssertionError) as error:
                if valid and not trials[card.name].scored:
                    raise AssertionError(f"valid, but {card.name}: {error}") from error
    return "valid" if valid else "mismatch"


def tried(name: str, place: Path, oddities: list[tuple[str, int]]) -> str:
    """A fresh copy with these oddities."""
    root = place / "copy"
    shutil.rmtree(root, ignore_errors=True)
    COPIES[name](root)
    for kind, seed in oddities:
        try:
            note(f"{kind}: {CHANGES[kind](root, np.random.default_rng(seed))}")
        except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            note(f"{kind}: not possible any more ({error})")  # what an earlier change has broken
    return held(name, root, place / "cache")


@pytest.mark.parametrize("name", COPIES)
def test_a_plain_copy(name: str, tmp_path: Path) -> None:
    assert tried(name, tmp_path, []) == "valid"


@pytest.mark.parametrize("name", COPIES)
def test_the_oracle_is_perfect_wherever_verify_says_valid(name: str, tmp_path: Path) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True, database=None)
    @given(ODDITIES)
    def holds(oddities: list[tuple[str, int]]) -> None:
        tried(name, tmp_path, oddities)

    holds()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", COPIES)
def test_the_oracle_is_perfect_in_many_more_copies(name: str, tmp_path: Path) -> None:
    @settings(max_examples=300, deadline=None, derandomize=True, database=None,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(ODDITIES)
    def holds(oddities: list[tuple[str, int]]) -> None:
        tried(name, tmp_path, oddities)

    holds()
