"""What a direction does: attribute scores along it, their correlation with the path, a name.

Niu et al. (2023) traverse every direction in equal steps, score every image, and correlate each
attribute's scores with the index of the step; the mean over samples ranks directions and names
them. Scores come in as (N, K, S, A): samples, directions, steps, attributes, from
`sampling.score_paths`.

The text says Pearson's correlation; the public code computes another quantity, which is here under
another name. Correlation asks how steadily a score follows the path, however little it moves; the
code's response asks how far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facenb.editors import Editor, Editors, LinearEditor, reverse
from facenb.errors import check_finite
from facenb.metrics.statistics import resample_counts

_CONSTANT = 1e-6  # a score that varies by less than this share of its size does not vary


def path_correlations(scores: Tensor, index: Tensor | None = None) -> Tensor:
    """Pearson's r of every path's scores with the index of the step, as the paper's text has it.

    Args:
        scores: (…, S, A), S ≥ 2 steps.
        index: (S,) or (S, A), what the scores are compared with; 0 to S − 1 when left out. For a
            score that falls off on both sides of the unedited image, such as identity, give
            |step|, as the public code does.

    Returns:
        (…, A) in [−1, 1], float64. A score that does not change along a path has no correlation
        with it: 0, so that the mean over samples counts it as no response.
    """
    covariance, spread, spread_index = _moments(scores, _index(scores, index))
    return covariance / (spread * spread_index).where(spread > 0, torch.inf)


def path_responses(
    scores: Tensor, low: Tensor, high: Tensor, index: Tensor | None = None
) -> Tensor:
    """r·std of every path, which the public code calls correlation: cov(score, index)/std(index).

    Scores are first taken from [low, high] to [−1, 1] and clipped, so that the result is how far a
    score moves with the path, in half ranges; the standard deviations divide by S − 1.

    Args:
        scores, index: as for `path_correlations`.
        low, high: (A,) the range of each attribute. The public code fixes them by hand; quantiles
            of the scores of random samples do as well.
    """
    if low.shape != scores.shape[-1:] or high.shape != low.shape or not (low < high).all():
        raise ValueError(
            f"path_responses: expected low < high of shape ({scores.shape[-1]},), given "
            f"{low.tolist()} and {high.tolist()}."
        )
    low, high = low.double(), high.double()
    scaled = ((2 * scores.double() - low - high) / (high - low)).clamp(-1, 1)
    covariance, _, spread_index = _moments(scaled, _index(scores, index))
    return covariance / spread_index * (scores.shape[-2] / (scores.shape[-2] - 1)) ** 0.5


def l1_normalise(matrix: Tensor) -> Tensor:
    """|matrix| (K, A) with every direction's row summing to 1: the public code's "corr_l1".

    A direction that nothing responds to gets zeros (the code divides 0 by 0).
    """
    sizes = matrix.abs()
    total = sizes.sum(dim=-1, keepdim=True)
    return sizes / torch.where(total > 0, total, 1)


def entanglement(matrix: Tensor) -> Tensor:
    """How much else a direction moves, (K,): 1 − max|m| / Σ|m| over its row of (K, A).

    0 when one attribute alone responds, 1 − 1/A when all respond alike, NaN when none does. It is
    what the best attribute leaves of the row in the public code's L1-normalised table.
    """
    best = l1_normalise(matrix).amax(dim=-1)
    return (1 - best).where(best > 0, torch.nan)


def best_directions(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """For every attribute the direction (A,) with the largest |entry| of (K, A), and the entry."""
    best = matrix.abs().argmax(dim=0)
    return best, matrix.gather(0, best[None])[0]


@dataclass(frozen=True)
class Name:
    """What a direction is called, and how sure that is.

    Attributes:
        text: the attribute, with a number from the second direction of that name on; None where
            no attribute follows the direction well enough.
        attribute: the attribute of largest |strength|, good enough for a name or not.
        strength: its mean over samples, with sign: negative when the attribute falls.
        margin: |strength| minus that of the next attribute.
        confidence: share of bootstrap resamples of the samples in which the same attribute comes
            first with the same sign. It speaks of these scores, not of what an eye would say.
    """

    text: str | None
    attribute: str
    strength: float
    margin: float
    confidence: float


def name_directions(
    paths: Tensor,
    attributes: Sequence[str],
    least: float = 0.3,
    sure: float = 0.9,
    draws: int = 1000,
    seed: int = 0,
) -> list[Name]:
    """Name every direction after the attribute that follows it best.

    Args:
        paths: (N, K, A), one value for each sample, direction and attribute, from
            `path_correlations` or `path_responses`.
        attributes: A names.
        least: mean |value| that a name needs.
        sure: confidence that a name needs.
        draws, seed: of the bootstrap.

    Raises:
        ValueError: shapes that do not fit, NaN, or fewer than two samples or attributes.
    """
    if paths.ndim != 3 or paths.shape[2] != len(attributes):
        raise ValueError(
            f"name_directions: expected (N, K, {len(attributes)}) for {len(attributes)} "
            f"attributes, given {tuple(paths.shape)}."
        )
    if len(paths) < 2 or len(attributes) < 2:
        raise ValueError(
            f"name_directions: expected at least two samples and two attributes, "
            f"given {len(paths)} and {len(attributes)}."
        )
    check_finite(paths, "paths")
    mean = paths.double().mean(dim=0)
    first, second = mean.abs().topk(2, dim=1).values.unbind(dim=1)
    signed, stable = _stability(paths.double(), mean, draws, seed)
    rows = zip(signed.tolist(), first - second, stable.tolist(), strict=True)
    found = [
        (attributes[best], float(mean[k, best]), float(margin), share)
        for k, (best, margin, share) in enumerate(rows)
    ]
    texts: list[str | None] = [None] * len(found)
    taken: dict[str, int] = {}
    for k in first.argsort(descending=True, stable=True).tolist():  # the strongest has the name
        attribute, strength, _, share = found[k]
        if abs(strength) >= least and share >= sure:
            taken[attribute] = taken.get(attribute, 0) + 1
            texts[k] = attribute if taken[attribute] == 1 else f"{attribute} {taken[attribute]}"
    return [Name(text, *rest) for text, rest in zip(texts, found, strict=True)]


def rename(editors: Editors, names: Sequence[Name]) -> Editors:
    """The editors under their new names, turned so that the attribute rises with strength.

    Those without a name (`text` is None) stay as they are. What is known of each goes to the
    provenance, with its old name.
    """
    if len(names) != len(editors):
        raise ValueError(f"rename: expected {len(editors)} names, given {len(names)}.")
    found: dict[str, Editor] = {}
    record = {}
    for (old, editor), name in zip(editors.items(), names, strict=True):
        text = name.text or old
        if name.text is not None and name.strength < 0:
            editor = reverse(editor)
        found[text] = replace(editor, name=text) if isinstance(editor, LinearEditor) else editor
        record[text] = {
            "was": old,
            "attribute": name.attribute,
            "strength": round(name.strength, 4),
            "margin": round(name.margin, 4),
            "confidence": round(name.confidence, 4),
        }
    return Editors(found, {**editors.provenance, "names": record})


def _index(scores: Tensor, index: Tensor | None) -> Tensor:
    """The index as (S, A) or (S, 1), float64."""
    if scores.ndim < 2 or scores.shape[-2] < 2:
        raise ValueError(
            f"scores: expected (…, S, A) with at least two steps, given {tuple(scores.shape)}."
        )
    check_finite(scores, "scores")
    index = torch.arange(scores.shape[-2]) if index is None else index
    if index.shape not in (scores.shape[-2:-1], scores.shape[-2:]):
        raise ValueError(
            f"index: expected shape ({scores.shape[-2]},) or {tuple(scores.shape[-2:])}, "
            f"given {tuple(index.shape)}."
        )
    index = index.double().to(scores.device)
    return index[:, None] if index.ndim == 1 else index


def _moments(scores: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over the steps: covariance (…, A), standard deviations of scores (…, A) and index (A or 1).

    All divide by S. The deviation of scores that do not vary is exactly 0.
    """
    scores = scores.double()
    away, along = scores - scores.mean(dim=-2, keepdim=True), index - index.mean(dim=0)
    spread = away.pow(2).mean(dim=-2).sqrt()
    varies = spread > _CONSTANT * scores.abs().amax(dim=-2)
    return (away * along).mean(dim=-2) * varies, spread * varies, along.pow(2).mean(dim=0).sqrt()


def _stability(paths: Tensor, mean: Tensor, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Best attribute of each direction (K,), and the share of resamples that agree with it."""
    counts = resample_counts(len(paths), draws, seed)
    resampled = (counts @ paths.flatten(1).cpu() / len(paths)).unflatten(1, mean.shape)
    best = mean.abs().argmax(dim=1).cpu()
    same = resampled.abs().argmax(dim=2) == best
    strength = mean.cpu().gather(1, best[:, None])[:, 0]
    same &= resampled.gather(2, best.expand(draws, -1)[..., None])[..., 0] * strength > 0
    return best, same.double().mean(dim=0)
