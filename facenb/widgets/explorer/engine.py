"""From an edit state to images and scores: all the computing of the explorer, no widgets."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from facenb.drawing import draw
from facenb.editors import Editor, LinearEditor, condition_on, unscaled
from facenb.errors import UnknownNameError, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.sampling import score
from facenb.scorers import ScorerSuite
from facenb.storage.cache import cached
from facenb.widgets.explorer.inputs import (
    as_codes,
    check_editors,
    check_scorers,
    common_space,
    lifted,
)
from facenb.widgets.explorer.state import EditState

_REFERENCE = 64  # faces that tell how much a score varies, when nobody gives the scores of more
_RECENT = 6  # frames of full size that are kept, some 12 MB each at 1024 pixels


@dataclass(frozen=True)
class Frame:
    """A drawn state: images (1, 3, size, size) in [−1, 1] without and with the edit."""

    state: EditState
    before: Tensor
    after: Tensor

    @property
    def size(self) -> int:
        return self.after.shape[-1]


@dataclass(frozen=True)
class Scores:
    """Scores (K,) before and after, and the mean and standard deviation (K,) over many faces."""

    before: Tensor
    after: Tensor
    mean: Tensor
    deviation: Tensor


class Engine:
    """Draws and scores states of one generator and one set of editors.

    Args:
        generator, editors: as `facenb.widgets.explorer.inputs.as_editors` gives them.
        scorers, reference_scores: as for `Explorer`.
        latents: latents to start from in place of those that the generator samples.

    Raises:
        ValueError: no editors, or one of another dimension. SpaceError: editors of several spaces,
            or of one that the generator does not have or the latents cannot be taken to.
    """

    def __init__(
        self,
        generator: Generator,
        editors: Mapping[str, Editor],
        scorers: ScorerSuite | None = None,
        reference_scores: Tensor | None = None,
        latents: object = None,
    ) -> None:
        if not editors:
            raise ValueError("explorer: expected at least one editor, given none.")
        self.generator, self.scorers = generator, scorers
        check_scorers(generator, scorers, reference_scores)
        self._spread = None if reference_scores is None else _spread(reference_scores)
        self._given = None
        if latents is not None:
            spaces = {editor.space for editor in editors.values()}
            of = spaces.pop() if len(spaces) == 1 else None
            self._given = as_codes(latents, generator, of)
        # The face on screen seldom changes while its edit does: a small memory of each step
        self.code = lru_cache(4)(self._start)
        self._image = lru_cache(8)(self._draw_unedited)
        self._preview = lru_cache(8)(self._preview_unedited)
        self._score = lru_cache(8)(self._score_unedited)
        self._conditioned = lru_cache(64)(self._condition)
        self.editors: dict[str, Editor] = {}
        self.add(editors)

    def add(self, editors: Mapping[str, Editor]) -> None:
        """More editors, or none of them when one does not fit."""
        together = self.editors | dict(editors)
        space = common_space(together, self.generator, self._given)
        together = {n: lifted(editor, space, self.generator) for n, editor in together.items()}
        codes = self._given[0] if self._given is not None else self.generator.sample(1)
        code = self.generator.map(codes, space)
        check_editors({name: together[name] for name in editors}, self.generator, code)
        self.editors, self.space = together, space
        self._edited: tuple[EditState | None, Latents | None] = (None, None)
        self._scored: tuple[EditState | None, Tensor | None] = (None, None)
        self._recent: deque[Frame] = deque(maxlen=_RECENT)
        for memory in (self.code, self._conditioned):
            memory.cache_clear()

    @property
    def own_codes(self) -> int:
        """How many latents were given to start from; 0 where seeds give the faces."""
        return 0 if self._given is None else len(self._given)

    @property
    def full_size(self) -> int:
        """Pixels a side of the image itself."""
        return self.generator.resolution

    @property
    def holdable(self) -> list[str]:
        """The editors that can be held fixed: those with a direction."""
        return [n for n, e in self.editors.items() if isinstance(unscaled(e), LinearEditor)]

    def editor(self, name: str, held: frozenset[str] = frozenset()) -> Editor:
        """The editor called `name`, kept off the directions of the others in `held`.

        Raises UnknownNameError, or ValueError when a held editor has no direction, or when the
        held directions leave nothing of this one.
        """
        if name not in self.editors:
            raise unknown("editor", name, self.editors)
        return self._conditioned(name, held - {name})

    def edited(self, state: EditState) -> Latents:
        """The edited latent: the active edits one after the other, in the order of the editors."""
        state_before, code = self._edited
        if state_before != state:
            code = self._apply(self.code(state.seed, state.index), state.strengths, state.held)
            self._edited = state, code
        return code

    def frame(self, state: EditState, size: int | None = None) -> Frame:
        """The unedited and the edited image, of full size by default."""
        size = size or self.full_size
        after = self.images(self.edited(state), size) if state.strengths else None
        before = self._image(state.seed, state.index, size)
        frame = Frame(state, before, before if after is None else after)
        if size == self.full_size:
            self._recent.append(frame)
        return frame

    def preview(self, state: EditState) -> Frame:
        """What is shown while a slider moves.

        With scorers it is an exact image, because the scores need one in any case: drawing both
        would make the chart wait.
        """
        if self.scorers is not None or self.generator.preview_size == self.full_size:
            return self.frame(state, self.generator.preview_size)
        before = self._preview(state.seed, state.index)
        after = self._preview_of(self.edited(state)) if state.strengths else before
        return Frame(state, before, after)

    def recent(self, state: EditState) -> Frame | None:
        """The frame of full size of a state that was drawn a moment ago: undo goes back to it."""
        return next((frame for frame in self._recent if frame.state == state), None)

    def images(self, latents: Latents, size: int | None = None) -> Tensor:
        """Images (N, 3, size, size) without gradients."""
        with torch.inference_mode():
            return self.generator.synthesize(latents, size)

    def sweep(self, state: EditState, name: str, strengths: Sequence[float], pixels: int) -> Tensor:
        """Images (S, 3, …) with `name` at each strength and the other edits as they are.

        They have at least so many `pixels` a side where the generator can do that.
        """
        codes = self.code(state.seed, state.index).repeat_interleave(len(strengths))
        each = torch.as_tensor(strengths, dtype=codes.values.dtype)
        edited = self._apply(codes, {**state.strengths, name: each}, state.held)
        with torch.inference_mode():
            return draw(self.generator, edited, self.generator.size_for(pixels))

    def scores(self, frame: Frame) -> Scores:
        """The scores of a frame's state, of images of the generator's scoring size."""
        state_before, after = self._scored
        state, size = frame.state, self.generator.scoring_size
        before = self._score(state.seed, state.index)
        if state_before != state:
            if not state.strengths:
                after = before
            elif frame.size == size:
                after = self._run_scorers(frame.after)
            else:
                after = self._run_scorers(self.images(self.edited(state), size))
            self._scored = state, after
        return Scores(before, after, *self.spread())

    @property
    def knows_spread(self) -> bool:
        return self._spread is not None

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (K,) of each score over random faces."""
        if self._spread is None:
            generator, scorers = self.generator, self.scorers
            size = generator.scoring_size
            inputs = {"generator": generator.fingerprint, "scorers": scorers.fingerprint}
            found = cached(
                "score-spread",
                inputs | {"faces": _REFERENCE, "size": size},
                lambda: {"scores": score(generator, scorers, generator.sample(_REFERENCE))},
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
                    f"condition_on: only an editor with a direction can be held, {name!r} has "
                    f"none. Known: {', '.join(self.holdable) or 'none'}."
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

    def _start(self, seed: int | None, index: int) -> Latents:
        if self._given is None:
            return self.generator.sample(index + 1, seed, self.space)[index]
        return self.generator.map(self._given[index], self.space)

    def _draw_unedited(self, seed: int | None, index: int, size: int) -> Tensor:
        return self.images(self.code(seed, index), size)

    def _preview_of(self, latents: Latents) -> Tensor:
        with torch.inference_mode():
            return self.generator.preview(latents)

    def _preview_unedited(self, seed: int | None, index: int) -> Tensor:
        return self._preview_of(self.code(seed, index))

    def _score_unedited(self, seed: int | None, index: int) -> Tensor:
        return self._run_scorers(self._image(seed, index, self.generator.scoring_size))

    def _condition(self, name: str, held: frozenset[str]) -> Editor:
        vectors = [unscaled(self.editors[other]).direction for other in sorted(held)]
        editor = self.editors[name]
        return condition_on(editor, torch.stack(vectors)) if held else editor

    def _run_scorers(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.scorers(images)[0].float().cpu()


def _spread(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K,), the latter never 0 (a score that does not vary)."""
    scores = scores.detach().float().cpu()
    return scores.mean(0), scores.std(0).clamp_min(1e-6)
