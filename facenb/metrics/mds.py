"""Manipulation disentanglement curve and score (MDC, MDS): Li et al. 2021 §4.4.1 and appendix C.

One edit of one attribute is done at S strengths, weak to strong. Each strength gives a point:

    accuracy         the share of the samples whose target attribute reached the other side
    disentanglement  1 − the mean, over those samples, of the share of other attributes that changed

The points are the curve; the area under it, from (accuracy 0, disentanglement 1) on, is the score.
Methods whose strengths mean different things can so be compared.

    found = outcomes(before, after, target, cut, larger_change(deviations))
    accuracy, disentanglement = curve(found)
    score = mds(accuracy, disentanglement)

`facenb.metrics.compare` edits, scores and resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facenb.errors import check_finite

Changed = Callable[[Tensor, Tensor], Tensor]
"""before (N, 1, A) and after (N, S, A) → booleans (N, S, A): which attributes have changed."""


def running_trapezoid(accuracy: Tensor, disentanglement: Tensor) -> Tensor:
    """The area under the curve up to each point, (…, S), from (accuracy 0, disentanglement 1) on.

    Points stay in the order of their strengths, so that area is taken back where accuracy falls.
    The starting point is not in the paper's text: with it the sum is the column "accumulated MDS"
    of its Table 3 (SGF's rows to 0.001, InterFaceGAN's to 0.002).

    Args:
        accuracy, disentanglement: (…, S), in 0..1, weak to strong.
    """
    if accuracy.ndim < 1 or accuracy.shape != disentanglement.shape or not accuracy.numel():
        raise ValueError(
            "running_trapezoid: expected accuracy and disentanglement (…, S) with S ≥ 1, "
            f"given {tuple(accuracy.shape)} and {tuple(disentanglement.shape)}."
        )
    for points, what in ((accuracy, "accuracy"), (disentanglement, "disentanglement")):
        check_finite(points, what)
        if points.min() < 0 or points.max() > 1:
            raise ValueError(f"{what}: expected values in 0..1, given {points.tolist()}.")
    start = accuracy.new_zeros(*accuracy.shape[:-1], 1)
    x = torch.cat([start, accuracy], dim=-1).double()
    y = torch.cat([start + 1, disentanglement], dim=-1).double()
    return torch.cumulative_trapezoid(y, x)


def mds(accuracy: Tensor, disentanglement: Tensor) -> float:
    """Manipulation disentanglement score: the largest value of the running sum.

    The paper calls it the area under the curve; what its Table 1 prints is the maximum (SGF on
    gender: 0.919, at a running sum that ends at 0.910).
    """
    return float(running_trapezoid(accuracy, disentanglement).max())


def harmonic_mean(accuracy: Tensor, disentanglement: Tensor) -> Tensor:
    """2ad / (a + d), elementwise; 0 where both are 0. Its peak is the strength to show images of.

    The last column of Table 3, and the green circles of Fig. 5.
    """
    total = accuracy + disentanglement
    return 2 * accuracy * disentanglement / total.where(total > 0, torch.ones_like(total))


def larger_change(thresholds: Tensor) -> Changed:
    """Changed: the score moved by more than its threshold (A,), in the score's own unit.

    The paper's definition ("if the score changes more than …"); its threshold is lost, and is for
    classifiers that answer in 0..1. Scores in degrees, years and log-odds need one each: one
    standard deviation over the generator's samples is what facenb takes, so that a change is one
    that distinguishes random faces.
    """
    if thresholds.ndim != 1 or not (thresholds > 0).all():
        raise ValueError(f"larger_change: expected thresholds (A,) above 0, given {thresholds}.")
    return lambda before, after: (after - before).abs() > thresholds


def label_change(cuts: Tensor) -> Changed:
    """Changed: the score crossed its cut (A,), so that the attribute's label is another one.

    What Yao et al. 2021 §4.3 count. A score that was close to its cut crosses it by a hair.
    """
    if cuts.ndim != 1:
        raise ValueError(f"label_change: expected cuts (A,), given shape {tuple(cuts.shape)}.")
    return lambda before, after: (after > cuts) != (before > cuts)


def towards_other_side(scores: Tensor, cut: float | Tensor) -> Tensor:
    """+1 where a score lies at or below the cut and has to rise, −1 where it has to fall; (N,).

    The paper inverts the edit for samples that already match the target, so that every sample
    counts. Times the strength: for editors whose positive strength raises the score.
    """
    return torch.where(scores > cut, -1.0, 1.0)


def outcomes(
    before: Tensor,
    after: Tensor,
    target: int,
    cut: float | Tensor,
    changed: Changed,
    denominator: int | None = None,
) -> Tensor:
    """What became of every sample at every strength: (N, S, 2), float64.

    [..., 0] is 1 where the target attribute is on the other side of its cut than before, else 0;
    [..., 1] is the share of the other attributes that changed. Rows are samples, for `bootstrap`.

    Args:
        before, after: scores (N, A) and (N, S, A), of the attributes that should count alone.
        target: column of the edited attribute.
        cut: of the target attribute, or (N,) goals, one for each sample.
        changed: `larger_change(thresholds)`, `label_change(cuts)` or any such function.
        denominator: what the number of changed attributes is divided by. The paper's formula is
            lost; None takes A − 1, the number of attributes that could have changed, so that
            disentanglement runs over all of 0..1.

    Raises:
        ValueError: shapes that do not fit, NaN, or fewer than two attributes.
    """
    _check(before, after, target)
    others = before.shape[1] - 1 if denominator is None else denominator
    if others < before.shape[1] - 1:
        raise ValueError(
            f"denominator: expected {before.shape[1] - 1} or more, the number of other attributes, "
            f"given {denominator}."
        )
    goal = torch.as_tensor(cut).expand(len(before))[:, None]
    reached = (after[..., target] > goal) != (before[:, None, target] > goal)
    differs = changed(before[:, None], after).clone()
    differs[..., target] = False
    return torch.stack([reached.double(), differs.sum(-1).double() / others], dim=-1)


def curve(
    found: Tensor, times: Tensor | None = None, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Accuracy (S,) and disentanglement (S,) of `outcomes` (N, …, S, 2).

    A strength at which no sample succeeds has accuracy 0 and, by the curve's own starting point,
    disentanglement 1: it adds no area.

    Args:
        times: (draws, N), how often each sample counts: curves (draws, …, S) of a bootstrap.
        weight: (N,), 1 for the samples that accuracy is of; all by default.
    """
    check_finite(found, "curve")
    reached, changes = found.unbind(-1)
    once = found.new_ones(1, len(found)) if times is None else times.to(found)
    weight = found.new_ones(len(found)) if weight is None else weight.to(found)
    successes = torch.tensordot(once, reached, dims=1)
    changed = torch.tensordot(once, reached * changes, dims=1)
    total = (once @ weight).clamp(min=1).view(-1, *[1] * (successes.ndim - 1))
    kept = (1 - changed / successes.clamp(min=1)).clamp(min=0)  # rounding may leave −1e-16
    both = successes / total, kept
    return both if times is not None else (both[0][0], both[1][0])


def _check(before: Tensor, after: Tensor, target: int) -> None:
    fits = before.ndim == 2 and after.ndim == 3 and after.shape[::2] == before.shape
    if not fits or before.shape[1] < 2 or not before.numel() or not after.shape[1]:
        raise ValueError(
            "expected scores before (N, A) and after (N, S, A) with A ≥ 2, "
            f"given {tuple(before.shape)} and {tuple(after.shape)}."
        )
    if not 0 <= target < before.shape[1]:
        raise ValueError(f"target: expected a column 0..{before.shape[1] - 1}, given {target}.")
    check_finite(before, "scores before the edit")
    check_finite(after, "scores after the edit")
