from __future__ import annotations

import numpy as np
import pytest
import torch

from hcbench.errors import DivergedError, MethodError
from hcbench.harness.jobs.cell_folder import STATE
from hcbench.harness.jobs.outcomes import Interrupted
from hcbench.harness.planning.registry import implementation
from hcbench.harness.training.train import train
from hcbench.methods.base import Context, Objective
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder

CPU = torch.device("cpu")


@pytest.fixture
def build(registry):
    def make(name="dummy-gan", backbone="timm:test_vit", **config):
        method_card = registry.method(name)
        cls = implementation(method_card)
        torch.manual_seed(3)
        encoder = build_encoder(EncoderSpec(backbone, 32, 16), seed=0)
        made = cls(method_card.config(**config), encoder, Context(input_size=(32, 16)))
        made.__class__.card = method_card
        return made

    return make


def test_two_optimisers_and_two_stages(build, view, make_cell, tmp_path):
    method = build()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    trained = train(method, view, make_cell(), folder=tmp_path, device=CPU)
    ledger = trained.ledger
    assert ledger.images_seen == 100
    assert ledger.steps == 5 + 8
    assert ledger.optimiser_steps == 5 + 2 * 8
    assert ledger.groups == 11
    assert ledger.identities == 0, "labels that the method does not need are not counted"
    assert ledger.encoder_pixels_backward == (40 + 60) * 32 * 16, "the critic's step sends nothing back"
    assert ledger.encoder_pixels_forward >= (40 + 2 * 60) * 32 * 16
    assert ledger.flops > 0
    assert any(call.startswith("epoch 0 at 0") for call in method.calls)
    changed = {n for n, value in method.state_dict().items() if not torch.equal(value, before[n])}
    assert {"critic.0.weight", "head.0.weight", "encoder.backbone.cls_token", "queue"} <= changed
    names = set(trained.losses.names())
    assert {"encoder.loss", "encoder.size", "critic.loss", "critic.real", "critic.lr", "encoder.lr"} <= names
    assert not method.training


def test_resuming_gives_exactly_the_numbers_of_an_undisturbed_run(build, view, make_cell, tmp_path):
    undisturbed = build()
    expected = train(undisturbed, view, make_cell(), folder=tmp_path / "a", device=CPU)
    for stop_after in (1, 3, 2):  # in either stage, and in the middle of passes
        steps = iter(range(100))
        with pytest.raises(Interrupted):
            train(build(), view, make_cell(), folder=tmp_path / "b", device=CPU, stop=lambda: next(steps) >= stop_after)  # noqa: B023
        assert (tmp_path / "b" / STATE).is_file()
    resumed = build()
    torch.manual_seed(99)
    outcome = train(resumed, view, make_cell(), folder=tmp_path / "b", device=CPU)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert outcome.losses.rows == expected.losses.rows
    for name in ("steps", "optimiser_steps", "images_seen", "flops", "encoder_pixels_forward"):
        assert getattr(outcome.ledger, name) == getattr(expected.ledger, name)


def test_a_selection_smaller_than_a_batch_gives_way_to_all_images(
    build, view, make_cell, tmp_path, monkeypatch, caplog
):
    method = build("dummy-plain")
    begun, drawn = [], []
    monkeypatch.setattr(method, "start_epoch", lambda encode, step: begun.append(step.index))
    monkeypatch.setattr(method, "select", lambda indices: indices[:6])  # two groups, and a batch holds four
    views = method.views
    monkeypatch.setattr(method, "views", lambda batch, rng: drawn.append(batch.indices.tolist()) or views(batch, rng))
    train(method, view, make_cell("dummy-plain"), folder=tmp_path, device=CPU)
    assert len(begun) == len(set(begun)), "one pass begins in a step"
    assert all(len(set(batch)) == len(batch) for batch in drawn)
    assert "dummy-plain selected 6 of 32 images, too few for a batch; all are drawn" in caplog.text


def test_the_state_of_another_cell_is_not_taken(build, view, make_cell, tmp_path, caplog):
    with pytest.raises(Interrupted):
        train(build(), view, make_cell(), folder=tmp_path, device=CPU, stop=lambda: True)
    trained = train(build(), view, make_cell(fingerprint="0" * 16), folder=tmp_path, device=CPU)
    assert trained.ledger.steps == 13
    assert "another cell" in caplog.text


def test_a_loss_that_is_not_finite_stops_the_training(build, view, make_cell, tmp_path):
    with pytest.raises(DivergedError, match=r"Step 3 of 13 .* main loss is nan at learning rate"):
        train(build("dummy-diverges"), view, make_cell("dummy-diverges"), folder=tmp_path, device=CPU)


def test_a_gradient_that_is_not_finite_stops_the_training(build, view, make_cell, tmp_path, monkeypatch):
    method = build("dummy-plain")

    def objectives(views, step):
        # sqrt has an infinite slope at 0 while its value is finite
        yield Objective("main", (method.encoder(views["images"]).pooled.sum() * 0).abs().sqrt())

    monkeypatch.setattr(method, "objectives", objectives)
    with pytest.raises(DivergedError, match="gradient norm is nan"):
        train(method, view, make_cell("dummy-plain"), folder=tmp_path, device=CPU)


def test_objectives_must_name_an_optimiser_that_is_awake(build, view, make_cell, tmp_path, monkeypatch):
    for name, message in (("critik", "critik"), ("critic", "rests in this stage")):
        method = build()

        def objectives(views, step, method=method, name=name):
            yield Objective(name, method.encoder(views["images"]).pooled.mean())

        monkeypatch.setattr(method, "objectives", objectives)
        with pytest.raises(MethodError, match=message):
            train(method, view, make_cell(), folder=tmp_path / name, device=CPU)


def test_a_method_that_lacks_what_it_needs_is_told_so(build, view, make_cell, tmp_path, registry):
    import dataclasses

    method = build("dummy-plain")
    blind = dataclasses.replace(view, group=None)
    with pytest.raises(MethodError, match="needs group, which noise does not know"):
        train(method, blind, make_cell("dummy-plain"), folder=tmp_path, device=CPU)


def test_schedule_warms_up_and_ends_near_zero(build, view, make_cell, tmp_path):
    trained = train(
        build("dummy-plain"), view, make_cell("dummy-plain", 160, log_every=1, warmup=0.2, lr=0.01),
        folder=tmp_path, device=CPU,
    )  # fmt: skip
    lr = np.array([row[4] for row in trained.losses.rows if row[3] == "main.lr"])
    assert len(lr) == 20
    assert lr[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert (np.diff(lr[4:]) < 0).all()
    assert lr[-1] < 0.001


def test_a_methods_own_learning_rate_goes_first(build, view, make_cell, tmp_path):
    cell = make_cell("dummy-plain", 8, warmup=0.0, lr=0.01)
    trained = train(build("dummy-plain", lr=0.5), view, cell, folder=tmp_path, device=CPU)
    assert [row[4] for row in trained.losses.rows if row[3] == "main.lr"] == [0.5]


def test_a_control_trains_nothing(build, view, make_cell, tmp_path):
    method = build("dummy-control")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    trained = train(method, view, make_cell("dummy-control", 0), folder=tmp_path, device=CPU)
    assert trained.ledger.steps == trained.ledger.images_seen == 0
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_bf16_trains_and_keeps_weights_in_fp32(build, view, make_cell, tmp_path):
    method = build()
    trained = train(method, view, make_cell(precision="bf16"), folder=tmp_path, device=CPU)
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert np.isfinite([row[4] for row in trained.losses.rows]).all()
