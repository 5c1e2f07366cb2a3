"""The state of an edit and its history. Nothing here draws or computes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

LARGEST_SEED, _LARGEST = 2**63 - 1, "2**63 - 1"  # what Generator.sample takes
_LARGEST_INDEX = 99_999  # faces before it are drawn too: a typing error must not fill the memory


@dataclass(frozen=True)
class EditState:
    """A starting face and what is done to it.

    Args:
        seed, index: the face is `generator.sample(index + 1, seed)[index]`; without a seed it is
            latent `index` of the explorer's own.
        strengths: attribute → strength, in the units of the editor; attributes at 0 are left out.
        held: the attributes that the other edits must leave alone.
    """

    seed: int | None = 0
    index: int = 0
    strengths: Mapping[str, float] = field(default_factory=dict)
    held: frozenset[str] = frozenset()

    def with_strength(self, name: str, strength: float) -> EditState:
        """The same edit with `name` at `strength`."""
        strengths = {key: value for key, value in self.strengths.items() if key != name}
        return replace(self, strengths=strengths | ({name: strength} if strength else {}))

    @property
    def face(self) -> str:
        """The starting face as its field shows it: "7", or "7:3" for index 3; "3" for latent 3."""
        if self.seed is None:
            return str(self.index)
        return f"{self.seed}:{self.index}" if self.index else str(self.seed)

    @property
    def title(self) -> str:
        """A short name for files: "seed7_smile+2_yaw-1.5_hold-glasses"."""
        parts = [f"{'code' if self.seed is None else 'seed'}{self.face.replace(':', '-')}"]
        parts += [f"{name}{strength:+g}" for name, strength in self.strengths.items()]
        parts += [f"hold-{name}" for name in sorted(self.held)]
        return "_".join(parts)


def parse_face(text: str) -> tuple[int, int]:
    """(seed, index) from "7" or "7:3"; ValueError says what is wrong with other text."""
    seed, colon, index = (part.strip() for part in text.partition(":"))
    if not _is_count(seed) or (colon and not _is_count(index)):
        raise ValueError(
            f"seed: expected a whole number from 0 to {_LARGEST}, or 7:3 for face 3 of seed 7, "
            f"given {text!r:.40}."
        )
    return check_face(int(seed), int(index or 0))


def check_face(seed: int, index: int) -> tuple[int, int]:
    """The same two numbers; ValueError for one that no generator can sample from."""
    for what, value, limit, text in (
        ("seed", seed, LARGEST_SEED, _LARGEST),
        ("index", index, _LARGEST_INDEX, str(_LARGEST_INDEX)),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise ValueError(
                f"{what}: expected a whole number from 0 to {text}, given {value!r:.40}."
            )
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
