"""Editors made of other editors: scaled, conditioned, in some layers, one after the other.

`condition_on`, `scale`, `limit` and `reverse` keep what an editor knows: its space and layers, its
intercept, the unit that its strength is counted in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from facenb.editors.base import Editor, LinearEditor, Strength, per_code
from facenb.editors.storage import savable
from facenb.latents import Latents


class EditorWrapper:
    """What an editor with one other inside has from it."""

    editor: Editor

    @property
    def name(self) -> str:
        return self.editor.name

    @property
    def space(self) -> str:
        return self.editor.space

    @property
    def dim(self) -> int | None:
        return getattr(self.editor, "dim", None)


@savable("scaled")
@dataclass(frozen=True)
class ScaledEditor(EditorWrapper):
    """An edit whose strength is counted in units of its own: a strength of 1 is `unit` of `editor`.

    Args:
        unit: such as a standard deviation of the latents along a direction, GANSpace's σ; negative
            turns the edit round.
    """

    editor: Editor
    unit: float

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        return self.editor.edit(latents, strength * self.unit)


@savable("conditioned")
@dataclass(frozen=True)
class ConditionedEditor(EditorWrapper):
    """An editor whose displacement is kept off the span of some directions, for non-linear edits.

    edit(z) − z loses its component along the directions, so that the distances to their boundaries
    stay exactly where they were: the conditional manipulation of InterFaceGAN §2.2 for any editor.

    Args:
        on: (K, d).
        names: of the K directions, for the editor's name; none leaves it as it is.
    """

    editor: Editor
    on: Tensor
    names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return _conditioned(self.editor.name, self.names)

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        shift = (self.editor.edit(latents, strength) - latents).values
        basis = orthonormal_basis(self.on.to(shift))
        return latents + (shift - (shift @ basis.T) @ basis)


@savable("layers")
@dataclass(frozen=True)
class LayerEditor(EditorWrapper):
    """An editor of "w" in some layers of "w+" only: each is edited as if it were alone.

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

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        edited = latents.require("w+").clone()
        part = edited[:, slice(*self.layers)]
        strengths = per_code(strength, part).expand(*part.shape[:2], 1).flatten()
        moved = self.editor.edit(Latents(part.flatten(0, 1), "w"), strengths)
        edited[:, slice(*self.layers)] = moved.values.view_as(part)
        return latents.with_values(edited)


@savable("composition")
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

    @property
    def dim(self) -> int | None:
        return getattr(self.steps[0][0], "dim", None)

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


def scale(editor: Editor, unit: float) -> Editor:
    """`editor` with strengths in `unit`s of what they are counted in now."""
    if not 0 < abs(unit) < float("inf"):
        raise ValueError(f"{editor.name}: expected a finite unit other than 0, given {unit}.")
    return ScaledEditor(editor, float(unit))


def unscaled(editor: Editor) -> Editor:
    """`editor` without the units that `scale` gave it."""
    return unscaled(editor.editor) if isinstance(editor, ScaledEditor) else editor


def reverse(editor: Editor) -> Editor:
    """`editor` the other way round: what raised a score lowers it."""
    if isinstance(editor, ScaledEditor):
        return replace(editor, editor=reverse(editor.editor))
    if isinstance(editor, LinearEditor):
        return replace(editor, direction=-editor.direction, intercept=-editor.intercept)
    return scale(editor, -1.0)


def limit(editor: Editor, first: int, last: int) -> Editor:
    """An editor of "w" in layers [first, last) of "w+"; ValueError for another space or range."""
    if not 0 <= first < last:
        raise ValueError(f"{editor.name}: expected layers 0 ≤ first < last, given {first}, {last}.")
    if isinstance(editor, ScaledEditor):
        return replace(editor, editor=limit(editor.editor, first, last))
    if isinstance(editor, LinearEditor) and editor.space == "w":
        return replace(editor, space="w+", layers=(first, last))
    return LayerEditor(editor, (first, last))


def condition_on(editor: Editor, on: Tensor, names: Sequence[str] = ()) -> Editor:
    """`editor`, conditioned on the directions `on` (K, d): distances along them stay as they are.

    A linear editor keeps its layers and its intercept: with p the part of its normal n that is
    left, n·z + b = 0 reads p·z + b = 0 on latents whose coordinates along `on` are 0, and b is
    divided by the length of p, as the normal is.

    Args:
        names: of the directions, which the editor's name tells then: "glasses | age, gender".
    """
    if len(on) == 0:
        return editor
    if isinstance(editor, ScaledEditor | LayerEditor):
        return replace(editor, editor=condition_on(editor.editor, on, names))
    if isinstance(editor, LinearEditor):
        normal = condition(editor.direction, on)
        # p·n = |p|², so that the unit vector along p has |p| = normal·n
        intercept = editor.intercept / float(normal @ editor.direction) if editor.intercept else 0.0
        name = _conditioned(editor.name, names)
        return replace(editor, name=name, direction=normal, intercept=intercept)
    return ConditionedEditor(editor, on, tuple(names))


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
            "is left. Condition it on fewer directions."
        )
    return projected / projected.norm()


def orthonormal_basis(vectors: Tensor) -> Tensor:
    """Orthonormal rows (R, d) that span the rows of `vectors` (K, d); R is their rank."""
    _, sizes, basis = torch.linalg.svd(vectors, full_matrices=False)
    tolerance = sizes.max() * max(vectors.shape) * torch.finfo(vectors.dtype).eps
    return basis[sizes > tolerance]


def _conditioned(name: str, names: Sequence[str]) -> str:
    return f"{name} | {', '.join(names)}" if names else name
