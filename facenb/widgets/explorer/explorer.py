"""The live editor: sliders, before and after, scores; in a notebook or from plain Python."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
from IPython.display import Image as SavedPicture
from IPython.display import display
from PIL import Image
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import FacenbError, names_of, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.scorers import ScorerSuite
from facenb.widgets.explorer import pictures
from facenb.widgets.explorer.charts import ScoreChart
from facenb.widgets.explorer.controls import Controls
from facenb.widgets.explorer.edit_files import EditFiles
from facenb.widgets.explorer.engine import Engine
from facenb.widgets.explorer.groups import described, grouped
from facenb.widgets.explorer.inputs import as_editors, read_loaded
from facenb.widgets.explorer.screen import Screen
from facenb.widgets.explorer.sliders import LOADED, SliderPanel
from facenb.widgets.explorer.state import EditState, History, check_face
from facenb.widgets.explorer.view import View
from facenb.widgets.latest import WORKERS, event_loop_runs
from facenb.widgets.live import forget, keep

_PARTS = ("_engine", "_screen", "_view", "_controls", "_history")


class Explorer(EditFiles):
    """Edit faces with sliders, live. At the end of a cell it shows itself.

    Everything that the widgets do can be called as well:

        explorer = Explorer(generator, directions, load_scorers())
        explorer.condition_on("glasses")
        explorer.set(smile=2.0, age=-1.0)
        explorer.image                       # the edited face, a PIL image
        explorer.save_edit("smile.json")
        explorer.close()                     # frees widgets, threads and the generator

    Run again, a cell closes the explorer that it showed before.

    Args:
        generator: where the faces come from.
        editors: `Editors`, another mapping from attributes to editors, or a fitted method; a slider
            each, applied in this order. All are of one space, or of "w" and "w+". Linear editors
            can be held fixed, and any editor can be conditioned on those that are.
        scorers: charts the scores of both images; None leaves the chart out.
        latents: some of one's own to start from, in place of seeds: Latents, or an array. An array
            (N, L, d) is of "w+"; (N, d), and (d,) for one latent, are of the editors' space.
        directions: a `.npy` or `.pt` file of directions of W learned elsewhere, with sliders in a
            group of their own.
        seed, index: the first face, `generator.sample(index + 1, seed)[index]` with a seed from 0
            to 2**63 − 1; with `latents`, latent `index`.
        strength_range: sliders go from minus this to plus this, in the units of the editors.
        size: pixels a side of each image on the page, where there is room. Files have all pixels.
        folder: where the buttons save files.
        reference_scores: (N, K) scores of N random faces, whose mean and spread scale the chart;
            without them 64 faces are scored, once and for all.

    Raises:
        ValueError, SpaceError, FacenbError: editors or latents of another dimension, space or
            generator, with what was given and expected.
    """

    def __init__(
        self,
        generator: Generator,
        editors: Mapping[str, Editor] | Iterable[Editor] = (),
        scorers: ScorerSuite | None = None,
        *,
        latents: Latents | Tensor | np.ndarray | None = None,
        directions: str | PathLike[str] | None = None,
        seed: int = 0,
        index: int = 0,
        strength_range: float = 3.0,
        size: int = 400,
        folder: str | PathLike[str] = "edits",
        reference_scores: Tensor | None = None,
    ) -> None:
        if not 0 < strength_range < float("inf"):
            raise ValueError(f"strength_range: expected a number > 0, given {strength_range!r}.")
        self._reach, self._size, self._folder = float(strength_range), size, Path(folder)
        named = as_editors(editors, generator)
        loaded = {} if directions is None else read_loaded(directions, generator, named)
        engine = Engine(generator, named | loaded, scorers, reference_scores, latents)
        self._engine = engine
        self._history = History(EditState(*self._face(seed, index)))
        attributes = scorers.attributes if scorers else ()
        about = described(named, attributes)
        groups = grouped(named, about) | ({LOADED: list(loaded)} if loaded else {})
        sliders = SliderPanel(groups, engine.holdable, about, self._reach)
        self._view = View(sliders, ScoreChart(attributes).choices, size, engine.own_codes)
        # Events come from the kernel's thread or from a subshell's (JupyterLab sends widgets'
        # messages there, so that sliders work while a cell runs), images from the workers.
        self._lock = threading.RLock()
        self._close = weakref.finalize(self, _release, self._view)
        self._close.atexit = False
        for worker in WORKERS:
            worker.hire()
        self._screen = Screen(engine, self._view, size, self._reach, self._lock)
        self._controls = Controls(self, self._view, self._history, self._lock)
        self._screen.show(self.state)
        self._screen.preview()

    @property
    def state(self) -> EditState:
        """The face, the strengths and what is held."""
        return self._history.state

    @property
    def latents(self) -> Latents:
        """The edited latent, a batch of one."""
        return self._engine.edited(self.state)

    @property
    def image(self) -> Image.Image:
        """The edited face, with all its pixels."""
        return self._screen.pair()[1]

    @property
    def original(self) -> Image.Image:
        """The face before the edit, with all its pixels."""
        return self._screen.pair()[0]

    def set(self, **strengths: float) -> None:
        """Move sliders, `set(smile=2.0, age=-1.0)`; those not named stay where they are."""
        self._change(self._moved(strengths))

    def drag(self, name: str, strength: float) -> None:
        """`set` for one of many positions of a slider on its way: undo takes them all back."""
        self._change(self._moved({name: strength}), group=name)

    def condition_on(self, *names: str | Iterable[str]) -> None:
        """Hold exactly these attributes fixed while others are edited; no name lets all go."""
        held = names_of(names[0] if len(names) == 1 else names, "condition_on")
        self._change(replace(self.state, held=frozenset(held)))

    def go_to(self, seed: int | None = None, index: int = 0) -> None:
        """Another face, with the same edit: of a seed, or another of one's own latents."""
        seed, index = self._face(seed, index)
        self._change(replace(self.state, seed=seed, index=index))

    def randomise(self) -> None:
        """A face at random, with the same edit."""
        codes = self._engine.own_codes
        if codes > 1:
            others = [i for i in range(codes) if i != self.state.index]
            self.go_to(index=secrets.choice(others))
        elif not codes:
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

    def load_directions(self, path: str | PathLike[str]) -> list[str]:
        """Sliders for the directions of W in a `.npy` or `.pt` file; returns their names.

        Raises as `facenb.editors.direction_files.read_editors`, and adds nothing then.
        """
        added = read_loaded(path, self._engine.generator, self._engine.editors)
        with self._lock:
            self._engine.add(added)
            self._view.sliders.add({LOADED: list(added)}, self._engine.holdable)
        return list(added)

    def render(self) -> None:
        """Return when images and scores show the newest state; raises what drawing raised."""
        self._screen.wait()

    def close(self) -> None:
        """Free the widgets, the threads and the generator. The explorer cannot be used any more."""
        if self._close.alive:
            self._screen.close()
            self._close()
            for part in _PARTS:
                delattr(self, part)
        forget(self)

    def _ipython_display_(self) -> None:
        # Without a kernel a saved notebook shows the picture, and readers that know no widgets show
        # the text; where the widget is alive, its style sheet hides the picture.
        keep(self, self.close)
        small = [p.resize((self._size, self._size)) for p in self._screen.pair()]
        display(SavedPicture(pictures.to_png(pictures.side_by_side(small))))
        widget = self._view.root._repr_mimebundle_()
        display(widget | {"text/plain": "The live editor: run this cell in JupyterLab."}, raw=True)

    def __getattr__(self, name: str) -> object:
        if name in _PARTS and not self._close.alive:
            raise FacenbError("this Explorer is closed: make a new one.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _face(self, seed: int | None, index: int) -> tuple[int | None, int]:
        """Seed and index as a state has them, checked."""
        if not (codes := self._engine.own_codes):
            return check_face(seed, index)
        if seed:
            raise ValueError(f"seed: the faces here are your own latents, given seed {seed!r}.")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < codes:
            raise ValueError(
                f"index: expected a whole number from 0 to {codes - 1}, given {index!r}."
            )
        return None, index

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
        if event_loop_runs():
            self._screen.show(self.state)
        else:  # plain Python: nobody would come back for the image
            self._screen.show_full(self.state)
            self._screen.wait()


def _release(view: View) -> None:
    """What an explorer has that it alone cannot free, when it is closed or nobody needs it."""
    view.close()
    for worker in WORKERS:
        worker.release()
