"""What a run is made of: `Cell`, one pre-training; `Evaluation`, one scoring of it; `Matrix`, all that a run has.

They are plain data: drawn up by `harness/planning/plan.py`, written into jobs, and stored with results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hcbench.benchmarks.card import FINETUNE, FROZEN
from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.formats.person_boxes import DETECTED
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig

COMPUTE_LIMITED_PASSES: Final = 2.0
"""A cell with fewer passes over its images is compute-limited, and stays out of budget curves."""

ACROSS: Final = ">"
"""Between the data set that heads are trained on and the one that they are scored on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One pre-training: all that decides its checkpoint.

    Attributes:
        method: Method name.
        budget: Canonical budget label.
        budget_images: Stored images, whole groups.
        images_seen: Source images drawn in training.
        seed: Seed of subset, initialisation and data order.
        backbone: Backbone name.
        corpus: Corpus, with the layout resolved.
        pretrain: Training settings, with precision resolved.
        method_config: The method's resolved Config as plain data, with hashes in the place of files (see `settings`).
        fingerprint: Hash of the above, of the versions that matter and of the code that is used.
        skip: Why the cell cannot run; empty where it can.
        roots: Roots of real data, files of weights, and settings that name files, by name; not part of the fingerprint.
        profile: Profile that the settings come from; not part of the fingerprint, since the settings are.
        effort: The rule that gave `images_seen`: "images" or "compute"; not part of the fingerprint, since that is.
        facts: What tables say of the cell in the place of its method's card: `name` for progress and logs, `title`,
            `supervision` and more. Not part of the fingerprint.
        tuning: What the cell is in a search ("trial 3"); empty outside of one. Not part of the fingerprint.
        tuning_trials: Trials that its settings were chosen from; not part of the fingerprint.
        overrides: Settings that the user changed, by dotted key (`mae.mask_ratio`), each with what it would be
            otherwise; not part of the fingerprint, since the settings are.
        contents: What stands for the data on disk that it trains on, in words (`data/files/contents.py`), by name. Its
            hashes are part of the fingerprint.
    """

    method: str
    budget: str
    budget_images: int
    images_seen: int
    seed: int
    backbone: str
    corpus: CorpusConfig
    pretrain: PretrainConfig
    method_config: Mapping[str, Any]
    fingerprint: str = ""
    skip: str = ""
    roots: Mapping[str, str] = field(default_factory=dict)
    profile: str = "cpu"
    effort: str = "images"
    facts: Mapping[str, str] = field(default_factory=dict)
    tuning: str = ""
    tuning_trials: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How progress and logs call the cell."""
        name = self.facts.get("name", self.method)
        return " ".join(filter(None, (f"{name} {self.budget} seed {self.seed}", self.tuning)))

    @property
    def compute_limited(self) -> bool:
        """Whether it passes so few times over its images that it must stay out of budget curves."""
        return self.budget_images > 0 and self.images_seen < COMPUTE_LIMITED_PASSES * self.budget_images

    @property
    def settings(self) -> dict[str, Any]:
        """`method_config` as it was written: with the names of files in the place of their hashes."""
        return {name: self.roots.get(f"{self.method}.{name}", value) for name, value in self.method_config.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One scoring of a cell.

    Attributes:
        benchmark: Benchmark name.
        version: Its card's version.
        data: `people` or the name of a real data set.
        protocol: frozen, finetune or zero-shot.
        config: Resolved `evaluate.*` settings as plain data.
        knobs: Settings of the encoder's forward pass (SOLIDER's lambda); empty where it has none.
        fingerprint: The cell's fingerprint and all of the above, and the code that is used.
        root: Root of real data; not part of the fingerprint.
        split: What is scored: test, or val while settings are being chosen.
        test_on: Data set whose `split` is scored, where it is not that of train and val; empty = the same.
        test_root: Its root, where it is real; not part of the fingerprint.
        contents: What stands for all its data on disk, as `Cell.contents`.
    """

    benchmark: str
    version: str
    data: str
    protocol: str
    config: Mapping[str, Any]
    knobs: Mapping[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    root: str = ""
    split: str = "test"
    test_on: str = ""
    test_root: str = ""
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that may be read: one that scores val never meets test."""
        return tuple(dict.fromkeys(("train", "val", self.split)))

    @property
    def sources(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Data sets that are read: name, root, and which splits of each."""
        if not self.test_on:
            return ((self.data, self.root, self.splits),)
        return ((self.data, self.root, ("train", "val")), (self.test_on, self.test_root, (self.split,)))

    @property
    def title(self) -> str:
        """How progress and logs call the evaluation: its benchmark, with what is not usual about it."""
        knobs = (f"{name}={value:g}" for name, value in self.knobs.items())
        label = [] if self.protocol_label == FROZEN else [self.protocol_label]
        return " ".join([self.benchmark, *label, *([f"on {self.test_on}"] if self.test_on else []), *knobs])

    @property
    def protocol_label(self) -> str:
        """The protocol with what changes the question: numbers of two labels never share a column."""
        words = [self.protocol]
        if self.protocol == FINETUNE:
            words.append(f"{self.config.get('recipe', EvaluateConfig().recipe)} recipe")
        if shots := self.config.get("shots"):
            words.append(f"{shots}-shot")
        if self.config.get("rerank"):
            words.append("re-ranked")
        if self.config.get("boxes") == DETECTED:
            words.append("detected boxes")
        return ", ".join(words)

    @property
    def scored_data(self) -> str:
        """The data set that is scored."""
        return self.test_on or self.data

    @property
    def data_label(self) -> str:
        """The data set, or the one of the heads and the one that is scored."""
        return f"{self.data}{ACROSS}{self.test_on}" if self.test_on else self.data

    @property
    def settings(self) -> dict[str, Any]:
        """Config and knobs, as the store keeps them under `evaluate.*`."""
        return {**self.config, **self.knobs}


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The cells and evaluations of one `hcbench run`, in order of execution."""

    cells: tuple[Cell, ...]
    evaluations: Mapping[str, tuple[Evaluation, ...]]
    """Evaluations by cell fingerprint."""
    flops: Mapping[str, float] = field(default_factory=dict)
    """What each cell's training will cost by cell fingerprint, where compute is equal and so was measured."""
