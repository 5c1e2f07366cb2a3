"""MobileStyleGAN's layers over whole feature maps (Belousov, 2021, arXiv:2104.04767).

They define what `network` computes, on every device and with every derivative.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class Style(nn.Linear):
    """w (N, 512) → the factor of every channel (N, C). `scale` as of StyleGAN2's: 1."""

    scale = 1.0


class Up(nn.Module):
    """x (N, C, S, S) → (N, C/4, 2S, 2S): modulation and the inverse Haar transform."""

    def __init__(self, n_in: int, w_dim: int) -> None:
        super().__init__()
        self.style = Style(w_dim, n_in)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return inverse_haar(x * _over_pixels(self.style(w), x))


class Conv(nn.Module):
    """x (N, in, S, S) → (N, out, S, S): modulated separable convolution, noise, leaky ReLU."""

    def __init__(self, n_in: int, n_out: int, side: int, w_dim: int, separable: bool) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(9 * n_in)
        self.style = Style(w_dim, n_in)
        self.depthwise = nn.Parameter(torch.empty(n_in, 1, 3, 3)) if separable else None
        kernel = 1 if separable else 3
        self.weight = nn.Parameter(torch.empty(n_out, n_in, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(n_out))
        self.register_buffer("noise", torch.empty(side, side))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        x = x * _over_pixels(self.style(w) * self.scale, x)
        if self.depthwise is None:
            x = F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), padding=1)
        else:
            x = F.conv2d(x, self.depthwise.to(x.dtype), padding=1, groups=x.shape[1])
            x = F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype))
        if noise is not None:
            x.add_(noise.to(x.dtype))
        return F.leaky_relu_(x, SLOPE)  # its backward pass takes its output


class ToRGB(nn.Module):
    """x (N, 64, 512, 512) → the four bands (N, 12, 512, 512) of the image, float32."""

    def __init__(self, n_in: int, w_dim: int) -> None:
        super().__init__()
        self.style = Style(w_dim, n_in)
        self.scale = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(12, n_in, 1, 1))
        self.bias = nn.Parameter(torch.empty(12))

    def forward(self, x: Tensor, w: Tensor, bands: int = 12) -> Tensor:
        """The first `bands` of them: 3 are enough for the image of half the side."""
        weight = self.weight[:bands].flatten(1) * (self.style(w) * self.scale)[:, None]
        parts = zip(x.split(1), weight.to(x.dtype), strict=True)
        y = torch.cat([F.conv2d(part, one[:, :, None, None]) for part, one in parts])
        return y.to(self.bias.dtype) + self.bias[:bands, None, None]

    def pixels(self, k: int) -> tuple[Tensor, Tensor]:
        """Matrix (3k², 64) and bias (3k², 1) to the k × k pixels of an image in a pixel of x.

        k: 2, or 1 for their mean. The style is not in the matrix.
        """
        bands = torch.cat([self.weight.flatten(1), self.bias[:, None]], 1).detach()
        low = bands[:3] / 2
        weight = low if k == 1 else inverse_haar(bands.T[:, :, None, None]).flatten(1).T
        return weight[:, :-1].contiguous(), weight[:, -1:]


def inverse_haar(x: Tensor) -> Tensor:
    """(N, 4C, S, S) → (N, C, 2S, 2S): C low bands LL, then LH, HL, HH of each map."""
    maps = x.shape[1] // 4
    low, high = x[:, :maps], x[:, maps:].unflatten(1, (maps, 3))
    vertical, horizontal, diagonal = high.unbind(2)
    a, b = low + vertical, low - vertical
    p, q = horizontal + diagonal, horizontal - diagonal
    rows = torch.stack([torch.stack([a + p, a - p], -1), torch.stack([b + q, b - q], -1)], 3)
    image = rows.mul_(0.5).flatten(4, 5).flatten(2, 3)
    return image.contiguous(memory_format=torch.channels_last) if maps > 3 else image


def _over_pixels(values: Tensor, x: Tensor) -> Tensor:
    """(N, C) as (N, C, 1, 1) in the precision of x."""
    return values.to(x.dtype)[:, :, None, None]
