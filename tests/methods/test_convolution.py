"""Gradients in bf16 on a CPU against those in float32, after memory was filled with rubbish.

A kernel that leaves a part of its output unwritten gives whatever stood in memory there; so every tensor is taken from
memory that held inf, NaN or large numbers just before.
"""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from hcbench.benchmarks.pose.finetune import DeconvHead
from hcbench.benchmarks.pose.head import HeatmapHead, grid_for
from hcbench.errors import MethodError
from hcbench.harness.planning.machine import look
from hcbench.methods.gan_invariance.losses import gradient_penalty
from hcbench.methods.gan_invariance.networks import Decoder as Painter
from hcbench.methods.gan_invariance.networks import Discriminator, StructureEncoder
from hcbench.methods.genpoccl.networks import Decoder as PixelDecoder
from hcbench.methods.parts.backbones import PRESETS, EncoderSpec, build_encoder
from hcbench.methods.parts.convolution import Conv2d, ConvTranspose2d, blind_taps, guard_narrow_maps
from hcbench.methods.parts.heads import DinoHead, Projector
from hcbench.methods.parts.masking import Mask
from hcbench.methods.parts.text import TextSpec, TextTower
from hcbench.methods.parts.tokenizer import Tokenizer
from hcbench.methods.plip.networks import ColourDecoder, PhraseDecoder

needs_bf16 = pytest.mark.skipif(
    not look().bf16, reason="this processor has no bf16 of its own, and emulation was never seen to be wrong"
)
RUBBISH = (float("inf"), float("nan"), 1e6)
SIZES = (2**6, 2**8, 2**10, 2**12, 2**14, 2**16, 2**18, 2**20)
FAR = 0.35
"""Largest part of a gradient that rounding to 8 bits may change; uninitialised memory changes it by far more."""


def dirty(value):
    """Fill memory that was free with a number, and free it again."""
    blocks = [torch.full((size,), value) for size in SIZES for _ in range(8)]
    del blocks


def gradients(network, run, *, bf16, rubbish):
    """A scalar made of all outputs, and its gradient by parameter and input."""
    network.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        dirty(rubbish)
        outputs, inputs = run(network)
    loss = sum(output.float().square().mean() for output in outputs)
    dirty(rubbish)
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    named |= {f"input {number}": tensor for number, tensor in enumerate(inputs)}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return float(loss.detach()), {name: g.float() for name, g in zip(named, found, strict=True) if g is not None}


def check(network, run):
    """Forward and backward in bf16 say what they say in float32, whatever stood in memory."""
    loss, expected = gradients(network, run, bf16=False, rubbish=0.0)
    assert expected
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    for rubbish in RUBBISH:
        found_loss, found = gradients(network, run, bf16=True, rubbish=rubbish)
        assert found_loss == pytest.approx(loss, rel=0.1, abs=1e-4)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            assert torch.isfinite(gradient).all(), f"{name} after {rubbish}"
            away = (gradient - expected[name]).norm()
            # What is nothing but rounding (biases before a norm) is measured by the largest gradient.
            assert away <= FAR * expected[name].norm() + 1e-2 * scale * gradient.numel() ** 0.5, (
                f"{name} after {rubbish}"
            )


def images(batch, height, width, channels=3):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(1)).requires_grad_()


def plain(*shape):
    """A run of a network on one image tensor."""
    x = images(*shape)

    def run(network):
        y = network(x)
        return (y if isinstance(y, list | tuple) else [y]), [x]

    return run


NARROW = [(16, 64, 4, 1), (16, 64, 3, 1), (16, 4, 2, 1), (1, 16, 1, 1), (2, 16, 1, 4)]


@needs_bf16
@pytest.mark.parametrize("shape", NARROW)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 2, 2), (7, 2, 3), (3, 3, 1)])
def test_convolutions_on_narrow_maps(shape, kernel, stride, padding):
    batch, channels, height, width = shape
    check(Conv2d(channels, channels, kernel, stride, padding), plain(batch, height, width, channels))


@needs_bf16
@pytest.mark.parametrize("shape", NARROW)
@pytest.mark.parametrize(("kernel", "extra"), [(3, 0), (3, 1), (4, 0)])
def test_transposed_convolutions_on_narrow_maps(shape, kernel, extra):
    batch, channels, height, width = shape
    check(ConvTranspose2d(channels, channels, kernel, 2, 1, extra), plain(batch, height, width, channels))


@needs_bf16
def test_weights_in_bf16_are_safe_without_autocast():
    layer, x = Conv2d(16, 16, 3, 2, 1), images(4, 4, 1, 16)
    layer(x).square().mean().backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    layer.bfloat16()
    for rubbish in RUBBISH:
        dirty(rubbish)
        output = layer(x.bfloat16())
        assert output.dtype is torch.bfloat16
        (gradient,) = torch.autograd.grad(output.float().square().mean(), layer.weight)
        assert (gradient.float() - expected).abs().max() < 0.1 * expected.abs().max()


@needs_bf16
@pytest.mark.parametrize("backbone", [*PRESETS, "timm:resnet18", "timm:resnet26d"])
@pytest.mark.parametrize("size", [(128, 64), (64, 32), (48, 16)])  # whole images, local crops, the smallest
@pytest.mark.parametrize("batch", [1, 3])
def test_encoders(backbone, size, batch):
    if backbone == "swin-mini" and size == (48, 16):
        pytest.skip("its windows do not divide so small an image")
    encoder = build_encoder(EncoderSpec(backbone, *size), 0).train()
    if batch == 1:
        encoder.eval()  # batch norm takes no statistics of one image
    x = images(batch, *size)

    def run(network):
        features = network(x)
        return [features.pooled, features.grid], [x]

    check(encoder, run)


@needs_bf16
@pytest.mark.parametrize("size", [(64, 32), (32, 8), (16, 8)])
@pytest.mark.parametrize("dim", [4, 16, 32])
@pytest.mark.parametrize("batch", [2, 16])
def test_discriminator_with_its_penalty(size, dim, batch):
    """The gradient of R1 is a gradient of a gradient; the third scale of the smaller images ends at one pixel."""
    torch.manual_seed(0)
    real = images(batch, *size)

    def run(network):
        maps = network(real)
        return [*maps, *(100 * gradient_penalty(one, real)[None] for one in maps)], [real]

    check(Discriminator(dim, 1), run)


@needs_bf16
@pytest.mark.parametrize("size", [(64, 32), (32, 16), (16, 12)])
def test_structure_encoder_and_painter(size):
    torch.manual_seed(0)
    check(StructureEncoder(2, 4, 1), plain(2, *size, 2))
    code, structure = torch.randn(2, 32).requires_grad_(), images(2, size[0] // 4, size[1] // 4, 32)
    check(Painter(32, 32, 2, 16), lambda network: ([network(structure, code)], [structure, code]))


@needs_bf16
@pytest.mark.parametrize("size", [(128, 64), (16, 8), (4, 4)])
def test_decoders(size):
    torch.manual_seed(0)
    colours = ColourDecoder((16, 16, 16, 16), size, 8, dim=16, pool="avg", gate="sigmoid")
    maps = [images(2, max(1, size[0] // s), max(1, size[1] // s), 16) for s in (4, 8, 16, 32)]
    text = torch.randn(2, 8).requires_grad_()
    check(colours, lambda network: ([network(maps, text)], [*maps, text]))
    grid = (max(1, size[0] // 16), max(1, size[1] // 16))
    cells = grid[0] * grid[1]
    keep = torch.arange(max(1, cells // 2)).repeat(2, 1)
    hidden = torch.ones(2, cells, dtype=torch.bool).scatter_(1, keep, False)
    tokens = torch.randn(2, 1 + keep.shape[1], 16).requires_grad_()
    pixels = PixelDecoder(16, 1, grid, (16, 16), dim=16, depth=2, heads=2)
    check(pixels, lambda network: ([network(tokens, Mask(keep, hidden))], [tokens]))


@needs_bf16
@pytest.mark.parametrize("batch", [1, 5])
def test_text_towers(batch):
    torch.manual_seed(0)
    words = ("red", "shirt", "walking")
    tokenizer = Tokenizer.from_words(words, max_tokens=12)
    tower = TextTower(TextSpec(dim=16, layers=2, heads=2, mlp_dim=32, max_tokens=12), tokenizer).eval()
    tokens = tokenizer(["red shirt walking", "red", "walking", "red red", "shirt"][:batch])
    check(tower, lambda network: (network(tokens.ids, tokens.mask), []))
    phrases = PhraseDecoder(16, 2, 20)
    states, vector = torch.randn(batch, 6, 16).requires_grad_(), torch.randn(batch, 16).requires_grad_()
    present = torch.ones(batch, 6, dtype=torch.bool)
    present[:, 4:] = False
    check(phrases, lambda network: ([network(states, vector, present, present)], [states, vector]))


@needs_bf16
@pytest.mark.parametrize("batch", [2, 9])
def test_heads(batch):
    torch.manual_seed(0)
    x = torch.randn(batch, 16).requires_grad_()
    check(DinoHead(16, hidden=32, bottleneck=8, outputs=24), lambda network: ([network(x)], [x]))
    wide = torch.randn(8 * batch, 16).requires_grad_()
    check(Projector(16, (32, 8)), lambda network: ([network(wide)], [wide]))


@needs_bf16
@pytest.mark.parametrize("size", [(128, 64), (64, 16)])
def test_pose_heads(size):
    torch.manual_seed(0)
    grid = grid_for(size)
    light = HeatmapHead(16, 17, grid, width=8, generator=torch.Generator().manual_seed(0))
    check(light, plain(2, *grid, 16))
    deconvolutions = DeconvHead(16, 17, torch.Generator().manual_seed(0))
    for parameter in deconvolutions.parameters():
        parameter.data.mul_(50)  # its first weights are so small that rounding would be all that is seen
    check(deconvolutions, plain(4, *grid, 16))


def test_blind_taps_are_found_by_enumeration():
    """A tap that no place of the kernel puts on the map has a weight gradient of 0 in float64, and only such a tap."""
    for size in range(1, 7):
        for kernel in (1, 2, 3, 4, 5, 7):
            for stride, padding, dilation in [(2, 1, 1), (2, 2, 1), (3, 1, 1), (2, 2, 2), (2, 0, 1), (4, 3, 1)]:
                if size + 2 * padding < dilation * (kernel - 1) + 1:
                    continue
                weight = torch.ones(1, 1, kernel, dtype=torch.float64, requires_grad=True)
                x = torch.ones(1, 1, size, dtype=torch.float64)
                F.conv1d(x, weight, None, stride, padding, dilation).sum().backward()
                blind = bool((weight.grad == 0).any())
                assert blind_taps(size, kernel, stride, padding, dilation) == (blind and padding > 0)


def test_guarded_layers_are_the_layers_that_they_were():
    """Same weights, same names, same float32 numbers to the last bit, narrow maps included."""
    plain_network = timm.create_model("resnet18", num_classes=0)
    names = list(plain_network.state_dict())
    plain_network.eval()
    x = torch.randn(2, 3, 64, 16)
    expected = plain_network(x)
    guarded = guard_narrow_maps(plain_network)
    assert guarded is plain_network
    assert list(guarded.state_dict()) == names
    assert {type(layer) for layer in guarded.modules() if isinstance(layer, nn.Conv2d)} == {Conv2d}
    assert torch.equal(guarded(x), expected)


def test_outputs_keep_their_type():
    for narrow in (True, False):
        x = torch.randn(2, 8, 4, 1 if narrow else 4)
        with torch.autocast("cpu", torch.bfloat16):
            assert Conv2d(8, 8, 3, 2, 1)(x).dtype is torch.bfloat16
            assert ConvTranspose2d(8, 8, 3, 2, 1)(x).dtype is torch.bfloat16
        assert Conv2d(8, 8, 3, 2, 1)(x).dtype is torch.float32


def test_a_convolution_of_a_class_of_its_own_refuses_narrow_maps_in_bf16():
    network = guard_narrow_maps(nn.Sequential(nn.ReLU(), timm.layers.StdConv2d(4, 4, 3, 2, 1)))
    network(torch.randn(2, 4, 4, 1))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 4, 4, 4))
        with pytest.raises(MethodError, match=r"1 \(StdConv2d\) meets a map of 4x1.*wrong on a CPU"):
            network(torch.randn(2, 4, 4, 1))
