"""The frozen convolution that the converted nets are made of, with torch's order of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Folded(nn.Module):
    """A convolution with a bias, into which what followed it was folded; frozen.

    Args:
        tensors: holds "NAME.weight", (out, in / groups, k, k), and "NAME.bias", (out,).
        name: which layer of `tensors`. One input channel per output channel means depthwise.
        padding: zeros on each of the four sides.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], name: str, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"]
        self.register_buffer("weight", weight.clone(memory_format=torch.channels_last))
        self.register_buffer("bias", tensors[f"{name}.bias"].clone())
        self.groups = weight.shape[0] if weight.shape[1] == 1 else 1
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


def channels_last(x: Tensor) -> Tensor:
    """The same (N, C, H, W) tensor in the layout in which the CPU convolves fastest."""
    return x.contiguous(memory_format=torch.channels_last)


def check_native(pixels: Tensor, size: int, what: str) -> None:
    """Raise ValueError unless `pixels` is (N, 3, size, size)."""
    if pixels.ndim != 4 or pixels.shape[1:] != (3, size, size):
        raise ValueError(
            f"{what}: expected shape (N, 3, {size}, {size}), given {tuple(pixels.shape)}."
        )
