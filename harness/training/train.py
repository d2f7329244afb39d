"""The loop: every method is trained by it, one-optimiser contrast and two-optimiser GAN alike.

The loop owns devices, batches, optimisers, schedules, precision, clipping, checkpoints and the ledger; the method
owns its views and its losses (`methods/base.py`). All randomness is seeded per step by hashing names, so a training
that was interrupted goes on with exactly the numbers of an undisturbed one.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcbench.data.samples import Int, Samples
from hcbench.data.seeds import name_seed
from hcbench.errors import ConfigError, MethodError
from hcbench.harness.jobs.atomic_files import remove, replacing
from hcbench.harness.jobs.cell_folder import STATE
from hcbench.harness.jobs.outcomes import Interrupted
from hcbench.harness.planning.cell import Cell
from hcbench.harness.training.batches import make_batch
from hcbench.harness.training.ledger import Ledger, Meter, count_encoder, count_parameters, facts_of_view
from hcbench.harness.training.loss_log import LossLog
from hcbench.harness.training.optimisers import Optimisers
from hcbench.harness.training.sampler import Sampler, plan_stages
from hcbench.methods.base import Batch, Method, Objective, Step, Views
from hcbench.methods.parts.encoder import encode_all

logger = logging.getLogger(__name__)

_STATE_FORMAT = 1

ProgressReport = Callable[[int, int, float, float | None], None]
"""Gets images done, all images, images/s and the newest loss."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves besides the weights in the method."""

    ledger: Ledger
    losses: LossLog


def train(
    method: Method,
    view: Samples,
    cell: Cell,
    *,
    folder: Path,
    device: torch.device,
    losses: LossLog | None = None,
    report: ProgressReport = lambda done, total, rate, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Pre-train `method` on `view` as `cell` says; `folder` keeps the state to resume from.

    Losses are logged into `losses`, so that those of a training that breaks off are not lost.

    Raises:
        DivergedError: A loss or gradient is not finite.
        MethodError: The method breaks its contract, or lacks what it needs.
        Interrupted: `stop` answered True; the state is saved.
    """
    loop = Loop(method, view, cell, device, losses or LossLog(cell.pretrain.log_every))
    loop.resume(folder / STATE)
    saved = reported = time.monotonic()
    for units, step in loop.remaining():
        loop.take_step(units, step)
        if (now := time.monotonic()) - reported > 0.5 or loop.done == loop.total:
            reported = now
            report(*loop.progress())
        if stop() and loop.done < loop.total:
            loop.save(folder / STATE)
            raise Interrupted
        if now - saved > cell.pretrain.checkpoint_every_s > 0:
            loop.save(folder / STATE)
            saved = time.monotonic()
    return loop.finish()


class Loop:
    """Everything that the loop owns, and where it stands."""

    def __init__(self, method: Method, view: Samples, cell: Cell, device: torch.device, losses: LossLog) -> None:
        missing = method.card.required(dataclasses.asdict(method.config)) - view.known()
        if missing:
            raise MethodError(
                f"{method.card.name} needs {', '.join(sorted(missing))}, which {view.name} does not know.",
                "Choose another corpus or layout.",
            )
        self.method, self.view, self.cell, self.device = method.to(device).train(), view, cell, device
        config = cell.pretrain
        single = method.card.sampling == "images" or view.group is None
        units = np.arange(len(view)) if single or view.group is None else view.group
        per_unit = 1 if single else config.images_per_group
        per_batch = config.groups_per_batch * (config.images_per_group if single else 1)
        self.plans = plan_stages(
            [(stage.name, stage.share) for stage in method.stages()],
            cell.images_seen,
            group=config.images_per_group,
            per_unit=per_unit,
            units_per_batch=min(per_batch, len(np.unique(units))),
        )
        self.sampler = Sampler(units, per_unit=per_unit, seed=cell.seed)
        steps = {plan.name: len(plan.batches) for plan in self.plans}
        self.images_total = sum(sum(plan.batches) for plan in self.plans) * per_unit
        self.optimisers = Optimisers(
            method.param_groups() if self.plans else (),
            config,
            steps,
            lr=self._own("lr"),
            weight_decay=self._own("weight_decay"),
        )
        self.losses = losses
        self.meter = Meter(method, device)
        self.total, self.done, self.images = sum(steps.values()), 0, 0
        self._pace = (time.perf_counter(), 0)
        make_deterministic(config.deterministic)

    def remaining(self) -> Iterator[tuple[int, Step]]:
        """The steps that are still to do, each with the units of its batch."""
        index = 0
        for plan in self.plans:
            for k, units in enumerate(plan.batches):
                if index >= self.done:
                    yield (
                        units,
                        Step(
                            index=index,
                            total=self.total,
                            stage=plan.name,
                            stage_index=k,
                            stage_total=len(plan.batches),
                            images_seen=self.images,
                            epoch=max(0, self.sampler.passes - 1),
                        ),
                    )
                index += 1

    def take_step(self, units: int, step: Step) -> None:
        """One step: a batch of `units`, its views, every objective in turn."""
        step = self.begin_passes(units, step)
        torch.manual_seed(name_seed("step", self.cell.seed, step.index))
        batch = self.batch(units, step)
        with self.meter.operations(step.stage, len(batch.images)):
            views = self.views(batch, step)
            for objective in self.under_precision(self.method.objectives(views, step)):
                self.minimise(objective, step)
            self.method.after_step(step)
        self.end_step(step, len(batch.images))

    def begin_passes(self, units: int, step: Step) -> Step:
        """Begin a pass over the view where the last one holds no batch; the method may look at the view first."""
        if self.sampler.short_of(units):
            step = dataclasses.replace(step, epoch=self.sampler.passes)
            torch.manual_seed(name_seed("epoch", self.cell.seed, step.epoch))
            self.method.start_epoch(self.encode, step)
            allowed = self.method.select(torch.arange(len(self.view)))
            if not len(allowed):
                raise MethodError(f"{self.method.card.name} selected no image for pass {step.epoch}.", "See `select`.")
            self.sampler.begin_pass(self._enough(allowed.cpu().numpy(), units, step))
            self.method.train()
        return step

    def _enough(self, allowed: Int, units: int, step: Step) -> Int:
        """The images of a pass: those selected, or all where these would have to come twice into the batch."""
        found = len(np.unique(self.sampler.units[allowed]))
        if found >= units:
            return allowed
        logger.warning(
            "pass %d: %s selected %d of %d images, too few for a batch; all are drawn",
            step.epoch, self.method.card.name, len(allowed), len(self.view),
        )  # fmt: skip
        return np.arange(len(self.view))

    def batch(self, units: int, step: Step) -> Batch:
        """The images of a step, on the device."""
        with self.meter.waiting():
            indices = self.sampler.take(units, step.index)
            batch = make_batch(self.view, indices, self.method.card.needs, seed=self.cell.seed, step=step.index)
            return batch.to(self.device)

    def views(self, batch: Batch, step: Step) -> Views:
        """The method's views of a batch; their random numbers depend on the seed and the step alone."""
        with torch.no_grad():
            return self.method.views(
                batch, torch.Generator().manual_seed(name_seed("views", self.cell.seed, step.index))
            )

    def under_precision(self, objectives: Iterator[Objective]) -> Iterator[Objective]:
        """Compute each objective in the cell's precision; its backward pass runs outside."""
        while True:
            with self.precision():
                objective = next(objectives, None)
            if objective is None:
                return
            yield objective

    def precision(self) -> AbstractContextManager[Any]:
        """The autocast of the cell's precision."""
        precision = self.cell.pretrain.precision
        if precision == "fp32":
            return nullcontext()
        if precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        raise ConfigError(
            f"pretrain.precision is {precision!r}.", "Choose fp32 or bf16 (auto is resolved in the plan)."
        )

    def minimise(self, objective: Objective, step: Step) -> None:
        """One optimiser step, logged."""
        name = objective.optimiser
        self.losses.add(f"{name}.loss", self.optimisers.minimise(objective, step))
        self.losses.add(f"{name}.lr", self.optimisers.lr(name))
        for part, value in objective.parts.items():
            self.losses.add(f"{name}.{part}", float(value.detach() if isinstance(value, torch.Tensor) else value))

    def end_step(self, step: Step, images: int) -> None:
        """Count a finished step."""
        self.done += 1
        self.losses.end_step(step, images)
        self.images += images

    def encode(self) -> torch.Tensor:
        """Evaluation-mode pooled features of the whole view, float32 (N, D) on the CPU."""
        with self.precision():
            return encode_all(self.method.encoder, self.view.images).pooled

    def progress(self) -> tuple[int, int, float, float | None]:
        """Arguments of a `ProgressReport`."""
        now, (then, images) = time.perf_counter(), self._pace
        self._pace = (now, self.images)
        rate = (self.images - images) / max(1e-9, now - then)
        return self.images, self.images_total, rate, self.losses.latest()

    def finish(self) -> Trained:
        """Close the books; the method is left in evaluation mode."""
        self.method.eval()
        totals = self.meter.now()
        self.meter.close()
        ledger = Ledger(
            **facts_of_view(self.view, self.method.card.needs, self.cell.corpus.layout),
            images_seen=self.images,
            steps=self.done,
            optimiser_steps=self.optimisers.steps,
            encoder_pixels_forward=totals.pixels_forward,
            encoder_pixels_backward=totals.pixels_backward,
            flops=totals.flops,
            parameters=count_parameters(self.method, trainable=True),
            encoder_parameters=count_encoder(self.method.encoder),
            wall_s=totals.wall_s,
            device_s=totals.device_s,
            peak_memory_bytes=totals.peak_memory_bytes,
            images_per_s=self.images / totals.wall_s if totals.wall_s and self.images else 0.0,
            data_wait_share=totals.data_wait_s / totals.wall_s if totals.wall_s else 0.0,
        )
        return Trained(ledger, self.losses)

    def save(self, path: Path) -> None:
        """Write everything that going on needs."""
        state = {
            "format": _STATE_FORMAT,
            "cell": self.cell.fingerprint,
            "done": self.done,
            "images": self.images,
            "method": self.method.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "sampler": self.sampler.state_dict(),
            "losses": self.losses.state_dict(),
            "meter": self.meter.state_dict(),
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on from a saved state, if there is one of this cell."""
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if (state["format"], state["cell"]) != (_STATE_FORMAT, self.cell.fingerprint):
            logger.warning("%s is the state of another cell or version; training starts again", path)
            remove(path)
            return
        self.method.load_state_dict(state["method"])
        for part in ("optimisers", "sampler", "losses", "meter"):
            getattr(self, part).load_state_dict(state[part])
        self.done, self.images = int(state["done"]), int(state["images"])
        self._pace = (time.perf_counter(), self.images)
        logger.info("resumed after %d of %d steps", self.done, self.total)

    def _own(self, name: str) -> float:
        """The method's own setting where its Config has one, else the recipe's."""
        own = getattr(self.method.config, name, None)
        return float(getattr(self.cell.pretrain, name) if own is None else own)


def make_deterministic(wanted: bool) -> None:
    """Ask torch for deterministic algorithms, or leave the choice to it."""
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
