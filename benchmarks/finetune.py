"""The protocol `finetune`: an encoder trained together with the head of a benchmark, by the field's recipe.

`FineTune` holds the loop, which all benchmarks share; each one's `finetune.py` adds a `Learner`: head, loss,
prediction. A copy of the encoder is trained, so that the cell's own weights stay as they are. Learning rate and length
are chosen on validation, with the metrics of the benchmark itself: predictions are those of the frozen task, and so is
`score`.
"""

from __future__ import annotations

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import Tensor, nn

from hcbench.benchmarks.base import FeatureTable, FineTunedTask, Progress, Scores, UnlabelledImages
from hcbench.benchmarks.heads import cosine_factor, head_generator, minibatches, steps_for
from hcbench.benchmarks.recipes import FinetuneRecipe, read_recipe
from hcbench.benchmarks.scoring import selection
from hcbench.benchmarks.warp import Warp
from hcbench.data.augment import augment
from hcbench.data.augment_settings import Augmentation
from hcbench.data.samples import Samples
from hcbench.errors import DivergedError, TaskError
from hcbench.methods.parts.encoder import Encoder, encode_all

logger = logging.getLogger(__name__)

ERASED_AREA = (0.02, 0.4)
"""Least and greatest share of an image that random erasing hides (Zhong et al., AAAI 2020)."""


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """What a loss sees.

    Attributes:
        images: float32 (B, 3, H, W), augmented, normalised, on the learner's device.
        index: int64 (B,), positions in the training split.
        warp: How the images were moved, for labels that lie in them.
    """

    images: Tensor
    index: Tensor
    warp: Warp


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """What a learner is made from.

    Attributes:
        encoder: A copy that may be trained.
        train: The training split.
        recipe: How it is trained.
        generator: Source of initial weights.
        readout: `evaluate.readout`; "auto" is the recipe's own.
        knobs: Settings of the encoder's forward pass.
    """

    encoder: Encoder
    train: Samples
    recipe: FinetuneRecipe
    generator: torch.Generator
    readout: str = "auto"
    knobs: Mapping[str, float] = field(default_factory=dict)


class Learner(nn.Module, ABC):
    """An encoder with the head of a benchmark."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__()
        self.encoder, self.recipe, self.knobs = setup.encoder, setup.recipe, dict(setup.knobs)
        self.readout = self.recipe.readout if setup.readout == "auto" else setup.readout
        if self.recipe.freeze_knobs:
            for parameter in self.encoder.knob_parameters():
                parameter.requires_grad_(False)

    @abstractmethod
    def loss(self, batch: TrainingBatch) -> Tensor:
        """What is minimised, a scalar."""

    @abstractmethod
    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """The predictions of the frozen task."""

    def see(self, images: Tensor) -> FeatureTable:
        """Features of a batch on its device, with gradients, float32."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            seen = self.encoder(images, **self.knobs)
        tokens = {name: token.float() for name, token in seen.tokens.items()}
        return FeatureTable(pooled=seen.pooled.float(), grid=seen.grid.float(), tokens=tokens)

    def table(self, unlabelled: UnlabelledImages, batch_size: int) -> FeatureTable:
        """Features of a split, float32 on the CPU."""
        seen = encode_all(self.encoder, unlabelled.images, batch_size, **self.knobs)
        return FeatureTable(pooled=seen.pooled, grid=seen.grid, tokens=seen.tokens)

    @torch.no_grad()
    def shapes(self) -> FeatureTable:
        """Features of a grey image, for their shapes."""
        was_training = self.encoder.training
        self.encoder.eval()
        try:
            return self.see(torch.zeros(1, 3, *self.encoder.input_size, device=self.encoder.device))
        finally:
            self.encoder.train(was_training)

    @property
    def device(self) -> torch.device:
        """Where everything computes."""
        return self.encoder.device


class FineTune(FineTunedTask):
    """A benchmark under the protocol `finetune`; goes before the frozen task among the bases of a class."""

    learner: ClassVar[type[Learner]]
    """Makes encoder and head."""
    criterion: str
    """What chooses on validation; see `judged`."""

    _learner: Learner

    @property
    def recipe(self) -> FinetuneRecipe:
        """The recipe that `evaluate.recipe` names, with the length that `evaluate.epochs` asks for."""
        recipe = read_recipe(self.card.name, self.config.recipe)
        return replace(recipe, epochs=recipe.epochs * self.config.epochs)

    def why_not_finetunable(self, encoder: Encoder) -> str | None:
        """Why an encoder cannot be fine-tuned, or None."""
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            return None
        return "the encoder has no weights to fine-tune; its frozen row stands for it"

    def how(self) -> Mapping[str, Any]:
        """What the record of the scores says beside, or against, the frozen task's."""
        return {}

    def usable(self, train: Samples) -> Samples:
        """What of the training split is trained on."""
        return train

    def judged(self, scores: Scores) -> float:
        """The criterion of a look at validation."""
        return float(scores.summary[self.criterion])

    def order(self, train: Samples, recipe: FinetuneRecipe, generator: torch.Generator) -> Iterator[Tensor]:
        """Batches of positions in the training split, int64; as many as the recipe is long."""
        steps = steps_for(len(train), recipe.batch_size, recipe.epochs)
        return minibatches(len(train), recipe.batch_size, steps, generator)

    def finetune(
        self,
        encoder: Encoder,
        train: Samples,
        val: Samples,
        *,
        knobs: Mapping[str, float] | None = None,
        progress: Progress = lambda phase, done, total: None,
    ) -> Mapping[str, Any]:
        """Train at every learning rate of the recipe and keep the weights of the best look at validation.

        Args:
            encoder: Is not changed.
            train: What is trained on.
            val: What chooses.
            knobs: Settings of the encoder's forward pass.
            progress: Called before each step with the phase, the steps done and their total.

        Returns:
            What was chosen, and the table of trials behind it.

        Raises:
            DivergedError: A loss or gradient is not finite.
        """
        recipe, train = self.recipe, self.usable(train)
        judge = type(self)(replace(self.config, replicates=0))
        trials: list[dict[str, Any]] = []
        best, kept = -math.inf, {}
        devices = [encoder.device] if encoder.device.type == "cuda" else []
        for lr in recipe.lrs:
            setup = TrainingSetup(copy.deepcopy(encoder), train, recipe, self._generator("init"), self.config.readout,
                            dict(knobs or {}))  # fmt: skip
            with torch.random.fork_rng(devices):
                torch.manual_seed(self._generator("global").initial_seed())  # drop path and dropout draw from it
                self._learner = type(self).learner(setup).to(encoder.device)
                for look in self._course(self._learner, train, lr, progress):
                    scores = judge.score(self._learner.predict(UnlabelledImages.of(val), self.config.batch_size), val)
                    value = self.judged(scores)
                    trials.append({"readout": "finetune", "lr": lr, "length": look, self.criterion: value})
                    logger.info(
                        "%s: lr %.2g, %.0f %%: val %s %.4f", self.card.name, lr, 100 * look, self.criterion, value
                    )
                    if value > best:
                        best, kept = value, _copied(self._learner)
        self._chosen = selection(trials, self.criterion)
        self._learner.load_state_dict(kept)
        self._record = {"recipe": {"name": self.config.recipe, **asdict(recipe)}, **self.how()}
        return self._chosen

    def predict_images(self, unlabelled: UnlabelledImages) -> Mapping[str, NDArray[Any]]:
        """Predictions on a split, by the weights that `tune` kept."""
        return self._learner.predict(unlabelled, self.config.batch_size)

    def _course(self, learner: Learner, train: Samples, lr: float, progress: Progress) -> Iterator[float]:
        """Train; yields the share that is done whenever validation is due, the end included."""
        recipe = learner.recipe
        generator = self._generator("order")
        optimiser = build_optimiser(learner, recipe, lr)
        base = [group["lr"] for group in optimiser.param_groups]
        batches = list(self.order(train, recipe, generator))
        due = {math.ceil(len(batches) * look / recipe.validations) for look in range(1, recipe.validations + 1)}
        learner.train()
        for step, index in enumerate(batches, start=1):
            progress(f"finetune {self.card.name} lr {lr:.2g}", step - 1, len(batches))
            loss = learner.loss(_batch(train, index, recipe, generator, learner.device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(learner.parameters(), recipe.clip_norm or math.inf)
            if not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm))):
                raise DivergedError(
                    f"Fine-tuning {self.card.name} diverged at step {step} of {len(batches)}, learning rate {lr:.2g}: "
                    f"loss {float(loss.detach()):.3g}, gradient norm {float(norm):.3g}.",
                    "Choose a recipe with a lower learning rate (evaluate.recipe).",
                )
            factor = lr_factor(step - 1, len(batches), recipe)
            for group, own in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = own * factor
            optimiser.step()
            if step in due:
                learner.eval()
                yield step / len(batches)
                learner.train()
        learner.eval()

    def _generator(self, purpose: str) -> torch.Generator:
        return head_generator(self.config.head_seed, self.card.name, "finetune", purpose)


def lr_factor(step: int, total: int, recipe: FinetuneRecipe) -> float:
    """Factor on the learning rate: warm-up, then a cosine, or a tenth after each of the recipe's drops."""
    if not recipe.drops:
        return cosine_factor(step, total, recipe.warmup)
    rise = round(recipe.warmup * total)
    falls: float = 0.1 ** sum(step >= drop * total for drop in recipe.drops)
    return min(1.0, (step + 1) / max(1, rise)) * falls


def build_optimiser(learner: Learner, recipe: FinetuneRecipe, lr: float) -> torch.optim.Optimizer:
    """The recipe's optimiser: layers of the backbone slower towards the input, whatever is new at its own pace."""
    encoder = learner.encoder
    backbone = getattr(encoder, "backbone", None)
    groups: list[dict[str, Any]] = []
    if recipe.layer_decay < 1 and isinstance(backbone, nn.Module):
        found = param_groups_layer_decay(backbone, recipe.weight_decay, layer_decay=recipe.layer_decay)
        groups += [{"params": g["params"], "lr": lr * g["lr_scale"], "weight_decay": g["weight_decay"]} for g in found]
    taken = {id(parameter) for group in groups for parameter in group["params"]}
    own = {id(parameter) for parameter in encoder.parameters()}
    rest = [p for p in learner.parameters() if p.requires_grad and id(p) not in taken]
    for factor, members in (
        (1.0, [p for p in rest if id(p) in own]),
        (recipe.head_factor, [p for p in rest if id(p) not in own]),
    ):
        for decay, chosen in (
            (recipe.weight_decay, [p for p in members if p.ndim > 1]),
            (0.0, [p for p in members if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": lr * factor, "weight_decay": decay})
    options = {"momentum": 0.9} if "sgd" in recipe.optimiser else {}
    built = create_optimizer_v2(groups, opt=recipe.optimiser, lr=lr, weight_decay=recipe.weight_decay, **options)
    if not isinstance(built, torch.optim.Optimizer):
        raise TaskError(f"timm's {recipe.optimiser!r} is no torch optimiser.", "Choose another one, such as adamw.")
    return built


def persons(samples: Samples) -> tuple[Samples, Tensor, int]:
    """The images with an identity, the class of each (int64), from 0, and how many classes there are.

    Raises:
        TaskError: There are fewer than two.
    """
    if samples.identity is None:
        raise TaskError(f"{samples.name} does not know identity.", "Choose data that do.")
    kept = np.flatnonzero(samples.identity >= 0)
    names, number = np.unique(samples.identity[kept], return_inverse=True)
    if len(names) < 2:
        raise TaskError(f"{samples.name} has {len(names)} identities to train on.", "Two are the least.")
    return samples.subset(kept), torch.from_numpy(number.astype(np.int64)), len(names)


def identity_batches(
    labels: Tensor, batch_size: int, instances: int, steps: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """PK batches: `batch_size // instances` identities, `instances` images of each (repeated where there are fewer).

    Identities come pass after pass in fresh random order.
    """
    rows = [torch.nonzero(labels == one).squeeze(1) for one in range(int(labels.max()) + 1)]
    identities = max(2, batch_size // instances)
    for chosen in minibatches(len(rows), identities, steps, generator):
        picked = []
        for one in chosen.tolist():
            order = torch.randperm(len(rows[one]), generator=generator)
            repeats = math.ceil(instances / len(order))
            picked.append(rows[one][order.repeat(repeats)[:instances]])
        yield torch.cat(picked)


def _batch(
    train: Samples, index: Tensor, recipe: FinetuneRecipe, generator: torch.Generator, device: torch.device
) -> TrainingBatch:
    pixels = torch.from_numpy(np.ascontiguousarray(train.images[index.numpy()])).to(device)
    settings = Augmentation(name="finetune", erase=recipe.erase, erase_area=ERASED_AREA)
    warp = Warp.draw(len(index), (pixels.shape[2], pixels.shape[3]), recipe, generator)
    return TrainingBatch(warp.images(augment(pixels, settings, generator).images), index, warp)


def _copied(learner: Learner) -> dict[str, Tensor]:
    """All weights and statistics, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in learner.state_dict().items()}


def batched(count: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover `count`."""
    return (slice(start, start + size) for start in range(0, count, size))
