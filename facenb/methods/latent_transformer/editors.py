"""Trained latent transformers as editors: applied one after the other, saved with where they came
from.

T(z, α) = z + α·H(z) (Yao et al. 2021, Eq. 1), H two fully connected layers with a LeakyReLU between
them. For one code the edit is a straight line in α; what is not linear is that every code has a
line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.data import data_path
from facenb.editors import Strength, per_code
from facenb.errors import check_finite, unknown
from facenb.latents import Latents
from facenb.storage.saved import Saved

SLOPE = 0.2  # of the LeakyReLU; the paper does not give it, GANs usually take this one
_KIND = "transformers"
_SHAPES = {"weight_in": "(K, h, d)", "bias_in": "(K, h)", "weight_out": "(K, d, h)",
           "bias_out": "(K, d)"}  # fmt: skip


def displacements(weights: dict[str, Tensor], values: Tensor) -> Tensor:
    """H_k(z) of K networks for the same N codes (N, d): (K, N, d), in two matrix products.

    Args:
        weights: weight_in (K, h, d), bias_in (K, h), weight_out (K, d, h), bias_out (K, d).
    """
    first, bias = weights["weight_in"], weights["bias_in"]
    hidden = F.linear(values, first.flatten(0, 1), bias.flatten())  # all networks see the same z
    hidden = F.leaky_relu(hidden, SLOPE).unflatten(1, bias.shape).transpose(0, 1)
    return torch.baddbmm(weights["bias_out"][:, None], hidden, weights["weight_out"].mT)


@dataclass(frozen=True)
class TransformerEditor:
    """The edit of one attribute; a strength of 1 is one whole H(z).

    Trained on α in [−1, 1]; the paper suggests [−1.5, 1.5] for use. Codes are (N, d).
    """

    name: str
    weights: dict[str, Tensor]  # of K = 1 network
    space: str = "z"

    def displacement(self, values: Tensor) -> Tensor:
        """H(z), (N, d)."""
        width = self.weights["weight_in"].shape[-1]
        if values.ndim != 2 or values.shape[1] != width:
            raise ValueError(
                f"{self.name}: expected codes (N, {width}), given shape {tuple(values.shape)}."
            )
        weights = {key: weight.to(values) for key, weight in self.weights.items()}
        return displacements(weights, values)[0]

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        values = latents.require(self.space)
        return latents.with_values(values + per_code(strength, values) * self.displacement(values))


@dataclass(frozen=True)
class LatentTransformers:
    """K trained networks of one latent space; `transformers["smile"]` is a TransformerEditor.

    Args:
        names: K names, all different.
        weights: as `displacements` takes them.
        space: "z" or "w".
        provenance: how they were made; plain JSON values.

    Raises:
        ValueError: names or shapes that do not fit, or NaN.
    """

    names: tuple[str, ...]
    weights: dict[str, Tensor]
    space: str = "z"
    provenance: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = tuple(self.names)
        given = {key: tuple(weight.shape) for key, weight in self.weights.items()}
        count, hidden, width = given.get("weight_in", (0, 0, 0))
        expected = {"weight_in": (count, hidden, width), "bias_in": (count, hidden),
                    "weight_out": (count, width, hidden), "bias_out": (count, width)}  # fmt: skip
        if given != expected or count != len(names) or len(set(names)) != len(names):
            raise ValueError(
                f"LatentTransformers: expected K different names and weights {_SHAPES}, given "
                f"{len(names)} names ({len(set(names))} different) and {given}."
            )
        for key, weight in self.weights.items():
            check_finite(weight, key)
        object.__setattr__(self, "names", names)

    def __getitem__(self, name: str) -> TransformerEditor:
        if name not in self.names:
            raise unknown("transformer", name, self.names)
        row = self.names.index(name)
        weights = {key: weight[row : row + 1] for key, weight in self.weights.items()}
        return TransformerEditor(name, weights, self.space)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[TransformerEditor]:
        return (self[name] for name in self.names)

    def editors(self) -> dict[str, TransformerEditor]:
        """Every network as an editor, by name."""
        return {editor.name: editor for editor in self}

    def displacements(self, latents: Latents) -> Tensor:
        """H_k(z) of all networks, (K, N, d)."""
        values = latents.require(self.space)
        return displacements({key: w.to(values) for key, w in self.weights.items()}, values)

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, names and provenance to one safetensors file, whole or not at all."""
        Saved(self.names, self.weights, self.space, self.provenance).write(path, _KIND)

    @staticmethod
    def load(path: str | PathLike[str]) -> LatentTransformers:
        """Read what `save` wrote; FacenbError when the file is something else or is damaged."""
        found = Saved.read(path, _KIND)
        return LatentTransformers(found.names, dict(found.tensors), found.space, found.provenance)


def load_transformers(generator: str = "digiface-dcgan-64") -> LatentTransformers:
    """The transformers that ship with the package, one for each semantic score.

    `python -m scripts.train_transformers` made them in the laptop profile (`provenance` says how).
    UnknownNameError lists the files there are.
    """
    return LatentTransformers.load(data_path(f"transformers_{generator}.safetensors"))
