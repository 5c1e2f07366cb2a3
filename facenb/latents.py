"""Latents that know which space they live in.

Mixing up Z, W and W+ gives broken images and no error in most code bases; here it is an error
that names both spaces. Shapes: (N, d) in "z" and "w", (N, L, d) in "w+".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.errors import SpaceError, check_finite, floats_of, unknown

SPACES = {"z": 2, "w": 2, "w+": 3}  # space → number of tensor dimensions


@dataclass(frozen=True)
class Latents:
    """A batch of latents.

    Args:
        values: floating tensor or NumPy array, (N, d) in "z" and "w", (N, L, d) in "w+"; N ≥ 1, all
            finite. An array is copied into a float32 tensor.
        space: "z", "w" or "w+".

    Raises:
        UnknownNameError: the space is none of the three.
        ValueError: wrong number of dimensions, an empty batch, NaN or infinity.
    """

    values: Tensor
    space: str

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise unknown("latent space", self.space, SPACES)
        object.__setattr__(self, "values", floats_of(self.values, "latents"))
        shape = tuple(self.values.shape)
        if len(shape) != SPACES[self.space]:
            expected = "(N, L, d)" if self.space == "w+" else "(N, d)"
            raise ValueError(
                f"latents: expected shape {expected} in space {self.space!r}, given {shape}."
            )
        if 0 in shape:
            raise ValueError(f"latents: expected at least one, given an empty batch {shape}.")
        check_finite(self.values, f"latents in space {self.space!r}")

    def require(self, space: str) -> Tensor:
        """The values, when these latents are in `space`; SpaceError naming both otherwise."""
        if self.space != space:
            advice = f"Use generator.map(latents, {space!r}) where the generator has that mapping."
            if (self.space, space) == ("w+", "w"):  # there is none
                advice = "An editor of 'w' edits them layer by layer: editors.in_layers(0, L)."
            elif space == "z":
                advice = "There is no way back to 'z'."
            raise SpaceError(
                f"expected latents in space {space!r}, given latents in space {self.space!r}. "
                f"{advice}"
            )
        return self.values

    def with_values(self, values: Tensor) -> Latents:
        """New values in the same space."""
        return Latents(values, self.space)

    def to(self, device: str | torch.device) -> Latents:
        """The same latents on `device`."""
        return self.with_values(self.values.to(device))

    def repeat_interleave(self, times: int) -> Latents:
        """Each latent `times` times in a row: a, a, a, b, b, b."""
        return self.with_values(self.values.repeat_interleave(times, dim=0))

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Latents:
        if isinstance(index, int):  # one latent stays a batch of one
            index = [index]
        return self.with_values(self.values[index])

    def __iter__(self) -> Iterator[Latents]:
        return (self[i] for i in range(len(self)))

    def __add__(self, shift: Tensor | Latents) -> Latents:
        if isinstance(shift, Latents):
            shift = shift.require(self.space)
        return self.with_values(self.values + shift)

    def __sub__(self, other: Latents | Tensor) -> Latents:
        if isinstance(other, Latents):
            other = other.require(self.space)
        return self.with_values(self.values - other)

    def __repr__(self) -> str:
        return f"Latents({tuple(self.values.shape)}, space={self.space!r})"

    @staticmethod
    def cat(parts: Sequence[Latents]) -> Latents:
        """One batch from several of the same space."""
        if not parts:
            raise ValueError("Latents.cat: expected at least one batch, given none.")
        space = parts[0].space
        return Latents(torch.cat([part.require(space) for part in parts]), space)
