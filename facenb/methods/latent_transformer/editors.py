"""Trained latent transformers as editors.

T(z, α) = z + α·H(z) (Yao et al. 2021, Eq. 1), H two fully connected layers with a LeakyReLU between
them. For one latent the edit is a straight line in α; what is not linear is that every latent has a
line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.editors import Strength, per_code, savable
from facenb.errors import check_finite
from facenb.latents import Latents

SLOPE = 0.2  # of the LeakyReLU; the paper does not give it, GANs usually take this one


def displacements(weights: dict[str, Tensor], values: Tensor) -> Tensor:
    """H_k(z) of K networks for the same N latents (N, d): (K, N, d), in two matrix products.

    Args:
        weights: weight_in (K, h, d), bias_in (K, h), weight_out (K, d, h), bias_out (K, d).
    """
    first, bias = weights["weight_in"], weights["bias_in"]
    hidden = F.linear(values, first.flatten(0, 1), bias.flatten())  # all networks see the same z
    hidden = F.leaky_relu(hidden, SLOPE).unflatten(1, bias.shape).transpose(0, 1)
    return torch.baddbmm(weights["bias_out"][:, None], hidden, weights["weight_out"].mT)


@savable("transformer")
@dataclass(frozen=True)
class TransformerEditor:
    """The edit of one attribute; a strength of 1 is one whole H(z).

    Trained on α in [−1, 1]; the paper suggests [−1.5, 1.5] for use. Latents are (N, d).

    Args:
        weights: of K = 1 network, as `displacements` takes them.
        space: "z" or "w".

    Raises:
        ValueError: weights of other shapes, or NaN.
    """

    name: str
    weights: dict[str, Tensor]
    space: str = "z"

    def __post_init__(self) -> None:
        given = {key: tuple(weight.shape) for key, weight in self.weights.items()}
        _, hidden, width = given.get("weight_in", (1, 0, 0))
        expected = {"weight_in": (1, hidden, width), "bias_in": (1, hidden),
                    "weight_out": (1, width, hidden), "bias_out": (1, width)}  # fmt: skip
        if given != expected:
            raise ValueError(
                f"{self.name}: expected weights of one network, weight_in (1, h, d), bias_in "
                f"(1, h), weight_out (1, d, h) and bias_out (1, d), given {given}."
            )
        for key, weight in self.weights.items():
            check_finite(weight, key)

    @property
    def dim(self) -> int:
        """d."""
        return self.weights["weight_in"].shape[-1]

    def displacement(self, values: Tensor) -> Tensor:
        """H(z), (N, d)."""
        if values.ndim != 2 or values.shape[1] != self.dim:
            raise ValueError(
                f"{self.name}: expected latents (N, {self.dim}), given shape {tuple(values.shape)}."
            )
        weights = {key: weight.to(values) for key, weight in self.weights.items()}
        return displacements(weights, values)[0]

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        values = latents.require(self.space)
        return latents.with_values(values + per_code(strength, values) * self.displacement(values))
