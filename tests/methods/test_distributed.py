"""Two gloo processes, each with half of the batch, against one process with all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from hcbench.methods.parts import losses

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from hcbench.methods.parts import losses

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
stored = torch.load(f"{folder}/inputs.pt", weights_only=True)
half = slice(8 * rank, 8 * rank + 8)
x, y, labels = stored["x"][half], stored["y"][half], stored["labels"][half]
out = {}
for name in stored["names"]:
    net = nn.Linear(6, 5).double()
    net.load_state_dict(stored["net"])
    a, b = net(x), net(y)
    loss = {
        "multi_positive": lambda: losses.multi_positive_contrastive(a, labels),
        "image_text": lambda: losses.multi_positive_image_text(a, b, labels, labels, logit_scale=10.0),
        "info_nce": lambda: losses.info_nce(a, b, 10.0),
        "cmpm": lambda: losses.cmpm(a, b, labels),
        "alignment": lambda: losses.instance_alignment(a, b),
    }[name]()
    loss.backward()
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    for p in net.parameters():  # what data-parallel training does
        dist.all_reduce(p.grad)
        p.grad /= 2
    out[name] = {"loss": mean / 2, "grad": net.weight.grad}
out["center"] = losses.update_center(torch.zeros(6).double(), x, momentum=0.9)
queue = torch.zeros(6, 20).double()
out["pointer"] = losses.enqueue(queue, 10, x)
out["queue"] = queue
torch.save(out, f"{folder}/out{rank}.pt")
dist.destroy_process_group()
"""
NAMES = ("multi_positive", "image_text", "info_nce", "cmpm", "alignment")


def single(name, net, x, y, labels):
    a, b = net(x), net(y)
    return {
        "multi_positive": lambda: losses.multi_positive_contrastive(a, labels),
        "image_text": lambda: losses.multi_positive_image_text(a, b, labels, labels, logit_scale=10.0),
        "info_nce": lambda: losses.info_nce(a, b, 10.0),
        "cmpm": lambda: losses.cmpm(a, b, labels),
        "alignment": lambda: losses.instance_alignment(a, b),
    }[name]()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(16, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 5, (16,), generator=generator)  # positives also lie in the other process
    net = nn.Linear(6, 5).double()
    torch.save(
        {"x": x, "y": y, "labels": labels, "net": net.state_dict(), "names": list(NAMES)}, tmp_path / "inputs.pt"
    )
    command = [sys.executable, "-c", SCRIPT]
    runs = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        codes = [run.wait(timeout=120) for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert codes == [0, 0]
    outputs = [torch.load(tmp_path / f"out{rank}.pt", weights_only=True) for rank in range(2)]
    for name in NAMES:
        net.zero_grad()
        loss = single(name, net, x, y, labels)
        loss.backward()
        for out in outputs:
            torch.testing.assert_close(out[name]["loss"], loss.detach(), rtol=1e-10, atol=1e-12, msg=name)
            torch.testing.assert_close(out[name]["grad"], net.weight.grad, rtol=1e-8, atol=1e-10, msg=name)
    queue = torch.zeros(6, 20).double()
    pointer = losses.enqueue(queue, 10, x)
    center = losses.update_center(torch.zeros(6).double(), x, momentum=0.9)
    for out in outputs:
        torch.testing.assert_close(out["center"], center)
        torch.testing.assert_close(out["queue"], queue)
        assert out["pointer"] == pointer == 6


METHODS = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
names = {"__name__": "part"}
exec(Path(folder, "build.py").read_text(), names)
out = {}
for name in names["NAMES"]:
    loss, gradients = names["loss_and_gradients"](name, slice(6 * rank, 6 * rank + 6))
    dist.all_reduce(loss)
    for gradient in gradients.values():  # what data-parallel training does
        dist.all_reduce(gradient)
    out[name] = {"loss": loss / 2, "gradients": {key: value / 2 for key, value in gradients.items()}}
torch.save(out, f"{folder}/out{rank}.pt")
dist.destroy_process_group()
"""
BUILD = """
import torch
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.genpoccl.card import Config as Pose
from hcbench.methods.genpoccl.method import GenPoCCL
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.masking import Mask
from hcbench.methods.stablerep.card import Config as Caption
from hcbench.methods.stablerep.method import StableRep

SIZE = (32, 16)
SMALL = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "mask": "block", "augmentation": "none"}
# One layer: without batch norm, whose statistics are each process's own.
TEXT = {"language": True, "text_dim": 16, "text_layers": 1, "text_heads": 2, "text_tokens": 8, "shared_dim": 12}
CONFIGS = {
    "genpoccl": (GenPoCCL, Pose(gamma_mp=1.0, **SMALL)),
    "genpoccl-joint": (GenPoCCL, Pose(gamma_mp=1.0, mp_views="joint", pose_proj="mlp", projector=(8,), **SMALL)),
    "stablerep": (StableRep, Caption(projector=(8,), augmentation="none")),
    "stablerep-position": (StableRep, Caption(projector=(8,), augmentation="none", labels="position")),
    "stablerep-text": (StableRep, Caption(projector=(8,), augmentation="none", **TEXT)),
}
NAMES = tuple(CONFIGS)
STEP = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)


def loss_and_gradients(name, rows):
    kind, config = CONFIGS[name]
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec("vit-mini8", *SIZE, kind.extra_tokens(config)), 0)
    context = Context(input_size=SIZE, images_per_group=3, vocabulary=("red", "blue", "coat"))
    # The mean over tokens is taken in float32; all else is exact enough in float64 for tight bounds.
    kind_of_number = torch.float32 if getattr(config, "language", False) else torch.float64
    method = kind(config, encoder, context).to(kind_of_number)
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (12, 3, *SIZE), dtype=torch.uint8, generator=g)
    group = torch.arange(4).repeat_interleave(3)
    captions = ("red coat",) * 3 + ("blue coat",) * 3 + ("red coat",) * 3 + ("coat",) * 3
    batch = Batch(images=images[rows], indices=torch.arange(12)[rows], group=group[rows], captions=captions[rows])
    views = method.views(batch, torch.Generator().manual_seed(2))
    views["images"] = views["images"].to(kind_of_number)
    if "masks" in views:  # the masks of the whole batch, whoever holds which part of it
        whole = method.views(Batch(images=images, indices=torch.arange(12), group=group),
                             torch.Generator().manual_seed(2))
        views["masks"] = [Mask(mask.keep[rows], mask.hidden[rows]) for mask in whole["masks"]]
    (objective,) = method.objectives(views, STEP)
    objective.loss.backward()
    found = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
    return objective.loss.detach().clone(), found
"""


@pytest.mark.slow
def test_methods_on_two_processes_equal_one(tmp_path):
    """Positives of one caption or pose lie in both processes; loss and every gradient are those of one process."""
    (tmp_path / "build.py").write_text(BUILD)
    runs = [subprocess.Popen([sys.executable, "-c", METHODS, str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        codes = [run.wait(timeout=240) for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert codes == [0, 0]
    outputs = [torch.load(tmp_path / f"out{rank}.pt", weights_only=True) for rank in range(2)]
    built: dict = {}
    exec(BUILD, built)
    for name in built["NAMES"]:
        loss, gradients = built["loss_and_gradients"](name, slice(None))
        for out in outputs:
            torch.testing.assert_close(out[name]["loss"], loss, rtol=1e-6, atol=1e-6, msg=name)
            assert set(out[name]["gradients"]) == set(gradients)
            for key, value in gradients.items():
                torch.testing.assert_close(
                    out[name]["gradients"][key], value, rtol=1e-4, atol=1e-6, msg=f"{name} {key}"
                )
