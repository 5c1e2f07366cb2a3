"""Editors: (latents, strength) → latents.

Every method in the papers is a way to make editors. Strips, sliders, metrics and the comparison
table work with any of them and know nothing of how they were made. `derived` has the editors that
are made of others, `collection` sets of editors with where they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from facenb.editors.storage import savable
from facenb.errors import check_finite
from facenb.latents import Latents

Strength = float | Tensor


@runtime_checkable
class Editor(Protocol):
    """Anything with a name, a latent space and `edit`."""

    name: str
    space: str

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        """The latents edited by `strength` (a number, or a tensor of N, one for each latent)."""
        ...


@savable("linear")
@dataclass(frozen=True)
class LinearEditor:
    """z ↦ z + strength·n (InterFaceGAN §2.2), along a unit normal n of dimension d.

    Args:
        name: what the edit is called.
        direction: (d,), normalised here; a strength of 1 moves a latent by 1 in its own units.
        space: "z", "w" or "w+"; editors of "w" take latents of "w+" as well, in all layers.
        layers: for "w+", the half-open range [first, last) of layers that move; None moves all.
        intercept: b of the boundary n·z + b = 0, in the units of `direction` after normalising.
    """

    name: str
    direction: Tensor
    space: str = "z"
    layers: tuple[int, int] | None = None
    intercept: float = 0.0

    def __post_init__(self) -> None:
        direction = torch.as_tensor(self.direction)
        if direction.ndim != 1 or direction.numel() == 0:
            raise ValueError(
                f"{self.name}: expected a direction of shape (d,), given {tuple(direction.shape)}."
            )
        check_finite(direction, f"direction {self.name!r}")
        if not direction.norm() > 0:
            raise ValueError(f"{self.name}: expected a direction of length > 0, given zeros.")
        if self.layers is not None and self.space != "w+":
            raise ValueError(f"{self.name}: layers need space 'w+', given space {self.space!r}.")
        object.__setattr__(self, "direction", unit(direction))

    @property
    def dim(self) -> int:
        """d."""
        return self.direction.numel()

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        # a direction of "w" shifts latents of "w+" in every layer alike
        both = (self.space, latents.space) == ("w", "w+")
        values = latents.values if both else latents.require(self.space)
        shift = per_code(strength, values) * self._direction_for(values)
        if self.layers is None:
            return latents.with_values(values + shift)
        first, last = self.layers
        edited = values.clone()
        edited[:, first:last] += shift
        return latents.with_values(edited)

    def distance(self, latents: Latents) -> Tensor:
        """Signed distance n·z + b of each latent to the boundary, (N,) or (N, L) in "w+"."""
        values = latents.require(self.space)
        return values @ self._direction_for(values) + self.intercept

    def move_to(self, latents: Latents, distance: Strength) -> Latents:
        """The latents moved along n until they lie at `distance` from the boundary.

        InterFaceGAN's published code moves Z latents this way and W+ latents by a relative shift;
        here the two are two methods.
        """
        if latents.space == "w+":
            raise ValueError("move_to: expected latents in space 'z' or 'w'; use edit in 'w+'.")
        return self.edit(latents, distance - self.distance(latents))

    def _direction_for(self, values: Tensor) -> Tensor:
        if values.shape[-1] != self.direction.numel():
            raise ValueError(
                f"{self.name}: expected latents of dimension {self.direction.numel()}, "
                f"given shape {tuple(values.shape)}."
            )
        return self.direction.to(values)


def unit(vectors: Tensor) -> Tensor:
    """The vectors (…, d) at length 1; those that are so already come back bit for bit."""
    norms = vectors.norm(dim=-1, keepdim=True)
    near = (norms - 1).abs() <= 8 * torch.finfo(vectors.dtype).eps
    return torch.where(near, vectors, vectors / norms)


def traversal(editor: Editor, latents: Latents, strengths: Sequence[float] | Tensor) -> Latents:
    """Every latent at every strength, N·S: the first at all strengths, then the second, …"""
    strengths = torch.as_tensor(strengths, dtype=latents.values.dtype, device=latents.values.device)
    if strengths.ndim != 1 or len(strengths) == 0:
        raise ValueError(
            f"traversal: expected strengths (S,), given shape {tuple(strengths.shape)}."
        )
    return editor.edit(latents.repeat_interleave(len(strengths)), strengths.repeat(len(latents)))


def per_code(strength: Strength, values: Tensor) -> Tensor:
    """`strength` shaped to multiply `values`: a number, or one for each of the N latents."""
    strength = torch.as_tensor(strength, dtype=values.dtype, device=values.device)
    check_finite(strength, "strength")
    if strength.ndim == 0:
        return strength
    if strength.shape != values.shape[:1]:
        raise ValueError(
            f"strength: expected a number or shape ({values.shape[0]},), "
            f"given {tuple(strength.shape)}."
        )
    return strength.view(-1, *[1] * (values.ndim - 1))
