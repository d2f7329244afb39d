"""Convolutions whose gradient is right on narrow maps in bf16, too.

On a CPU in bf16 the weight gradient of oneDNN's strided convolutions (seen with torch 2.15 and oneDNN 3.13, with AMX
and with AVX-512 alone) is wrong where a column of the kernel meets nothing but padding, as with kernel 3, stride 2 and
padding 1 on a map that is one pixel wide: such columns are not set to 0 but keep what stood in memory. float32 is
right, and so are GPUs. Padding by hand is right as well, and takes 1.1 to 1.3 times as long as float32 on such maps.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hcbench.errors import MethodError


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, in float32 on maps on which its weight gradient is not to be trusted in bf16."""

    def forward(self, input: Tensor) -> Tensor:
        """As in the original, dtype included."""
        if not _in_bf16(input, self.weight) or not has_blind_taps(self, input):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.float()
            output: Tensor = self._conv_forward(input.float(), self.weight.float(), bias)
        return output.to(torch.bfloat16)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, likewise: its weight gradient is that of a convolution from its output to its input.

    Its weights are float32; autocast alone makes it compute in bf16.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As in the original, dtype included."""
        if not _in_bf16(input, self.weight) or not has_blind_taps(self, input):
            return super().forward(input, output_size)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float(), output_size).to(torch.bfloat16)


def guard_narrow_maps(network: nn.Module) -> nn.Module:
    """Give the convolutions of a network from elsewhere the classes above; weights, names and outputs stay.

    A convolution of a class of its own (weight standardisation and the like) refuses such maps in bf16: a MethodError
    says why, when it meets one.
    """
    for name, module in network.named_modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv2d
        elif type(module) is nn.ConvTranspose2d:
            module.__class__ = ConvTranspose2d
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not isinstance(module, Conv2d | ConvTranspose2d):
            module.register_forward_pre_hook(functools.partial(_refuse, name))
    return network


def has_blind_taps(layer: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor) -> bool:
    """Whether a row or column of the kernel meets padding alone, on an input (..., h, w) of the layer."""
    return any(blind_taps(*axis) for axis in _axes(layer, maps))


def _axes(layer: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor) -> Iterator[tuple[int, int, int, int, int]]:
    """Arguments of `blind_taps` for height and width."""
    for axis in (0, 1):
        size, kernel, stride = maps.shape[axis - 2], layer.kernel_size[axis], layer.stride[axis]
        dilation, reach = layer.dilation[axis], layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        if layer.padding == "valid":
            padding = 0
        elif layer.padding == "same":
            padding = reach // 2
        else:
            padding = int(layer.padding[axis])
        if isinstance(layer, nn.ConvTranspose2d):
            size = (size - 1) * stride - 2 * padding + reach + layer.output_padding[axis] + 1
        yield size, kernel, stride, padding, dilation


@functools.lru_cache(maxsize=4096)
def blind_taps(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether a tap of a strided kernel meets padding alone along one axis of `size`, wherever the kernel stands.

    Without a stride that is common (a dilated kernel that is wider than the map), and was never seen to be wrong.

    >>> blind_taps(1, 3, 2, 1, 1), blind_taps(4, 3, 2, 1, 1), blind_taps(1, 3, 1, 1, 1)
    (True, False, False)
    """
    if stride == 1 or not padding:
        return False
    places = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return any(
        all(not 0 <= place * stride - padding + tap * dilation < size for place in range(places))
        for tap in range(kernel)
    )  # fmt: skip


def _in_bf16(input: Tensor, weight: Tensor) -> bool:
    """Whether a layer computes in bf16 on a CPU."""
    if input.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") is torch.bfloat16
    return weight.dtype is torch.bfloat16


def _refuse(name: str, layer: nn.Conv2d | nn.ConvTranspose2d, inputs: tuple[Any, ...]) -> None:
    if _in_bf16(inputs[0], layer.weight) and has_blind_taps(layer, inputs[0]):
        raise MethodError(
            f"{name} ({type(layer).__name__}) meets a map of {inputs[0].shape[-2]}x{inputs[0].shape[-1]}, on which "
            "bf16 gradients of strided convolutions are wrong on a CPU.",
            "Train with pretrain.precision=fp32, or on larger images.",
        )
