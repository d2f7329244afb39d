"""`Dataset`: the contract of a data set on disk, for built-in ones and plug-ins alike. Loads no torch.

A module that holds `DATASET = Dataset(...)` is a data set: a built-in one when `catalogue.py` lists it, a plug-in when
`--plugin` or an entry point names it. Whatever hcbench asks of data is a member here; nothing else is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.fields import FIELDS, NUMBERED
from hcbench.data.samples import Samples
from hcbench.data.task_splits import OWN, Load, TaskSplits
from hcbench.errors import DataError, did_you_mean

Columns = Mapping[str, Sequence[Any]]
"""Rows of a manifest, column by column."""


class PersonCrops(Protocol):
    """Cuts the crops of a split that one pre-trains on."""

    def __call__(self, root: Path, split: str, height: int, width: int, cache: Path) -> Samples:
        """Samples of a split; `cache` keeps the pixels that were cut."""


class _NotSaid:
    """Stands in a member that must be given, so that what is missing is told in words of its own."""

    def __repr__(self) -> str:
        return "not said"


_NOT_SAID: Any = _NotSaid()

_REQUIRED = {
    "card": "a DatasetCard: its name, terms, how to get it, official counts, fields",
    "load": "a function (root, split, *, height, width, cache) that gives Samples",
    "verify": "a function (root) that compares a copy with the card and gives a VerifyReport",
    "splits": 'the names that `load` takes as split, such as ("train", "val", "test")',
}
"""Members that every data set has, and what each is."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set: what it is, how it is read, and what else it can do.

    Attributes:
        card: Its facts; `card.fields` names the fields of `Samples` that `load` gives.
        load: `load(root, split, *, height, width, cache)` gives the samples of a split. It writes into `cache` alone.
        verify: `verify(root)` compares a copy with the card. It writes nothing.
        splits: All names of splits that `load` takes.
        renumbered: Splits whose persons or groups `load` numbers anew, in one numbering for all of these splits; in the
            others they keep the owners' numbers. It must be said wherever `identity` or `group` is among the fields:
            splits that are put together would join different persons else. () = the owners' numbers everywhere.
        sometimes: Fields of the card that not every copy or not every split has, since they depend on files or options.
        task_splits: The owners' splits behind those of a benchmark.
        benchmark_splits: The same for single benchmarks, by name, where theirs are others.
        lacking: `lacking(root, benchmark)` says in a clause what a copy lacks for a benchmark, such as a file of labels
            that is given out elsewhere; empty where it lacks nothing. Without it, every copy does for every benchmark.
        options: Arguments of `load`, `index` or `verify` that not all data sets have, such as `trust_pickle`.
        benchmarks: Benchmarks that a plug-in's data set joins. The cards of benchmarks name the built-in ones.
        annotation_files: `annotation_files(root)` gives the files, beside images, that decide what `load` gives. They
            are read to tell one copy from another even where there are too many images to read them all.
        image_folders: `image_folders(root)` gives the folders below the root whose files, with the annotation files,
            tell one copy from another. Without it, all files below the root do.
        load_detected: Takes what `load` takes; persons are cut out by a detector's boxes.
        index: `index(root, split)` gives the rows of a manifest in batches, without looking at pixels.
        person_crops: Gives crops to pre-train on, where these are others than those scored: `--corpus NAME` needs it.
        corpus_size: `corpus_size(root, height, width)` counts what `person_crops` gives of the training split.
        corpus_fields: Fields that `person_crops` fills; None = those of the card.
        corpus_split: The split to pre-train on; empty = the first of the card that begins with "train".
    """

    card: DatasetCard = _NOT_SAID
    load: Load = _NOT_SAID
    verify: Callable[..., VerifyReport] = _NOT_SAID
    splits: tuple[str, ...] = _NOT_SAID
    renumbered: tuple[str, ...] = _NOT_SAID
    sometimes: frozenset[str] = frozenset()
    task_splits: TaskSplits = OWN
    benchmark_splits: Mapping[str, TaskSplits] = field(default_factory=dict)
    lacking: Callable[[Path, str], str] | None = None
    options: frozenset[str] = frozenset()
    benchmarks: tuple[str, ...] = ()
    annotation_files: Callable[[Path], tuple[Path, ...]] | None = None
    image_folders: Callable[[Path], tuple[Path, ...]] | None = None
    load_detected: Load | None = None
    index: Callable[..., Iterator[Columns]] | None = None
    person_crops: PersonCrops | None = None
    corpus_size: Callable[[Path, int, int], int] | None = None
    corpus_fields: frozenset[str] | None = None
    corpus_split: str = ""

    def __post_init__(self) -> None:
        """Raise a DataError that names the first member that is missing or does not fit."""
        self._check_required()
        for name in ("splits", "renumbered", "benchmarks"):
            if isinstance(value := vars(self)[name], str):
                raise self._wrong(f"{name} is the text {value!r}, expected a tuple", f"Write ({value!r},).")
        self._check_fields()
        self._check_splits()
        if self.person_crops is not None and self.corpus_size is None:
            raise self._wrong(
                "it has person_crops, but no corpus_size", "Planning must know how many images there are: add it."
            )

    @property
    def name(self) -> str:
        """Registry and CLI name."""
        return self.card.name

    @property
    def fields(self) -> frozenset[str]:
        """Fields of `Samples` that `load` gives."""
        return self.card.fields

    def splits_for(self, benchmark: str) -> TaskSplits:
        """The owners' splits behind those of one benchmark."""
        return self.benchmark_splits.get(benchmark, self.task_splits)

    @property
    def is_for_training(self) -> bool:
        """Whether it may be trained on; OCHuman, for one, may not."""
        return self.task_splits.train is not None

    @property
    def training_split(self) -> str:
        """The split that a corpus may be made of: the one for training.

        Raises:
            DataError: It has none.
        """
        if not self.is_for_training:
            raise DataError(f"{self.card.title} has no split to train on.", "Name one (--split) for another purpose.")
        named = tuple(self.card.counts)
        return self.corpus_split or next((split for split in named if split.startswith("train")), named[0])

    @property
    def scored_split(self) -> str:
        """The split that models are scored on; the last one where none is meant for it."""
        tests = (self.task_splits.test, *(split for split in self.splits if split.startswith("test")))
        return next((split for split in tests if split in self.splits), self.splits[-1])

    def _check_required(self) -> None:
        if self.card is not _NOT_SAID and not isinstance(self.card, DatasetCard):
            raise DataError(f"A data set's card is a {type(self.card).__name__}, expected a DatasetCard.", "")
        missing = [name for name in _REQUIRED if vars(self)[name] is _NOT_SAID]
        if missing:
            told = "\n".join(f"{name}: {_REQUIRED[name]}" for name in missing)
            raise self._wrong(f"it lacks {' and '.join(missing)}", f"Give Dataset(...)\n{told}.")
        for name in ("load", "verify"):
            if not callable(vars(self)[name]):
                raise self._wrong(f"{name} is {vars(self)[name]!r}", f"It must be {_REQUIRED[name]}.")
        if not self.splits:
            raise self._wrong("it has no split", f"splits must be {_REQUIRED['splits']}.")
        if not self.card.counts:
            raise self._wrong("its card counts no split", 'Write counts={"train": {}} where no number is official.')

    def _check_fields(self) -> None:
        asked = {"card.fields": self.card.fields, "corpus_fields": self.corpus_fields or frozenset()}
        for where, names in asked.items():
            for name in sorted(names - FIELDS.keys()):
                raise self._wrong(f"{where} names {name!r}, no field of Samples", did_you_mean(name, FIELDS))
        if "images" not in self.card.fields:
            raise self._wrong("card.fields does not name images", "Every data set has images: add them.")
        for name in sorted(self.sometimes - self.card.fields):
            raise self._wrong(f"sometimes names {name!r}, no field of its card", did_you_mean(name, self.card.fields))
        if self.renumbered is _NOT_SAID:
            if numbered := sorted(NUMBERED & self.card.fields):
                raise self._wrong(
                    f"it gives {' and '.join(numbered)}, but does not say which splits are renumbered",
                    "Splits that are put together would join different persons under one number. Write renumbered="
                    '("train", ...) with the splits that load numbers anew, or renumbered=() where all of them have '
                    "the owners' numbers.",
                )
            object.__setattr__(self, "renumbered", ())

    def _check_splits(self) -> None:
        tasks = self.task_splits
        of_tasks = tasks.named if self.benchmarks or tasks is not OWN else ()
        asked: dict[str, Iterable[str]] = {
            "card.counts": self.card.counts,
            "renumbered": self.renumbered,
            "task_splits": of_tasks,
            "benchmark_splits": [name for one in self.benchmark_splits.values() for name in one.named],
            "corpus_split": filter(None, (self.corpus_split,)),
        }
        for where, names in asked.items():
            for name in names:
                if name not in self.splits:
                    raise self._wrong(
                        f"{where} names the split {name!r}, which is none of its splits",
                        did_you_mean(name, self.splits),
                    )

    def _wrong(self, what: str, hint: str) -> DataError:
        card = self.card
        who = f"The data set {card.name!r}" if isinstance(card, DatasetCard) else "A data set"
        return DataError(f"{who} is not complete: {what}.", hint)
