"""What a change of latents does to scores, without an image: scores as a linear map of latents.

A scorer that guides an edit can be satisfied by changes that a viewer does not see. The linear map
from latents to scores knows only what a direction does to faces in general.

    probe = LinearProbe().fit(latents, scores)
    probe.change(shifts)          # (N, C): by how many standard deviations each score changes
    probe.evaluate(field, codes[:16], scores[:16])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from facenb.errors import check_finite

if TYPE_CHECKING:
    from facenb.methods.sgf import Order, SurrogateGradientField


class LinearProbe(BaseEstimator):
    """Least squares from latents (N, d) to standardised scores (N, C).

    Attributes:
        weight_: (C, d), standard deviations of each score for a unit of the code.
        centre_: (d,) mean code. mean_, scale_: (C,) of the scores.
    """

    def fit(self, values: Tensor, scores: Tensor) -> LinearProbe:
        """Learn from latents and their scores; ValueError for shapes that do not fit, or NaN."""
        if values.ndim != 2 or scores.ndim != 2 or len(values) != len(scores):
            raise ValueError(
                "LinearProbe: expected latents (N, d) and scores (N, C), "
                f"given {tuple(values.shape)} and {tuple(scores.shape)}."
            )
        check_finite(values, "latents")
        check_finite(scores, "scores")
        self.centre_, self.mean_, self.scale_ = values.mean(0), scores.mean(0), scores.std(0)
        standard = (scores - self.mean_) / self.scale_
        self.weight_ = torch.linalg.lstsq(values - self.centre_, standard).solution.T
        return self

    def change(self, shifts: Tensor) -> Tensor:
        """Shifts (…, d) of latents → changes of each score in standard deviations, (…, C)."""
        return shifts @ self.weight_.T

    def r2(self, values: Tensor, scores: Tensor) -> Tensor:
        """R² (C,): the fraction of each score's variance on these samples that the map explains."""
        standard = (scores - self.mean_) / self.scale_
        missing = standard - self.change(values - self.centre_)
        return 1 - missing.square().sum(0) / standard.square().sum(0)

    def responses(
        self, field: SurrogateGradientField, values: Tensor, scores: Tensor, order: Order = 1
    ) -> Tensor:
        """Changes of all scores where each is to change by 1 sd at N latents, (C asked, N, C)."""
        n, count = values.shape[0], len(field.scale_)
        asked = torch.diag(field.scale_).repeat_interleave(n, dim=0)
        moves = field.field(values.repeat(count, 1), scores.repeat(count, 1), asked, order)
        return self.change(moves).unflatten(0, (count, n))

    def evaluate(
        self, field: SurrogateGradientField, values: Tensor, scores: Tensor, order: Order = 1
    ) -> dict[str, float]:
        """How well a field changes each score, and no other, at N latents with these scores.

        Returns:
            "change": by how many standard deviations the asked score changes, of the 1 asked for;
            mean over latents and scores. "side effect / change": the mean change of the other
            scores for each unit of the asked one; median over the scores that were asked.
        """
        changes = self.responses(field, values, scores, order)
        own = changes.diagonal(dim1=0, dim2=2).mean(0)
        others = (changes.abs().mean(1).sum(1) - own.abs()) / (len(own) - 1)
        return {
            "change": float(own.mean()),
            "side effect / change": float((others / own.abs()).median()),
        }
