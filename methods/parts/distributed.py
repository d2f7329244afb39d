"""Gathering over processes; without a process group every function gives back what it was given."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """All-gather along the batch; the backward pass sums every process's gradient of the local part."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.rows = len(local)
        return gather_labels(local)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def gather_features(local: Tensor) -> Tensor:
    """Rows of all processes in rank order, (world * B, ...), with gradients summed back.

    Every process then computes the loss of the whole batch. Its gradient reaches each local row once per
    process, and the mean over processes that data-parallel training takes makes up for that.
    """
    if world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def gather_labels(local: Tensor) -> Tensor:
    """Rows of all processes in rank order, without gradient; every process must hold as many."""
    if world_size() == 1:
        return local
    parts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of `value` over processes, without gradient."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world_size()
