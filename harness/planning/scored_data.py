"""What a run scores: benchmarks on the data sets at hand, under the protocols that were asked for."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hcbench.benchmarks.card import TaskCard
from hcbench.data.catalogue import dataset_modules, is_for_training, lacking
from hcbench.data.files.contents import Contents
from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.planning.corpora import PEOPLE, data_contents, data_root
from hcbench.harness.planning.registry import Registry
from hcbench.harness.planning.settings import RunConfig

logger = logging.getLogger(__name__)

ON = ":"
"""Between a benchmark and the one data set on which it was asked for: `reid:market1501`."""


@dataclass(frozen=True, slots=True)
class ScoredData:
    """A benchmark on the data of its heads and the data that are scored.

    Attributes:
        card: The benchmark's.
        data: Data set of train and val.
        contents: What stands for the files of all its data, by name.
        test_on: Data set that is scored where it is another one.
    """

    card: TaskCard
    data: str
    contents: Mapping[str, Contents] = field(default_factory=dict)
    test_on: str = ""


def scored_data(run: RunConfig, registry: Registry) -> list[ScoredData]:
    """Every benchmark with each data set that it is run on.

    Raises:
        ConfigError: A benchmark, protocol or data set that was named is not there, or does not fit.
        DataError: A data set is not where it should be.
    """
    asked = [_asked(text, registry) for text in run.benchmarks] or [(card, "") for card in registry.benchmarks.values()]
    _check_protocols(run, [card for card, _ in asked])
    contents = functools.cache(lambda data: data_contents(data, data_root(data, run.data)))
    lacks = functools.cache(lambda benchmark, data, named: _lacks(benchmark, data, run, named=named))
    found: dict[tuple[str, str], ScoredData] = {}
    for card, only in asked:
        for data in (only,) if only else card.data:
            if data == PEOPLE:
                found[card.name, data] = ScoredData(card, data)
            elif data in run.data and (_teaches(data) or data == run.test_on):
                if lacks(card.name, data, bool(only)):
                    continue
                found[card.name, data] = ScoredData(card, data, contents(data))
            elif only:
                raise _not_at_hand(card, data, data in run.data)
    if not run.test_on:
        return list(found.values())
    able = [card for card, _ in asked if run.test_on in card.data and run.test_on in (PEOPLE, *run.data)]
    targets = {
        card.name: contents(run.test_on) if run.test_on != PEOPLE else {}
        for card in able
        if run.test_on == PEOPLE or not lacks(card.name, run.test_on, False)
    }
    return _across(run, list(found.values()), targets)


def _asked(text: str, registry: Registry) -> tuple[TaskCard, str]:
    """A benchmark, and the one data set on which it is wanted; "" = all that are at hand."""
    name, _, data = text.partition(ON)
    card = registry.benchmark(name)
    if data and data not in card.data:
        raise ConfigError(f"{card.name} is not scored on {data!r}.", did_you_mean(data, card.data))
    return card, data


def _teaches(data: str) -> bool:
    """Whether a data set has a split to train heads on; one that has none is only scored on (`run.test_on`)."""
    return data not in dataset_modules() or is_for_training(data)


def _lacks(benchmark: str, data: str, run: RunConfig, *, named: bool) -> bool:
    """Whether the copy at hand lacks something that a benchmark needs, which is told.

    Raises:
        ConfigError: It does, and the benchmark was asked for on this very data set.
    """
    reason = lacking(data, data_root(data, run.data), benchmark) if data in dataset_modules() else ""
    if reason and named:
        raise ConfigError(f"{benchmark}{ON}{data}: {reason}.", f"Lay it there, or leave {benchmark}{ON}{data} out.")
    if reason:
        logger.warning("%s is not scored on %s: %s", benchmark, data, reason)
    return bool(reason)


def _not_at_hand(card: TaskCard, data: str, rooted: bool) -> ConfigError:
    if rooted:
        return ConfigError(f"{data} has no split to train heads on.", f"Only score on it: --test-on {data}.")
    return ConfigError(f"{card.name}{ON}{data}: nobody said where {data} lies.", f"Add --data {data}=ROOT.")


def _across(run: RunConfig, own: list[ScoredData], targets: Mapping[str, Mapping[str, Contents]]) -> list[ScoredData]:
    """The same with the data of `--test-on` as those that are scored; benchmarks that cannot are left out.

    Args:
        run: What was asked for.
        own: Benchmarks with their data, without it.
        targets: What stands for the data that are scored, by benchmark.
    """
    target = run.test_on
    named = dict.fromkeys(scored.card.name for scored in own) if run.benchmarks else targets
    missing = [name for name in named if name not in targets]
    if missing or not targets:
        known = dict.fromkeys(scored.data for scored in own)
        who = f"not scored on such data in this run: {', '.join(missing)}" if missing else "nothing is scored on that"
        raise ConfigError(
            f"--test-on {target}: {who}.",
            f"Data in use: {', '.join(known)}. Real data need their root (--data {target}=ROOT), and benchmarks "
            "that know them (hcbench list benchmarks).",
        )
    crossed = [
        scored
        if scored.data == target
        else replace(scored, test_on=target, contents={**scored.contents, **targets[scored.card.name]})
        for scored in own
        if scored.card.name in targets
    ]
    return [scored for scored in crossed if _teaches(scored.data)]


def _check_protocols(run: RunConfig, cards: Iterable[TaskCard]) -> None:
    """Every protocol that was asked for must be some benchmark's, and every benchmark that was named must have one.

    Of benchmarks that nobody named, those without such a protocol are left out.
    """
    cards = list({card.name: card for card in cards}.values())
    known = dict.fromkeys(name for card in cards for name in card.protocols)
    for protocol in run.protocols:
        if protocol not in known:
            names = ", ".join(card.name for card in cards)
            raise ConfigError(f"{names}: no protocol {protocol!r} here.", did_you_mean(protocol, known))
    for card in cards if run.benchmarks and run.protocols else ():
        if not set(run.protocols) & set(card.protocols):
            raise ConfigError(
                f"The benchmark {card.name} has no protocol {' or '.join(run.protocols)}.",
                f"It has {', '.join(card.protocols)}: add that to --protocol, or leave {card.name} out.",
            )
