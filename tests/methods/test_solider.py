from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from solider_toys import SIZE, batch, generator, make

from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, MethodError
from hcbench.harness.jobs.outcomes import Interrupted
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.harness.training.train import train as run_loop
from hcbench.methods.base import Step
from hcbench.methods.parts import losses
from hcbench.methods.parts.diagnostics import warnings
from hcbench.methods.solider.card import CARD, paper_lr
from hcbench.methods.solider.labels import PartLabels, part_labels
from hcbench.methods.solider.method import SEMANTIC, erase_part
from hcbench.methods.solider.spread import koleo

STEP = Step(index=5, total=9, stage=SEMANTIC, stage_index=2, stage_total=4, images_seen=0, epoch=0)
FIRST = dataclasses.replace(STEP, stage="dino")


def labelled(method, kept=(True,) * 10):
    """Give every view bands of two rows for labels (background above), instead of what the teacher says."""
    kept = torch.tensor(kept)
    bands = torch.arange(4).repeat_interleave(2).view(1, 4, 2).repeat(len(kept), 1, 1)
    found = PartLabels(bands * kept[:, None, None], kept, torch.full((len(kept),), 0.75))
    method.labels = lambda tokens, generator=None: found
    return found


def views_of(method, lam=(1.0, 0.0, 1.0, 1.0, 0.0), part=2):
    views = method.views(batch(), generator())
    return {**views, "lambda": torch.tensor(lam), "part": part}


def only(objectives):
    (objective,) = objectives
    return objective


def optimiser(method, lr=1e-2):
    parameters = [p for group in method.param_groups()[0].groups for p in group.params]
    return torch.optim.AdamW(parameters, lr=lr)


def train(method, steps, first=0, total=8, optimised=None, stage=SEMANTIC):
    optimised = optimised or optimiser(method, 1e-3)
    values = []
    for k in range(first, first + steps):
        step = dataclasses.replace(STEP, index=k, total=total, stage=stage, stage_index=k, stage_total=total)
        torch.manual_seed(k)
        objective = only(method.objectives(method.views(batch(seed=k), generator(k)), step))
        optimised.zero_grad()
        objective.loss.backward()
        optimised.step()
        method.after_step(step)
        values.append(float(objective.loss.detach()))
    return values


def test_recommended_lambdas():
    assert CARD.knobs == {"lambda": {"reid": 0.2, "text-reid": 0.2, "attributes": 0.8, "pose": 0.8, "parsing": 0.8}}


# ---- one step


def test_stages():
    assert [(s.name, round(s.share, 4)) for s in make().stages()] == [("dino", 0.9091), ("solider", 0.0909)]
    assert [s.name for s in make(dino_fraction=0.0).stages()] == ["solider"]


def test_views_share_one_lambda_per_image_and_one_part_per_step():
    method = make()
    drawn = [method.views(batch(), generator(seed)) for seed in range(40)]
    assert {v["part"] for v in drawn} == {1, 2, 3}
    lam = torch.cat([v["lambda"] for v in drawn])
    assert set(lam.tolist()) == {0.0, 1.0}
    assert 0.35 < lam.mean() < 0.65
    assert drawn[0]["images"].shape == (10, 3, 32, 16)
    assert drawn[0]["locals"].shape == (5, 3, 16, 8)


def test_loss_is_the_official_one():
    """Every kept view runs through the student, whatever its lambda, and the mean is over all of their tokens."""
    method = make(freeze_last_layer=0.0)
    kept = (True, False, True, True, True, True, True, False, False, True)
    found, views = labelled(method, kept), views_of(method)
    full, lam = views["images"], views["lambda"]
    out = only(method.objectives(views, STEP))

    idx = torch.tensor(kept).nonzero()[:, 0]
    both = lam.repeat(2)
    visible = (found.maps[idx] != 2).float().repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    masked = method.student(full[idx] * visible, **{"lambda": both[idx]}).grid
    intact = method.student(full, **{"lambda": both})
    tokens = torch.cat([masked, intact.grid[idx]]).flatten(2).transpose(1, 2)
    logits = method.part_head(tokens)
    target = found.maps[idx].flatten(1).repeat(2, 1)
    error = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    semantic = (error * both[idx].repeat(2)[:, None]).mean()
    torch.testing.assert_close(out.parts["semantic_loss"], semantic.detach(), atol=1e-5, rtol=1e-5)

    small = method.student(views["locals"], **{"lambda": lam})
    student = method.head(torch.cat([intact.pooled, small.pooled]))
    with torch.no_grad():
        teacher = method.teacher_head(method.encoder(full, **{"lambda": both}).pooled)
    dino = losses.dino(student, teacher, torch.zeros(12), ncrops=3, student_temp=0.1, teacher_temp=0.04)
    torch.testing.assert_close(out.loss, dino + semantic, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(method.center, 0.5 * teacher.mean(dim=0))
    assert float(out.parts["kept"]) == pytest.approx(0.7)
    assert float(out.parts["mean_lambda"]) == pytest.approx(0.6)
    assert 0 <= float(out.parts["token_accuracy"]) <= 1


def test_without_lambda_the_loss_is_dinos():
    method = make()
    labelled(method)
    out = only(method.objectives(views_of(method, lam=(0.0,) * 5), STEP))
    torch.testing.assert_close(out.loss.detach(), out.parts["dino_loss"])
    out.loss.backward()
    assert all(p.grad is None for p in method.part_head.parameters())
    assert out.parts["semantic_loss"] == 0


def test_the_teachers_map_at_lambda_one_takes_what_was_seen_there():
    method = make(controller_start="official")
    images, lam = views_of(method)["images"], torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0] * 2)
    passes = []
    method.encoder.register_forward_hook(lambda module, inputs, out: passes.append(len(inputs[0])))
    whole = method.semantic_map(images)
    seen = method.encode(method.encoder, images, lam)
    torch.testing.assert_close(method.semantic_map(images, seen, lam), whole, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seen.grid[1], whole[1], atol=1e-4)
    assert passes == [10, 10, 4]
    at_one = method.encode(method.encoder, images, torch.ones(10))
    assert torch.equal(method.semantic_map(images, at_one, torch.ones(10)), whole)
    assert passes[3:] == [10]


def test_no_view_kept_is_a_finite_step():
    method = make()
    labelled(method, (False,) * 10)
    out = only(method.objectives(views_of(method), STEP))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert float(out.parts["kept"]) == out.parts["semantic_loss"] == 0
    assert "token_accuracy" not in out.parts


def test_low_precision_stops_before_cosines_and_labels():
    method = make()
    views, exact = views_of(method), make()
    labels = exact.labels(exact.semantic_map(views["images"]), generator())
    with torch.autocast("cpu", torch.bfloat16):
        out = only(method.objectives(views, STEP))
        assert method.head(torch.randn(3, 96)).dtype == torch.float32
        grid = method.encoder(views["images"]).grid
        assert part_labels(grid, 3, generator()).foreground.dtype == torch.float32
        assert method.labels(method.semantic_map(views["images"]), generator()).maps.shape == labels.maps.shape
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert out.loss.dtype == torch.float32


def test_first_stage_is_dino_at_lambda_zero():
    method = make(controller_start="official")
    first, second = (only(method.objectives(views_of(method), step)) for step in (FIRST, STEP))
    assert "semantic_loss" not in first.parts
    assert float(first.parts["mean_lambda"]) == 0
    assert float(second.parts["mean_lambda"]) == pytest.approx(0.6)
    first.loss.backward()
    weight = method.student.controller.scale[0].weight
    assert not weight.grad[:, 0].any()  # s = [0, 1]
    assert weight.grad[:, 1].any()


@pytest.mark.parametrize("trained", [True, False])
def test_part_head_changes_only_where_it_is_trained(trained):
    method = make(train_part_head=trained)
    labelled(method)
    before = {name: p.clone() for name, p in method.part_head.named_parameters()}
    optimised = optimiser(method)
    only(method.objectives(views_of(method), STEP)).loss.backward()
    optimised.step()
    after = dict(method.part_head.named_parameters())
    assert all(torch.equal(before[name], after[name]) != trained for name in before)


def test_controller_learns_at_a_rate_of_its_own():
    method = make(controller_lr=20.0)
    spec = method.param_groups()[0]
    assert not spec.restarts
    assert make(restart=True).param_groups()[0].restarts
    trained = [id(p) for group in spec.groups for p in group.params]
    assert sorted(trained) == sorted(id(p) for p in method.parameters() if p.requires_grad)
    controller = {id(p) for p in method.student.controller.parameters()}
    for group in spec.groups:
        assert {id(p) in controller for p in group.params} == {group.lr_factor == 20.0}
        # A weight shrinks by learning rate times decay, which is the same in all groups that decay.
        assert group.lr_factor * group.weight_decay_factor == pytest.approx(float(group.params[0].squeeze().ndim > 1))
    assert {g.lr_factor for g in make().param_groups()[0].groups} == {1.0}


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_head_with_batch_norm_takes_statistics_of_each_size_of_crop(centering):
    method = make(head_norm=True, centering=centering, freeze_last_layer=0.0)
    seen = []
    method.head.mlp[1].register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    out = only(method.objectives(views_of(method), FIRST))
    out.loss.backward()
    assert seen == [10, 5]
    assert torch.isfinite(out.loss)
    assert method.head.mlp[1].weight.grad is not None
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in method.part_head.modules())
    lonely = {**views_of(method, lam=(1.0,)), "images": torch.zeros(2, 3, *SIZE), "locals": torch.zeros(1, 3, 16, 8)}
    with pytest.raises(MethodError, match="there is one"):
        only(method.objectives(lonely, FIRST))


def test_koleo_is_added_for_each_global_crop():
    method, plain = make(koleo=0.5), make()
    found, expected = (only(m.objectives(views_of(m), FIRST)) for m in (method, plain))
    first, second = method.student(views_of(method)["images"], **{"lambda": 0.0}).pooled.chunk(2)
    spread = (koleo(first) + koleo(second)) / 2
    torch.testing.assert_close(found.parts["koleo"], spread.detach())
    torch.testing.assert_close(found.loss, expected.loss + 0.5 * spread)
    assert "koleo" not in expected.parts


def test_last_layer_rests_at_first():
    method = make(freeze_last_layer=0.5)
    for index, resting in ((4, True), (5, False)):
        method.zero_grad()
        only(method.objectives(views_of(method), dataclasses.replace(FIRST, index=index))).loss.backward()
        assert (method.head.prototypes.weight.grad is None) == resting
        assert method.head.mlp[0].weight.grad is not None


def test_teacher_follows_and_is_never_trained():
    method = make(teacher_momentum=0.9)
    labelled(method)
    held = {id(p) for group in method.param_groups()[0].groups for p in group.params}
    teacher = [*method.encoder.parameters(), *method.teacher_head.parameters()]
    student = [*method.student.parameters(), *method.head.parameters()]
    assert not held & {id(p) for p in teacher}
    assert not any(p.requires_grad for p in teacher)
    assert all(torch.equal(t, s) for t, s in zip(teacher, student, strict=True))
    before = [p.clone() for p in teacher]
    optimised = optimiser(method)
    only(method.objectives(views_of(method), STEP)).loss.backward()
    assert all(p.grad is None for p in teacher)
    optimised.step()
    method.after_step(STEP)
    momentum = method.momentum(STEP)
    assert momentum == pytest.approx(0.95)  # half of the stage
    for old, now, target in zip(before, teacher, student, strict=True):
        torch.testing.assert_close(now, momentum * old + (1 - momentum) * target)


def test_erasing_a_part_sets_its_pixels_to_the_mean_colour():
    maps = torch.tensor([[[0, 1], [2, 1]]])
    out = erase_part(torch.ones(1, 3, 8, 4), maps, 1)
    expected = torch.ones(8, 4)
    expected[:, 2:] = 0
    assert torch.equal(out, expected.expand(1, 3, 8, 4))


def test_coarse_swin_maps_give_way_to_finer_ones():
    method = make("swin-mini", (64, 32))
    assert method.map_index == 1  # 2x1, 4x2 and 8x4 tokens
    features = method.encode(method.student, torch.zeros(2, 3, 64, 32), torch.ones(2))
    assert method.part_map(features).shape == (2, 96, 8, 4)
    assert make("swin-mini", (64, 32), label_tokens=8).map_index == 2
    with pytest.raises(MethodError, match="2x1 tokens"):
        make("swin-mini", (64, 32), label_tokens=2)
    views = method.views(batch(3, (64, 32)), generator())
    torch.manual_seed(0)
    out = only(method.objectives({**views, "lambda": torch.ones(3)}, STEP))
    assert float(out.parts["kept"]) > 0
    out.loss.backward()
    missing = [n for n, p in method.student.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert method.part_norm.weight.grad is not None


def test_resuming_in_the_second_stage_gives_the_same_numbers():
    straight = make(seed=1)
    expected = train(straight, 4)
    broken = make(seed=1)
    optimised = optimiser(broken, 1e-3)
    train(broken, 2, optimised=optimised)
    again = make(seed=2)
    again.load_state_dict(broken.state_dict())
    resumed = optimiser(again, 1e-3)
    resumed.load_state_dict(optimised.state_dict())
    assert train(again, 2, first=2, optimised=resumed) == expected[2:]
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "settings",
    [{}, {"head_norm": True, "centering": "sinkhorn", "koleo": 0.5, "restart": True, "controller_lr": 20.0}],
    ids=["official", "short"],
)
def test_the_loop_trains_both_stages_and_resumes_exactly(tmp_path, settings):
    images = batch(24).images.numpy()
    view = Samples(name="noise", fingerprint="noise", images=images, ids=np.array([f"n{i}" for i in range(24)]))
    shape = {"groups_per_batch": 4, "images_per_group": 2, "height": 32, "width": 16, "precision": "fp32"}
    cell = Cell(
        method="solider",
        budget="24",
        budget_images=24,
        images_seen=64,
        seed=0,
        backbone="vit-mini8",
        corpus=CorpusConfig(name="noise"),
        pretrain=PretrainConfig(**shape, log_every=1),
        method_config={},
        fingerprint="cell",
    )

    def build():
        method = make(dino_fraction=0.5, teacher_momentum=0.5, **settings)
        # Noise shows no parts; keeping every view gives every step something to learn.
        plain = method.labels
        method.labels = lambda tokens, *_: dataclasses.replace(plain(tokens), kept=torch.ones(len(tokens), dtype=bool))
        return method

    straight, broken = build(), build()
    expected = run_loop(straight, view, cell, folder=tmp_path / "a", device=torch.device("cpu"))
    for after in (3, 2):  # in either stage
        stop = iter([False] * after + [True]).__next__
        with pytest.raises(Interrupted):
            run_loop(
                build(),
                view,
                cell,
                folder=tmp_path / "b",
                device=torch.device("cpu"),
                stop=stop,
            )
    resumed = run_loop(broken, view, cell, folder=tmp_path / "b", device=torch.device("cpu"))
    assert resumed.losses.rows == expected.losses.rows
    assert all(torch.equal(broken.state_dict()[name], value) for name, value in straight.state_dict().items())
    stages = {(row[2], row[3]) for row in expected.losses.rows}
    assert ("dino", "main.dino_loss") in stages
    assert ("solider", "main.semantic_loss") in stages
    assert ("dino", "main.semantic_loss") not in stages
    assert expected.ledger.steps == 8
    # Per image: the teacher and the student on two large crops and the student on a quarter; labels and masks later.
    assert expected.ledger.encoder_pixels_backward > 64 * 2.25 * 32 * 16
    assert expected.ledger.encoder_pixels_forward > 64 * 4.25 * 32 * 16


def test_part_head_learns_labels_and_lambda_comes_to_matter():
    method = make(teacher_momentum=0.9, freeze_last_layer=0.0, head_hidden=64, head_bottleneck=32)
    labelled(method)
    views, optimised = views_of(method, lam=(1.0,) * 5), optimiser(method, 1e-3)
    step = dataclasses.replace(STEP, stage_index=0)
    log = []
    for _ in range(40):
        out = only(method.objectives(views, step))
        optimised.zero_grad()
        out.loss.backward()
        optimised.step()
        method.after_step(step)
        log.append({name: float(value) for name, value in out.parts.items()})
    assert log[0]["token_accuracy"] < 0.5
    assert log[-1]["token_accuracy"] > 0.9
    # Bounded cosines: the loss tends to ln(1 + 3 exp(-4/3)) = .583, not to 0.
    assert 0.583 < log[-1]["semantic_loss"] < 0.75 < 1.2 < log[0]["semantic_loss"]
    with torch.no_grad():
        low, high = (method.encoder.eval()(views["images"], **{"lambda": v}).pooled for v in (0.0, 1.0))
    assert (low - high).abs().max() > 1e-4


def test_figure_of_pseudo_labels():
    figures = make().figures(batch(), generator())
    assert list(figures) == ["pseudo_labels"]
    tiles = figures["pseudo_labels"].tiles
    assert tiles.dtype == torch.uint8
    assert tiles.shape == (1, 5 * 2, 3, 32, 16)


def test_collapse_is_warned_of():
    healthy = {"prototypes_in_use": 40.0, "prototypes_rows": 200.0}
    assert warnings(healthy, past_warmup=True) == []
    (text,) = warnings({**healthy, "prototypes_in_use": 3.0}, past_warmup=True)
    assert "200 views share 3 prototypes" in text


def test_errors():
    for setting in (
        {"semantic_loss": -1.0},
        {"dino_fraction": 1.0},
        {"parts": 1},
        {"lambda_share": 1.5},
        {"teacher_temp": 0.0},
        {"local_crops": -1},
        {"controller_start": "zero"},
        {"controller_lr": 0.0},
        {"koleo": -0.1},
        {"centering": "median"},
    ):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            make(**setting)
    with pytest.raises(ConfigError, match="peeple"):
        make(augmentation="peeple")
    with pytest.raises(MethodError, match="2x1 tokens"):
        make("vit-mini16")


def test_official_learning_rate():
    assert paper_lr(384) == 7.5e-4
    assert paper_lr(384, base=5e-5) == 7.5e-5
