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
