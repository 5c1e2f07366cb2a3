"""The JSON form of an edit: what made it, on what, and the latent that came out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facenb.errors import FacenbError, SpaceError, unknown
from facenb.widgets.explorer.state import EditState, check_face

FORMAT = "facenb-edit-1"
_ROUNDING = 1e-3  # of another processor, in units of the latent
_KINDS = {"generator": dict, "space": str, "strengths": dict, "held": list, "code": list}


@dataclass(frozen=True)
class SavedEdit:
    """An edit with what it was made on.

    Attributes:
        state: the face, the strengths and what is held.
        generator, fingerprint, space: what it was made on.
        code: the edited code, d numbers or L lists of them.
        start: the unedited latent where that was one of the explorer's own, which no seed gives.
    """

    state: EditState
    generator: str
    fingerprint: str
    space: str
    code: list
    start: list | None = None

    def same_code(self, code: Tensor) -> bool:
        """Whether the saved latent is this one, (1, d) or (1, L, d), but for rounding."""
        return _same(self.code, code)

    def same_start(self, code: Tensor) -> bool:
        """Whether the edit began with this latent, but for rounding."""
        return self.start is not None and _same(self.start, code)

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "generator": {"name": self.generator, "fingerprint": self.fingerprint},
                "space": self.space,
                "seed": self.state.seed,
                "index": self.state.index,
                "strengths": dict(self.state.strengths),
                "held": sorted(self.state.held),
                "code": self.code,
                **({} if self.start is None else {"start": self.start}),
            },
            indent=1,
        )


def read_edit(text: str, source: str) -> SavedEdit:
    """What `SavedEdit.to_json` wrote, checked; `source` names it in errors.

    Raises FacenbError when the text is something else, or holds a value of the wrong kind.
    """

    def refuse(expected: str, given: object) -> FacenbError:
        return FacenbError(f"{source}: expected {expected}, given {given!r:.80}.")

    def not_finite(literal: str) -> float:
        raise refuse("finite numbers", literal)

    def number(value: Any, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise refuse(f"a finite number as {what}", value)
        return float(value)

    def code(value: list, what: str) -> list:
        nested = bool(value) and all(isinstance(row, list) for row in value)
        rows = value if nested else [value]
        if not rows[0] or len({len(row) for row in rows}) > 1:
            raise refuse(f"{what} as d numbers or L lists of d numbers", value)
        rows = [[number(x, f"part of the {what}") for x in row] for row in rows]
        return rows if nested else rows[0]

    try:
        # Python's reader takes NaN and Infinity, which are not JSON
        edit = json.loads(text, parse_constant=not_finite)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FacenbError(f"{source}: expected an edit saved as JSON: {error}.") from error
    except ValueError as error:  # a whole number of more digits than Python reads
        raise FacenbError(f"{source}: expected finite numbers: {error}.") from error
    if not isinstance(edit, dict):
        raise refuse("a JSON object", edit)
    if edit.get("format") != FORMAT:
        raise refuse(f"format {FORMAT!r}", edit.get("format"))
    for key, kind in _KINDS.items():
        if not isinstance(edit.get(key), kind):
            raise refuse(f"{key!r} as a JSON {kind.__name__}", edit.get(key))
    made_on = [edit["generator"].get(key) for key in ("name", "fingerprint")]
    for value in (*made_on, *edit["held"]):
        if not isinstance(value, str):
            raise refuse("text as the name of a generator or attribute", value)
    start = edit.get("start")
    if start is not None and not isinstance(start, list):
        raise refuse("'start' as a JSON list", start)
    own = start is not None  # then no seed gives the face
    try:
        seed, index = check_face(0 if own else edit.get("seed"), edit.get("index"))
    except ValueError as error:
        raise FacenbError(f"{source}: {error}") from error
    strengths = {name: number(s, f"strength of {name!r}") for name, s in edit["strengths"].items()}
    strengths = {name: strength for name, strength in strengths.items() if strength}
    state = EditState(None if own else seed, index, strengths, frozenset(edit["held"]))
    edited, start = code(edit["code"], "code"), code(start, "start") if own else None
    return SavedEdit(state, *made_on, edit["space"], edited, start)


def check_edit(
    edit: SavedEdit, source: str, generator: str, fingerprint: str, space: str, names: Iterable[str]
) -> None:
    """Raise unless `edit` was made with this generator, in this space, with editors named here.

    An edit of w can be shown where the editors work in w+: there it is the same in every layer.

    Raises FacenbError (another generator), SpaceError or UnknownNameError (unknown editor).
    """
    names = list(names)
    if (edit.generator, edit.fingerprint) != (generator, fingerprint):
        raise FacenbError(
            f"{source}: this edit was made with generator {edit.generator!r} "
            f"({edit.fingerprint}), here is {generator!r} ({fingerprint}). "
            f"Load that generator, then the edit."
        )
    if edit.space != space and (edit.space, space) != ("w", "w+"):
        raise SpaceError(
            f"{source}: this edit was made in space {edit.space!r}, the editors here work in space "
            f"{space!r}."
        )
    for name in [*edit.state.strengths, *sorted(edit.state.held)]:
        if name not in names:
            raise unknown("editor", name, names)


def _same(saved: list, code: Tensor) -> bool:
    values = torch.tensor(saved, dtype=torch.float64)
    code = code[0].detach().double().cpu()
    if values.ndim < code.ndim:  # one of w, in every layer of w+
        values = values.expand(len(code), -1)
    return values.shape == code.shape and bool((values - code).abs().max() < _ROUNDING)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of a thousand digits
        return False
