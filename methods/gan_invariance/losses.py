"""The losses of GCL and GCL+ that no other method has.

Maps are what the discriminator gives: one (B, 1, h, w) per scale. K kinds of generated images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.methods.gan_invariance.networks import Discriminator


def adversarial(maps: Sequence[Tensor]) -> Tensor:
    """Least-squares loss of the generator: the sum over scales of 2 mean((D - 1)^2)."""
    return torch.stack([2 * (scale.float() - 1).square().mean() for scale in maps]).sum()


def critic_loss(
    discriminator: Discriminator, real: Tensor, fakes: Sequence[Tensor], *, penalty: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Least-squares loss of the discriminator with R1, for each kind of generated images, and what to log.

    The sum over kinds and scales of mean(D(fake)^2) + mean((D(x) - 1)^2) + penalty * E |grad_x D(x)|^2.

    Args:
        discriminator: D.
        real: (B, 3, H, W).
        fakes: K batches like it, without gradient.
        penalty: Weight of R1.
    """
    # A copy, since counting operations allows no leaf as a module's input inside `autograd.grad`.
    real = real.detach().requires_grad_().clone()
    real_maps, fake_maps = discriminator(real), discriminator(torch.cat(list(fakes)))
    kinds, total = len(fakes), real.new_zeros(())
    log: dict[str, Tensor] = {}
    for scale, (r, f) in enumerate(zip(real_maps, fake_maps, strict=True)):
        squared = gradient_penalty(r, real)
        # All kinds are as many, so their means add up to K times the mean of all; real images count once per kind.
        total = total + kinds * (f.float().square().mean() + (r.float() - 1).square().mean() + penalty * squared)
        log[f"real_{scale}"], log[f"fake_{scale}"] = r.detach().mean(), f.detach().mean()
        log[f"penalty_{scale}"] = squared.detach()
    return total, log


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 over images (B, 3, H, W), where D(x) is the mean of an image's map of `logits`."""
    # DEVIATION (our reading): which scalar D(x) is for a map of logits stands nowhere; its mean keeps the penalty's
    # size the same at every resolution.
    score = logits.float().mean(dim=(1, 2, 3)).sum()
    # Twice differentiated, since the discriminator learns from it; where nothing learns, once is enough.
    (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def mixed_weight(alpha: float) -> float:
    """Weight l ~ Beta(alpha, alpha), made the larger of l and 1 - l, from torch's global generator."""
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    return max(weight, 1 - weight)


def mixed_targets(labels: Tensor, order: Tensor, weight: float, classes: int) -> Tensor:
    """Targets weight onehot(y) + (1 - weight) onehot(y[order]), float (B, classes); rows sum to 1."""
    one_hot = F.one_hot(labels, classes).float()
    return weight * one_hot + (1 - weight) * one_hot[order]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (mean) of logits (B, C) with target distributions (B, C); 0 without a row."""
    if not len(logits):
        return logits.sum()
    return F.cross_entropy(logits.float(), targets)


def carry(loss: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """A scalar worth `loss` whose gradient with respect to `parameters` is `gradients`.

    Two optimisers that descend the same loss need one backward pass: its graph is gone, and the first optimiser's
    parameters have moved, when the loop comes to the second.
    """
    terms = [
        ((p - p.detach()) * g).sum() for p, g in zip(parameters, gradients, strict=True) if g is not None
    ]  # fmt: skip
    return loss.detach() + torch.stack(terms).sum()
