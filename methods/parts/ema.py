"""Teachers that follow their student as a moving average of its weights (mean teacher, MoCo, DINO)."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from timm.layers import DropPath
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

M = TypeVar("M", bound=nn.Module)


def frozen_copy(student: M) -> M:
    """A copy that takes no gradient and drops no paths; it starts where the student stands."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    for module in teacher.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move every parameter of the teacher: momentum * teacher + (1 - momentum) * student.

    Buffers, such as batch statistics, stay the teacher's own: it sees images itself, as the student does.
    """
    move = get_ema_multi_avg_fn(momentum)
    move(list(teacher.parameters()), list(student.parameters()), 0)


def cosine_momentum(start: float, done: int, total: int) -> float:
    """Momentum after `done` of `total` steps: from `start` to 1 along half a cosine (DINO, section 3.1).

    >>> [round(cosine_momentum(0.9, done, 4), 3) for done in range(5)]
    [0.9, 0.915, 0.95, 0.985, 1.0]
    """
    return 1 - (1 - start) * (math.cos(math.pi * done / total) + 1) / 2
