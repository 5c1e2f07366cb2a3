"""The losses of latent transformers (Yao et al., 2021, Eqs. 2 to 4), of K networks at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.methods.latent_transformer.editors import displacements
from facenb.methods.latent_transformer.latent_classifier import LatentClassifier


@dataclass(frozen=True)
class Task:
    """What does not change in training: the classifier is frozen, so what it says of z is known."""

    values: Tensor  # (N, d)
    classifier: LatentClassifier
    columns: Tensor  # (K,) the targets among the A attributes
    before: Tensor  # (N, A) log-odds of z
    features: str  # what Eq. 3 compares: "logit" or "probability"
    alpha: Tensor  # (K, N)
    keep: Tensor  # (K, A) 1 − |γ|, and 0 for the target itself

    @staticmethod
    @torch.no_grad()
    def of(
        values: Tensor,
        classifier: LatentClassifier,
        gamma: Tensor,
        columns: Tensor,
        features: str = "logit",
    ) -> Task:
        """For latents (N, d), the correlations γ (A, A) and the targets' columns (K,)."""
        before = classifier.logits(values)
        keep = (1 - gamma.to(values).abs())[columns].clone()
        keep[torch.arange(len(columns)), columns] = 0
        alpha = scaling_factors(before[:, columns]).T.contiguous()
        return Task(values, classifier, columns, before, features, alpha, keep)


def scaling_factors(logits: Tensor) -> Tensor:
    """α of training (§4.1) from the classifier's log-odds: 1 − p where p < 0.5, −p elsewhere.

    So α is large where the classifier is sure, and points to the other verdict.
    """
    probability = logits.sigmoid()
    return torch.where(probability < 0.5, 1 - probability, -probability)


def loss_terms(weights: dict[str, Tensor], task: Task, rows: Tensor, reconstruction: str) -> Tensor:
    """Eq. 2, 3 and 4 of K networks on the B latents of `rows`, (3, K)."""
    values, alpha = task.values[rows], task.alpha[:, rows]
    move = alpha[..., None] * displacements(weights, values)  # (K, B, d)
    after = task.classifier.logits((values + move).flatten(0, 1)).unflatten(0, alpha.shape)
    target = after[torch.arange(len(alpha)), :, task.columns]  # (K, B)
    wanted = (alpha > 0).to(values)
    verdict = F.binary_cross_entropy_with_logits(target, wanted, reduction="none").mean(1)
    # each attribute's feature is one number, whose Euclidean length is its absolute value
    before = task.before[rows]
    if task.features == "probability":
        before, after = before.sigmoid(), after.sigmoid()
    others = ((after - before).abs().mean(dim=1) * task.keep).sum(dim=1)
    if reconstruction == "norm":
        length = move.norm(dim=2).mean(dim=1)
    else:
        length = move.square().mean(dim=(1, 2))
    return torch.stack([verdict, others, length])
