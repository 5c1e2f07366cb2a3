"""The Hessian penalty's variance in one pass over the outputs, forward and backward (Triton).

For sample n and output element i, with s_j = ends[0, j, n, i] + ends[1, j, n, i] over k draws:

    variance_i = Σ_j (s_j − s̄)² / (k − 1)
    ∂ variance_i / ∂ ends[·, j, n, i] = 2 (s_j − s̄) / (k − 1)        the same for both ends

A program takes a block of one sample's elements with all their draws, and writes one number: the
block's largest variance (and where it is) or its sum. torch reduces the few blocks that are left,
so nothing depends on the order in which programs finish. In plain torch the second differences,
their variance and the gradients of both would each be written to memory and read again.

Importing this module imports Triton; `facenb.penalties.kernels` does so only where it is used.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 2048  # numbers of one end that a program holds: draws × block


def variance_over_draws(ends: Tensor, reduction: str) -> Tensor:
    """(2, k, N, M) in float32, float16 or bfloat16 → (N,) float32, accumulated in float32.

    The same function as `facenb.penalties.kernels.variance_over_draws`, differentiable once.
    """
    return _Variance.apply(ends, reduction == "max")


class _Variance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ends: Tensor, largest: bool) -> Tensor:
        ends = ends.contiguous()
        _, draws, samples, size = ends.shape
        draws_padded, block = _shape(draws)
        blocks = triton.cdiv(size, block)
        values = ends.new_empty((samples, blocks), dtype=torch.float32)
        places = ends.new_empty((samples, blocks), dtype=torch.int32)
        with torch.cuda.device_of(ends):
            _forward[samples, blocks](
                ends, values, places, samples, size, draws, draws_padded, block, largest
            )
        if largest:
            result, best = values.max(dim=1)  # the first block of a tie, as the kernel within one
            place = places.gather(1, best[:, None]).squeeze(1)
        else:
            result, place = values.sum(dim=1) / size, places[:, 0]
        ctx.save_for_backward(ends, place)
        ctx.largest = largest
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        ends, place = ctx.saved_tensors
        _, draws, samples, size = ends.shape
        draws_padded, block = _shape(draws)
        gradient = torch.empty_like(ends)
        with torch.cuda.device_of(ends):
            _backward[samples, triton.cdiv(size, block)](
                ends,
                gradient,
                upstream.float().contiguous(),
                place.contiguous(),
                samples,
                size,
                draws,
                draws_padded,
                block,
                ctx.largest,
            )
        return gradient, None


def _shape(draws: int) -> tuple[int, int]:
    """The draws, padded to a power of two for Triton, and the elements of a block."""
    padded = triton.next_power_of_2(draws)
    return padded, max(64, TILE // padded)


@triton.jit
def _centred(
    ends, sample, element, wanted, samples, size, DRAWS: tl.constexpr, PADDED: tl.constexpr
):
    """s_j − s̄ of the wanted elements, (PADDED, block), 0 elsewhere; and the places of the ends."""
    draw = tl.arange(0, PADDED)[:, None]
    rows = (draw < DRAWS) & wanted[None, :]
    first = sample * size + element
    plus = draw * (tl.cast(samples, tl.int64) * size) + first[None, :]
    to_minus = tl.cast(samples, tl.int64) * size * DRAWS  # activations can exceed 2³¹ numbers
    # Taking the first draw away changes no variance and makes the rounding that of differences.
    total = tl.load(ends + plus, rows, 0.0).to(tl.float32)
    total -= tl.load(ends + first, wanted, 0.0).to(tl.float32)[None, :]
    minus = tl.load(ends + plus + to_minus, rows, 0.0).to(tl.float32)
    total += minus - tl.load(ends + first + to_minus, wanted, 0.0).to(tl.float32)[None, :]
    total = tl.where(rows, total, 0.0)
    mean = tl.sum(total, axis=0) / DRAWS
    return tl.where(rows, total - mean[None, :], 0.0), plus, to_minus


@triton.jit
def _forward(
    ends,
    values,
    places,
    samples,
    size,
    DRAWS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    element = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = element < size
    centred, _, _ = _centred(ends, sample, element, inside, samples, size, DRAWS, PADDED)
    variance = tl.sum(centred * centred, axis=0) / (DRAWS - 1)
    out = sample * tl.num_programs(1) + tl.program_id(1)
    if LARGEST:
        top = tl.max(tl.where(inside, variance, -1.0), axis=0)
        place = tl.min(tl.where(inside & (variance == top), element, size - 1), axis=0)
        # A maximum may skip NaN, which has to reach the caller.
        broken = tl.max((variance != variance).to(tl.int32), axis=0)
        tl.store(values + out, tl.where(broken > 0, float("nan"), top))
        tl.store(places + out, place)
    else:
        tl.store(values + out, tl.sum(variance, axis=0))
        tl.store(places + out, 0)


@triton.jit
def _backward(
    ends,
    gradient,
    upstream,
    places,
    samples,
    size,
    DRAWS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    element = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = element < size
    weight = tl.load(upstream + sample) * 2.0 / (DRAWS - 1)
    if LARGEST:  # one element a sample has a gradient: the others are not even read
        wanted = inside & (element == tl.load(places + sample))
    else:
        wanted = inside
        weight /= size
    centred, plus, to_minus = _centred(ends, sample, element, wanted, samples, size, DRAWS, PADDED)
    slope = (weight * centred).to(gradient.dtype.element_ty)
    rows = (tl.arange(0, PADDED)[:, None] < DRAWS) & inside[None, :]
    tl.store(gradient + plus, slope, rows)
    tl.store(gradient + plus + to_minus, slope, rows)
