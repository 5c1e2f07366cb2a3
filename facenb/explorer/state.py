"""The state of an edit, its history, and its JSON form. Nothing here draws or computes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from facenb.errors import FacenbError, SpaceError, unknown

FORMAT = "facenb-edit-1"
LARGEST_SEED = 2**63 - 1  # what torch.Generator.manual_seed takes


@dataclass(frozen=True)
class EditState:
    """A starting face and what is done to it.

    Args:
        seed, index: the face is `generator.sample(index + 1, seed)[index]`.
        strengths: attribute → strength, in the units of the editor; attributes at 0 are left out.
        held: the attributes that the other edits must leave alone.
    """

    seed: int = 0
    index: int = 0
    strengths: Mapping[str, float] = field(default_factory=dict)
    held: frozenset[str] = frozenset()

    def with_strength(self, name: str, strength: float) -> EditState:
        """The same edit with `name` at `strength`."""
        strengths = {key: value for key, value in self.strengths.items() if key != name}
        return replace(self, strengths=strengths | ({name: strength} if strength else {}))

    @property
    def face(self) -> str:
        """The starting face as the seed box shows it: "7", or "7:3" for index 3."""
        return f"{self.seed}:{self.index}" if self.index else str(self.seed)

    @property
    def title(self) -> str:
        """A short name for files: "seed7_smile+2_yaw-1.5_hold-glasses"."""
        parts = [f"seed{self.face.replace(':', '-')}"]
        parts += [f"{name}{strength:+g}" for name, strength in self.strengths.items()]
        parts += [f"hold-{name}" for name in sorted(self.held)]
        return "_".join(parts)


def parse_face(text: str) -> tuple[int, int]:
    """(seed, index) from "7" or "7:3"; ValueError says what is wrong with other text."""
    seed, colon, index = (part.strip() for part in text.partition(":"))
    if not _is_count(seed) or (colon and not _is_count(index)):
        raise ValueError(
            f"seed: expected a whole number such as 7, or 7:3 for face 3 of seed 7, given {text!r}."
        )
    return check_face(int(seed), int(index or 0))


def check_face(seed: int, index: int) -> tuple[int, int]:
    """The same two numbers; ValueError for one that no generator can sample from."""
    # every face before `index` is drawn too, and a typing error should not fill the memory
    for what, value, limit in (("seed", seed, LARGEST_SEED), ("index", index, 99_999)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise ValueError(f"{what}: expected a whole number from 0 to {limit}, given {value!r}.")
    return seed, index


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal()


class History:
    """Undo and redo over states.

    A drag of one slider is one step: changes of the same `group` that follow each other within
    `pause` seconds replace each other.
    """

    def __init__(
        self, state: EditState, pause: float = 0.7, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = state
        self._pause, self._clock = pause, clock
        self._past: list[EditState] = []
        self._future: list[EditState] = []
        self._group, self._time = None, -math.inf

    def push(self, state: EditState, group: str | None = None) -> None:
        """Go to `state`; undo comes back to where this group of changes began."""
        if state == self.state:
            return
        now = self._clock()
        if group is None or group != self._group or now - self._time > self._pause:
            self._past.append(self.state)
        self._future.clear()
        self.state, self._group, self._time = state, group, now

    def undo(self) -> None:
        """Back by one step; nothing happens at the beginning."""
        self._move(self._past, self._future)

    def redo(self) -> None:
        """Forward by one step; nothing happens at the end."""
        self._move(self._future, self._past)

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def _move(self, source: list[EditState], target: list[EditState]) -> None:
        if source:
            target.append(self.state)
            self.state, self._group = source.pop(), None


@dataclass(frozen=True)
class SavedEdit:
    """An edit with what it was made on, and the code (d) or (L, d) that came out."""

    state: EditState
    generator: str
    fingerprint: str
    space: str
    code: list

    def same_code(self, numbers: Sequence[float]) -> bool:
        """Whether the saved code is this one, but for rounding; `numbers` in one flat sequence."""
        saved = _flatten(self.code)
        close = (abs(a - b) < 1e-3 for a, b in zip(saved, numbers, strict=False))
        return len(saved) == len(numbers) and all(close)

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

    try:
        # Python's reader takes NaN and Infinity, which are not JSON
        edit = json.loads(text, parse_constant=not_finite)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FacenbError(f"{source}: expected an edit saved as JSON: {error}.") from error
    if not isinstance(edit, dict):
        raise refuse("a JSON object", edit)
    if edit.get("format") != FORMAT:
        raise refuse(f"format {FORMAT!r}", edit.get("format"))
    kinds = {"generator": dict, "space": str, "strengths": dict, "held": list, "code": list}
    for key, kind in kinds.items():
        if not isinstance(edit.get(key), kind):
            raise refuse(f"{key!r} as a JSON {kind.__name__}", edit.get(key))
    made_on = [edit["generator"].get(key) for key in ("name", "fingerprint")]
    for value in (*made_on, *edit["held"]):
        if not isinstance(value, str):
            raise refuse("text as the name of a generator or attribute", value)
    try:
        seed, index = check_face(edit.get("seed"), edit.get("index"))
    except ValueError as error:
        raise FacenbError(f"{source}: {error}") from error
    strengths = {name: number(s, f"strength of {name!r}") for name, s in edit["strengths"].items()}
    for value in _flatten(edit["code"]):
        number(value, "part of the code")
    state = EditState(
        seed, index, {k: s for k, s in strengths.items() if s}, frozenset(edit["held"])
    )
    return SavedEdit(state, *made_on, edit["space"], edit["code"])


def check_edit(
    edit: SavedEdit, source: str, generator: str, fingerprint: str, space: str, names: Iterable[str]
) -> None:
    """Raise unless `edit` was made with this generator, in this space, with editors named here.

    Raises FacenbError (another generator), SpaceError or UnknownNameError (unknown editor).
    """
    names = list(names)
    if (edit.generator, edit.fingerprint) != (generator, fingerprint):
        raise FacenbError(
            f"{source}: this edit was made with generator {edit.generator!r} "
            f"({edit.fingerprint[:8]}), here is {generator!r} ({fingerprint[:8]}). "
            f"Load that generator, then the edit."
        )
    if edit.space != space:
        raise SpaceError(
            f"{source}: this edit was made in space {edit.space!r}, the editors here work in space "
            f"{space!r}."
        )
    for name in [*edit.state.strengths, *sorted(edit.state.held)]:
        if name not in names:
            raise unknown("editor", name, names)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of a thousand digits
        return False


def _flatten(values: list) -> list:
    return [leaf for v in values for leaf in (_flatten(v) if isinstance(v, list) else [v])]
