"""Editors: (latents, strength) → latents.

Every method in the papers is a way to make editors. Strips, sliders, metrics and the comparison
table work with any of them and know nothing of how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from facenb.errors import check_finite
from facenb.latents import Latents

Strength = float | Tensor


@runtime_checkable
class Editor(Protocol):
    """Anything with a name, a latent space and `edit`."""

    name: str
    space: str

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        """The latents edited by `strength` (a number, or a tensor of N, one for each code)."""
        ...


@dataclass(frozen=True)
class LinearEditor:
    """z ↦ z + strength·n (InterFaceGAN §2.2), along a unit normal n of dimension d.

    Args:
        name: what the edit is called.
        direction: (d,), normalised here; a strength of 1 moves a code by 1 in its own units.
        space: "z", "w" or "w+".
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

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        values = latents.require(self.space)
        shift = per_code(strength, values) * self._direction_for(values)
        if self.layers is None:
            return latents.with_values(values + shift)
        first, last = self.layers
        edited = values.clone()
        edited[:, first:last] += shift
        return latents.with_values(edited)

    def distance(self, latents: Latents) -> Tensor:
        """Signed distance n·z + b of each code to the boundary, (N,) or (N, L) in "w+"."""
        values = latents.require(self.space)
        return values @ self._direction_for(values) + self.intercept

    def move_to(self, latents: Latents, distance: Strength) -> Latents:
        """The codes moved along n until they lie at `distance` from the boundary.

        InterFaceGAN's published code moves Z codes this way and W+ codes by a relative shift; here
        the two are two methods.
        """
        if latents.space == "w+":
            raise ValueError("move_to: expected latents in space 'z' or 'w'; use edit in 'w+'.")
        return self.edit(latents, distance - self.distance(latents))

    def _direction_for(self, values: Tensor) -> Tensor:
        if values.shape[-1] != self.direction.numel():
            raise ValueError(
                f"{self.name}: expected codes of dimension {self.direction.numel()}, "
                f"given shape {tuple(values.shape)}."
            )
        return self.direction.to(values)


@dataclass(frozen=True)
class HeldEditor:
    """An editor whose displacement is kept off the span of some directions, for non-linear edits.

    edit(z) − z loses its component along the held directions, so that their distances stay exactly
    where they were: the conditional manipulation of InterFaceGAN §2.2 for any editor.
    """

    editor: Editor
    held: Tensor  # (K, d)

    @property
    def name(self) -> str:
        return self.editor.name

    @property
    def space(self) -> str:
        return self.editor.space

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        shift = (self.editor.edit(latents, strength) - latents).values
        basis = orthonormal_basis(self.held.to(shift))
        return latents + (shift - (shift @ basis.T) @ basis)


@dataclass(frozen=True)
class LayerEditor:
    """An editor of "w" in some layers of "w+" only: the code of each is edited as if it were alone.

    Layer-limited edits: GANSpace's E(v, a–b), Li et al. (2021), Fig. 18. For a linear editor the
    same as `LinearEditor(space="w+", layers=…)`.

    Args:
        editor: of "w"; ValueError for any other space.
        layers: half-open range [first, last).
    """

    editor: Editor
    layers: tuple[int, int]
    space: ClassVar[str] = "w+"

    def __post_init__(self) -> None:
        if self.editor.space != "w":
            raise ValueError(
                f"{self.editor.name}: expected an editor of space 'w' to limit to layers, given "
                f"one of {self.editor.space!r}."
            )

    @property
    def name(self) -> str:
        return self.editor.name

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        edited = latents.require("w+").clone()
        part = edited[:, slice(*self.layers)]
        strengths = per_code(strength, part).expand(*part.shape[:2], 1).flatten()
        moved = self.editor.edit(Latents(part.flatten(0, 1), "w"), strengths)
        edited[:, slice(*self.layers)] = moved.values.view_as(part)
        return latents.with_values(edited)


@dataclass(frozen=True)
class Composition:
    """Several edits, one after the other; strength scales them all."""

    steps: tuple[tuple[Editor, float], ...]

    @property
    def name(self) -> str:
        return " + ".join(f"{editor.name} {weight:+g}" for editor, weight in self.steps) or "none"

    @property
    def space(self) -> str:
        return self.steps[0][0].space

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        for editor, weight in self.steps:
            latents = editor.edit(latents, strength * weight)
        return latents


def compose(steps: Sequence[tuple[Editor, float]]) -> Composition:
    """One editor from (editor, weight) pairs, applied in order; all of one space, at least one."""
    if not steps:
        raise ValueError("compose: expected at least one (editor, weight) pair, given none.")
    spaces = sorted({editor.space for editor, _ in steps})
    if len(spaces) > 1:
        raise ValueError(f"compose: expected editors of one space, given {', '.join(spaces)}.")
    return Composition(tuple(steps))


def hold(editor: Editor, held: Tensor) -> Editor:
    """`editor`, conditioned on the directions `held` (K, d): they stay put while it acts."""
    if len(held) == 0:
        return editor
    if isinstance(editor, LinearEditor):
        normal = condition(editor.direction, held)
        return LinearEditor(editor.name, normal, editor.space, editor.layers)
    return HeldEditor(editor, held)


def condition(normal: Tensor, on: Tensor) -> Tensor:
    """Unit vector (d,): `normal` without its components in the span of the rows of `on` (K, d).

    InterFaceGAN §2.2, for any number of conditions: n − Q Qᵀn for an orthonormal basis Q of the
    span, renormalised. For one condition this is the paper's n₁ − (n₁·n₂) n₂.

    Raises:
        ValueError: shapes do not fit, or nothing of the normal is left.
    """
    if normal.ndim != 1 or on.ndim != 2 or on.shape[1] != normal.numel():
        raise ValueError(
            f"condition: expected a normal (d,) and conditions (K, d), "
            f"given {tuple(normal.shape)} and {tuple(on.shape)}."
        )
    basis = orthonormal_basis(on.to(normal))
    projected = normal - (normal @ basis.T) @ basis
    if projected.norm() < 1e-6 * normal.norm():
        raise ValueError(
            "condition: the direction lies in the span of its conditions, so that nothing of it "
            "is left. Hold fewer directions."
        )
    return projected / projected.norm()


def unit(vectors: Tensor) -> Tensor:
    """The vectors (…, d) at length 1; those that are so already come back bit for bit."""
    norms = vectors.norm(dim=-1, keepdim=True)
    near = (norms - 1).abs() <= 8 * torch.finfo(vectors.dtype).eps
    return torch.where(near, vectors, vectors / norms)


def orthonormal_basis(vectors: Tensor) -> Tensor:
    """Orthonormal rows (R, d) that span the rows of `vectors` (K, d); R is their rank."""
    _, sizes, basis = torch.linalg.svd(vectors, full_matrices=False)
    tolerance = sizes.max() * max(vectors.shape) * torch.finfo(vectors.dtype).eps
    return basis[sizes > tolerance]


def strip(editor: Editor, latents: Latents, strengths: Sequence[float] | Tensor) -> Latents:
    """Every code at every strength, N·S codes: code 0 at all strengths, then code 1, …"""
    strengths = torch.as_tensor(strengths, dtype=latents.values.dtype, device=latents.values.device)
    if strengths.ndim != 1 or len(strengths) == 0:
        raise ValueError(f"strip: expected strengths (S,), given shape {tuple(strengths.shape)}.")
    return editor.edit(latents.repeat_interleave(len(strengths)), strengths.repeat(len(latents)))


def apply(
    editors: Mapping[str, Editor], latents: Latents, strengths: Mapping[str, float]
) -> Latents:
    """The named edits in sequence; those of strength 0 are left out."""
    for name, strength in strengths.items():
        if strength:
            latents = editors[name].edit(latents, strength)
    return latents


def per_code(strength: Strength, values: Tensor) -> Tensor:
    """`strength` shaped to multiply `values`: a number, or one for each of the N codes."""
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
