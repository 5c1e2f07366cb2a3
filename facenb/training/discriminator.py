"""StyleGAN2's discriminator (Karras et al., 2020, §4.1): residual blocks, minibatch deviation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.generators.stylegan2_network import Linear, blur_kernel

_SLOPE, _GAIN = 0.2, math.sqrt(2)
_GROUP = 4  # pictures to a group of the minibatch deviation


class Conv(nn.Module):
    """x (N, in, S, S) → (N, out, S', S') with an equalised learning rate; S' is S, or S/2 `down`.

    Args:
        activation: bias and leaky ReLU of gain √2; without it neither.
    """

    def __init__(
        self, n_in: int, n_out: int, size: int = 3, down: bool = False, activation: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, size, size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if activation else None
        self.down, self.size = down, size
        self.scale = (_GAIN if activation else 1) / math.sqrt(n_in * size * size)
        self.register_buffer("blur", blur_kernel(n_in, 1.0) if down else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.scale).to(x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else (self.bias * _GAIN).to(x.dtype)
        stride, padding = 1, self.size // 2
        if self.down:
            x = F.conv2d(x, self.blur.to(x.dtype), padding=1 + padding, groups=x.shape[1])
            stride, padding = 2, 0
        if self.size == 1:  # a stride of the 1 × 1 convolution, for a tenth of its backward time
            x, stride = x[:, :, ::stride, ::stride], 1
        x = F.conv2d(x, weight, bias, stride, padding)
        return x if bias is None else F.leaky_relu_(x, _SLOPE)


class _Block(nn.Module):
    """Halves the side; the residual sum is divided by √2, so that variance does not grow."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = Conv(n_in, n_in)
        self.down = Conv(n_in, n_out, down=True)
        self.skip = Conv(n_in, n_out, 1, down=True, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.down(self.conv(x)) + self.skip(x)) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """Pictures (N, 3, R, R) → logits (N,), high for training pictures.

    Args:
        channels: widths at 4 × 4, 8 × 8, … R × R, as in the generator's `Layout`.
        precision: dtype of the feature maps down to 4 × 4; the rest is float32.
    """

    def __init__(self, channels: Sequence[int], precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        widths = list(reversed(channels))
        self.from_rgb = Conv(3, widths[0], 1)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in itertools.pairwise(widths))
        last = widths[-1]
        self.conv = Conv(last + 1, last)
        self.hidden = Linear(last * 16, last)
        self.logit = Linear(last, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(self.precision, memory_format=torch.channels_last)
        x = self.from_rgb(x)
        for block in self.blocks:
            x = block(x)
        x = self.conv(with_deviation(x.to(images.dtype)))
        x = F.leaky_relu_(self.hidden(x.flatten(1)) * _GAIN, _SLOPE)
        return self.logit(x)[:, 0]


def with_deviation(x: Tensor) -> Tensor:
    """x (N, C, H, W) with one more channel: how much the pictures of its group differ.

    The standard deviation over a group, averaged over channels and pixels (Karras et al., 2018,
    §3). Pictures n, n + N/4, n + 2N/4, … are a group; N that 4 does not divide is one group.
    """
    n, _, h, w = x.shape
    groups = n // _GROUP if n % _GROUP == 0 else 1
    grouped = x.unflatten(0, (n // groups, groups))
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (groups,)
    return torch.cat([x, deviation.repeat(n // groups)[:, None, None, None].expand(n, 1, h, w)], 1)
