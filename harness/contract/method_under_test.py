"""A method under test: built as a run would build it, on a few rendered people, with short trainings by the real loop.

Everything is small enough for a second or two per training, and nothing is a stand-in: the corpus is `people`, the
settings are those of the cpu recipe, and `harness/training/train.py` trains.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hcbench.data.people.dataset import pretraining_view
from hcbench.data.people.fit import fitted
from hcbench.data.people.spec import GROUP_SIZE
from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, MethodError
from hcbench.harness.planning.backbones import backbone_family
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.content_hashes import with_content_hashes
from hcbench.harness.planning.corpora import PEOPLE, corpus_facts
from hcbench.harness.planning.imagenet_weights import with_weights
from hcbench.harness.planning.plan import skip_reason
from hcbench.harness.planning.registry import Registry, implementation
from hcbench.harness.training.corpus_view import people_spec
from hcbench.harness.training.ledger import Meter
from hcbench.harness.training.loss_log import LossLog
from hcbench.harness.training.pretrain import build_method
from hcbench.harness.training.train import Loop, Trained
from hcbench.methods.base import Batch, Method, Objective, Step
from hcbench.methods.card import MethodCard

CPU = torch.device("cpu")
GROUPS = 8
"""Groups of the corpus; a batch holds fewer, so that passes end in the middle of a batch."""
SMALL = {"groups_per_batch": 5, "images_per_group": 3, "precision": "fp32", "warmup": 0.0, "log_every": 1,
         "checkpoint_every_s": 0.0}  # fmt: skip
"""What a check changes of `pretrain.*`; `--set` goes before it."""
BACKBONE, SIZE, OTHERS_SIZE = "vit-mini8", (32, 16), (64, 32)
"""The network where none is named; height and width of pictures for it, and for others, whose patches are larger."""
STEPS = (3, 12)
"""Least and most steps of a short training; where they suffice, every stage has two."""


@dataclass(frozen=True, slots=True)
class Run:
    """A short training that has ended.

    Attributes:
        method: The trained method, in evaluation mode.
        trained: What the loop left.
        reached: Names of the encoder's parameters that got a gradient in some step.
        pushed: Those whose gradient was not 0 everywhere.
    """

    method: Method
    trained: Trained
    reached: frozenset[str] = frozenset()
    pushed: frozenset[str] = frozenset()


class MethodUnderTest:
    """A method, and what its checks share, each thing made once.

    Args:
        card: The method's card.
        cell: Its settings; `images_seen` is chosen by each training.
        folder: For states and checkpoints.
    """

    def __init__(self, card: MethodCard, cell: Cell, folder: Path) -> None:
        self.card, self.cell, self.folder = card, cell, folder

    @property
    def setting(self) -> str:
        """On what the checks run, in words."""
        pretrain = self.cell.pretrain
        where = f"{self.cell.backbone}, {pretrain.height}x{pretrain.width} pixels"
        return f"{where}, {GROUPS * GROUP_SIZE} images of people ({self.cell.corpus.layout})"

    @property
    def single(self) -> bool:
        """Whether the method draws single images."""
        return self.card.sampling == "images"

    @property
    def batch_units(self) -> int:
        """What a batch draws: groups, or images."""
        pretrain = self.cell.pretrain
        return pretrain.groups_per_batch * (pretrain.images_per_group if self.single else 1)

    @cached_property
    def cls(self) -> type[Method]:
        """The class that the card names."""
        return implementation(self.card)

    @cached_property
    def view(self) -> Samples:
        """The rendered people."""
        pretrain = self.cell.pretrain
        rendered = pretraining_view(people_spec(self.cell), np.arange(GROUPS), cache=None)
        return fitted(rendered, pretrain.height, pretrain.width)

    def build(self, seed: int | None = None) -> Method:
        """A fresh method around a fresh encoder."""
        cell = self.cell if seed is None else replace(self.cell, seed=seed)
        return build_method(cell, self.view if self.card.trains else None)

    def loop(self, method: Method, steps: int | None = None, *, counting: bool = False) -> Watched:
        """A loop of `steps` steps, or that of a short training; counting operations takes a second."""
        batch = self.cell.pretrain.groups_per_batch * self.cell.pretrain.images_per_group
        cell = replace(self.cell, images_seen=(steps or self.short_steps) * batch)
        loop = Watched(method, self.view, cell, CPU, LossLog(1))
        if not counting:
            loop.meter.close()
            loop.meter = Uncounted(method, CPU)
        return loop

    @cached_property
    def short_steps(self) -> int:
        """Steps of a short training."""
        least = min((stage.share for stage in self.build().stages()), default=1.0)
        return min(STEPS[1], max(STEPS[0], math.ceil(2 / max(least, 1e-6))))

    @cached_property
    def first(self) -> Run:
        """A short training that nothing disturbs, watched."""
        method = self.build()
        _stir(0)
        loop = self.loop(method, counting=True)
        for units, step in loop.remaining():
            loop.take_step(units, step)
        return Run(method, loop.finish(), frozenset(loop.reached), frozenset(loop.pushed))

    @cached_property
    def second(self) -> Run:
        """The same training once more."""
        return self.again("second")

    def again(self, name: str, stops: Sequence[int] = ()) -> Run:
        """The same training once more, broken off after each number of steps in `stops`; `name` is its state file."""
        path = self.folder / name
        for turn, stop in enumerate((*stops, None), start=1):
            _stir(turn)
            method = self.build()
            loop = self.loop(method)
            loop.resume(path)
            for units, step in islice(loop.remaining(), stop):
                loop.take_step(units, step)
            if stop is None:
                break
            loop.save(path)
        return Run(method, loop.finish())

    def one_batch(self, loop: Loop) -> tuple[Batch, Step]:
        """The first batch of a loop, and its step."""
        units, step = next(loop.remaining())
        step = loop.begin_passes(units, step)
        return loop.batch(units, step), step

    def overfit(self, steps: int) -> dict[str, list[float]]:
        """Losses by optimiser over the first steps of the first stage, on the very same views and targets.

        Only what optimisers hold changes. What else a method keeps (a teacher, a centre, a memory) is put back after
        every step: while targets move, a loss need not fall however well it is minimised.
        """
        method = self.build()
        loop = self.loop(method, math.ceil(steps / max(method.stages()[0].share, 1e-6)))
        batch, first = self.one_batch(loop)
        held = {id(p) for spec in method.param_groups() for group in spec.groups for p in group.params}
        kept = [(x, x.detach().clone()) for x in (*method.parameters(), *method.buffers()) if id(x) not in held]
        history: dict[str, list[float]] = defaultdict(list)
        for _, step in islice(loop.remaining(), steps):
            torch.manual_seed(0)
            for objective in loop.under_precision(method.objectives(loop.views(batch, first), step)):
                history[objective.optimiser].append(float(objective.loss.detach()))
                loop.minimise(objective, step)
            with torch.no_grad():
                for tensor, value in kept:
                    tensor.copy_(value)
        return dict(history)


class Uncounted(Meter):
    """A meter that counts no operations."""

    @contextmanager
    def operations(self, stage: str, images: int) -> Iterator[None]:
        """Nothing is counted."""
        yield


class Watched(Loop):
    """The loop, with an eye on what a method hands over and what its gradients reach."""

    def __init__(self, method: Method, view: Samples, cell: Cell, device: torch.device, losses: LossLog) -> None:
        super().__init__(method, view, cell, device, losses)
        self.reached: set[str] = set()
        self.pushed: set[str] = set()

    def minimise(self, objective: Objective, step: Step) -> None:
        """Look, then minimise as ever."""
        look_at(objective, step)
        super().minimise(objective, step)
        for name, parameter in self.method.encoder.named_parameters():
            if parameter.grad is not None:
                self.reached.add(name)
                if parameter.grad.any():
                    self.pushed.add(name)


def look_at(objective: Objective, step: Step) -> None:
    """Raise a MethodError where an objective is not what the loop can work with."""
    where = f"Step {step.index + 1} (stage {step.stage}), objective {objective.optimiser!r}"
    loss = objective.loss
    if not isinstance(loss, torch.Tensor) or loss.ndim:
        found = f"has shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else f"is a {type(loss).__name__}"
        raise MethodError(f"{where}: the loss {found}; expected a scalar tensor.", "End it with .mean() or .sum().")
    if not loss.requires_grad:
        raise MethodError(
            f"{where}: the loss has no gradient.", "Something cut it off: .detach(), .item(), or torch.no_grad()."
        )
    for name, value in objective.parts.items():
        number = torch.as_tensor(value)
        if number.requires_grad:
            raise MethodError(f"{where}: the part {name!r} holds on to its graph.", "Log it with .detach().")
        if number.numel() != 1 or not torch.isfinite(number).all():
            found = f"is {float(number)}" if number.numel() == 1 else f"has shape {tuple(number.shape)}"
            raise MethodError(f"{where}: the part {name!r} {found}; expected a finite number.", "Mend what is logged.")


def trial_cell(card: MethodCard, registry: Registry, sets: Iterable[str] = (), backbone: str | None = None) -> Cell:
    """The settings of a method under test: the cpu profile and its recipe, made small, then `sets`.

    Raises:
        ConfigError: A setting is unknown, of the wrong type, or has several values; no such backbone.
    """
    options = [Override("run.profile", "cpu", "check")]
    height, width = SIZE if backbone is None else OTHERS_SIZE
    small = {**SMALL, "height": height, "width": width}
    options += [Override(f"pretrain.{name}", value, "check") for name, value in small.items()]
    options.append(Override("run.backbones", backbone or BACKBONE, "--backbone"))
    resolved = resolve(registry, options, sets=sets)
    sections = {"pretrain": resolved.pretrains, "corpus": resolved.corpora, card.name: resolved.methods[card.name]}
    for section, variants in sections.items():
        if len(variants) > 1:
            raise ConfigError(f"{section} has {len(variants)} variants.", "Give one value to each --set.")
    if len(resolved.run.backbones) > 1:
        raise ConfigError(f"{len(resolved.run.backbones)} backbones were named.", "A check takes one.")
    corpus = resolved.corpora[0]
    if corpus.name != PEOPLE:
        raise ConfigError(f"corpus.name is {corpus.name!r}.", "Checks run on the embedded corpus, people.")
    backbone_family(resolved.run.backbones[0])
    cell = Cell(
        method=card.name,
        budget="check",
        budget_images=GROUPS * GROUP_SIZE,
        images_seen=0,
        seed=0,
        backbone=resolved.run.backbones[0],
        corpus=replace(corpus, layout=corpus.layout or card.layout),
        pretrain=resolved.pretrains[0],
        method_config=resolved.methods[card.name][0],
        fingerprint="check",
        skip=skip_reason(
            card,
            resolved.methods[card.name][0],
            resolved.run.backbones[0],
            corpus,
            corpus_facts(corpus, resolved.pretrains[0], {}),
        ),
    )
    return with_weights(with_content_hashes(cell, card.rules), {})


def _stir(seed: int) -> None:
    """Set every global generator; a method that draws from one of them shows."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
