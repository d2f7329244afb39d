"""A SOLIDER of a few thousand weights, and noise for it."""

from __future__ import annotations

import torch

from hcbench.methods.base import Batch, Context
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.solider.card import Config
from hcbench.methods.solider.method import Solider

SIZE = (32, 16)
SMALL = {"head_hidden": 16, "head_bottleneck": 8, "head_outputs": 12, "local_crops": 1, "center_momentum": 0.5}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=5, size=SIZE, seed=0):
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator(seed))
    return Batch(images=images, indices=torch.arange(count))


def encoder(backbone="vit-mini8", size=SIZE, seed=0):
    return build_encoder(EncoderSpec(backbone, *size), seed)


def make(backbone="vit-mini8", size=SIZE, seed=0, **settings):
    torch.manual_seed(seed)
    return Solider(Config(**{**SMALL, **settings}), encoder(backbone, size, seed), Context(input_size=size)).train()
