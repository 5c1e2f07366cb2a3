"""Measures of separation, correlation and preservation. Tensors in, tensors or numbers out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facenb.errors import check_finite


def pearson(scores: Tensor, other: Tensor | None = None) -> Tensor:
    """Pearson correlation of every column of `scores` (N, A) with every column of `other` (N, B).

    (A, B), or (A, A) when `other` is left out. A constant column has no correlation: NaN.
    """
    other = scores if other is None else other
    if scores.ndim != 2 or other.ndim != 2 or len(scores) != len(other) or len(scores) < 2:
        raise ValueError(
            f"pearson: expected (N, A) and (N, B) with N ≥ 2, "
            f"given {tuple(scores.shape)} and {tuple(other.shape)}."
        )
    left, right = (_standard(columns.double()) for columns in (scores, other))
    return left.T @ right / len(scores)


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Probability that a positive scores above a negative (ties count half): the ROC's area.

    Args:
        scores: (N,).
        positive: (N,) booleans; ValueError unless both classes are there.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(
            f"area_under_curve: expected both classes, given {n_positive} positive and "
            f"{n_negative} negative."
        )
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    rank = (last - (counts - 1) / 2)[inverse]  # mean rank of each tie
    wins = rank[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * n_negative))


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] = lambda sample: sample.mean(dim=0),
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Statistic of `values` (N, …) over its rows, with a percentile bootstrap interval.

    Returns:
        estimate, low end, high end of the interval at `level`, each of the statistic's shape.
    """
    check_finite(values, "bootstrap")
    random = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(values), (draws, len(values)), generator=random)
    spread = torch.stack([statistic(values[row]) for row in rows]).double()
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = spread.quantile(tails, dim=0)
    return statistic(values), low, high


def _standard(columns: Tensor) -> Tensor:
    centred = columns - columns.mean(dim=0)
    return centred / centred.pow(2).mean(dim=0).sqrt()
