"""Directions that others have learned: `.npy` and `.pt` files, read without running anything.

    directions = read_directions("age_boundary.npy", space="w")      # Editors, as methods make them
    editors = read_editors("age_18x512.pt", generator)               # for strips and sliders

Shapes: (d,) and (1, d) are one direction, (K, d) are K; (1, L, d) and (K, L, d) have a row for each
layer of W+. A `.pt` file is such a tensor, or a dictionary of names and tensors. `read_editors` is
where a file and a generator meet: it takes (n, d) for one direction with a row for each layer where
n is the number of layers, and `per_layer` decides where that is not what is meant.

Lengths are dropped, as in all of facenb: a strength of 1 moves a latent by 1 in its own units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from facenb.editors.base import Editor, LinearEditor, Strength, per_code
from facenb.editors.collection import Editors
from facenb.editors.storage import savable
from facenb.errors import check_finite, unknown
from facenb.generators import Generator
from facenb.generators.pretrained.arrays import read_arrays
from facenb.latents import SPACES, Latents
from facenb.storage.files import sha256_file

_STYLEGAN2_LAYERS = 18
_SHAPES = "(d,), (1, d), (K, d), (1, L, d) or (K, L, d)"


@savable("layerwise")
@dataclass(frozen=True)
class LayerwiseEditor:
    """A straight line in W+ with a shift of its own in every layer.

    Args:
        directions: (L, d), scaled here: a strength of 1 moves a layer by 1 in the quadratic mean of
            the layers that move at all. Where all rows are alike it is `LinearEditor`'s unit.
    """

    name: str
    directions: Tensor
    space: ClassVar[str] = "w+"

    def __post_init__(self) -> None:
        rows = self.directions
        if rows.ndim != 2 or rows.numel() == 0:
            raise ValueError(
                f"{self.name}: expected directions (L, d), a row for each layer, given "
                f"{tuple(rows.shape)}."
            )
        check_finite(rows, f"direction {self.name!r}")
        lengths = rows.norm(dim=1)
        if not lengths.any():
            raise ValueError(f"{self.name}: expected a direction of length > 0, given zeros.")
        scale = lengths[lengths > 0].square().mean().sqrt()
        if (scale - 1).abs() > 8 * torch.finfo(rows.dtype).eps:  # else they are scaled already
            object.__setattr__(self, "directions", rows / scale)

    @property
    def dim(self) -> int:
        """d."""
        return self.directions.shape[1]

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        values = latents.require("w+")
        if values.shape[1:] != self.directions.shape:
            raise ValueError(
                f"{self.name}: expected latents (N, {', '.join(map(str, self.directions.shape))}), "
                f"given shape {tuple(values.shape)}."
            )
        return latents.with_values(values + per_code(strength, values) * self.directions.to(values))


def read_directions(
    path: str | PathLike[str], space: str = "w", names: Sequence[str] | None = None
) -> Editors:
    """The directions in a `.npy` or `.pt` file as linear editors.

    (K, d) is always K directions here. A file with a row for each layer is taken where all rows
    are alike, as a direction of W repeated; else it needs `read_editors`.

    Args:
        space: "z", "w" or "w+", which the file does not say.
        names: K names, by default the file's own name and a number; of a dictionary, which of its
            entries are wanted.

    Raises:
        FileNotFoundError: there is no such file.
        FacenbError: it is damaged, of another kind, or not only numbers.
        ValueError, UnknownNameError: shapes or names that do not fit.
    """
    if space not in SPACES:
        raise unknown("latent space", space, SPACES)
    path = Path(path)
    vectors = {}
    for name, value in _named(path, names, lambda rows: False).items():
        if value.ndim == 2 and not _alike(value):
            raise ValueError(
                f"{path}: {name!r} has a row for each of {len(value)} layers, and they differ. "
                "read_editors(path, generator) reads it, and gives an editor of 'w+'."
            )
        vectors[name] = value[0] if value.ndim == 2 else value
    dims = {name: value.numel() for name, value in vectors.items()}
    if len(set(dims.values())) > 1:
        raise ValueError(f"{path}: expected directions of one dimension, given {dims}.")
    facts = {
        "file": path.name,
        "sha256": sha256_file(path),
        "lengths": {name: round(float(value.norm()), 4) for name, value in vectors.items()},
    }
    stacked = torch.stack(list(vectors.values()))
    return Editors.from_vectors(tuple(vectors), stacked, space, provenance=facts)


def read_editors(
    path: str | PathLike[str],
    generator: Generator,
    space: str | None = None,
    names: Sequence[str] | None = None,
    per_layer: bool | None = None,
) -> dict[str, Editor]:
    """The directions in a `.npy` or `.pt` file as editors for `generator`, by name.

    Rows for StyleGAN2-1024's 18 layers are taken by a generator that has `from_stylegan2`.

    Args:
        space: of directions (d,); by default "w" where the generator has it, else "z". Directions
            with a row for each layer are of "w+".
        names: as for `read_directions`.
        per_layer: whether (n, d) is one direction with a row for each of n layers, or n directions.
            By default the former where n is the generator's number of layers (or 18, see above).

    Raises:
        As `read_directions`, and ValueError for directions of another dimension or number of
        layers than the generator has.
    """
    path = Path(path)
    space = space or ("w" if "w" in generator.spaces else "z")
    layers = generator.w_layers
    counts = {layers, _STYLEGAN2_LAYERS if hasattr(generator, "from_stylegan2") else layers}
    found = {}
    for name, value in _named(
        path, names, lambda rows: rows in counts if per_layer is None else per_layer
    ).items():
        dim = generator.dim("w" if value.ndim == 2 and layers else space)
        if value.shape[-1] != dim:
            raise ValueError(
                f"{path}: {name!r} has {value.shape[-1]} dimensions, and {generator.name} has "
                f"{dim} in {space!r}: it was learned on another generator."
            )
        if value.ndim == 1:
            found[name] = LinearEditor(name, value, space)
        else:
            found[name] = _layerwise(path, name, value, generator)
    return found


def _layerwise(path: Path, name: str, rows: Tensor, generator: Generator) -> Editor:
    """The simplest editor of "w" or "w+" that does what `rows` (L, d) say."""
    layers, convert = generator.w_layers, getattr(generator, "from_stylegan2", None)
    if layers is not None and len(rows) != layers and len(rows) == _STYLEGAN2_LAYERS and convert:
        rows = convert(rows)
    if len(rows) != layers:
        has = f"has {layers} layers" if layers else "has no space 'w+'"
        raise ValueError(
            f"{path}: {name!r} has a row for each of {len(rows)} layers, and {generator.name} "
            f"{has}. If these are directions of their own, say per_layer=False."
        )
    moving = rows.norm(dim=1).nonzero().flatten().tolist()
    if not moving:
        raise ValueError(f"{path}: expected directions of length > 0, {name!r} is zero.")
    first, last = moving[0], moving[-1] + 1
    if last - first != len(moving) or not _alike(rows[first:last]):
        return LayerwiseEditor(name, rows)
    if len(moving) == layers:
        return LinearEditor(name, rows[0], "w")
    return LinearEditor(name, rows[first], "w+", (first, last))


def _alike(rows: Tensor) -> bool:
    return bool((rows - rows[0]).norm(dim=1).max() <= 1e-6 * rows[0].norm())


def _named(
    path: Path, names: Sequence[str] | None, per_layer: Callable[[int], bool]
) -> dict[str, Tensor]:
    """The file's directions by name, each (d,) or (L, d), float32 and finite.

    `per_layer(n)`: whether (n, d) is one direction with a row for each of n layers.
    """
    names = (names,) if isinstance(names, str) else names
    content = read_arrays(path)
    if isinstance(content, dict):
        for name in names or ():
            if name not in content:
                raise unknown("direction", name, content)
        parts = {name: content[name] for name in names or content}
    else:
        parts = {path.stem: content}
    found: dict[str, Tensor] = {}
    for name, value in parts.items():
        split = _split(path, name, value, per_layer)
        for i, vector in enumerate(split):
            title = name if len(split) == 1 else f"{name} {i + 1}"
            if title in found:
                raise ValueError(f"{path}: two of its directions would be called {title!r}.")
            found[title] = vector
    if names is None or isinstance(content, dict):
        return found
    if len(names) != len(found) or len(set(names)) != len(names):
        raise ValueError(
            f"{path}: expected {len(found)} different names, one for each direction, given "
            f"{list(names)}."
        )
    return dict(zip(names, found.values(), strict=True))


def _split(path: Path, name: str, value: Tensor, per_layer: Callable[[int], bool]) -> list[Tensor]:
    shape = tuple(value.shape)
    if value.ndim not in (1, 2, 3) or 0 in shape:
        raise ValueError(f"{path}: expected directions {_SHAPES}, {name!r} has shape {shape}.")
    if not value.is_floating_point():
        raise ValueError(f"{path}: expected floating numbers, {name!r} has {value.dtype}.")
    value = value.float()
    check_finite(value, f"{path}: {name!r}")
    if value.ndim == 1:
        return [value]
    if value.ndim == 3:
        return [rows[0] if len(rows) == 1 else rows for rows in value]
    return [value] if len(value) > 1 and per_layer(len(value)) else list(value)
