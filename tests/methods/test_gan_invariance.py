"""GAN-invariance: what its stages see, paint and teach, and training through the loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gan_toys import NUMBER, SIZE, SMALL, batch, generator, make, people, run, step

from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, MethodError
from hcbench.harness.jobs.outcomes import Interrupted
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.harness.training.train import train
from hcbench.methods.gan_invariance import figures
from hcbench.methods.gan_invariance.card import CARD, Config
from hcbench.methods.gan_invariance.painting import resized


def test_code_is_stripes_of_the_grid_and_vector_is_batch_normalised():
    method = make()
    images = torch.randn(6, 3, *SIZE)
    found, features = method.identify(images), method.encoder(images)
    stripes = features.grid.mean(dim=3)  # the grid of 4 x 2 has a row per stripe
    torch.testing.assert_close(found.code.view(6, 4, -1)[:, 2], stripes[:, :, 2])
    torch.testing.assert_close(found.vector, F.batch_norm(features.pooled, None, None, training=True))
    released = make(slices="released").identify(images).code
    torch.testing.assert_close(released.view(6, -1, 4)[:, :, 2], stripes[:, :, 2])
    assert make(backbone="timm:test_resnet").identify(images).code.shape == (
        6,
        4 * make(backbone="timm:test_resnet").encoder.dim,
    )


def test_rotations_follow_the_setting():
    for rotations, last in (("paper", 315), ("released", 270)):
        method = make(rotations=rotations)
        drawn = torch.cat([method.views(batch(), generator(k))["yaw"] for k in range(6)])
        assert sorted(drawn.unique().tolist()) == list(range(45, last + 1, 45))


def test_real_images_are_not_augmented():
    views = make().views(batch(), generator(0))
    assert torch.equal(views["real"], make().views(batch(), generator(1))["real"])
    assert not torch.equal(views["real"], views["images"][:NUMBER])


def test_generated_images_are_what_the_equations_say():
    method = make().eval()
    views = method.views(batch(), generator())
    with torch.no_grad():
        torch.manual_seed(5)
        made = method._generate(views, joint=True)
        maps = [method.painter.maps(views["subjects"], yaw) for yaw in (0 * views["yaw"], views["yaw"])]
        own, turned = (method.painter.structure_encoder(one) for one in maps)
        code = method.identify(views["real"]).code
        rec, nv = method.painter.generator(own, code), method.painter.generator(turned, code)
        enlarged = F.interpolate(nv, SIZE, mode="bilinear", antialias=True)
        cyc = method.painter.generator(own, method.identify(enlarged).code)
        mix = method.painter.generator(own, made.weight * code + (1 - made.weight) * code[made.order])
    for name, image in (("rec", rec), ("nv", nv), ("cyc", cyc), ("mix", mix)):
        torch.testing.assert_close(made.images[name], image, atol=1e-5, rtol=1e-4)
    assert made.real.shape == rec.shape
    assert sorted(made.order.tolist()) == list(range(NUMBER))


def test_stage_one_teaches_the_encoder_alone():
    method = make()
    painters = {n: p.clone() for n, p in method.state_dict().items() if n.startswith("painter")}
    first = run(method, "identity")
    assert set(first) == {"encoder"}
    assert set(first["encoder"].parts) >= {"pairs", "clusters", "outliers", "eps", "largest_cluster"}
    last = run(method, "identity", 12, first=1)
    assert last["encoder"].loss < 0.7 * first["encoder"].loss
    assert all(torch.equal(method.state_dict()[n], p) for n, p in painters.items())


def test_stage_one_contrasts_two_views_of_each_cluster():
    method = make()
    method.contrast.memory.assign(torch.arange(NUMBER) // 4)
    views = method.views(batch(torch.tensor([3, 8, 20, 1])), generator())
    assert views["images"].shape == (8, 3, *SIZE)
    assert not torch.equal(views["images"][:4], views["images"][4:])
    old = method.contrast.memory.rows.clone()
    found = next(method.objectives(views, step("identity"))).loss
    method.neck.train()
    vector = method.identify(views["images"]).vector
    z = F.normalize(method.projector(vector), dim=1)
    cluster = [0, 2, 5, 0] * 2  # images 3 and 1 are of one cluster
    slow = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        log_p = torch.stack([z[i] @ z[j] / 0.1 for j in others]).log_softmax(dim=0)
        slow.append(-torch.stack([p for p, j in zip(log_p, others, strict=True) if cluster[j] == cluster[i]]).mean())
    torch.testing.assert_close(found, torch.stack(slow).mean(), rtol=1e-4, atol=1e-4)
    method.after_step(step("identity"))
    both = F.normalize(vector.detach(), dim=1)
    expected = F.normalize(0.2 * old[views["indices"]] + 0.8 * F.normalize(both[:4] + both[4:], dim=1), dim=1)
    torch.testing.assert_close(method.contrast.memory.rows[views["indices"]], expected, atol=1e-4, rtol=1e-3)


def test_stage_two_leaves_the_encoder_bit_identical():
    method = make(backbone="timm:test_resnet")  # has running statistics of its own
    before = {n: p.clone() for n, p in method.state_dict().items() if isinstance(p, torch.Tensor)}
    method.train()
    seen = run(method, "generation", 2)
    assert list(seen) == ["discriminator", "generator"]
    after = method.state_dict()
    for name, value in before.items():
        if name.startswith(("encoder", "neck", "contrast")):
            assert torch.equal(after[name], value), name
    assert any(name.endswith("running_mean") for name in before if name.startswith("encoder"))
    for part in ("painter.structure_encoder", "painter.generator", "painter.discriminator"):
        assert any(not torch.equal(after[n], v) for n, v in before.items() if n.startswith(part)), part


def test_painting_improves_in_stage_two():
    method = make(gan_lr=4e-3)
    few = batch(torch.arange(0, NUMBER, 3))
    first = run(method, "generation", made=few)["generator"].parts
    last = run(method, "generation", 12, first=1, made=few)["generator"].parts
    assert last["image_rec"] < 0.8 * first["image_rec"]
    assert set(last) == {"image_rec", "image_cyc", "code_rec", "code_cyc", "adversarial", "decodes", "critic_calls"}
    assert (last["decodes"], last["critic_calls"]) == (4, 9)


def test_stage_three_trains_all_with_one_loss():
    method = make()
    method.contrast.memory.assign(torch.arange(NUMBER) // 4)
    before = {n: p.clone() for n, p in method.named_parameters()}
    statistics, rows = method.neck.running_mean.clone(), method.contrast.memory.rows.clone()
    seen = run(method, "joint")
    assert list(seen) == ["discriminator", "generator", "encoder"]
    assert torch.equal(seen["generator"].loss, seen["encoder"].loss)
    parts = {name: float(torch.as_tensor(v)) for one in seen.values() for name, v in one.parts.items()}
    config = method.config
    total = (
        config.recon_x_w * parts["image_rec"] + config.recon_x_cyc_w * parts["image_cyc"] + parts["adversarial"]
        + config.recon_f_w * (parts["code_rec"] + parts["code_cyc"])
        + parts["l1"] + parts["l2"] + parts["l3"] + parts["ce"] + parts["ce_mix"]
    )  # fmt: skip
    assert float(seen["encoder"].loss.detach()) == pytest.approx(total, rel=1e-5)
    assert {f"{kind}_{scale}" for kind in ("real", "fake", "penalty") for scale in range(3)} <= set(parts)
    assert parts["clusters"] == 6
    assert method.pseudo_labels().tolist() == (torch.arange(NUMBER) // 4).tolist()
    for name in (
        "encoder.backbone.cls_token",
        "painter.generator.up.1.weight",
        "painter.structure_encoder.fuse.0.weight",
        "neck.weight",
    ):
        assert not torch.equal(dict(method.named_parameters())[name], before[name]), name
    assert not torch.equal(method.neck.running_mean, statistics)
    assert not torch.equal(method.contrast.memory.rows, rows)


def test_ablations():
    real_only = make(generation=False)
    assert [stage.name for stage in real_only.stages()] == ["identity"]
    assert [spec.name for spec in real_only.param_groups()] == ["encoder"]
    hidden = dataclasses.replace(batch(), joints=None)
    assert set(run(real_only, "identity", made=hidden)) == {"encoder"}
    assert real_only.figures(batch(), generator()) == {}
    plain = make(mixup=False)
    parts = run(plain, "joint")["encoder"].parts
    assert not {"ce", "ce_mix"} & set(parts)
    blind = make(structure="none")
    assert set(run(blind, "joint", made=hidden)) == {"discriminator", "generator", "encoder"}


def test_without_joints_the_first_batch_says_what_to_do():
    with pytest.raises(MethodError, match="no joints") as error:
        make().views(dataclasses.replace(batch(), joints=None), generator())
    for way in ("rendered:", "params:", "entrypoint:"):
        assert way in str(error.value)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, True),
        ({"structure": "capsule-gray"}, True),
        ({"structure": "rendered:/maps"}, False),
        ({"structure": "params:pose.npz"}, False),
        ({"structure": "entrypoint:smpl"}, False),
        ({"structure": "none"}, False),
        ({"generation": False}, False),
    ],
)
def test_joints_are_needed_where_capsules_are_drawn_around_them(settings, needed):
    config = dataclasses.asdict(Config(**settings))
    assert CARD.required(config) == ({"images", "joints"} if needed else {"images"})


def test_without_joints_no_step_is_trained(tmp_path):
    view = dataclasses.replace(samples(), joints=None)
    with pytest.raises(MethodError, match="gan-invariance needs joints, which toy does not know"):
        train(make(), view, cell(10), folder=tmp_path, device=torch.device("cpu"))
    train(make(generation=False), view, cell(10), folder=tmp_path, device=torch.device("cpu"))


def test_figures_show_every_side():
    method = make()
    method.train()
    pictures = method.figures(batch(), generator())
    assert method.training
    size = SMALL["gan_height"], SMALL["gan_width"]
    assert pictures["generated"].tiles.shape == (8, 1 + 8 + 2, 3, *size)
    assert pictures["structure"].tiles.shape == (8, 8, 3, *size)
    assert pictures["generated"].columns[:3] == ("image", "rec", "45°")
    for picture in pictures.values():
        assert picture.tiles.dtype == torch.uint8
        assert len(picture.columns) == picture.tiles.shape[1]
    shown = resized(method.views(batch(), generator())["real"], size)
    assert torch.equal(pictures["generated"].tiles[:, 0], (figures.denormalised(shown)[:8] * 255).round().byte())


def test_identity_is_never_asked_for():
    assert CARD.needs == {"images", "joints"}
    assert load_registry([]).method("gcl") is CARD


def samples():
    images, joints = people()
    ids = np.array([f"i{k}" for k in range(NUMBER)])
    return Samples(name="toy", fingerprint="toy", images=images.numpy(), ids=ids, joints=joints.numpy())


def cell(images_seen, **settings):
    options = {"groups_per_batch": 5, "images_per_group": 2, "precision": "fp32", "checkpoint_every_s": 0.0}
    return Cell(
        method="gan-invariance",
        budget=str(NUMBER),
        budget_images=NUMBER,
        images_seen=images_seen,
        seed=0,
        backbone="vit-mini8",
        corpus=CorpusConfig(),
        pretrain=PretrainConfig(height=SIZE[0], width=SIZE[1], log_every=1, **{**options, **settings}),
        method_config={},
        fingerprint="f" * 16,
    )


def test_the_loop_trains_three_stages_in_one_budget_and_resumes_exactly(tmp_path):
    """Also: source draws over the stages are the cell's images seen, and only the view's images are drawn."""
    view, device = samples(), torch.device("cpu")
    settings = {"k1": 5, "min_samples": 2, "shares": (0.3, 0.3, 0.4)}
    undisturbed = make(**settings)
    expected = train(undisturbed, view, cell(60, groups_per_batch=10), folder=tmp_path / "a", device=device)
    assert expected.ledger.images_seen == 60
    assert expected.ledger.images_stored == NUMBER
    assert expected.ledger.identities == 0
    seen = {row[3] for row in expected.losses.rows}
    assert {"encoder.l3", "discriminator.real_0", "generator.image_rec", "encoder.clusters"} <= seen
    for _ in range(3):  # after each of 1 + 1 + 2 steps but the last
        with pytest.raises(Interrupted):
            train(
                make(**settings), view, cell(60, groups_per_batch=10), folder=tmp_path / "b", device=device,
                stop=lambda: True,
            )  # fmt: skip
    resumed = make(seed=9, **settings)
    outcome = train(resumed, view, cell(60, groups_per_batch=10), folder=tmp_path / "b", device=device)
    other = resumed.state_dict()
    for name, value in undisturbed.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(other[name], value), name
    assert torch.equal(resumed.contrast.memory.centroids, undisturbed.contrast.memory.centroids)
    assert outcome.losses.rows == expected.losses.rows


def test_it_trains_without_structure_and_joints(tmp_path):
    """An even map, behind instance norms, would end in a gradient that is not finite."""
    view = dataclasses.replace(samples(), joints=None)
    trained = train(make(structure="none"), view, cell(60), folder=tmp_path, device=torch.device("cpu"))
    assert trained.ledger.images_seen == 60


def test_bf16_trains(tmp_path):
    trained = train(make(), samples(), cell(10, precision="bf16"), folder=tmp_path, device=torch.device("cpu"))
    assert np.isfinite([row[4] for row in trained.losses.rows]).all()


def test_one_image_is_no_batch():
    with pytest.raises(MethodError, match="two images"):
        run(make(), "joint", made=batch(torch.tensor([3])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotations": "all"}, "rotations"),
        ({"slices": "rows"}, "slices"),
        ({"l3_negatives": "f_nv"}, "l3_negatives"),
        ({"neighbours": "k1"}, "neighbours"),
        ({"outliers": "kept"}, "outliers"),
        ({"eps_rule": "auto"}, "eps_rule"),
        ({"gan_height": 30}, "30x8"),
        ({"shares": (0.5, 0.5, 0.0)}, "shares"),
        ({"n_res": 5}, "5 blocks"),
        ({"structure": "smpl"}, "structure"),
        ({"augmentation": "peeple"}, "peeple"),
    ],
)
def test_config_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)
