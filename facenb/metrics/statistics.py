"""Measures of separation, correlation and preservation. Tensors in, tensors or numbers out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from facenb.errors import check_finite
from facenb.seeds import seeded


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
    return float(roc_auc_score(positive.cpu().numpy(), scores.detach().cpu().numpy()))


def resample(n: int, draws: int = 1000, seed: int = 0) -> Tensor:
    """Rows (draws, n) of n samples, with replacement: the resamples of every bootstrap here.

    The same seed draws the same rows. Two methods on the same samples are so compared in pairs:
    what makes a sample hard for both cancels in their difference.
    """
    return torch.randint(n, (draws, n), generator=seeded(seed))


def resample_counts(n: int, draws: int = 1000, seed: int = 0) -> Tensor:
    """How often each sample is in each of the resamples of `resample`: (draws, n), float64.

    All that a statistic made of sums needs: counts @ values.
    """
    rows = resample(n, draws, seed)
    counts = torch.zeros(draws, n, dtype=torch.float64)
    return counts.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))


def percentile_interval(resampled: Tensor, level: float = 0.95) -> tuple[Tensor, Tensor]:
    """Low and high end (…) of the interval at `level` from a statistic's resamples (draws, …).

    Resamples in which the statistic has no value (NaN) are left out.
    """
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = resampled.double().nanquantile(tails, dim=0)
    return low, high


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
    resampled = [statistic(values[rows]) for rows in resample(len(values), draws, seed)]
    return statistic(values), *percentile_interval(torch.stack(resampled), level)


def _standard(columns: Tensor) -> Tensor:
    centred = columns - columns.mean(dim=0)
    return centred / centred.pow(2).mean(dim=0).sqrt()
