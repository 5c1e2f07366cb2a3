"""From an edit state to pictures and scores: all the computing of the explorer, no widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from facenb.cache import cached
from facenb.editors import Editor, LinearEditor, hold
from facenb.errors import SpaceError, UnknownNameError, check_finite, unknown
from facenb.explorer.state import EditState
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.sampling import score
from facenb.scorers import ScorerSuite

_REFERENCE = 64  # faces that tell how much a score varies, when nobody gives the scores of more


@dataclass(frozen=True)
class Frame:
    """A drawn state: images (1, 3, R, R) in [−1, 1] without and with the edit."""

    state: EditState
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Scores:
    """Scores (K,) before and after, and the mean and standard deviation (K,) over many faces."""

    before: Tensor
    after: Tensor
    mean: Tensor
    deviation: Tensor


class Engine:
    """Draws and scores states of one generator and one set of editors.

    Raises:
        ValueError: no editors. SpaceError: editors of several spaces, or of one that the generator
            does not have.
    """

    def __init__(
        self,
        generator: Generator,
        editors: Mapping[str, Editor],
        scorers: ScorerSuite | None = None,
        reference_scores: Tensor | None = None,
    ) -> None:
        if not editors:
            raise ValueError("explorer: expected at least one editor, given none.")
        spaces = sorted({editor.space for editor in editors.values()})
        if len(spaces) > 1:
            raise SpaceError(
                f"explorer: expected editors of one space, given {', '.join(map(repr, spaces))}."
            )
        if spaces[0] not in generator.spaces:
            raise SpaceError(
                f"explorer: the editors work in space {spaces[0]!r}; {generator.name} has "
                f"{', '.join(map(repr, generator.spaces))}."
            )
        if reference_scores is not None and scorers is not None:
            expected = len(scorers.names)
            shape = tuple(reference_scores.shape)
            if len(shape) != 2 or shape[0] < 2 or shape[1] != expected:
                raise ValueError(
                    f"explorer: expected reference_scores (N, {expected}) of at least 2 faces, a "
                    f"column for each scorer, given shape {shape}."
                )
            check_finite(reference_scores, "reference_scores")
        self.generator, self.editors, self.scorers = generator, dict(editors), scorers
        self.space = spaces[0]
        self._spread = None if reference_scores is None else _spread(reference_scores)
        # The face on screen seldom changes while its edit does: a small memory of each step
        self.code = lru_cache(4)(self._sample)
        self._image = lru_cache(4)(self._draw_unedited)
        self._score = lru_cache(4)(self._score_unedited)
        self._conditioned = lru_cache(64)(self._condition)

    @property
    def holdable(self) -> list[str]:
        """The editors that can be held fixed: those with a direction."""
        return [name for name, e in self.editors.items() if isinstance(e, LinearEditor)]

    def editor(self, name: str, held: frozenset[str] = frozenset()) -> Editor:
        """The editor called `name`, kept off the directions of the others in `held`.

        Raises UnknownNameError, or ValueError when a held editor has no direction, or when the
        held directions leave nothing of this one.
        """
        if name not in self.editors:
            raise unknown("editor", name, self.editors)
        return self._conditioned(name, held - {name})

    def edited(self, state: EditState) -> Latents:
        """The edited code: the active edits one after the other, in the order of the editors."""
        return self._apply(self.code(state.seed, state.index), state.strengths, state.held)

    def frame(self, state: EditState) -> Frame:
        """The unedited and the edited image."""
        before = self._image(state.seed, state.index)
        after = self.images(self.edited(state)) if state.strengths else before
        return Frame(state, before, after)

    def images(self, latents: Latents) -> Tensor:
        """Images (N, 3, R, R) without gradients."""
        with torch.inference_mode():
            return self.generator.synthesize(latents)

    def sweep(self, state: EditState, name: str, strengths: Sequence[float]) -> Tensor:
        """Images (S, 3, R, R) with `name` at each strength and the other edits as they are."""
        codes = self.code(state.seed, state.index).repeat_interleave(len(strengths))
        each = torch.as_tensor(strengths, dtype=codes.values.dtype)
        return self.images(self._apply(codes, {**state.strengths, name: each}, state.held))

    def scores(self, frame: Frame) -> Scores:
        """The scores of a frame; those of the unedited face are computed once."""
        before = self._score(frame.state.seed, frame.state.index)
        after = before if frame.after is frame.before else self._run_scorers(frame.after)[0]
        return Scores(before, after, *self.spread())

    @property
    def knows_spread(self) -> bool:
        return self._spread is not None

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (K,) of each score over random faces."""
        if self._spread is None:
            generator, scorers = self.generator, self.scorers
            inputs = {"generator": generator.fingerprint, "scorers": scorers.fingerprint}
            faces = generator.sample(_REFERENCE, 0, self.space)
            found = cached(
                "score-spread",
                inputs | {"space": self.space, "faces": _REFERENCE},
                lambda: {"scores": score(generator, scorers, faces)},
            )
            self._spread = _spread(found["scores"])
        return self._spread

    def check(self, state: EditState) -> None:
        """Raise what `edited` would raise for this state, without computing anything."""
        for name in sorted(state.held):
            if name not in self.editors:
                raise unknown("editor", name, self.editors)
            if name not in self.holdable:
                raise ValueError(
                    f"hold: only an editor with a direction can be held, {name!r} has none. "
                    f"Known: {', '.join(self.holdable) or 'none'}."
                )
        for name in state.strengths:
            try:
                self.editor(name, state.held)
            except UnknownNameError:
                raise
            except ValueError as error:
                held = ", ".join(sorted(state.held))
                raise ValueError(f"{name} while {held} is held: {error}") from error

    @torch.no_grad()
    def _apply(
        self, latents: Latents, strengths: Mapping[str, float | Tensor], held: frozenset[str]
    ) -> Latents:
        # in the order of the editors, whatever the order in which sliders were moved: non-linear
        # edits do not commute
        for name in self.editors:
            if name in strengths:
                latents = self.editor(name, held).edit(latents, strengths[name])
        return latents

    def _sample(self, seed: int, index: int) -> Latents:
        return self.generator.sample(index + 1, seed, self.space)[index]

    def _draw_unedited(self, seed: int, index: int) -> Tensor:
        return self.images(self.code(seed, index))

    def _score_unedited(self, seed: int, index: int) -> Tensor:
        return self._run_scorers(self._image(seed, index))[0]

    def _condition(self, name: str, held: frozenset[str]) -> Editor:
        vectors = [self.editors[other].direction for other in sorted(held)]
        return hold(self.editors[name], torch.stack(vectors)) if held else self.editors[name]

    def _run_scorers(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.scorers(images).float().cpu()


def _spread(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K,), the latter never 0 (a score that does not vary)."""
    scores = scores.detach().float().cpu()
    return scores.mean(0), scores.std(0).clamp_min(1e-6)
