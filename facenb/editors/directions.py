"""Directions: a named set of unit vectors with where they came from, saved as safetensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import torch
from torch import Tensor

from facenb.data import data_path
from facenb.editors.base import LinearEditor, condition, unit
from facenb.errors import check_finite, unknown
from facenb.generators import DEFAULT
from facenb.storage.saved import Saved

_KIND = "directions"


@dataclass(frozen=True)
class Directions:
    """K named directions in one latent space; `directions["smile"]` is a LinearEditor.

    Args:
        names: K names, all different.
        vectors: (K, d), normalised here.
        space: "z", "w" or "w+".
        intercepts: (K,) of the boundaries n·z + b = 0; zeros when left out.
        provenance: how they were made (method, generator, profile, seed …); plain JSON values.
    """

    names: tuple[str, ...]
    vectors: Tensor
    space: str = "z"
    intercepts: Tensor | None = None
    provenance: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        names, vectors = tuple(self.names), self.vectors
        if vectors.ndim != 2 or len(vectors) != len(names) or len(set(names)) != len(names):
            raise ValueError(
                f"Directions: expected K different names and vectors (K, d), given {len(names)} "
                f"names ({len(set(names))} different) and shape {tuple(vectors.shape)}."
            )
        check_finite(vectors, "directions")
        zero = vectors.norm(dim=1) == 0
        if zero.any():
            empty = names[int(zero.nonzero()[0])]
            raise ValueError(f"Directions: expected vectors of length > 0, {empty!r} is zero.")
        intercepts = vectors.new_zeros(len(names)) if self.intercepts is None else self.intercepts
        if intercepts.shape != (len(names),):
            raise ValueError(
                f"Directions: expected intercepts ({len(names)},), given {tuple(intercepts.shape)}."
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "vectors", unit(vectors))
        object.__setattr__(self, "intercepts", intercepts)

    def index(self, name: str) -> int:
        """The row of `name`; UnknownNameError lists the known names."""
        if name not in self.names:
            raise unknown("direction", name, self.names)
        return self.names.index(name)

    def __getitem__(self, name: str) -> LinearEditor:
        i = self.index(name)
        return LinearEditor(name, self.vectors[i], self.space, intercept=float(self.intercepts[i]))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LinearEditor]:
        return (self[name] for name in self.names)

    def editors(self) -> dict[str, LinearEditor]:
        """Every direction as an editor, by name."""
        return {editor.name: editor for editor in self}

    def select(self, names: Sequence[str]) -> Tensor:
        """The vectors (len(names), d) of these names."""
        return self.vectors[[self.index(name) for name in names]]

    def condition(self, name: str, on: Sequence[str]) -> LinearEditor:
        """`name` conditioned on the others: moving along it leaves their distances unchanged."""
        normal = condition(self.vectors[self.index(name)], self.select(on))
        return LinearEditor(f"{name} | {', '.join(on)}", normal, self.space)

    def orthogonalise(self) -> Directions:
        """The nearest orthonormal set (Löwdin): unlike Gram-Schmidt, no direction goes first.

        The intercepts belong to other hyperplanes then, and are dropped.
        """
        if len(self) > self.vectors.shape[1]:
            raise ValueError(
                f"orthogonalise: expected at most {self.vectors.shape[1]} directions, one for each "
                f"dimension, given {len(self)}."
            )
        left, sizes, right = torch.linalg.svd(self.vectors, full_matrices=False)
        if sizes[-1] < 1e-6 * sizes[0]:
            raise ValueError("orthogonalise: expected linearly independent directions.")
        return Directions(self.names, left @ right, self.space, provenance=self.provenance)

    def cosines(self) -> Tensor:
        """(K, K) cosine of every pair: the paper's measure of entanglement (InterFaceGAN §3.3)."""
        return self.vectors @ self.vectors.T

    def save(self, path: str | PathLike[str]) -> None:
        """Write vectors, names and provenance to one safetensors file, whole or not at all."""
        tensors = {"vectors": self.vectors, "intercepts": self.intercepts}
        Saved(self.names, tensors, self.space, self.provenance).write(path, _KIND)

    @staticmethod
    def load(path: str | PathLike[str]) -> Directions:
        """Read what `save` wrote; FacenbError when the file is something else or is damaged."""
        found = Saved.read(path, _KIND)
        vectors, intercepts = found.tensors["vectors"], found.tensors["intercepts"]
        return Directions(found.names, vectors, found.space, intercepts, found.provenance)

    @staticmethod
    def from_editors(editors: Mapping[str, LinearEditor], **provenance: object) -> Directions:
        """One set from linear editors of the same space."""
        spaces = {editor.space for editor in editors.values()}
        if len(spaces) != 1:
            raise ValueError(f"from_editors: expected one space, given {sorted(spaces)}.")
        return Directions(
            tuple(editors),
            torch.stack([editor.direction for editor in editors.values()]),
            spaces.pop(),
            torch.tensor([editor.intercept for editor in editors.values()]),
            provenance,
        )


def load_directions(method: str, generator: str = DEFAULT) -> Directions:
    """The directions that ship with the package; UnknownNameError lists the files there are.

    They are what the method's notebook saved in the laptop profile (`provenance` says when).
    """
    return Directions.load(data_path(f"{method}_{generator}.safetensors"))
