"""StyleGAN2 against its published formulation in plain torch, taking turns, on the same weights.

The reference modulates the weights of every sample and convolves in groups, inserts zeros and
filters where it upsamples, and has noise, bias, leaky ReLU and gain as steps of their own: what the
published implementations do on a CPU, where their compiled kernels do not run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import seconds
from facenb.generators.stylegan2 import StyleGAN2
from facenb.generators.stylegan2_network import (
    StyledConv,
    StyleGAN2Network,
    ToRGB,
    published_layout,
)

RESOLUTION = 256
BATCHES = {1: 5, 8: 1}  # how many pictures → rounds after the warm-up


def bench_stylegan2() -> dict[str, str]:
    """The layout of FFHQ-256 with random weights: forward, and forward with backward to w+."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = StyleGAN2Network(published_layout(RESOLUTION)).requires_grad_(False)
        for conv in network.convs:
            conv.noise_strength.fill_(0.1)
    generator = StyleGAN2(network, f"StyleGAN2-{RESOLUTION}", "bench")
    half = generator.variant(precision=torch.bfloat16)
    rows: dict[str, str] = {}
    for batch, rounds in BATCHES.items():
        codes = generator.sample(batch, space="w+").values
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "reference": lambda w: reference_pictures(network, w),
            "ours": network.synthesize,
            "bfloat16": half.network.synthesize,
        }
        with torch.no_grad():
            pictures = {name: way(codes) for name, way in ways.items()}
        span = float(pictures["reference"].max() - pictures["reference"].min())
        torch.testing.assert_close(
            pictures["ours"], pictures["reference"], rtol=0, atol=1e-4 * span
        )
        error = (pictures["bfloat16"] - pictures["reference"]).square().mean()
        decibels = float(10 * (span**2 / error).log10())
        forward = seconds(*(partial(_forward, way, codes) for way in ways.values()), rounds=rounds)
        both = seconds(*(partial(_backward, way, codes) for way in ways.values()), rounds=rounds)
        what = f"StyleGAN2-{RESOLUTION}, batch {batch}"
        for label, spent in (("forward", forward), ("forward and backward to w+", both)):
            reference, ours, quick = spent
            rows[f"{what}: {label}"] = (
                f"{reference / ours:.2f} × ({ours:.2f} s, reference {reference:.2f} s); "
                f"bfloat16 {reference / quick:.2f} ×, PSNR {decibels:.0f} dB"
            )
    return rows


@torch.no_grad()
def _forward(way: Callable[[Tensor], Tensor], codes: Tensor) -> None:
    way(codes)


def _backward(way: Callable[[Tensor], Tensor], codes: Tensor) -> None:
    w = codes.clone().requires_grad_(True)
    torch.autograd.grad(way(w).square().sum(), w)


def reference_pictures(network: StyleGAN2Network, w: Tensor) -> Tensor:
    """What `network.synthesize(w)` computes, w (N, L, w) with the stored noise, step by step."""
    x, rgb = network.constant.repeat(len(w), 1, 1, 1), None
    for i, conv in enumerate(network.convs):
        x = _styled(conv, x, w[:, i])
        if i % 2 == 0:
            y = _to_rgb(network.rgbs[i // 2], x, w[:, i + 1])
            rgb = y if rgb is None else up_filter(rgb, 2, (2, 1)) + y
    return rgb


def _styled(conv: StyledConv, x: Tensor, w: Tensor) -> Tensor:
    style = _affine(conv, w)
    weight = conv.weight / math.sqrt(conv.weight[0].numel())
    weight = weight[None] * style[:, None, :, None, None]  # (N, out, in, 3, 3)
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    n, n_out, n_in = weight.shape[:3]
    x = x.reshape(1, n * n_in, *x.shape[2:])
    if conv.up:
        weight = weight.transpose(1, 2).reshape(n * n_in, n_out, 3, 3)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        x = up_filter(x.unflatten(1, (n, n_out))[0], 1, (1, 1))
    else:
        x = F.conv2d(x, weight.reshape(n * n_out, n_in, 3, 3), padding=1, groups=n)
        x = x.unflatten(1, (n, n_out))[0]
    x = x + conv.noise_strength * conv.noise
    x = x + conv.bias.view(1, -1, 1, 1)
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    weight = layer.weight / math.sqrt(x.shape[1])
    weight = weight[None] * _affine(layer, w)[:, None, :, None, None]
    n, n_in = x.shape[:2]
    x = x.reshape(1, n * n_in, *x.shape[2:])
    x = F.conv2d(x, weight.reshape(n * 3, n_in, 1, 1), groups=n)
    return x.unflatten(1, (n, 3))[0] + layer.bias.view(1, -1, 1, 1)


def _affine(layer: StyledConv | ToRGB, w: Tensor) -> Tensor:
    weight, bias = layer.style.weight, layer.style.bias
    return F.linear(w, weight / math.sqrt(weight.shape[1]), bias)


def up_filter(x: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    """Zeros after every pixel, padding on both sides, then [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
    x = F.pad(x.reshape(n, c, h * up, w * up), (*pad, *pad))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = torch.outer(taps, taps) / 16
    return F.conv2d(x, kernel.expand(c, 1, 4, 4), groups=c)


if __name__ == "__main__":
    for name, value in bench_stylegan2().items():
        print(f"{name}: {value}")
