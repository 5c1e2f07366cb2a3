"""What the converters share: shapes that have to be right, and batch normalisation folded away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from facenb.errors import AssetError


def check_shape(tensor: Tensor, expected: Sequence[int], what: str) -> None:
    """Raise AssetError unless `tensor` has this shape."""
    if tuple(tensor.shape) != tuple(expected):
        raise AssetError(f"{what}: expected shape {tuple(expected)}, found {tuple(tensor.shape)}.")


def fold_batch_norm(
    gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """γ (x − μ) / √(σ² + ε) + β as (factor, offset) of x, in double precision."""
    factor = gamma.double() / torch.sqrt(variance.double() + epsilon)
    return factor, beta.double() - factor * mean.double()


def fold_affine(
    weight: Tensor, bias: Tensor, factor: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """The float32 weight and bias of a layer that a factor and an offset per output follow."""
    shape = (-1, *[1] * (weight.ndim - 1))
    folded = weight.double() * factor.double().reshape(shape)
    shifted = bias.double() * factor.double().reshape(-1) + offset.double().reshape(-1)
    return folded.float(), shifted.float()
