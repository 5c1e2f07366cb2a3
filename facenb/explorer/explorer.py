"""The live editor: sliders, before and after, scores; in a notebook or from plain Python."""

from __future__ import annotations

import re
import secrets
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from os import PathLike
from pathlib import Path

from IPython.display import Image as SavedPicture
from IPython.display import display
from PIL import Image
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import unknown
from facenb.explorer import pictures
from facenb.explorer.controls import Controls
from facenb.explorer.engine import Engine
from facenb.explorer.latest import event_loop_runs
from facenb.explorer.screen import Screen
from facenb.explorer.state import (
    EditState,
    History,
    SavedEdit,
    check_edit,
    check_face,
    read_edit,
)
from facenb.explorer.view import View
from facenb.files import atomic_write
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.scorers import ScorerSuite

_SWEEP = 16  # pictures in one direction of a GIF


class Explorer:
    """Edit faces with sliders, live. At the end of a cell it shows itself.

    Everything that the widgets do can be called as well:

        explorer = Explorer(generator, directions.editors(), load_scorers())
        explorer.hold("glasses")
        explorer.set(smile=2.0, age=-1.0)
        explorer.image                       # the edited face, a PIL picture
        explorer.save_edit("smile.json")

    Args:
        generator: where the faces come from.
        editors: attribute → editor, a slider each; all of one space, applied in this order. Linear
            editors can be held fixed, and any editor can be conditioned on those that are.
        scorers: charts the scores of both pictures; None leaves the chart out.
        seed, index: the first face, `generator.sample(index + 1, seed)[index]`.
        strength_range: sliders go from minus this to plus this, in the units of the editors.
        size: pixels a side of each picture.
        folder: where the buttons save files.
        reference_scores: (N, K) scores of N random faces, whose mean and spread scale the chart;
            without them 64 faces are scored, once and for all.
    """

    def __init__(
        self,
        generator: Generator,
        editors: Mapping[str, Editor],
        scorers: ScorerSuite | None = None,
        *,
        seed: int = 0,
        index: int = 0,
        strength_range: float = 3.0,
        size: int = 320,
        folder: str | PathLike[str] = "edits",
        reference_scores: Tensor | None = None,
    ) -> None:
        if not 0 < strength_range < float("inf"):
            raise ValueError(f"strength_range: expected a number > 0, given {strength_range!r}.")
        self._engine = Engine(generator, editors, scorers, reference_scores)
        self._reach, self._folder = float(strength_range), Path(folder)
        self._history = History(EditState(*check_face(seed, index)))
        ends = {a.name: (a.low, a.high) for a in scorers.attributes} if scorers else {}
        self._view = View(editors, self._engine.holdable, ends, self._reach, size)
        # Events come from the kernel's thread or from a subshell's (JupyterLab sends widgets'
        # messages there, so that sliders work while a cell runs), pictures from the workers.
        self._lock = threading.RLock()
        self._screen = Screen(self._engine, self._view, size, self._reach, self._lock)
        self._controls = Controls(self, self._view, self._history, self._lock)
        self._screen.show(self.state)
        self._screen.frame()

    @property
    def state(self) -> EditState:
        """The face, the strengths and what is held."""
        return self._history.state

    @property
    def latents(self) -> Latents:
        """The edited code, a batch of one."""
        return self._engine.edited(self.state)

    @property
    def image(self) -> Image.Image:
        """The edited face."""
        return self._screen.pair()[1]

    @property
    def original(self) -> Image.Image:
        """The face before the edit."""
        return self._screen.pair()[0]

    def set(self, **strengths: float) -> None:
        """Move sliders, `set(smile=2.0, age=-1.0)`; those not named stay where they are."""
        self._change(self._moved(strengths))

    def drag(self, name: str, strength: float) -> None:
        """`set` for one of many positions of a slider on its way: undo takes them all back."""
        self._change(self._moved({name: strength}), group=name)

    def hold(self, *names: str) -> None:
        """Hold exactly these attributes fixed while others are edited; no name lets all go."""
        self._change(replace(self.state, held=frozenset(names)))

    def go_to(self, seed: int, index: int = 0) -> None:
        """Another face, with the same edit."""
        seed, index = check_face(seed, index)
        self._change(replace(self.state, seed=seed, index=index))

    def randomise(self) -> None:
        """A face at random, with the same edit."""
        self.go_to(secrets.randbelow(1_000_000))

    def reset(self) -> None:
        """The same face with every slider at 0 and nothing held."""
        self._change(EditState(self.state.seed, self.state.index))

    def undo(self) -> None:
        """Back by one change; a drag of a slider is one change."""
        self._step(self._history.undo)

    def redo(self) -> None:
        """Forward again after undo."""
        self._step(self._history.redo)

    def render(self) -> None:
        """Return when pictures and scores show the newest state; raises what drawing raised."""
        self._screen.wait()

    def save_png(self, path: str | PathLike[str] | None = None) -> Path:
        """Save before and after side by side; returns the path."""
        return self._write(path, ".png", self._before_and_after())

    def save_gif(self, path: str | PathLike[str] | None = None, name: str | None = None) -> Path:
        """Save a sweep of `name` (the attribute moved last), low to high and back, 30 frames."""
        name = name or self._screen.strip_of
        there = self._screen.sweep(name, _SWEEP)
        return self._write(path, f"_sweep-{name}.gif", pictures.to_gif(there + there[-2:0:-1]))

    def save_edit(self, path: str | PathLike[str] | None = None) -> Path:
        """Save the edit as JSON: what makes it, and the code that came out; returns the path."""
        generator, code = self._engine.generator, self.latents.values[0].tolist()
        made_on = (generator.name, generator.fingerprint, self._engine.space)
        return self._write(path, ".json", SavedEdit(self.state, *made_on, code).to_json() + "\n")

    def load_edit(self, path: str | PathLike[str]) -> None:
        """Show an edit that `save_edit` wrote; nothing changes when it cannot be shown.

        Raises:
            FacenbError: not an edit, or made with another generator.
            UnknownNameError, SpaceError: with an editor that is not here, or in another space.
            ValueError: with a strength beyond the sliders.

        Warns when the editors here make another code of it than the editors it was saved with.
        """
        self.load_text(Path(path).read_text(encoding="utf-8", errors="replace"), str(path))

    def load_text(self, text: str, source: str) -> None:
        """`load_edit` for the content of a file; `source` names it in errors."""
        generator, saved = self._engine.generator, read_edit(text, source)
        made_on = (generator.name, generator.fingerprint, self._engine.space)
        check_edit(saved, source, *made_on, self._engine.editors)
        self._change(saved.state)
        if not saved.same_code(self.latents.values.flatten().tolist()):
            warnings.warn(
                f"{source}: the editors here are not those that this edit was saved with, so the "
                "picture is not the one that was saved.",
                stacklevel=2,
            )

    def _ipython_display_(self) -> None:
        # Without a kernel a saved notebook shows the picture, and readers that know no widgets show
        # the text; where the widget is alive, its style sheet hides the picture.
        display(SavedPicture(self._before_and_after()))
        widget = self._view.root._repr_mimebundle_()
        display(widget | {"text/plain": "The live editor: run this cell in JupyterLab."}, raw=True)

    def _before_and_after(self) -> bytes:
        return pictures.to_png(pictures.side_by_side(self._screen.pair()))

    def _write(self, path: str | PathLike[str] | None, suffix: str, content: bytes | str) -> Path:
        """Write to `path`, or to a file in the folder that is named after the edit."""
        if path is None:
            title = re.sub(r"[^\w.+-]", "-", self.state.title + suffix)
            if len(title) > 100:  # a dozen sliders: longer than some file systems take
                digest = sha256(title.encode()).hexdigest()[:10]
                title = f"{title[:60]}_{digest}{Path(suffix).suffix}"
            path = self._folder / title
        atomic_write(path, content)
        return Path(path)

    def _moved(self, strengths: Mapping[str, float]) -> EditState:
        state = self.state
        for name, strength in strengths.items():
            if name not in self._engine.editors:
                raise unknown("editor", name, self._engine.editors)
            state = state.with_strength(name, float(strength))
        return state

    def _change(self, state: EditState, group: str | None = None) -> None:
        """Go to `state`, or raise and leave everything as it is."""
        self._check(state)
        before = self.state.strengths
        moved = [n for n in state.strengths if state.strengths[n] != before.get(n)]
        self._screen.strip_of = next(reversed(moved), self._screen.strip_of)
        strengths = {n: state.strengths[n] for n in self._engine.editors if n in state.strengths}
        state = replace(state, strengths=strengths)
        self._step(lambda: self._history.push(state, group))

    def _check(self, state: EditState) -> None:
        for name, strength in state.strengths.items():
            if not abs(strength) <= self._reach:  # refuses NaN as well
                raise ValueError(
                    f"{name}: expected a strength from {-self._reach:g} to {self._reach:g}, given "
                    f"{strength:g}. Explorer(…, strength_range=…) sets the range."
                )
        self._engine.check(state)

    def _step(self, step: Callable[[], None]) -> None:
        with self._lock:
            step()
            self._view.say("")
            self._controls.sync()
        self._screen.show(self.state)
        if not event_loop_runs():  # plain Python: nobody would come back for the frame
            self._screen.wait()
