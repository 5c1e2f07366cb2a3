"""StyleGAN2's synthesis and mapping networks (Karras et al., 2020), skip architecture, pure torch.

Trainable, and nothing is compiled. `stylegan2.StyleGAN2` wraps one, frozen, as a `Generator`.

State dictionary, with n = len(layout.channels) resolutions 4·2^r and L = 2n layers of w+:

    mapping.{i}.weight             (w, z) for i = 0, else (w, w)    i = 0 … mapping_layers − 1
    mapping.{i}.bias               (w,)
    w_avg                          (w,)            running mean of w, for truncation
    constant                       (1, C_0, 4, 4)
    convs.{i}.weight               (out, in, 3, 3)                  i = 0 … 2n − 2
    convs.{i}.bias                 (out,)
    convs.{i}.noise_strength       ()
    convs.{i}.noise                (S, S)          stored noise, S the layer's side
    convs.{i}.style.weight         (in, w)
    convs.{i}.style.bias           (in,)           starts at 1
    rgbs.{r}.weight                (3, C_r, 1, 1)                   r = 0 … n − 1
    rgbs.{r}.bias                  (3,)
    rgbs.{r}.style.weight          (C_r, w)
    rgbs.{r}.style.bias            (C_r,)

convs.0 works at 4 × 4; convs.{2r − 1} doubles the side to 4·2^r (C_{r−1} → C_r), convs.{2r} stays
there. Layer i of w+ drives convs.{i}, and layer 2r + 1 drives rgbs.{r}: odd layers drive two, the
last one rgbs.{n − 1} alone.

Conventions, all those of the published networks:
- Weights are stored as trained, with unit variance at the start, and multiplied at run time by
  1/√fan-in (equalised learning rate); in the mapping network, weight and bias by 0.01 besides, so
  that stored mapping weights start with standard deviation 100.
- z is divided by √(mean z² + 1e-8). Leaky ReLU has slope 0.2 and gain √2.
- A convolution is a correlation, as torch's. A doubling one is torch's conv_transpose2d of stride 2
  with the weight as stored (in and out exchanged, not flipped), then the 4 × 4 blur
  [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16 with padding 1.
- Demodulation by 1/√(Σ (scale·s·weight)² + 1e-8), not in ToRGB.
- noise_strength·noise is added before the bias, one number a pixel for all channels.
- The image of a resolution is added to the one before, doubled with the same kernel.
- `clamp`, 256 in networks trained by stylegan2-ada-pytorch, bounds every layer's output.

A grouped convolution for every sample, as in the published code, is not needed: a convolution is
linear, so that scaling its weights along `in` is scaling its input, and along `out` its output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAPPING_RATE = 0.01
_SLOPE, _GAIN, _EPSILON = 0.2, math.sqrt(2), 1e-8
_LARGE = 64  # sides from which a product with three columns is slower than a convolution, on CPUs


@dataclass(frozen=True)
class Layout:
    """The shape of a network.

    Args:
        channels: width of the feature maps at 4 × 4, 8 × 8, …; how many there are decides the
            resolution.
        z_dim, w_dim: sizes of the spaces.
        mapping_layers: depth of the mapping network.
        clamp: bound on the outputs of layers; None for none.
    """

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    clamp: float | None = None

    @property
    def resolution(self) -> int:
        return 4 << (len(self.channels) - 1)

    @property
    def w_layers(self) -> int:
        """L: how many latents an image has in w+."""
        return 2 * len(self.channels)


def published_layout(resolution: int) -> Layout:
    """The layout of the published FFHQ networks of that resolution (config F)."""
    sides = [4 << r for r in range(resolution.bit_length() - 2)]
    return Layout(tuple(min(512, 32768 // side) for side in sides))


class Linear(nn.Module):
    """x (N, in) → (N, out) with an equalised learning rate, times `rate`."""

    def __init__(self, n_in: int, n_out: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / rate)
        self.bias = nn.Parameter(torch.full((n_out,), bias))
        self.scale, self.rate = rate / math.sqrt(n_in), rate

    def forward(self, x: Tensor) -> Tensor:
        # the small factor goes on x (N, in), not on the weight (out, in)
        return F.linear(x * self.scale, self.weight, self.bias * self.rate)


class StyledConv(nn.Module):
    """x (N, in, S, S), w (N, w) → (N, out, S', S'): modulated convolution, noise, leaky ReLU.

    S' is S, or 2·S with `up`.
    """

    def __init__(self, n_in: int, n_out: int, side: int, w_dim: int, up: bool) -> None:
        super().__init__()
        self.up, self.scale = up, 1 / math.sqrt(9 * n_in)
        self.style = Linear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(side, side))
        self.register_buffer("energy", None, persistent=False)  # of a frozen layer
        self.register_buffer("blur", blur_kernel(n_out) if up else None, persistent=False)

    def freeze(self, precision: torch.dtype) -> None:
        """Keep what depends on the weight alone, and the weight as the convolution takes it."""
        self.energy = self._energy().detach()
        axes = (1, 0) if self.up else (0, 1)  # as stored in memory; the indices stay
        weight = self.weight.detach().to(precision).permute(*axes, 2, 3)
        weight = weight.contiguous(memory_format=torch.channels_last).permute(*axes, 2, 3)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def _energy(self) -> Tensor:
        return self.weight.square().sum((2, 3))  # (out, in)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """`noise`: (N or 1, 1, S', S'), or None for none."""
        style = self.style(w) * self.scale
        energy = self._energy() if self.energy is None else self.energy
        demodulation = torch.rsqrt(style.square() @ energy.T + _EPSILON)  # (N, out)
        x = x * _over_pixels(style, x)
        weight = self.weight.to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = F.conv2d(x, self.blur.to(x.dtype), padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, weight, padding=1)
        # √2·lrelu(x) = lrelu(√2·x): the gain goes into factors that are small
        bias = _over_pixels(_GAIN * self.bias[None], x)
        factor = _over_pixels(_GAIN * demodulation, x)
        # new memory costs more than the arithmetic, so that steps are in place where they can be
        kept = x if not torch.is_grad_enabled() else None
        x = torch.addcmul(bias, x, factor, out=kept)
        if noise is not None:
            x.add_((_GAIN * self.noise_strength * noise).to(x.dtype))
        return F.leaky_relu_(x, _SLOPE)  # its backward pass takes its output


class ToRGB(nn.Module):
    """x (N, in, S, S), w (N, w) → (N, 3, S, S) float32: modulated, not demodulated."""

    def __init__(self, n_in: int, w_dim: int) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(n_in)
        self.style = Linear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w) * self.scale
        weight = (self.weight.flatten(1) * style[:, None]).to(x.dtype)  # (N, 3, in), one a latent
        if x.device.type == "cpu" and x.shape[2] >= _LARGE:
            parts = zip(x.split(1), weight, strict=True)
            y = torch.cat([F.conv2d(part, one[:, :, None, None]) for part, one in parts])
        else:
            pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, S·S, in), a view in channels-last
            y = torch.bmm(pixels, weight.transpose(1, 2)).unflatten(1, x.shape[2:])
            y = y.permute(0, 3, 1, 2)
        return y.to(self.bias.dtype) + self.bias[:, None, None]


class StyleGAN2Network(nn.Module):
    """z (N, z) → w (N, w) by `map`; w (N, w) or w+ (N, L, w) → (N, 3, R, R) by `synthesize`.

    Attributes:
        layout: its shape.
        precision: dtype of the feature maps; bfloat16 is faster where the processor has it, while
            styles, demodulation and the image's sum stay in float32.
    """

    def __init__(self, layout: Layout, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layout, self.precision = layout, precision
        widths, w_dim = layout.channels, layout.w_dim
        sizes = [layout.z_dim] + [w_dim] * layout.mapping_layers
        self.mapping = nn.ModuleList(
            Linear(n_in, n_out, rate=MAPPING_RATE) for n_in, n_out in itertools.pairwise(sizes)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(widths[0], widths[0], 4, w_dim, up=False)])
        for r, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
            self.convs.append(StyledConv(n_in, n_out, 4 << r, w_dim, up=True))
            self.convs.append(StyledConv(n_out, n_out, 4 << r, w_dim, up=False))
        self.rgbs = nn.ModuleList(ToRGB(width, w_dim) for width in widths)

    def map(self, z: Tensor) -> Tensor:
        """w (N, w) of z (N, z), without truncation."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + _EPSILON)
        for layer in self.mapping:
            x = F.leaky_relu_(layer(x) * _GAIN, _SLOPE)
        return x

    def synthesize(self, w: Tensor, noise: Sequence[Tensor | None] | None = None) -> Tensor:
        """The image (N, 3, R, R), float32, about [−1, 1] but not bounded.

        Args:
            w: (N, w) or (N, L, w).
            noise: one (N or 1, 1, S, S) or None for each of `convs`; the stored ones by default.
        """
        if w.ndim == 2:
            w = w[:, None].expand(-1, self.layout.w_layers, -1)
        if noise is None:
            noise = self.stored_noise()
        x = self.constant.to(self.precision).contiguous(memory_format=torch.channels_last)
        x, rgb = x.expand(len(w), -1, -1, -1), None
        for i, conv in enumerate(self.convs):
            x = self._bounded(conv(x, w[:, i], noise[i]))
            if i % 2 == 0:
                y = self._bounded(self.rgbs[i // 2](x, w[:, i + 1]))
                rgb = y if rgb is None else double(rgb) + y
        return rgb

    def freeze(self, precision: torch.dtype = torch.float32) -> StyleGAN2Network:
        """Make it constant and fast: no gradients for parameters, feature maps in `precision`.

        Only once: the weights of convolutions are rounded to `precision`.
        """
        self.precision = precision
        for conv in self.convs:
            conv.freeze(precision)
        return self.eval().requires_grad_(False)

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise of every layer, (1, 1, S, S)."""
        return [conv.noise[None, None] for conv in self.convs]

    def noise_scales(self) -> list[float]:
        """The standard deviation that drawn noise must have, for every layer."""
        return [1.0] * len(self.convs)

    def _bounded(self, x: Tensor) -> Tensor:
        clamp = self.layout.clamp
        return x if clamp is None else x.clamp(-clamp, clamp)


def blur_kernel(channels: int, gain: float = 4.0) -> Tensor:
    """[1, 3, 3, 1] ⊗ [1, 3, 3, 1], of sum `gain`, as (channels, 1, 4, 4)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return (kernel * (gain / kernel.sum())).expand(channels, 1, 4, 4).contiguous()


def double(images: Tensor) -> Tensor:
    """(N, C, S, S) → (N, C, 2·S, 2·S): zeros between the pixels, then the blur of gain 4."""
    kernel = blur_kernel(images.shape[1]).to(images)
    return F.conv_transpose2d(images, kernel, stride=2, padding=1, groups=images.shape[1])


def _over_pixels(values: Tensor, x: Tensor) -> Tensor:
    """(N, C) as (N, C, 1, 1) in the precision of x."""
    return values.to(x.dtype)[:, :, None, None]
