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
- `rgb`: x·s/8, pointwise to 3 LL and 3 × (LH, HL, HH), + bias, inverse Haar: the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from facenb.generators.mobilestylegan.cpu import Synthesis
from facenb.generators.mobilestylegan.layers import SLOPE, Conv, ToRGB, Up, inverse_haar
from facenb.generators.mobilestylegan.stages import Blocks
from facenb.generators.mobilestylegan.strips import by_bands


@dataclass(frozen=True)
class Layout:
    """The shape of a network; the published one's by default.

    Args:
        widths: channels of the feature maps of 4, 8, … pixels, multiples of 4.
        z_dim, w_dim: sizes of the spaces.
    """

    widths: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64)
    z_dim: int = 512
    w_dim: int = 512

    @property
    def resolution(self) -> int:
        return 8 << (len(self.widths) - 1)

    @property
    def w_layers(self) -> int:
        """How many latents an image has in w+: 23 at 1024 pixels."""
        return 3 * len(self.widths) - 1


class MobileStyleGANNetwork(nn.Module):
    """z (N, 512) → w by `map`; w (N, 512) or w+ (N, 23, 512) → images by `synthesize`.

    Attributes:
        layout: its shape.
        precision: dtype of the feature maps; styles and images are float32.
    """

    def __init__(self, layout: Layout = Layout()) -> None:
        super().__init__()
        self.layout, self.precision = layout, torch.float32
        widths, w_dim = layout.widths, layout.w_dim
        sizes = [layout.z_dim] + [w_dim] * 8
        self.mapping = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.empty(1, widths[0], 4, 4))
        self.convs = nn.ModuleList([Conv(widths[0], widths[0], 4, w_dim, separable=False)])
        self.ups = nn.ModuleList()
        for block, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
            self.ups.append(Up(n_in, w_dim))
            for width in (n_in // 4, n_out):
                self.convs.append(Conv(width, n_out, 4 << block, w_dim, separable=True))
        self.rgb = ToRGB(widths[-1], w_dim)
        self.blocks: Blocks | None = None  # of a frozen network

    def map(self, z: Tensor) -> Tensor:
        """w (N, 512) of z (N, 512), without truncation."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = F.leaky_relu_(layer(x), SLOPE) * math.sqrt(2)
        return x

    def features(
        self, w: Tensor, side: int, noise: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """The feature maps (N, C, side, side) after the block of that side, 4 to 512."""
        return self._compute(w, noise, side, None)

    def synthesize(
        self, w: Tensor, noise: Sequence[Tensor | None] | None = None, size: int | None = None
    ) -> Tensor:
        """The image (N, 3, size, size), float32, about [−1, 1] but not bounded.

        Args:
            w: (N, 512) or (N, 23, 512).
            noise: one (1, 1, S, S) or None for each of `convs`; the stored ones by default.
            size: 1024, the default, or 512: the low band of the wavelet transform, which is the
                image averaged over 2 × 2 pixels.
        """
        full = self.layout.resolution
        return self._compute(w, noise, full // 2, full if size is None else size)

    def whole(
        self, codes: Tensor, noise: Sequence[Tensor | None], side: int, size: int | None
    ) -> Tensor:
        """Feature maps of `side`, or images of `size` from those, a layer at a time.

        This is the network by definition, and runs on every device and with every derivative.
        """
        x = self.constant.to(self.precision).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x.expand(len(codes), -1, -1, -1), codes[:, 0], noise[0])
        for block in range(side.bit_length() - 3):
            x = self.ups[block](x, codes[:, 3 * block + 1])
            for conv in (2 * block + 1, 2 * block + 2):
                x = self.convs[conv](x, codes[:, conv + block + 1], noise[conv])
        if size is None:
            return x
        if size == side:
            return self.rgb(x, codes[:, -1], bands=3) / 2
        return inverse_haar(self.rgb(x, codes[:, -1]))

    def block_styles(self, codes: Tensor, blocks: int) -> Iterator[Tensor]:
        """For each block what its strips take: (N, 4C) for bands, (N, O) for the second conv."""
        for i, up in enumerate(self.ups[:blocks]):
            first, second = self.convs[2 * i + 1], self.convs[2 * i + 2]
            bands = by_bands(up.style(codes[:, 3 * i + 1])).unflatten(1, (4, -1))
            style = first.style(codes[:, 3 * i + 2]) * (first.scale / 2)
            yield (bands * style[:, None]).flatten(1)
            yield second.style(codes[:, 3 * i + 3]) * second.scale

    def freeze(self, precision: torch.dtype = torch.float32) -> MobileStyleGANNetwork:
        """Make it constant and fast: no gradients for parameters, feature maps in `precision`."""
        self.precision = precision
        for conv in self.convs:
            weight = conv.weight.detach().to(precision, memory_format=torch.channels_last)
            conv.weight = nn.Parameter(weight)
            if conv.depthwise is not None:
                conv.depthwise = nn.Parameter(conv.depthwise.detach().to(precision))
        self.eval().requires_grad_(False)
        self.blocks = Blocks(self)
        return self

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise of every convolution, (1, 1, S, S)."""
        return [conv.noise[None, None] for conv in self.convs]

    def noise_scales(self) -> list[float]:
        """The standard deviation that drawn noise must have, for every convolution."""
        return [float(conv.noise.std()) for conv in self.convs]

    def _compute(
        self, w: Tensor, noise: Sequence[Tensor | None] | None, side: int, size: int | None
    ) -> Tensor:
        codes = w[:, None].expand(-1, self.layout.w_layers, -1) if w.ndim == 2 else w
        noise = self.stored_noise() if noise is None else noise
        if side == 4 or not self._in_strips(w, noise):
            return self.whole(codes, noise, side, size)
        keep = torch.is_grad_enabled() and w.requires_grad
        return Synthesis.apply(codes, self, noise, side, size, keep)

    def _in_strips(self, w: Tensor, noise: Sequence[Tensor | None]) -> bool:
        """Whether nothing is asked for that `cpu` does not do."""
        if self.blocks is None or w.device.type != "cpu" or w.dtype != self.w_avg.dtype:
            return False
        if any(n is not None and n.requires_grad for n in noise):
            return False
        if any(m._forward_hooks or m._forward_pre_hooks for m in self.modules()):
            return False
        try:
            w.data_ptr()  # a tensor inside of a transform of torch.func has none
        except RuntimeError:
            return False
        return forward_ad.unpack_dual(w).tangent is None
