"""Editors: a named set of editors of one latent space, with where they came from.

editors = method.fit(generator, samples).editors()      # or load_editors("interfacegan")
editors["smile"].edit(latents, 2.0)
editors.condition("glasses", on=["age", "gender"])       # sets again, of the same provenance
editors.in_layers(0, 8).scaled(0.5).select(["smile"]).save("smile.safetensors")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike

import torch
from torch import Tensor

from facenb.data import data_path
from facenb.editors.base import Editor, LinearEditor
from facenb.editors.derived import condition_on, limit, scale, unscaled
from facenb.editors.older import OLDER
from facenb.editors.storage import Context, pack, unpack
from facenb.errors import (
    FacenbError,
    SpaceError,
    check_finite,
    floats_of,
    names_of,
    printable,
    unknown,
)
from facenb.generators import DEFAULT, Generator, label
from facenb.latents import SPACES
from facenb.storage.saved import Saved

_KIND = "editors"


class Editors(Mapping[str, Editor]):
    """A mapping from names to editors of one latent space.

    Args:
        editors: by name.
        provenance: how they were made, plain JSON values: "method", "generator" (its name),
            "fingerprint" (of the generator's latent spaces), the method's hyper-parameters.

    Raises:
        ValueError: no editor, or editors of several spaces or dimensions.
    """

    def __init__(
        self, editors: Mapping[str, Editor], provenance: Mapping[str, object] | None = None
    ) -> None:
        self._editors = dict(editors)
        names_of(self._editors, "Editors")
        self.provenance = dict(provenance or {})
        spaces = sorted({editor.space for editor in self._editors.values()})
        if len(spaces) != 1:
            given = f"of {', '.join(map(repr, spaces))}" if spaces else "none"
            raise ValueError(f"Editors: expected editors of one latent space, given {given}.")
        self.space = spaces[0]
        dims = {getattr(editor, "dim", None) for editor in self._editors.values()} - {None}
        if len(dims) > 1:
            raise ValueError(
                f"Editors: expected editors of one dimension, given {', '.join(map(str, dims))}."
            )
        self.dim: int | None = dims.pop() if dims else None

    @classmethod
    def from_vectors(
        cls,
        names: Sequence[str],
        vectors: Tensor,
        space: str = "z",
        intercepts: Tensor | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> Editors:
        """Linear editors of vectors (K, d), with the intercepts (K,) of their boundaries, or zeros.

        Raises:
            ValueError: other than K different names, NaN, or a vector of zeros.
        """
        names = names_of(names, "Editors: names")
        vectors = floats_of(vectors, "Editors: vectors")
        if space not in SPACES:
            raise unknown("latent space", space, SPACES)
        if vectors.ndim != 2 or len(vectors) != len(names) or len(set(names)) != len(names):
            raise ValueError(
                f"Editors: expected K different names and vectors (K, d), given {len(names)} "
                f"names ({len(set(names))} different) and shape {tuple(vectors.shape)}."
            )
        check_finite(vectors, "directions")
        zeros = vectors.new_zeros(len(names))
        intercepts = zeros if intercepts is None else floats_of(intercepts, "Editors: intercepts")
        if intercepts.shape != (len(names),):
            raise ValueError(
                f"Editors: expected intercepts ({len(names)},), given {tuple(intercepts.shape)}."
            )
        rows = zip(names, vectors, intercepts.tolist(), strict=True)
        return cls({n: LinearEditor(n, v, space, None, b) for n, v, b in rows}, provenance)

    def __getitem__(self, name: str) -> Editor:
        if name not in self._editors:
            raise unknown("editor", name, self._editors)
        return self._editors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._editors

    def __iter__(self) -> Iterator[str]:
        return iter(self._editors)

    def __len__(self) -> int:
        return len(self._editors)

    def __repr__(self) -> str:
        method = self.provenance.get("method", "editors")
        return f"Editors({method}, space={self.space!r}: {', '.join(self._editors)})"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._editors)

    @property
    def fingerprint(self) -> str | None:
        """Of the generator whose latent space it is; None where it is not known."""
        return self.provenance.get("fingerprint")

    @property
    def vectors(self) -> Tensor:
        """The unit directions (K, d) of linear editors, whatever their units.

        Raises ValueError where an editor has no direction.
        """
        lines = [unscaled(editor) for editor in self._editors.values()]
        other = [n for n, e in zip(self, lines, strict=True) if not isinstance(e, LinearEditor)]
        if other:
            raise ValueError(f"vectors: expected linear editors, {', '.join(other)} are not.")
        return torch.stack([line.direction for line in lines])

    def cosines(self) -> Tensor:
        """(K, K) cosine of every pair: the paper's measure of entanglement (InterFaceGAN §3.3)."""
        return self.vectors @ self.vectors.T

    def orthogonalise(self) -> Editors:
        """The nearest orthonormal set (Löwdin): unlike Gram-Schmidt, no direction goes first.

        The intercepts belong to other hyperplanes then, and are dropped, as units are.
        """
        vectors = self.vectors
        if len(self) > vectors.shape[1]:
            raise ValueError(
                f"orthogonalise: expected at most {vectors.shape[1]} directions, one for each "
                f"dimension, given {len(self)}."
            )
        left, sizes, right = torch.linalg.svd(vectors, full_matrices=False)
        if sizes[-1] < 1e-6 * sizes[0]:
            raise ValueError("orthogonalise: expected linearly independent directions.")
        return Editors.from_vectors(self.names, left @ right, self.space, None, self.provenance)

    def select(self, names: str | Sequence[str]) -> Editors:
        """The set of these editors, one or several, in this order."""
        return Editors({n: self[n] for n in names_of(names, "select")}, self.provenance)

    def condition(self, names: str | Sequence[str], on: str | Sequence[str] | Editors) -> Editors:
        """These editors, each conditioned on all of `on` but the one of its own name.

        An edit leaves the distances to the boundaries that it is conditioned on where they are
        (InterFaceGAN §2.2).

        Args:
            on: names of linear editors of this set, or another set of the same latent space.

        Raises:
            ValueError: sets of two spaces, dimensions or generators; an editor in `on` that has no
                direction; or nothing of an edit is left.
        """
        if isinstance(on, Editors):
            for what in ("space", "dim", "fingerprint"):
                given = {getattr(self, what), getattr(on, what)} - {None}
                if len(given) > 1:
                    listed = ", ".join(sorted(map(str, given)))
                    raise ValueError(f"condition: expected editors of one {what}, given {listed}.")
        if not isinstance(on, Editors):
            on = names_of(on, "condition: on")
        found = {}
        for name in names_of(names, "condition"):
            others = [other for other in on if other != name]
            held = on if isinstance(on, Editors) else self
            vectors = held.select(others).vectors if others else torch.empty(0)
            found[name] = condition_on(self[name], vectors, others)
        return Editors(found, self.provenance)

    def in_layers(self, first: int, last: int) -> Editors:
        """Editors of "w" as editors of "w+" that edit the layers [first, last) alone."""
        return self._each(lambda editor: limit(editor, first, last))

    def scaled(self, factor: float | Mapping[str, float]) -> Editors:
        """Strengths counted in units of `factor`, one for all or one for each name given."""
        factors = factor if isinstance(factor, Mapping) else dict.fromkeys(self, factor)
        scaled = {name: scale(self[name], float(unit)) for name, unit in factors.items()}
        return Editors(self._editors | scaled, self.provenance)

    def unscaled(self) -> Editors:
        """Strengths in the editors' own units again: a linear edit of 1 moves a latent by 1."""
        return self._each(unscaled)

    def with_provenance(self, **facts: object) -> Editors:
        """The same editors with more facts about how they were made."""
        return Editors(self._editors, self.provenance | facts)

    def check(self, generator: Generator) -> None:
        """Raise FacenbError (SpaceError) unless they are editors of this generator's latent space.

        Told by the fingerprint, and by the generator's name where a set has no fingerprint.
        """
        made_for = str(self.provenance.get("generator", generator.name))
        other = label(made_for.partition(" (sha256 ")[0]) != label(generator.name)
        if self.fingerprint is not None:
            other = self.fingerprint != generator.space_fingerprint
        if other:
            theirs, ours = self.fingerprint or "unknown", generator.space_fingerprint
            raise FacenbError(
                f"these editors were made for {made_for}, the generator here is {generator.name} "
                f"(weights {theirs[:12]} and {ours[:12]}). Load that generator, or editors of this "
                "one."
            )
        if self.space not in generator.spaces or self.dim not in (None, generator.dim(self.space)):
            has = ", ".join(f"{space!r} of {generator.dim(space)}" for space in generator.spaces)
            raise SpaceError(
                f"these are editors of space {self.space!r} and dimension {self.dim}, "
                f"{generator.name} has {has}."
            )

    def save(self, path: str | PathLike[str]) -> None:
        """Write editors and provenance to one safetensors file, whole or not at all.

        Raises FacenbError for an editor of a class that is not `savable`.
        """
        tensors, structure = pack(self._editors)
        saved = Saved(self.names, tensors, self.space, self.provenance, _KIND, structure)
        saved.write(path)

    @staticmethod
    def load(
        path: str | PathLike[str], generator: Generator | None = None, scorers: object = None
    ) -> Editors:
        """Read what `save` wrote, or the sets of directions and transformers that ship.

        Args:
            generator: the set must be of its latent space. Needed for editors that observe images.
            scorers: what these are scored by; the scorers of the file's names by default.

        Raises:
            FacenbError: the file is something else or is damaged, the set is of another generator,
                or a generator is needed and was not given.
        """
        found = Saved.read(path, _KIND, *OLDER)
        try:
            if found.kind in OLDER:
                made = OLDER[found.kind](found)
            else:
                context = Context(str(path), generator, scorers)
                made = unpack(found.tensors, found.structure or {}, context)
            editors = Editors(made, found.provenance)
            if editors.names != found.names or editors.space != found.space:
                raise ValueError("its names or its space are not those of its editors")
        except FacenbError:
            raise
        except Exception as error:  # of a class that was given what no file of ours holds
            raise FacenbError(
                printable(f"{path} is damaged: {type(error).__name__}: {error}", 600)
            ) from error
        if generator is not None:
            editors.check(generator)
        return editors

    def _each(self, change: Callable[[Editor], Editor]) -> Editors:
        return Editors({n: change(e) for n, e in self._editors.items()}, self.provenance)


def load_editors(method: str, generator: str = DEFAULT) -> Editors:
    """The editors that ship with the package; UnknownNameError lists the sets there are.

    They are what the method's notebook saved in the laptop profile (`provenance` says when):
    "interfacegan", "sdd", …; "transformers" are those of Yao et al. (2021).
    """
    if str(method).endswith((".safetensors", ".npy", ".pt", ".pth")) or "/" in str(method):
        raise ValueError(
            f"load_editors takes the name of a set that ships, given {str(method)!r}. A file that "
            "facenb saved is read by Editors.load(path), directions of others (.npy, .pt) by "
            "facenb.editors.read_directions(path)."
        )
    files = sorted(data_path("__init__.py").parent.glob("*_*.safetensors"))
    sets = {f.stem: f for f in files if Saved.kind_of(f) in (_KIND, *OLDER)}
    if f"{method}_{generator}" not in sets:
        listed = ["{} ({})".format(*name.split("_", 1)) for name in sets]
        raise unknown("set of editors", f"{method} ({generator})", listed)
    return Editors.load(sets[f"{method}_{generator}"])
