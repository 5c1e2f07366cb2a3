"""StyleGAN (Karras et al., 2019): styles by adaptive instance normalisation, as a frozen generator.

A layer is convolution (but for the first, which has a learned constant) → noise → bias → leaky ReLU
→ instance normalisation → style: x ← (1 + s)·x + t with (s, t) = A·w + b (the paper's equation 1).

The mapping network is StyleGAN2's. State dictionary, with n = log2(R) − 1 resolutions and
i = 0 … 2n − 1; equalised learning rates are folded into the convolutions, and applied at run time,
as in StyleGAN2, to the mapping network and the styles:

    mapping.{i}.weight, .bias      (w, z) for i = 0, else (w, w); (w,)
    w_avg                          (w,)
    constant                       (1, C_0, 4, 4)
    convs.{i}.conv.weight          (out, in, 3, 3) for odd i; (in, out, 4, 4) for even i > 0, which
                                   double the side by a transposed convolution of stride 2
    convs.{i}.bias                 (out,)
    convs.{i}.noise_strength       (out,)
    convs.{i}.noise                (S, S)
    convs.{i}.style.weight, .bias  (2·out, w), (2·out,): s above t
    rgb.weight, rgb.bias           (3, C, 1, 1), (3,)

The heads of smaller resolutions serve training alone and are left out. A doubling layer ends with
the blur [1, 2, 1] ⊗ [1, 2, 1] / 16.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.generators.style_based import StyleBased
from facenb.generators.stylegan2_network import (
    MAPPING_RATE,
    Layout,
    Linear,
    StyleGAN2Network,
)

_SLOPE, _EPSILON = 0.2, 1e-8


class StyleGAN(StyleBased):
    """z (N, z) → w (N, w) → w+ (N, 2n, w) → images (N, 3, R, R), bounded to [−1, 1].

    The 2n layers of w+ are const4, conv4, up8, conv8, …. Settings are those of `StyleBased`. A
    style weight (2·out, w) holds the scales above the shifts, as in SeFa's published code.

    Args:
        network: with its weights loaded; it is frozen and belongs to this generator from now on.
        name, fingerprint: as of every `Generator`.
    """

    def __init__(self, network: StyleGANNetwork, name: str, fingerprint: str) -> None:
        sides = [4 << r for r in range(len(network.layout.channels))]
        names = [f"{kind}{side}" for side in sides for kind in ("up", "conv")]
        super().__init__(network, ("const4", *names[1:]), name, fingerprint)

    def layers(self) -> dict[str, nn.Module]:
        """map1, map2, …, const4, conv4, up8, conv8, …, rgb."""
        named = {f"map{i + 1}": layer for i, layer in enumerate(self.network.mapping)}
        convs = dict(zip(self.w_names, self.network.convs, strict=True))
        return {**named, **convs, "rgb": self.network.rgb}


class StyleGANNetwork(nn.Module):
    """z (N, z) → w (N, w) by `map`; w (N, w) or w+ (N, 2n, w) → (N, 3, R, R) by `synthesize`.

    Attributes:
        layout: its shape; `clamp` is not used.
        precision: dtype of the convolutions; the rest is float32.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout, self.precision = layout, torch.float32
        widths, w_dim = layout.channels, layout.w_dim
        sizes = [layout.z_dim] + [w_dim] * layout.mapping_layers
        self.mapping = nn.ModuleList(
            Linear(n_in, n_out, rate=MAPPING_RATE) for n_in, n_out in itertools.pairwise(sizes)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.ones(1, widths[0], 4, 4))
        first = nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False)
        self.convs = nn.ModuleList(
            [StyledLayer(None, widths[0], 4, w_dim), StyledLayer(first, widths[0], 4, w_dim)]
        )
        for r, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
            up = nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False)
            conv = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
            self.convs.append(StyledLayer(up, n_out, 4 << r, w_dim))
            self.convs.append(StyledLayer(conv, n_out, 4 << r, w_dim))
        self.rgb = nn.Conv2d(widths[-1], 3, 1)

    map = StyleGAN2Network.map

    def synthesize(self, w: Tensor, noise: Sequence[Tensor | None] | None = None) -> Tensor:
        """The image (N, 3, R, R), about [−1, 1] but not bounded.

        Args:
            w: (N, w) or (N, 2n, w).
            noise: one (N or 1, 1, S, S) or None for each of `convs`; the stored ones by default.
        """
        if w.ndim == 2:
            w = w[:, None].expand(-1, self.layout.w_layers, -1)
        if noise is None:
            noise = self.stored_noise()
        x = self.constant.expand(len(w), -1, -1, -1)
        for i, conv in enumerate(self.convs):
            x = conv(x, w[:, i], noise[i])
        return self.rgb(x)

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise of every layer, (1, 1, S, S)."""
        return [conv.noise[None, None] for conv in self.convs]

    def noise_scales(self) -> list[float]:
        """The standard deviation that drawn noise must have, for every layer."""
        return [1.0] * len(self.convs)

    def freeze(self, precision: torch.dtype = torch.float32) -> StyleGANNetwork:
        """No gradients for parameters; convolutions in `precision`."""
        self.precision = precision
        for conv in self.convs[1:]:
            conv.conv.to(precision)
        return self.eval().requires_grad_(False)


class StyledLayer(nn.Module):
    """x (N, in, S, S), w (N, w) → (N, out, S', S'), where S' is 2·S if the convolution doubles."""

    def __init__(self, conv: nn.Module | None, width: int, side: int, w_dim: int) -> None:
        super().__init__()
        self.conv = conv
        self.bias = nn.Parameter(torch.zeros(width))
        self.noise_strength = nn.Parameter(torch.zeros(width))
        self.register_buffer("noise", torch.randn(side, side))
        self.style = Linear(w_dim, 2 * width)
        doubles = isinstance(conv, nn.ConvTranspose2d)
        self.register_buffer("blur", _blur_kernel(width) if doubles else None, persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """`noise`: (N or 1, 1, S', S'), or None for none."""
        if self.conv is not None:
            x = self.conv(x.to(self.conv.weight.dtype))
            if self.blur is not None:
                x = F.conv2d(x, self.blur.to(x.dtype), padding=1, groups=x.shape[1])
            x = x.to(w.dtype)
        shift = _over_pixels(self.bias[None])
        if noise is not None:
            shift = shift + _over_pixels(self.noise_strength[None]) * noise
        x = F.instance_norm(F.leaky_relu_(x + shift, _SLOPE), eps=_EPSILON)
        scale, shift = self.style(w).chunk(2, dim=1)
        return torch.addcmul(_over_pixels(shift), x, _over_pixels(1 + scale))


def _blur_kernel(channels: int) -> Tensor:
    taps = torch.tensor([0.25, 0.5, 0.25])
    return torch.outer(taps, taps).expand(channels, 1, 3, 3).contiguous()


def _over_pixels(values: Tensor) -> Tensor:
    return values[:, :, None, None]
