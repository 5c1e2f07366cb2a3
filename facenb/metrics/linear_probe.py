"""What a move of a code is worth, without a picture: scores as a linear map of the code.

A scorer that steers an edit can be convinced by less than the eye. The linear map from codes to
scores knows only what a direction does to faces in general, and cannot be convinced at all.

    judge = LinearJudge().fit(codes, scores)
    judge.hears(moves)            # (N, C): by how many standard deviations each score moves
    judge.verdict(field, codes[:16], scores[:16])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from facenb.errors import check_finite

if TYPE_CHECKING:
    from facenb.methods.sgf import Order, SurrogateGradientField


class LinearJudge(BaseEstimator):
    """Least squares from codes (N, d) to standardised scores (N, C).

    Attributes:
        weight_: (C, d), standard deviations of each score for a unit of the code.
        centre_: (d,) mean code. mean_, scale_: (C,) of the scores.
    """

    def fit(self, values: Tensor, scores: Tensor) -> LinearJudge:
        """Learn from codes and their scores; ValueError for shapes that do not fit, or NaN."""
        if values.ndim != 2 or scores.ndim != 2 or len(values) != len(scores):
            raise ValueError(
                "LinearJudge: expected codes (N, d) and scores (N, C), "
                f"given {tuple(values.shape)} and {tuple(scores.shape)}."
            )
        check_finite(values, "codes")
        check_finite(scores, "scores")
        self.centre_, self.mean_, self.scale_ = values.mean(0), scores.mean(0), scores.std(0)
        told = (scores - self.mean_) / self.scale_
        self.weight_ = torch.linalg.lstsq(values - self.centre_, told).solution.T
        return self

    def hears(self, moves: Tensor) -> Tensor:
        """Moves (…, d) of codes → by how many standard deviations each score moves, (…, C)."""
        return moves @ self.weight_.T

    def explained(self, values: Tensor, scores: Tensor) -> Tensor:
        """R² (C,): the share of each score's variance on these samples that the map explains."""
        told = (scores - self.mean_) / self.scale_
        return 1 - (told - self.hears(values - self.centre_)).square().sum(0) / told.square().sum(0)

    def asked_one_by_one(
        self, field: SurrogateGradientField, values: Tensor, scores: Tensor, order: Order = 1
    ) -> Tensor:
        """Each score asked to move by 1 sd at each of N codes: what is heard, (C asked, N, C)."""
        n, count = values.shape[0], len(field.scale_)
        asked = torch.diag(field.scale_).repeat_interleave(n, dim=0)
        moves = field.field(values.repeat(count, 1), scores.repeat(count, 1), asked, order)
        return self.hears(moves).unflatten(0, (count, n))

    def verdict(
        self, field: SurrogateGradientField, values: Tensor, scores: Tensor, order: Order = 1
    ) -> dict[str, float]:
        """The worth of a field at N codes with these scores.

        Returns:
            "moves": by how many standard deviations the asked score moves, of the 1 asked for, mean
            over codes and scores. "leak / move": what the mean other score does, for each unit that
            the asked one moves; the median over the scores that were asked.
        """
        heard = self.asked_one_by_one(field, values, scores, order)
        own = heard.diagonal(dim1=0, dim2=2).mean(0)
        leaks = (heard.abs().mean(1).sum(1) - own.abs()) / (len(own) - 1)
        return {"moves": float(own.mean()), "leak / move": float((leaks / own.abs()).median())}
