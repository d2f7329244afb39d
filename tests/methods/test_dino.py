from __future__ import annotations

import pytest
import torch

from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.dino.card import CARD
from hcbench.methods.dino.method import DINO
from hcbench.methods.parts import losses
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.solider.card import Config

SIZE = (32, 16)
SMALL = {"head_hidden": 16, "head_bottleneck": 8, "head_outputs": 12, "local_crops": 2, **CARD.defaults}
STEP = Step(index=5, total=9, stage="dino", stage_index=5, stage_total=9, images_seen=0, epoch=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=4, size=SIZE):
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator())
    return Batch(images=images, indices=torch.arange(count))


def make(backbone="vit-mini8", size=SIZE, **settings):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(backbone, *size), 0)
    return DINO(Config(**{**SMALL, **settings}), encoder, Context(input_size=size)).train()


def only(objectives):
    (objective,) = objectives
    return objective


def test_it_is_solider_without_semantics():
    method = make()
    assert [(stage.name, stage.share) for stage in method.stages()] == [("dino", 1.0)]
    names = {name.partition(".")[0] for name, _ in method.named_parameters()}
    assert names == {"encoder", "student", "head", "teacher_head"}
    assert method.figures(batch(), generator()) == {}
    assert not any("controller" in name for name, _ in method.named_parameters())


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("vit-mini8", SIZE), ("vit-mini16-res", (64, 32)), ("swin-mini", (64, 32)), ("resnet18", (64, 32))],
)
def test_loss_is_dinos_on_any_backbone(backbone, size):
    method = make(backbone, size)
    method.student.eval()  # a Swin's student drops paths at random in training
    views = method.views(batch(size=size), generator())
    assert views["locals"].shape[2:] == (size[0] // 2, size[1] // 2)
    with torch.no_grad():
        student = [method.head(method.student(views[name]).pooled) for name in ("images", "locals")]
        teacher = method.teacher_head(method.encoder(views["images"]).pooled)
    expected = losses.dino(torch.cat(student), teacher, torch.zeros(12), ncrops=4, student_temp=0.1, teacher_temp=0.04)
    out = only(method.objectives(views, STEP))
    torch.testing.assert_close(out.loss.detach(), expected, atol=1e-4, rtol=1e-4)
    assert float(out.parts["dino_above_floor"]) == pytest.approx(
        float(out.parts["dino_loss"] - out.parts["teacher_entropy"]), abs=1e-5
    )
    assert 0 < out.parts["prototypes_in_use"] <= out.parts["prototypes_rows"] == 8


def test_without_local_crops():
    method = make(local_crops=0)
    out = only(method.objectives(method.views(batch(), generator()), STEP))
    assert torch.isfinite(out.loss)


def test_student_comes_to_agree_with_a_teacher_at_rest():
    method = make(teacher_momentum=1.0, center_momentum=1.0, freeze_last_layer=0.0)
    method.center += 0.2 * torch.randn(12, generator=generator())
    parameters = [p for group in method.param_groups()[0].groups for p in group.params]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    gaps = []
    for k in range(20):
        out = only(method.objectives(method.views(batch(), generator(k)), STEP))
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
        method.after_step(STEP)
        gaps.append(float(out.parts["dino_above_floor"]))
    assert sum(gaps[-4:]) / 4 < 0.5 * sum(gaps[:2]) / 2


def test_teacher_is_saved_as_a_plain_encoder(tmp_path):
    method = make()
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    save_encoder(method.encoder, tmp_path)
    images = torch.randn(2, 3, *SIZE, generator=generator())
    with torch.no_grad():
        expected = method.encoder.eval()(images).pooled
        assert torch.equal(load_encoder(tmp_path)(images).pooled, expected)
        assert not torch.allclose(method.student.eval()(images).pooled, expected)
