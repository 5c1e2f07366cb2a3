"""Inner loops that have a fused GPU kernel, each beside the same thing in plain torch.

The kernels are written in Triton, which compiles them on first use and is imported only then: on
CUDA, where Triton and a C compiler (its launcher needs one) are installed. Everywhere else, and for
float64, plain torch computes the same values and gradients.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import cache

import torch
from torch import Tensor

MOST_DRAWS = 64  # a kernel's program holds every draw of its outputs in registers


def variance_over_draws(ends: Tensor, reduction: str) -> Tensor:
    """Variance over the draws of ends[0] + ends[1], then its largest or mean value in each sample.

    This is the inside of Eq. 5 of the Hessian penalty (Peebles et al., 2020), up to ε⁻⁴: the ends
    are f(x + εv_j) and f(x − εv_j). The variance is unbiased (divided by k − 1).

    Args:
        ends: (2, k, N, M): both ends of k ≥ 2 draws for N samples of M output elements.
        reduction: "max" (a tie goes to the first element, and so does its gradient) or "mean".

    Returns:
        (N,), float64 for float64 and float32 otherwise: half precision is widened before it is
        subtracted.
    """
    if use_triton(ends):
        from facenb.penalties.kernels.second_difference import variance_over_draws as fused

        return fused(ends, reduction)
    if ends.dtype in (torch.float16, torch.bfloat16):
        ends = ends.float()
    # A variance does not see a shift that all draws share, and neither does its gradient. Without
    # this one, the sums round to the scale of the outputs, and not of their small differences.
    plus, minus = ends - ends[:, :1].detach()
    return over_outputs(variance(plus + minus), reduction)


def variance(values: Tensor) -> Tensor:
    """Unbiased variance over dimension 0. torch's own takes longer over few rows than all else."""
    centred = values - values.mean(dim=0)
    return centred.square().sum(dim=0) / (len(values) - 1)


def over_outputs(values: Tensor, reduction: str) -> Tensor:
    """(N, M) → (N,): the largest ("max"; the gradient of a tie goes to the first) or the mean."""
    return values.max(dim=1).values if reduction == "max" else values.mean(dim=1)


def use_triton(values: Tensor) -> bool:
    """Whether these values, with the draws in dimension 1, go to the kernel."""
    fits = values.dtype != torch.float64 and values.shape[1] <= MOST_DRAWS
    if os.environ.get("TRITON_INTERPRET") == "1":  # Triton's interpreter runs kernels without a GPU
        return fits and _installed()
    return fits and values.is_cuda and _installed() and _compiler()


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@cache
def _compiler() -> bool:
    return bool(os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"))
