"""PGGAN (Karras et al., 2018): progressive growing's generator, fully grown, as a frozen generator.

z (N, d) → 4 × 4 → 8 × 8 → … → R × R, two convolutions a resolution. Every layer first divides its
input by √(mean over channels of x² + 1e-8), pixel by pixel (the paper's section 4.2), and
multiplies its weights by gain/√fan-in (section 4.1), which is folded into them here.

State dictionary, with n = log2(R) − 1 resolutions, i = 0 … 2n − 1 and all constants folded in:

    convs.0.weight      (d, C_0, 4, 4)         a transposed convolution of one pixel
    convs.{i}.weight    (out, in, 3, 3), or (in, out, 4, 4) where it doubles the side (even i > 0)
    convs.{i}.bias      (out,)
    rgb.weight, rgb.bias  (3, C, 1, 1), (3,)
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.generators.base import Generator
from facenb.latents import Latents

_SLOPE, _EPSILON = 0.2, 1e-8


class PGGAN(Generator):
    """z (N, d) → images (N, 3, R, R), bounded to [−1, 1].

    Args:
        channels: width at 4 × 4, 8 × 8, …; how many there are decides the resolution.
        latent_dim: d.
        name, fingerprint: as of every `Generator`.

    Load the weights with `load_state_dict`; they are frozen from the start.
    """

    spaces = ("z",)

    def __init__(
        self, channels: tuple[int, ...], latent_dim: int, name: str, fingerprint: str
    ) -> None:
        super().__init__()
        self.name, self.fingerprint, self.latent_dim = name, fingerprint, latent_dim
        self.resolution = 4 << (len(channels) - 1)
        self.convs = nn.ModuleList(
            [
                nn.ConvTranspose2d(latent_dim, channels[0], 4),
                nn.Conv2d(channels[0], channels[0], 3, padding=1),
            ]
        )
        for n_in, n_out in itertools.pairwise(channels):
            self.convs.append(nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1))
            self.convs.append(nn.Conv2d(n_out, n_out, 3, padding=1))
        self.rgb = nn.Conv2d(channels[-1], 3, 1)
        self.freeze()

    def layers(self) -> dict[str, nn.Module]:
        """first, conv4, up8, conv8, …, rgb."""
        names = ["first", "conv4"]
        for r in range(1, len(self.convs) // 2):
            names += [f"up{4 << r}", f"conv{4 << r}"]
        return {**dict(zip(names, self.convs, strict=True)), "rgb": self.rgb}

    def _synthesize(self, latents: Latents) -> Tensor:
        x = latents.values.to(self.rgb.weight.dtype)[:, :, None, None]
        for layer in self.convs:
            x = F.leaky_relu_(layer(_unit(x)), _SLOPE)
        return self.rgb(_unit(x)).to(latents.values.dtype).clamp(-1, 1)


def _unit(x: Tensor) -> Tensor:
    """Every pixel's feature vector at root mean square 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + _EPSILON)


def doubling_kernel(weight: Tensor) -> Tensor:
    """The transposed convolution that equals nearest-neighbour doubling, then this convolution.

    weight (out, in, 3, 3) → (in, out, 4, 4) for stride 2, padding 1. Of a doubled row …, a, a, b,
    b, …, taps w₀ w₁ w₂ see each input pixel once or twice: an output left in its pair gets
    w₀·before + (w₁ + w₂)·here, one right in its pair (w₀ + w₁)·here + w₂·after. Four times fewer
    pixels go through the convolution, 16/36 of the products, and no doubled map is made.
    """
    padded = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
    summed = padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1]
    return (summed + padded[..., :-1, :-1]).transpose(0, 1)
