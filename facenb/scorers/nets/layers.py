"""The few layers that the packaged nets are made of, with TensorFlow's conventions.

Feature maps are (N, C, H, W), stored channels-last because TensorFlow's kernels and the CPU both
prefer it; weights arrive in TensorFlow's order and are turned once, at load.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: (before, after).

    The output has ceil(size / stride) positions; an odd total puts the extra zero at the end,
    so that before ≤ after (with stride 2 and an even size a 3-wide kernel gets (0, 1)).
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def resize(images: Tensor, size: int) -> Tensor:
    """Bilinear, with half-pixel centres, to (N, 3, size, size); averaging when it shrinks.

    tfjs resizes without half-pixel centres, which shifts a 64-pixel image by up to a pixel; the
    nets see nothing of the sort in training, so this is not reproduced.
    """
    if images.shape[2:] != (size, size):
        shrinks = images.shape[-1] > size
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=shrinks)
    return images.contiguous(memory_format=torch.channels_last)


class Conv(nn.Module):
    """A convolution with bias and activation; frozen.

    Args:
        kernel: (kh, kw, in, out) as TensorFlow stores it, or (kh, kw, channels, 1) if depthwise.
        bias: (out,) or none.
        stride: the same along both axes.
        padding: "same" or "valid", as TensorFlow means them.
        activation: none, "relu", "relu6", "hardswish" or "prelu" (then `slope` is (out,)).
        depthwise: one filter per channel.
    """

    def __init__(
        self,
        kernel: Tensor,
        bias: Tensor | None = None,
        *,
        stride: int = 1,
        padding: str = "same",
        activation: str | None = None,
        slope: Tensor | None = None,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        weight = kernel.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        self.groups = weight.shape[0] if depthwise else 1
        bias = torch.zeros(weight.shape[0]) if bias is None else bias.reshape(-1)
        self.register_buffer("weight", weight.clone(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.clone())
        self.register_buffer("slope", None if slope is None else slope.reshape(-1).clone())
        self.stride, self.padding, self.activation = stride, padding, activation

    def scale_(self, factor: Tensor) -> None:
        """Fold a factor per output channel, applied after the bias, into the weights."""
        self.weight.mul_(factor.reshape(-1, 1, 1, 1))
        self.bias.mul_(factor.reshape(-1))

    def shift_(self, offset: Tensor) -> None:
        """Fold an offset per output channel into the bias."""
        self.bias.add_(offset.reshape(-1))

    def forward(self, x: Tensor) -> Tensor:
        pad, weight = 0, self.weight
        if self.padding == "same":
            size = weight.shape[-1]
            rows = same_padding(x.shape[2], size, self.stride)
            columns = same_padding(x.shape[3], size, self.stride)
            if rows == columns and rows[1] == rows[0] + 1:
                # a zero before the kernel and as many on both sides: the same sums, and the
                # feature map, far larger than the kernel, need not be copied into a padded one
                weight, pad = F.pad(weight, (1, 0, 1, 0)), rows[1]
            elif len({*rows, *columns}) == 1:
                pad = rows[0]
            else:
                x = F.pad(x, (*columns, *rows))
        x = F.conv2d(x, weight, self.bias, self.stride, pad, groups=self.groups)
        return activate_(x, self.activation, self.slope)


def activate_(x: Tensor, activation: str | None, slope: Tensor | None = None) -> Tensor:
    """One of Conv's activations, written over x where its gradient does not need the old values."""
    if activation == "relu":
        return F.relu_(x)
    if activation == "relu6":
        return F.hardtanh_(x, 0.0, 6.0)
    if activation == "hardswish":
        return F.hardswish(x)
    return F.prelu(x, slope) if activation == "prelu" else x


class Prelu(nn.Module):
    """max(x, 0) + slope·min(x, 0), one slope per channel."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope.reshape(-1).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slope)


class Dense(nn.Module):
    """x W + b, then a rectifier if `relu`; W is (in, out) as TensorFlow stores it."""

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", weight.T.contiguous())
        self.register_buffer("bias", bias.clone())
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight, self.bias)
        return F.relu(x) if self.relu else x


class Sum(nn.Module):
    """a + b, then an activation, if it is given one as Conv's are.

    `in_place` writes into b, for when b is a fresh linear result that nothing else reads.
    """

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.activation: str | None = None
        self.register_buffer("slope", None)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = b.add_(a) if self.in_place else a + b
        return activate_(total, self.activation, self.slope)


class Product(nn.Module):
    """a · b, where sizes of 1 are stretched."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class ChannelPad(nn.Module):
    """Zero channels before and after."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.padding = (0, 0, 0, 0, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding)


class SpatialMean(nn.Module):
    """(N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Flatten(nn.Module):
    """(N, C, H, W) → (N, H·W·C), in TensorFlow's order of axes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class Rearranged(nn.Module):
    """(N, C, H, W) → (N, *shape), in TensorFlow's order of axes."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(len(x), *self.shape)


class Joined(nn.Module):
    """Tensors (N, A, …), (N, B, …), … → (N, A + B + …, …)."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


class Enlarged(nn.Module):
    """Bilinear, with half-pixel centres, to (N, C, *size)."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)


class TransposedConv(nn.Module):
    """Each pixel becomes a patch: a transposed convolution whose stride is its kernel's side.

    `kernel` is (out, h, w, in), as TensorFlow stores it; `bias` is (out,).
    """

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", kernel.permute(3, 0, 1, 2).contiguous())
        self.register_buffer("bias", bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, stride=self.weight.shape[-1])
