"""What an explorer is given, checked at once: a wrong editor must not wait for its first slider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from facenb.editors import (
    Editor,
    Editors,
    LayerEditor,
    LinearEditor,
    ScaledEditor,
    read_editors,
)
from facenb.errors import SpaceError, check_finite
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.scorers import ScorerSuite

_SMALL = 0.1  # the strength of a trial edit: some editors walk, and farther takes longer


def as_editors(given: object, generator: Generator) -> dict[str, Editor]:
    """Editors by name from `Editors`, another mapping, a fitted method, or several editors.

    Raises:
        TypeError: none of these. ValueError: two editors of one name.
        FacenbError: a set that says that it was made for another generator.
    """
    if callable(getattr(given, "editors", None)):
        given = given.editors()
    if isinstance(given, Editors):
        given.check(generator)
    if isinstance(given, Mapping):
        editors = dict(given)
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes | Tensor):
        listed = list(given)
        editors = {getattr(editor, "name", None): editor for editor in listed}
        if len(editors) < len(listed):
            raise ValueError("explorer: expected editors of different names, or a mapping of them.")
    else:
        editors = {None: given}
    for name, editor in editors.items():
        if not isinstance(name, str) or not isinstance(editor, Editor):
            raise TypeError(
                "explorer: expected editors by name, a set of them or several editors, given "
                f"{type(editor).__name__}{'' if name is None else f' as {name!r}'}."
            )
    return editors


def read_loaded(
    path: str | PathLike[str], generator: Generator, known: Mapping[str, Editor]
) -> dict[str, Editor]:
    """The editors in a file of directions, under names that are not taken."""
    found = {}
    for name, editor in read_editors(path, generator).items():
        title, count = name, 1
        while title in known or title in found:
            count += 1
            title = f"{name} {count}"
        found[title] = replace(editor, name=title)
    return found


def as_codes(given: object, generator: Generator, space: str | None) -> Latents:
    """The latents to start from, in float32 on the generator's device.

    Arrays carry no space, so that there is a rule: (N, L, d) is of "w+"; (N, d), and (d,) for one
    latent, are of `space`, that of the editors, where that is "z" or "w".

    Raises:
        TypeError: neither Latents nor an array of floating numbers.
        ValueError, SpaceError: a shape or a space that the generator does not have.
    """
    if isinstance(given, Latents):
        codes = given
    else:
        values = given
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            values = torch.from_numpy(given.astype(np.float32))
        if not isinstance(values, Tensor) or not values.is_floating_point():
            kind = getattr(given, "dtype", type(given).__name__)
            raise TypeError(
                "latents: expected facenb.Latents, or a tensor or NumPy array of floating numbers, "
                f"given {kind}."
            )
        values = values[None] if values.ndim == 1 else values
        if values.ndim == 2 and space not in ("z", "w"):
            raise SpaceError(
                f"latents: an array of shape {tuple(values.shape)} could be of 'z' or of 'w'. Say "
                "which: Latents(values, 'w'). One latent of 'w+' has the shape (1, L, d)."
            )
        codes = Latents(values, "w+" if values.ndim == 3 else space)
    codes = codes.with_values(codes.values.detach().to(generator.device, torch.float32))
    if codes.space not in generator.spaces:
        raise SpaceError(
            f"latents: given some in space {codes.space!r}; {generator.name} has "
            f"{', '.join(map(repr, generator.spaces))}."
        )
    expected = (generator.dim(codes.space),)
    if codes.space == "w+":
        expected = (generator.w_layers, *expected)
    if codes.values.shape[1:] != expected:
        advice = ""
        if codes.values.shape[1:] == (18, 512) and hasattr(generator, "from_stylegan2"):
            advice = " Those of StyleGAN2-1024: Latents(generator.from_stylegan2(values), 'w+')."
        raise ValueError(
            f"latents: expected (N, {', '.join(map(str, expected))}) in space "
            f"{codes.space!r} of {generator.name}, given {tuple(codes.values.shape)}.{advice}"
        )
    return codes


def common_space(editors: Mapping[str, Editor], generator: Generator, codes: Latents | None) -> str:
    """The space in which all the editors can act on these latents, or on the generator's own.

    Editors of "w" act in "w+" as well (`lifted`), and latents are mapped where there is a way.

    Raises SpaceError where there is none.
    """
    spaces = {editor.space for editor in editors.values()}
    if len(spaces) > 1 and spaces != {"w", "w+"}:
        listed = ", ".join(map(repr, sorted(spaces)))
        raise SpaceError(
            f"explorer: expected editors of one space, or of 'w' and 'w+', given {listed}."
        )
    space = "w+" if "w+" in spaces else spaces.pop()
    if space not in generator.spaces:
        raise SpaceError(
            f"explorer: the editors work in space {space!r}; {generator.name} has "
            f"{', '.join(map(repr, generator.spaces))}."
        )
    if codes is None or codes.space in ("z", space) or (codes.space, space) == ("w", "w+"):
        return space
    if (codes.space, space) == ("w+", "w"):
        return "w+"
    raise SpaceError(
        f"explorer: the latents are in space {codes.space!r} and the editors work in {space!r}, to "
        f"which there is no way back. Give latents in {space!r}, or editors of {codes.space!r}."
    )


def lifted(editor: Editor, space: str, generator: Generator) -> Editor:
    """`editor` itself where it is of `space`; one of "w" as what does the same in all of "w+"."""
    if editor.space == space or space != "w+":
        return editor
    if isinstance(editor, ScaledEditor):
        return replace(editor, editor=lifted(editor.editor, space, generator))
    if isinstance(editor, LinearEditor):
        return replace(editor, space="w+")
    return LayerEditor(editor, (0, generator.w_layers))


def check_editors(editors: Mapping[str, Editor], generator: Generator, code: Latents) -> None:
    """Raise ValueError for an editor that cannot edit `code`, a batch of one of the generator."""
    dim, layers = generator.dim(code.space), generator.w_layers
    for name, editor in editors.items():
        direction = getattr(editor, "direction", None)
        if isinstance(direction, Tensor) and direction.shape != (dim,):
            raise ValueError(
                f"explorer: {name!r} is a direction of {direction.numel()} dimensions, and "
                f"{generator.name} has {dim} in space {code.space!r}: it was made for another "
                "generator."
            )
        part = getattr(editor, "layers", None)
        if part is not None and not 0 <= part[0] < part[1] <= layers:
            raise ValueError(
                f"explorer: {name!r} edits layers {part[0]} to {part[1]}, and {generator.name} has "
                f"{layers}."
            )
        if isinstance(editor, LinearEditor):
            continue
        try:
            with torch.no_grad():
                edited = editor.edit(code, _SMALL)
            if edited.values.shape != code.values.shape:
                raise ValueError(f"it gives {tuple(edited.values.shape)}")
        except (ValueError, RuntimeError, IndexError) as error:
            raise ValueError(
                f"explorer: {name!r} cannot edit a latent {tuple(code.values.shape)} of "
                f"{generator.name} in space {code.space!r}: {error}"
            ) from error


def check_scorers(generator: Generator, scorers: ScorerSuite | None, scores: Tensor | None) -> None:
    """Raise ValueError for scorers of another framing, and unless `scores` are (N, K) of K scorers.

    Both may be None; N ≥ 2.
    """
    if scorers is None:
        return
    framing = getattr(scorers, "framing", generator.framing)
    if framing != generator.framing:
        raise ValueError(
            f"explorer: {generator.name} frames its images as {generator.framing!r}, the scorers "
            f"expect {framing!r}. Load them with framing=generator.framing."
        )
    if scores is None:
        return
    shape, columns = tuple(scores.shape), len(scorers.names)
    if len(shape) != 2 or shape[0] < 2 or shape[1] != columns:
        raise ValueError(
            f"explorer: expected reference_scores (N, {columns}) of at least 2 faces, a column for "
            f"each scorer, given shape {shape}."
        )
    check_finite(scores, "reference_scores")
