"""Fréchet distance between two sets of pictures in the features of a face-recognition net.

The formula is that of the FID, the features are not: 128 numbers of face-api's recognition net in
place of 2048 of Inception. The values compare with each other and with no published FID.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from facenb.scorers.identity import IdentityScorer


@torch.no_grad()
def recognition_features(identity: IdentityScorer, batches: Iterable[Tensor]) -> Tensor:
    """(N, 128) float64 on the CPU, before they are centred and normalised.

    Args:
        batches: pictures (n, 3, S, S) in [−1, 1].
    """
    return torch.cat([identity.net(images).double().cpu() for images in batches])


def frechet_distance(left: Tensor, right: Tensor) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½) of two sets of features (N, d), (M, d).

    Dowson & Landau (1982) for normal distributions. It is biased upwards by small N: compare
    values of the same N and M.
    """
    for features in (left, right):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(
                f"frechet_distance: expected features (N, d) with N ≥ 2, "
                f"given {tuple(features.shape)}."
            )
    (mean1, cov1), (mean2, cov2) = _moments(left), _moments(right)
    root = _square_root(cov1)
    # Tr (Σ₁Σ₂)^½ = Tr (Σ₁^½ Σ₂ Σ₁^½)^½, and the latter is symmetric
    cross = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    return float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * cross)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    return features.mean(dim=0), torch.cov(features.T)


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
