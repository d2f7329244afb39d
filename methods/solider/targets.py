"""What the student is asked to say of an image: the teacher's outputs as a distribution over prototypes.

Two ways keep a teacher from saying the same of all images: DINO takes a moving mean off its outputs; SwAV and DINOv2
let every prototype have the same share of a batch. The second is stronger: it asks images to differ from the first
step on, which is what a run of a few hundred steps needs.

Shapes: M rows, K prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.methods.parts.distributed import mean_over_processes


@torch.no_grad()
def log_targets(outputs: Tensor, center: Tensor, *, temperature: float, centering: str) -> Tensor:
    """Logarithms of the targets, float32 (M, K); rows of their exponentials add up to 1, entries may be -inf.

    Args:
        outputs: The teacher's cosines, float (M, K).
        center: Their moving mean (K,); only "mean" uses it.
        temperature: Of the softmax.
        centering: "mean" or "sinkhorn".
    """
    if centering == "sinkhorn":
        return sinkhorn(outputs, temperature=temperature).log()
    return F.log_softmax((outputs.float() - center) / temperature, dim=1)


@torch.no_grad()
def sinkhorn(outputs: Tensor, *, temperature: float, steps: int = 3) -> Tensor:
    """Targets that use all prototypes alike (SwAV, arXiv 2006.09882, section 3.1), float32 (M, K).

    Columns and rows are scaled in turn, rows last, so that each is a distribution; the rows of all processes count.
    """
    shares = F.softmax(outputs.double() / temperature, dim=1)
    tiny = torch.finfo(shares.dtype).tiny
    for _ in range(steps):
        shares = shares / mean_over_processes(shares.mean(dim=0)).clamp(min=tiny)
        shares = shares / shares.sum(dim=1, keepdim=True)
    return shares.float()
