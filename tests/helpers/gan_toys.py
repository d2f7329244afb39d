"""A small GAN-invariance, six colour patterns on bodies for it, and the loop's side of its steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.gan_invariance.card import Config
from hcbench.methods.gan_invariance.method import GanInvariance
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder

SIZE, NUMBER = (32, 16), 24
SMALL = {
    "projector": (16, 8),
    "dim": 2,
    "n_res": 2,
    "mlp_dim": 8,
    "dis_dim": 4,
    "dis_res": 1,
    "gan_height": 16,
    "gan_width": 8,
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def people(number=NUMBER, seed=0):
    """Six colour patterns, each on four bodies that stand in different places."""
    g = generator(seed)
    coarse = torch.rand(6, 3, 4, 2, generator=g).repeat_interleave(number // 6, dim=0)
    images = F.interpolate(coarse, SIZE, mode="bilinear") + 0.05 * torch.randn(number, 3, *SIZE, generator=g)
    scale = torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0, 8.0])
    joints = torch.rand(number, 17, 3, generator=g) * scale
    return (images.clamp(0, 1) * 255).to(torch.uint8), joints


def batch(indices=None, **labels):
    images, joints = people()
    indices = torch.arange(NUMBER) if indices is None else indices
    return Batch(images=images[indices], indices=indices, joints=joints[indices], **labels)


def make(seed=0, number=NUMBER, backbone="vit-mini8", **settings):
    torch.manual_seed(seed)
    encoder = build_encoder(EncoderSpec(backbone, *SIZE), 0)
    context = Context(input_size=SIZE, num_images=number, ids=tuple(f"i{k}" for k in range(number)))
    return GanInvariance(Config(**{**SMALL, **settings}), encoder, context)


def step(stage, index=0, epoch=0):
    return Step(index=index, total=9, stage=stage, stage_index=index, stage_total=9, images_seen=0, epoch=epoch)


def run(method, stage, steps=1, first=0, made=None):
    """The loop's side, with optimisers of its own; gives the objectives of the last step by optimiser."""
    optimisers = {
        spec.name: torch.optim.Adam([p for g in spec.groups for p in g.params], lr=spec.lr or 1e-3, betas=(0.5, 0.9))
        for spec in method.param_groups()
    }
    for index in range(first, first + steps):
        torch.manual_seed(index)
        seen = {}
        for objective in method.objectives(method.views(made or batch(), generator(index)), step(stage, index)):
            optimiser = optimisers[objective.optimiser]
            optimiser.zero_grad(set_to_none=True)
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            objective.loss.backward(inputs=parameters)
            optimiser.step()
            seen[objective.optimiser] = objective
        method.after_step(step(stage, index))
    return seen
