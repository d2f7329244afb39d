"""GAN-invariance: networks and losses of painting, against definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hcbench.methods.gan_invariance import losses
from hcbench.methods.gan_invariance.networks import Decoder, Discriminator, StructureEncoder, adain


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_networks_of_the_paper_have_its_numbers_of_parameters():
    """Section 3.1 of the description of the released code, at 256x128."""
    structure, decoder, critic = StructureEncoder(1, 16, 4), Decoder(128, 4 * 2048, 4, 512), Discriminator(32, 4)
    assert count(structure) == 380_544
    assert decoder.mlp_parameters() == 11_544_576
    assert count(decoder) - decoder.mlp_parameters() == 1_455_555
    assert [count(scale) for scale in critic.scales] == [341_857] * 3
    with torch.no_grad():
        assert structure(torch.zeros(1, 1, 256, 128)).shape == (1, 128, 64, 32)
        assert [m.shape[2:] for m in critic(torch.zeros(1, 3, 256, 128))] == [(64, 32), (32, 16), (16, 8)]


def test_decoder_paints_images_and_block_k_reads_slice_k():
    torch.manual_seed(0)
    decoder = Decoder(16, 24, 2, 8)
    structure, code = torch.randn(2, 16, 4, 2), torch.randn(2, 24)
    heard = []
    for block in decoder.blocks:
        block.scale.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0]))
    assert decoder(structure, code).shape == (2, 3, 16, 8)
    assert torch.equal(heard[0], code[:, :12])
    assert torch.equal(heard[1], code[:, 12:])


def test_adain_of_scale_one_is_instance_norm():
    x = torch.randn(3, 5, 8, 4) * 3 + 1
    ones = torch.ones(3, 5)
    torch.testing.assert_close(adain(x, ones, 0 * ones), nn.InstanceNorm2d(5)(x))
    torch.testing.assert_close(adain(x, 2 * ones, ones), 2 * nn.InstanceNorm2d(5)(x) + 1)


def test_layer_norm_is_over_channels_and_places():
    norms = [m for m in Decoder(16, 8, 1, 4).modules() if isinstance(m, nn.GroupNorm)]
    x = torch.randn(2, norms[0].num_channels, 4, 4)
    torch.testing.assert_close(norms[0](x), F.layer_norm(x, x.shape[1:]))


def test_gradient_penalty_equals_finite_differences():
    torch.manual_seed(0)
    critic = Discriminator(2, 1).double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, 3, 8, 4, dtype=torch.float64, requires_grad=True)
    found = losses.gradient_penalty(critic(x)[0], x)
    total, width = 0.0, 1e-6
    with torch.no_grad():
        for i in range(2):
            for place in range(x[0].numel()):
                moved = x[i : i + 1].repeat(2, 1, 1, 1)
                moved.view(2, -1)[0, place] += width
                moved.view(2, -1)[1, place] -= width
                high, low = critic(moved)[0].mean(dim=(1, 2, 3))
                total += float((high - low) / (2 * width)) ** 2
    assert float(found.detach()) == pytest.approx(total / 2, rel=1e-4)


def test_adversarial_losses_are_sums_over_kinds_and_scales():
    torch.manual_seed(0)
    critic = Discriminator(4, 1)
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.3)
    real, fakes = torch.randn(3, 3, 16, 8), [torch.randn(3, 3, 16, 8) for _ in range(3)]
    loss, log = losses.critic_loss(critic, real, fakes, penalty=0.01)
    expected = 0.0
    for fake in fakes:
        x = real.clone().requires_grad_()
        for on_fake, on_real in zip(critic(fake), critic(x), strict=True):
            (slope,) = torch.autograd.grad(on_real.mean(dim=(1, 2, 3)).sum(), x, retain_graph=True)
            r1 = slope.square().sum(dim=(1, 2, 3)).mean()
            expected += float((on_fake.square().mean() + (on_real - 1).square().mean() + 0.01 * r1).detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(log["real_2"]) == pytest.approx(float(critic(real)[2].mean().detach()), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in critic.parameters())
    cheat = sum(float((2 * (m - 1).square().mean()).detach()) for m in critic(fakes[0]))
    assert float(losses.adversarial(critic(fakes[0])).detach()) == pytest.approx(cheat)


def test_mixing():
    torch.manual_seed(0)
    weights = [losses.mixed_weight(0.6) for _ in range(200)]
    assert 0.5 <= min(weights) < 0.55 < 0.95 < max(weights) <= 1
    targets = losses.mixed_targets(torch.tensor([0, 2, 1]), torch.tensor([1, 2, 0]), 0.7, 4)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(targets[0], torch.tensor([0.7, 0.0, 0.3, 0.0]))
    logits = torch.randn(3, 4)
    slow = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(losses.soft_cross_entropy(logits, targets), slow)
    assert float(losses.soft_cross_entropy(logits[:0], targets[:0])) == 0


def test_one_backward_pass_serves_two_optimisers():
    a, b, unused = (torch.randn(3, requires_grad=True) for _ in range(3))
    loss = (a * b).sum().square()
    expected = torch.autograd.grad(loss, [a, b], retain_graph=True)
    gradients = torch.autograd.grad(loss, [a, b, unused], allow_unused=True)
    carried = losses.carry(loss, [b, unused], gradients[1:])
    assert torch.equal(carried.detach(), loss.detach())
    carried.backward()
    assert torch.equal(b.grad, expected[1])
    assert a.grad is None
    assert unused.grad is None
