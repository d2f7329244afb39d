"""The named optimisers of a method: built, scheduled, clipped and checked by one recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from hcbench.errors import DivergedError, MethodError, did_you_mean
from hcbench.harness.planning.settings import PretrainConfig
from hcbench.methods.base import Objective, OptimiserSpec, Step
from hcbench.methods.parts.schedule import cosine_with_warmup


def schedule(done: int, total: int, warmup: float) -> float:
    """`cosine_with_warmup` with the share `warmup` of the steps as warm-up, in whole steps rounded down, maybe none.

    >>> [round(schedule(k, 10, 0.2), 3) for k in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    return cosine_with_warmup(done, total, math.floor(total * warmup))


class Optimisers:
    """All optimisers of a method by name.

    An optimiser that is only stepped in some stages has its schedule over the steps of those stages; one that restarts
    has a schedule of its own in each.

    Args:
        specs: What the method names.
        config: The recipe.
        stage_steps: Steps of every stage, in order.
        lr: The recipe's learning rate, or the method's own.
        weight_decay: Likewise.
    """

    def __init__(
        self,
        specs: Sequence[OptimiserSpec],
        config: PretrainConfig,
        stage_steps: Mapping[str, int],
        *,
        lr: float,
        weight_decay: float,
    ) -> None:
        self.config, self.stage_steps = config, dict(stage_steps)
        self.specs = {spec.name: spec for spec in specs}
        self._check(specs)
        self._optimisers = {spec.name: self._build(spec, lr, weight_decay) for spec in specs}
        self._base = {n: [g["lr"] for g in o.param_groups] for n, o in self._optimisers.items()}
        self.steps = 0

    def minimise(self, objective: Objective, step: Step) -> float:
        """One step of the objective's optimiser; gives the loss.

        Only the optimiser's own parameters get gradients: a generator's loss costs its discriminator none.

        Raises:
            DivergedError: The loss or a gradient is not finite.
            MethodError: No such optimiser, or it rests in this stage.
        """
        optimiser = self._active(objective.optimiser, step)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        loss = float(objective.loss.detach())
        if not math.isfinite(loss):
            raise self._diverged(objective.optimiser, step, f"loss is {loss}")
        optimiser.zero_grad(set_to_none=True)
        objective.loss.backward(inputs=parameters)
        limit = self.config.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        if not math.isfinite(norm):
            raise self._diverged(objective.optimiser, step, f"gradient norm is {norm}")
        for group, base in zip(optimiser.param_groups, self._base[objective.optimiser], strict=True):
            group["lr"] = base * self.factor(objective.optimiser, step)
        optimiser.step()
        self.steps += 1
        return loss

    def factor(self, name: str, step: Step) -> float:
        """Factor on the learning rate of an optimiser at a step."""
        spec = self.specs[name]
        if not spec.scheduled:
            return 1.0
        if spec.restarts:
            return schedule(step.stage_index, self.stage_steps[step.stage], self.config.warmup)
        active = [s for s in self.stage_steps if not spec.stages or s in spec.stages]
        before = sum(self.stage_steps[s] for s in active[: active.index(step.stage)])
        total = sum(self.stage_steps[s] for s in active)
        return schedule(before + step.stage_index, total, self.config.warmup)

    def lr(self, name: str) -> float:
        """Current learning rate of an optimiser's first group, without its factor."""
        group, first = self._optimisers[name].param_groups[0], self.specs[name].groups[0]
        return float(group["lr"]) / (first.lr_factor or 1.0)

    def state_dict(self) -> dict[str, Any]:
        """States of all optimisers."""
        return {"steps": self.steps, "states": {n: o.state_dict() for n, o in self._optimisers.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` stood."""
        self.steps = int(state["steps"])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state_dict(state["states"][name])

    def _build(self, spec: OptimiserSpec, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        lr = lr if spec.lr is None else spec.lr
        groups = [
            {"params": list(g.params), "lr": lr * g.lr_factor, "weight_decay": weight_decay * g.weight_decay_factor}
            for g in spec.groups
        ]
        options: dict[str, Any] = {}
        if "adam" in spec.kind or spec.betas is not None:
            options["betas"] = spec.betas or (self.config.beta1, self.config.beta2)
        if spec.kind in ("adam", "adamw"):
            options["fused"] = True  # a quarter of the time
        built = create_optimizer_v2(groups, opt=spec.kind, lr=lr, weight_decay=weight_decay, **options)
        if not isinstance(built, torch.optim.Optimizer):
            raise MethodError(f"timm's {spec.kind!r} is no torch optimiser.", "Choose another kind, such as adamw.")
        return built

    def _active(self, name: str, step: Step) -> torch.optim.Optimizer:
        if name not in self.specs:
            raise MethodError(
                f"An objective names the optimiser {name!r}, which `param_groups` does not give.",
                did_you_mean(name, self.specs),
            )
        if self.specs[name].stages and step.stage not in self.specs[name].stages:
            raise MethodError(
                f"Stage {step.stage!r} yields an objective for the optimiser {name!r}, which rests in this stage.",
                f"It is stepped in {', '.join(self.specs[name].stages)}.",
            )
        return self._optimisers[name]

    def _diverged(self, name: str, step: Step, what: str) -> DivergedError:
        lr = self._optimisers[name].param_groups[0]["lr"]
        return DivergedError(
            f"Step {step.index + 1} of {step.total} (stage {step.stage}): the {name} {what} at learning rate {lr:.2g}.",
            "Try a lower pretrain.lr, a longer pretrain.warmup or pretrain.precision=fp32.",
        )

    @staticmethod
    def _check(specs: Sequence[OptimiserSpec]) -> None:
        if len({spec.name for spec in specs}) < len(specs):
            raise MethodError("Two optimisers share a name.", "Give every OptimiserSpec a name of its own.")
        owner: dict[int, str] = {}
        for spec in specs:
            for parameter in (p for group in spec.groups for p in group.params):
                if owner.setdefault(id(parameter), spec.name) != spec.name:
                    raise MethodError(
                        f"{owner[id(parameter)]} and {spec.name} share parameters.", "Keep them disjoint."
                    )
