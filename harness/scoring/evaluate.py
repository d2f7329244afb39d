"""Score a checkpoint: features once per data set and split, then every benchmark for itself."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hcbench.benchmarks.base import (
    Embedded,
    EvaluateConfig,
    FeatureTable,
    FineTunedTask,
    Inputs,
    Progress,
    Scores,
    Split,
    Task,
    UnlabelledImages,
)
from hcbench.benchmarks.card import TaskCard
from hcbench.benchmarks.few_shot import few
from hcbench.data.catalogue import dataset_modules, task_splits
from hcbench.data.samples import ImageArray, Int, Samples
from hcbench.data.seeds import name_seed
from hcbench.data.task_splits import NAMES
from hcbench.errors import UnfitError
from hcbench.harness.jobs.atomic_files import read_json, replacing, write_json, write_table
from hcbench.harness.jobs.cell_folder import PER_SAMPLE, RECORD, REPLICATES, SUMMARY
from hcbench.harness.jobs.job import read_status, write_status
from hcbench.harness.jobs.outcomes import classify
from hcbench.harness.planning.cell import Evaluation
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.registry import implementation, load_registry
from hcbench.harness.scoring.benchmark_data import benchmark_splits, regime
from hcbench.methods.parts.checkpoint import load_encoder
from hcbench.methods.parts.encoder import Encoder, Features, encode_all

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How an evaluation ended; `summary` is empty unless `status` is done.

    `notes` say what loaders left out of the data or read otherwise, where anything was loaded.
    """

    evaluation: Evaluation
    status: str
    reason: str = ""
    summary: dict[str, float] | None = None
    notes: tuple[str, ...] = ()


def evaluate(
    checkpoint: Path,
    evaluations: Sequence[Evaluation],
    folder: Path,
    *,
    cache: Path,
    device: torch.device,
    progress: Progress = lambda phase, done, total: None,
) -> Iterator[Ended]:
    """Score the encoder in `checkpoint`; each evaluation writes its own sub-folder of `folder`, named by fingerprint.

    An evaluation that fails is told of as `Ended` and stops no other. One that stands there as done is not repeated.
    Evaluations with the same knobs come one after the other, so that features are computed once for each setting.
    """
    encoder = load_encoder(checkpoint).to(device)
    features = FeatureCache(encoder, cache, progress)
    for evaluation in sorted(evaluations, key=lambda one: sorted(one.knobs.items())):
        target = folder / evaluation.fingerprint
        before = read_status(target)
        if before and before["status"] == "done":
            yield Ended(evaluation=evaluation, status="done", summary=read_json(target / SUMMARY))
            continue
        progress(evaluation.title, 0, 0)
        start = time.perf_counter()
        notes: tuple[str, ...] = ()
        try:
            notes = data_notes(features.samples(evaluation))
            outcome: Scores | Ended = _score(evaluation, features)
            if isinstance(outcome, Scores):
                rule = split_rule(features.samples(evaluation))
                outcome = replace(outcome, record={**outcome.record, "split_rule": rule, "data_notes": list(notes)})
        except UnfitError as error:
            outcome = Ended(evaluation=evaluation, status="skipped", reason=error.message)
        except Exception as error:  # one that fails must not stop the others
            logger.exception("evaluation %s (%s) failed", evaluation.title, evaluation.fingerprint)
            status, reason = classify(error)
            outcome = Ended(evaluation=evaluation, status=status, reason=reason)
        yield replace(_write(outcome, evaluation, target, time.perf_counter() - start), notes=notes)


def _score(evaluation: Evaluation, features: FeatureCache) -> Scores | Ended:
    card = load_registry().benchmark(evaluation.benchmark).under(evaluation.protocol)
    task: Task = implementation(card)(evaluate_config(evaluation))
    samples = features.samples(evaluation)
    for split in samples.values():
        if reason := task.skip_reason(split):
            return Ended(evaluation=evaluation, status="skipped", reason=reason)
    scored = evaluation.split
    if reason := task.unscorable_reason(samples[scored]):
        return Ended(evaluation=evaluation, status="skipped", reason=reason)
    if features.encoder.oracle:
        return _perfect(task, evaluation, samples[scored])
    if task.zero_shot:
        if card.text_tower and features.encoder.text is None:
            return Ended(evaluation=evaluation, status="skipped", reason="the encoder has no text tower")
        inputs = (
            features.plain(evaluation)
            if features.encoder.text is None
            else features.embedded(evaluation, card.text_tower)
        )
        return task.score(task.predict(inputs), samples[scored])
    if evaluation.test_on and (reason := task.crossing_reason(samples["train"], samples[scored])):
        return Ended(evaluation=evaluation, status="skipped", reason=reason)
    kept = _shots(task, samples["train"])
    if evaluation.protocol in card.trains:
        left = samples["train"] if kept is None else samples["train"].subset(kept)
        if reason := task.untrainable_reason(left):
            return Ended(evaluation=evaluation, status="skipped", reason=reason)
    torch.manual_seed(name_seed("evaluation", evaluation.benchmark, task.config.head_seed))
    if isinstance(task, FineTunedTask):
        return _finetuned(task, evaluation, features, kept)
    val = Split(features=features.features(evaluation, "val"), samples=samples["val"])
    chosen = task.fit(_train(evaluation, card, features, kept, val), val)
    logger.info("%s: chosen on validation: %s", evaluation.title, dict(chosen))
    return task.score(task.predict(features.plain(evaluation)), samples[scored])


def split_rule(samples: Mapping[str, Samples]) -> str:
    """What each split of an evaluation is, for its record; one that its protocol learns nothing from, too."""
    return "; ".join(f"{split}: {samples[split].name}" for split in NAMES if split in samples)


def data_notes(samples: Mapping[str, Samples]) -> tuple[str, ...]:
    """What was left out of each split of an evaluation or read otherwise, each said once."""
    return tuple(dict.fromkeys(note for split in samples.values() for note in split.notes))


def _train(evaluation: Evaluation, card: TaskCard, features: FeatureCache, kept: Int | None, val: Split) -> Split:
    """What heads are trained on; of a protocol that learns nothing from it no row, and nobody computes features."""
    samples = features.samples(evaluation)["train"]
    if evaluation.protocol not in card.trains:
        nothing = np.zeros(0, np.int64)
        return Split(features=val.features.subset(nothing), samples=samples.subset(nothing))
    train = Split(features=features.features(evaluation, "train"), samples=samples)
    return train if kept is None else train.subset(kept)


def _finetuned(task: FineTunedTask, evaluation: Evaluation, features: FeatureCache, kept: Int | None) -> Scores | Ended:
    """Train a copy of the encoder, then score as ever; the test split is handed to `predict_images` alone."""
    if reason := task.why_not_finetunable(features.encoder):
        return Ended(evaluation=evaluation, status="skipped", reason=reason)
    samples = features.samples(evaluation)
    train = samples["train"] if kept is None else samples["train"].subset(kept)
    chosen = task.finetune(features.encoder, train, samples["val"], knobs=evaluation.knobs, progress=features.progress)
    logger.info("%s: chosen on validation: %s", evaluation.title, dict(chosen))
    truth = samples[evaluation.split]
    return task.score(task.predict_images(UnlabelledImages.of(truth)), truth)


def _shots(task: Task, train: Samples) -> Int | None:
    """What `evaluate.shots` leaves of the training split; None = all of it."""
    shots = task.config.shots
    return few(train, shots, task.card.shots, task.config.head_seed) if shots else None


def _perfect(task: Task, evaluation: Evaluation, truth: Samples) -> Scores | Ended:
    """What the truth itself scores; no head is fitted."""
    predictions = task.oracle(truth)
    if predictions is None:
        reason = f"{evaluation.benchmark} does not say what its right predictions are (Task.oracle)"
        return Ended(evaluation=evaluation, status="skipped", reason=reason)
    return task.score(predictions, truth)


def evaluate_config(evaluation: Evaluation) -> EvaluateConfig:
    """The settings of an evaluation as the tasks want them."""
    return EvaluateConfig(**evaluation.config)


def _write(outcome: Scores | Ended, evaluation: Evaluation, target: Path, seconds: float) -> Ended:
    with replacing(target) as temporary:
        temporary.mkdir()
        if isinstance(outcome, Ended):
            write_status(temporary, outcome.status, outcome.reason, seconds=seconds)
            return outcome
        summary = {name: float(value) for name, value in outcome.summary.items()}
        write_json(temporary / SUMMARY, summary)
        write_table(temporary / PER_SAMPLE, outcome.per_sample)
        write_table(temporary / REPLICATES, outcome.replicates)
        write_json(temporary / RECORD, {"record": outcome.record, "chosen": outcome.chosen})
        write_status(temporary, "done", seconds=seconds)
    return Ended(evaluation=evaluation, status="done", summary=summary)


class FeatureCache:
    """Samples and features of benchmark data, each read and computed once for all evaluations of a checkpoint."""

    def __init__(self, encoder: Encoder, cache: Path, progress: Progress) -> None:
        self.encoder, self.cache, self.progress = encoder, cache, progress
        self._samples: dict[Any, dict[str, Samples]] = {}
        self._features: dict[Any, FeatureTable] = {}
        self._knobs: dict[str, float] = {}

    def samples(self, evaluation: Evaluation) -> dict[str, Samples]:
        """The splits that the evaluation may read."""
        key = self._key(evaluation)
        if key not in self._samples:
            height, width = self.encoder.input_size
            config = evaluate_config(evaluation)
            self._samples[key] = {
                split: samples
                for data, root, splits in evaluation.sources
                for split, samples in benchmark_splits(
                    data, root, height=height, width=width, scale=config.scale, cache=self.cache, splits=splits,
                    boxes=config.boxes, benchmark=evaluation.benchmark,
                ).items()
            }  # fmt: skip
        return self._samples[key]

    def plain(self, evaluation: Evaluation) -> Inputs:
        """The split that is scored, without its labels."""
        scored = evaluation.split
        return Inputs(features=self.features(evaluation, scored), captions=self.samples(evaluation)[scored].captions)

    def embedded(self, evaluation: Evaluation, texts: bool) -> Inputs:
        """The scored split as the encoder's own towers embed it: its images, and with `texts` its captions too."""
        inputs = self.plain(evaluation)
        features, captions = inputs.features, inputs.captions
        _, projection = self.encoder.towers()
        with torch.no_grad():
            image = copy.deepcopy(projection).cpu()(Features(features.pooled, features.grid, dict(features.tokens)))
        if not texts:
            return replace(inputs, embedded=Embedded(image=image, text=None))
        self.progress(f"captions {evaluation.data}/{evaluation.split}", 0, 0)
        text = self.encoder.embed_text([caption for texts_of_image in captions or () for caption in texts_of_image])
        return replace(inputs, embedded=Embedded(image=image, text=text))

    def features(self, evaluation: Evaluation, split: str) -> FeatureTable:
        """Features of a split, with the evaluation's knobs; those of other knobs are let go of, for memory."""
        if evaluation.knobs != self._knobs:
            self._features.clear()
            self._knobs = dict(evaluation.knobs)
        key = self._key(evaluation, split)
        if key not in self._features:
            images = Counted(
                self.samples(evaluation)[split].images, f"features {evaluation.data}/{split}", self.progress
            )
            batch_size = evaluate_config(evaluation).batch_size
            found = encode_all(self.encoder, images, batch_size, **evaluation.knobs)
            self._features[key] = FeatureTable(pooled=found.pooled, grid=found.grid, tokens=found.tokens)
        return self._features[key]

    @staticmethod
    def _key(evaluation: Evaluation, split: str = "") -> tuple[Any, ...]:
        """What decides the samples of a split, or of all; only those that are scored have a choice of boxes.

        Benchmarks share them, except on data that have splits of their own for one, and embedded people of another
        regime.
        """
        boxes = evaluation.config.get("boxes") if split in ("", evaluation.split) else None
        owners = tuple(
            task_splits(data, evaluation.benchmark) for data, _, _ in evaluation.sources if data in dataset_modules()
        )
        regimes = tuple(regime(evaluation.benchmark) for data, _, _ in evaluation.sources if data == PEOPLE)
        return (evaluation.sources, owners, regimes, evaluation.config.get("scale"), boxes, split)


class Counted:
    """Images that tell how far one has read."""

    def __init__(self, images: ImageArray, phase: str, progress: Progress) -> None:
        self.images, self.phase, self.progress, self.done = images, phase, progress, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        self.progress(self.phase, self.done, len(self))
        pixels = self.images[index]
        self.done += len(pixels)
        return pixels
