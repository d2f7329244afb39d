"""What the heads of several benchmarks share: standardised features, a batched AdamW, batch order, seeds.

Light heads are trained side by side: a leading dimension S holds one head per setting, so that a whole grid of
learning rates and weight decays costs one pass over the features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from hcbench.data.seeds import name_seed
from hcbench.errors import TaskError
from hcbench.methods.parts.schedule import cosine_with_warmup

Params = ParamSpec("Params")
Result = TypeVar("Result")


def one_thread(work: Callable[Params, Result]) -> Callable[Params, Result]:
    """Let torch use one thread inside a function.

    Heads are thousands of small steps: more threads change the last bits of sums, which training stretches, so that a
    number would depend on the machine; and on a busy machine they wait for each other (measured on two busy cores:
    325 s with two threads, 35 s with one).
    """

    @functools.wraps(work)
    def alone(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return work(*args, **kwargs)
        finally:
            torch.set_num_threads(before)

    return alone


def head_generator(seed: int, *names: str) -> torch.Generator:
    """A generator that depends on the seed and the names alone, on no other draw."""
    return torch.Generator().manual_seed(name_seed(seed, *names, separator="/"))


@dataclass(frozen=True, slots=True)
class Standardiser:
    """Shift and scale features to mean 0 and deviation 1, as measured on the training split.

    Features that do not vary there (padding of a control, dead channels) are left out: dividing by their deviation
    would make rounding noise as loud as signal.

    Attributes:
        live: int64 (K,), positions of the features that vary, along dimension 1.
        mean: (K,), of those.
        scale: (K,), 1 / standard deviation.
    """

    live: Tensor
    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Standardiser:
        """Measure every feature of (N, K) or every channel of (N, K, h, w).

        Raises:
            TaskError: A feature is NaN or infinite, or none varies.
        """
        _check_finite(features)
        others = [dim for dim in range(features.ndim) if dim != 1]
        variance, mean = torch.var_mean(features, dim=others, correction=0)
        deviation = variance.sqrt()
        live = torch.nonzero(deviation > 1e-6 * deviation.max()).squeeze(1)
        if not len(live):
            raise TaskError(
                f"None of the {len(deviation)} features differs between the {len(features)} training images.",
                "The encoder has collapsed; no head can be trained on it.",
            )
        return cls(live, mean[live], deviation[live].reciprocal())

    def __call__(self, features: Tensor) -> Tensor:
        """The features that vary, shifted and scaled.

        Raises:
            TaskError: A feature is NaN or infinite.
        """
        _check_finite(features)
        shape = (-1,) + (1,) * (features.ndim - 2)
        return (features.index_select(1, self.live) - self.mean.view(shape)) * self.scale.view(shape)


def _check_finite(features: Tensor) -> None:
    if not bool(torch.isfinite(features).all()):
        raise TaskError(
            f"{int((~torch.isfinite(features)).sum())} of {features.numel()} feature values are not finite.",
            "The encoder has diverged or its checkpoint is damaged; no head can be trained on it.",
        )


def minibatches(count: int, batch_size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield `steps` index batches (int64), pass after pass in fresh random order; a short last batch is left out.

    A split smaller than `batch_size` is one batch.
    """
    per_pass = max(1, count // batch_size)
    for step in range(steps):
        if step % per_pass == 0:
            order = torch.randperm(count, generator=generator)
        begin = (step % per_pass) * batch_size
        yield order[begin : begin + batch_size]


def steps_for(count: int, batch_size: int, passes: float) -> int:
    """Steps that `passes` over `count` items take, at least one."""
    return max(1, round(passes * max(1, count // batch_size)))


def cosine_factor(step: int, total: int, warmup: float = 0.1) -> float:
    """`cosine_with_warmup` with a share of the steps as warm-up, to the nearest step and at least one.

    >>> [round(cosine_factor(s, 10, warmup=0.2), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    return cosine_with_warmup(step, total, max(1, round(warmup * total)))


class BatchedAdamW:
    """AdamW over S heads at once, each with its own learning rate and weight decay.

    Adam is elementwise, so S heads stacked along the first dimension train exactly as S heads alone.

    Args:
        params: Leaf tensors (S, ...); those with two dimensions (S, A), the biases, are not decayed.
        lr: Learning rate of each head, (S,).
        weight_decay: Decoupled weight decay of each head, (S,).
        betas: Decay of the first and second moment.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        *,
        lr: Tensor,
        weight_decay: Tensor,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        self.params, self.lr, self.weight_decay, self.betas = list(params), lr, weight_decay, betas
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.params]
        self.steps = 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update from `.grad` with learning rates times `factor`, then drop the gradients."""
        self.steps += 1
        beta1, beta2 = self.betas
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for param, (first, second) in zip(self.params, self.moments, strict=True):
            if param.grad is None:
                continue
            shape = (-1,) + (1,) * (param.ndim - 1)
            lr = (self.lr * factor).view(shape)
            if param.ndim > 2:
                param.mul_(1 - lr * self.weight_decay.view(shape))
            first.lerp_(param.grad, 1 - beta1)
            second.mul_(beta2).addcmul_(param.grad, param.grad, value=1 - beta2)
            denominator = (second / correction2).sqrt_().add_(1e-8)
            param.sub_(lr / correction1 * first / denominator)
            param.grad = None
