"""MobileStyleGAN's networks (Belousov, 2021, arXiv:2104.04767), frozen, pure torch.

The mapping network is StyleGAN2's; the synthesis network was distilled from StyleGAN2's. It works
on wavelet bands: an `Up` turns a quarter of the channels into one map of twice the side by the
inverse Haar transform, and convolutions are separable, a depthwise and a pointwise one.

State dictionary, r = 1 … 7 the blocks of 8 to 512 pixels, convs.0 of 4 pixels, then two a block:

    mapping.{i}.weight, .bias            (512, 512), (512,)            i = 0 … 7
    w_avg                                (512,)            mean of w, for truncation
    constant                             (1, 512, 4, 4)
    convs.{i}.style.weight, .bias        (in, 512), (in,)              i = 0 … 14
    convs.{i}.depthwise                  (in, 1, 3, 3)                 not of convs.0
    convs.{i}.weight                     (out, in, 1, 1), convs.0: (out, in, 3, 3)
    convs.{i}.bias, .noise               (out,), (S, S)
    ups.{r − 1}.style.weight, .bias      (in, 512), (in,)
    rgb.style.weight, .bias              (64, 512), (64,)
    rgb.weight, .bias                    (12, 64, 1, 1), (12,)

Conventions:
- s = A w + b, one style for each of 23 layers, no demodulation at run time (it is in the weights).
- `Up`: x·s; then channels C/4 hold LL and channel C/4 + 3c + j the band j of (LH, HL, HH) of map c.
- convolutions: x·s/√(9·in), depthwise 3 × 3, pointwise; + noise + bias; leaky ReLU of slope 0.2.
- `rgb`: x·s/8, pointwise to 3 LL and 3 × (LH, HL, HH), + bias, inverse Haar: the picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.2
_WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64)  # at 4, 8, …, 512 pixels


@dataclass(frozen=True)
class Layout:
    """The shape of the network, as the wrapper asks for it."""

    resolution: int = 1024
    z_dim: int = 512
    w_dim: int = 512
    w_layers: int = 23


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
        return F.leaky_relu_(x, _SLOPE)  # its backward pass takes its output


class ToRGB(nn.Module):
    """x (N, 64, 512, 512) → the four bands (N, 12, 512, 512) of the picture, float32."""

    def __init__(self, n_in: int, w_dim: int) -> None:
        super().__init__()
        self.style = Style(w_dim, n_in)
        self.scale = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(12, n_in, 1, 1))
        self.bias = nn.Parameter(torch.empty(12))

    def forward(self, x: Tensor, w: Tensor, bands: int = 12) -> Tensor:
        """The first `bands` of them: 3 are enough for the picture of half the side."""
        weight = self.weight[:bands].flatten(1) * (self.style(w) * self.scale)[:, None]
        parts = zip(x.split(1), weight.to(x.dtype), strict=True)
        y = torch.cat([F.conv2d(part, one[:, :, None, None]) for part, one in parts])
        return y.to(self.bias.dtype) + self.bias[:bands, None, None]


class MobileStyleGANNetwork(nn.Module):
    """z (N, 512) → w by `map`; w (N, 512) or w+ (N, 23, 512) → pictures by `synthesize`.

    Attributes:
        layout: its shape.
        precision: dtype of the feature maps; styles and the picture are float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layout, self.precision = Layout(), torch.float32
        w_dim = self.layout.w_dim
        self.mapping = nn.ModuleList(nn.Linear(w_dim, w_dim) for _ in range(8))
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.empty(1, _WIDTHS[0], 4, 4))
        self.convs = nn.ModuleList([Conv(_WIDTHS[0], _WIDTHS[0], 4, w_dim, separable=False)])
        self.ups = nn.ModuleList()
        for block, (n_in, n_out) in enumerate(itertools.pairwise(_WIDTHS), start=1):
            self.ups.append(Up(n_in, w_dim))
            for width in (n_in // 4, n_out):
                self.convs.append(Conv(width, n_out, 4 << block, w_dim, separable=True))
        self.rgb = ToRGB(_WIDTHS[-1], w_dim)

    def map(self, z: Tensor) -> Tensor:
        """w (N, 512) of z (N, 512), without truncation."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = F.leaky_relu_(layer(x), _SLOPE) * math.sqrt(2)
        return x

    def features(
        self, w: Tensor, side: int, noise: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """The feature maps (N, C, side, side) after the block of that side, 4 to 512."""
        return self._to(side, w, noise)[0]

    def synthesize(
        self, w: Tensor, noise: Sequence[Tensor | None] | None = None, size: int = 1024
    ) -> Tensor:
        """The picture (N, 3, size, size), float32, about [−1, 1] but not bounded.

        Args:
            w: (N, 512) or (N, 23, 512).
            noise: one (1, 1, S, S) or None for each of `convs`; the stored ones by default.
            size: 1024, or 512: the low band of the wavelet transform, which is the picture
                averaged over 2 × 2 pixels.
        """
        x, codes = self._to(512, w, noise)
        if size == 512:
            return self.rgb(x, codes[:, -1], bands=3) / 2
        return inverse_haar(self.rgb(x, codes[:, -1]))

    def freeze(self, precision: torch.dtype = torch.float32) -> MobileStyleGANNetwork:
        """Make it constant and fast: no gradients for parameters, feature maps in `precision`."""
        self.precision = precision
        for conv in self.convs:
            weight = conv.weight.detach().to(precision, memory_format=torch.channels_last)
            conv.weight = nn.Parameter(weight)
            if conv.depthwise is not None:
                conv.depthwise = nn.Parameter(conv.depthwise.detach().to(precision))
        return self.eval().requires_grad_(False)

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise of every convolution, (1, 1, S, S)."""
        return [conv.noise[None, None] for conv in self.convs]

    def noise_scales(self) -> list[float]:
        """The standard deviation that drawn noise must have, for every convolution."""
        return [float(conv.noise.std()) for conv in self.convs]

    def _to(
        self, side: int, w: Tensor, noise: Sequence[Tensor | None] | None
    ) -> tuple[Tensor, Tensor]:
        codes = w[:, None].expand(-1, self.layout.w_layers, -1) if w.ndim == 2 else w
        noise = self.stored_noise() if noise is None else noise
        x = self.constant.to(self.precision).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x.expand(len(w), -1, -1, -1), codes[:, 0], noise[0])
        for block in range(int(math.log2(side)) - 2):
            x = self.ups[block](x, codes[:, 3 * block + 1])
            for conv in (2 * block + 1, 2 * block + 2):
                x = self.convs[conv](x, codes[:, conv + block + 1], noise[conv])
        return x, codes


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
