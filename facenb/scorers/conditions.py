"""Conditions: what an image is asked to be, as a vector. Li et al. 2021 §3.1, §4.2, §4.9, app. F.

A condition is any callable that takes images (N, 3, S, S) in [−1, 1] to (N, C) and has `names`, C
of them, and a `fingerprint` for cache keys. The scores of `load_scorers` are one; landmarks, a
joint condition and captions (`facenb.scorers.captions`) are others.
`sample_scored(generator, condition, n)` pairs latents with any of them.

    condition = joint(load_scorers(["smile", "glasses"], framing), Landmarks(framing))
    known = sample_scored(generator, condition, 16_000)
    observed = observe(generator, condition)(latents)            # (N, 138)
    ConditionRange().fit(known.scores, known.names).warn(targets)
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from facenb.assets import asset_sha256
from facenb.errors import check_finite, check_images
from facenb.scorers.framing import crops
from facenb.scorers.nets.human import check_square
from facenb.scorers.registry import NETS

# Standard deviations. A caption on the edge of a range is encoded to other last digits in another
# batch, and is no less inside for that.
_ROUNDING = 1e-3
_LANDMARKS_VERSION = 1  # raise when a change here or in the net's crop moves the points


class Condition(Protocol):
    """Images to vectors, with a name for each entry."""

    names: tuple[str, ...]
    fingerprint: str

    def __call__(self, images: Tensor) -> Tensor:
        """images (N, 3, S, S) in [−1, 1] → (N, C)."""
        ...


class Landmarks(nn.Module):
    """face-api's 68 points as a condition: 136 numbers, x0, y0, x1, y1, …

    In units of the image's side, 0..1 from its left and upper edge, so that a target does not
    depend on the resolution; 1/64 is a pixel of a 64-pixel image. Points 0–16 are the jaw, 17–26
    the brows, 27–35 the nose, 36–47 the eyes, 48–67 the mouth. Keypoints alone leave everything
    else free; the paper joins them with attributes to hold it (appendix F, Fig. 12).

    Args:
        framing: of the images (`generator.framing`).
    """

    names = tuple(f"{axis}{point}" for point in range(68) for axis in "xy")

    def __init__(self, framing: str = "ffhq") -> None:
        super().__init__()
        self._crop = crops(framing)["face_landmark_68"]
        entry = NETS[framing]["face_landmark_68"]
        self.net = entry.build()
        files = map(asset_sha256, entry.assets)
        self.fingerprint = _hash("landmarks", _LANDMARKS_VERSION, self._crop, *files)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 136), differentiable with respect to the images."""
        check_images(images)
        check_square(images)
        view = self._crop(images.float(), self.net.native)
        return self._crop.to_image(self.net.points(view)).flatten(1)


class Joint(nn.Module):
    """Several conditions side by side; see `joint`."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        super().__init__()
        self.conditions = list(conditions)
        modules = (condition for condition in conditions if isinstance(condition, nn.Module))
        self._modules_among_them = nn.ModuleList(modules)  # so that .to(device) reaches them
        self.names = tuple(name for condition in conditions for name in condition.names)
        self.fingerprint = _hash("joint", *(c.fingerprint for c in conditions))
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if not conditions or twice:
            given = f"given {', '.join(twice)} twice" if twice else "given none"
            raise ValueError(f"joint: expected conditions with distinct names, {given}.")

    def forward(self, images: Tensor) -> Tensor:
        """(N, C₁ + C₂ + …)."""
        return torch.cat([condition(images) for condition in self.conditions], dim=1)


def joint(*conditions: Condition) -> Joint:
    """One condition of all the entries of several, in order; ValueError when a name comes twice."""
    return Joint(conditions)


@dataclass(frozen=True)
class RangeReport:
    """How M targets lie in the distribution that a method has learned from.

    Attributes:
        beyond: (M, C), how far each entry lies above (+) or below (−) its range, in standard
            deviations of the training conditions; 0 within it.
        distance: (M,) Mahalanobis distances; `limit` is the one that the training conditions keep.
        outside: (M,) whether a target is out of an entry's range or beyond the limit.
    """

    names: tuple[str, ...]
    beyond: Tensor
    distance: Tensor
    limit: float
    outside: Tensor

    def __str__(self) -> str:
        count = int(self.outside.sum())
        text = f"{count} of {len(self.outside)} targets are outside the training conditions"
        if not count:
            return f"{text}."
        worst = self.beyond.abs().amax(0)
        order = [i for i in worst.argsort(descending=True).tolist() if worst[i] > 0][:3]
        entries = ", ".join(f"{self.names[i]} by {worst[i]:.1f} σ" for i in order)
        farthest = (
            f"the farthest at a distance of {self.distance.max():.1f} (limit {self.limit:.1f})"
        )
        return f"{text}: {f'{entries}; ' if entries else ''}{farthest}."


class ConditionRange(BaseEstimator):
    """Which targets are like the conditions that a method learned from, and which are not.

    SGF "does not cover the case where target condition is out of the training data distribution"
    (§4.9). Two questions, since a target can have ordinary entries in a combination that no sample
    has: is every entry in its range, and is the whole within a Mahalanobis distance? Either answer
    is set so that `share` of the training conditions pass it.

    Args:
        share: of the training conditions that count as inside.

    Attributes:
        low_, high_: (C,) range of each entry. All ranges cut the same share of samples off, chosen
            so that `share` of the samples are in all C ranges at once.
        mean_, scale_: (C,) of the training conditions.
        precision_: (C, C) of the standardised conditions, Ledoit–Wolf shrunk: landmarks move
            together, and their plain covariance is all but singular.
        limit_: the distance that `share` of the training conditions keep.
    """

    def __init__(self, share: float = 0.99) -> None:
        self.share = share

    def fit(self, conditions: Tensor, names: Sequence[str]) -> ConditionRange:
        """Learn from the training conditions (N, C), N ≥ 10, with their C names.

        Raises:
            ValueError: shapes that do not fit, NaN, a share outside 0..1, or a constant entry.
        """
        if conditions.ndim != 2 or len(conditions) < 10 or conditions.shape[1] != len(names):
            raise ValueError(
                f"ConditionRange: expected conditions (N, {len(names)}) with N ≥ 10, as many "
                f"entries as names, given {tuple(conditions.shape)}."
            )
        check_finite(conditions, "conditions")
        if not 0 < self.share < 1:
            raise ValueError(f"ConditionRange: expected a share in 0..1, given {self.share}.")
        known = conditions.detach().cpu().double()
        self.names_ = tuple(names)
        self.mean_, self.scale_ = known.mean(0), known.std(0)
        constant = [name for name, s in zip(names, self.scale_, strict=True) if not s > 0]
        if constant:
            raise ValueError(
                f"ConditionRange: {', '.join(constant[:5])} never vary in the training conditions, "
                "so that nothing can be learned about them. Leave them out."
            )
        rank = known.argsort(0).argsort(0).double() / (len(known) - 1)
        tail = torch.minimum(rank, 1 - rank).amin(1).quantile(1 - self.share)
        self.low_, self.high_ = known.quantile(tail, dim=0), known.quantile(1 - tail, dim=0)
        standard = (known - self.mean_) / self.scale_
        precision = LedoitWolf(assume_centered=True).fit(standard.numpy()).precision_
        self.precision_ = torch.from_numpy(precision)
        self.limit_ = float(self._distance(known).quantile(self.share))
        return self

    def check(self, targets: Tensor) -> RangeReport:
        """Where the targets (M, C) lie; ValueError for another length or NaN."""
        if targets.ndim != 2 or targets.shape[1] != len(self.names_):
            raise ValueError(
                f"targets: expected conditions (M, {len(self.names_)}): "
                f"{', '.join(self.names_[:3])}, …; given shape {tuple(targets.shape)}."
            )
        check_finite(targets, "targets")
        targets = targets.detach().cpu().double()
        above, below = (targets - self.high_).clamp(min=0), (targets - self.low_).clamp(max=0)
        beyond, distance = (above + below) / self.scale_, self._distance(targets)
        beyond[beyond.abs() < _ROUNDING] = 0
        outside = (beyond != 0).any(1) | (distance > self.limit_)
        return RangeReport(self.names_, beyond, distance, self.limit_, outside)

    def warn(self, targets: Tensor) -> RangeReport:
        """`check`, with a warning when any target is outside."""
        report = self.check(targets)
        if report.outside.any():
            warnings.warn(f"{report} Edits towards them may stop short.", stacklevel=2)
        return report

    def _distance(self, conditions: Tensor) -> Tensor:
        standard = (conditions - self.mean_) / self.scale_
        return ((standard @ self.precision_) * standard).sum(1).clamp(min=0).sqrt()


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
