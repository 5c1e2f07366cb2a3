"""The losses of StyleGAN2: non-saturating logistic, R1, path length."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake: Tensor) -> Tensor:
    """−log σ(D(fake)), the non-saturating loss (Goodfellow et al., 2014); logits (N,) → ()."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−log σ(D(real)) − log(1 − σ(D(fake))); logits (N,) each → ()."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """½·E‖∇D(x)‖² over training pictures (Mescheder et al., 2018, eq. 9, less its γ).

    Args:
        real: (N, 3, R, R), detached.
    """
    real = real.requires_grad_(True)
    logits = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, w: Tensor, random: torch.Generator) -> Tensor:
    """‖Jᵀy‖ of every picture (N,), y ~ N(0, I)/√(H·W) (Karras et al., 2020, eq. 4).

    Args:
        images: (N, 3, H, W), computed from w.
        w: (N, L, d); the squared length is averaged over layers, as in the published code.
    """
    y = torch.randn(images.shape, device=images.device, generator=random)
    y = y / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
