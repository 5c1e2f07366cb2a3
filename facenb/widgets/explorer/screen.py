"""Puts states on the explorer's screen: a preview at once, the image and the scores after it.

While a slider moves, states are drawn in preview size, the newest only. When it has rested for a
moment the newest state is drawn in full size, in the same worker thread, so that no preview can
come after the full image of a later state; a full image that is overtaken is given up half-way.
The panel (scores or strip) has another worker. No preview waits for it.
"""

from __future__ import annotations

import contextvars
import threading
import time
from dataclasses import dataclass

import torch
from PIL import Image

from facenb.errors import FacenbError
from facenb.widgets.explorer import pictures
from facenb.widgets.explorer.charts import ScoreChart, strip_chart
from facenb.widgets.explorer.engine import Engine, Frame
from facenb.widgets.explorer.groups import readable
from facenb.widgets.explorer.state import EditState
from facenb.widgets.explorer.view import View
from facenb.widgets.latest import FRAMES, SCORES, Latest, Stopped, until, yielding_to

REST = 0.15  # seconds without a change after which the full image is drawn
# Seconds. For so long a full image waits for the chart, which is sooner done: one after the other,
# both are there before they would be side by side.
_CHART_FIRST = 0.3
# Scores of a state that is no longer the newest are given up when the last chart is younger than
# this, and they let previews go first for no longer than that: in a long drag they come, too.
_YOUNG, _PATIENCE = 0.5, 2.0
_STRIP = 7  # images in a strip
_KEY = "○ before ● after │ average · change in standard deviations"


@dataclass(frozen=True)
class _Asked:
    """A state to be shown; each has its number, since undo shows an equal one again.

    Attributes:
        rested: the time (monotonic, in seconds) at which it will have rested long enough.
    """

    number: int
    state: EditState
    rested: float


class Screen:
    """Draws the newest state into the images and the panel of `view`, in worker threads.

    Args:
        engine, view: what computes, and where it shows.
        size: pixels a side of each image on the page.
        reach: a strip goes from −reach to +reach.
        lock: held while widgets are written, since events write them as well.
    """

    def __init__(
        self, engine: Engine, view: View, size: int, reach: float, lock: threading.RLock
    ) -> None:
        self._engine, self._view, self._size, self._reach = engine, view, size, reach
        self._lock = lock
        self._asked = _Asked(0, EditState(), 0.0)
        self._drawn, self._frame = -1, None  # the number of the state on screen, and its images
        self._before: tuple[object, int] = (None, 0)  # the unedited face on screen, and its size
        self._error: Exception | None = None
        self._rest: threading.Timer | None = None
        self._closed = False
        self._charted = 0.0  # when the last chart was there
        self._previews = Latest(self._draw_preview, FRAMES, self._failed)
        self._fulls = Latest(self._draw_full, FRAMES, self._failed)
        self._panels = Latest(self._draw_panel, SCORES, self._failed)
        self._chart = ScoreChart(engine.scorers.attributes if engine.scorers else ())
        self.strip_of = next(iter(engine.editors))  # the attribute that was moved last

    def show(self, state: EditState) -> None:
        """Have `state` drawn; returns at once."""
        with self._lock:
            self._next(state)
            self._previews.put(self._asked)

    def show_full(self, state: EditState) -> None:
        """Have `state` drawn in full size, without a preview; returns at once."""
        with self._lock:
            self._next(state)
            self._fulls.put(self._asked)

    def preview(self) -> Frame:
        """The newest state as drawn, in whatever size; raises what drawing raised."""
        self._previews.wait()
        return self._result()

    def frame(self) -> Frame:
        """The newest state as drawn in full size; raises what drawing raised."""
        while True:
            self._previews.wait()
            self._fulls.wait()
            with self._lock:
                if self._closed:
                    raise FacenbError("this Explorer is closed.")
                if self._error is not None or self._has_full():
                    return self._result()
                self._stop_rest()
                self._fulls.put(self._asked)

    def wait(self) -> None:
        """Return when images and panel both show the newest state; raises what drawing raised."""
        self.frame()
        self._panels.wait()
        self._result()

    def refresh_panel(self) -> None:
        """Draw the panel again: it is to show something else."""
        if self._frame is not None:
            self._panels.put(self._frame)

    def sweep(self, name: str, count: int, size: int | None = None) -> list[Image.Image]:
        """`count` images with `name` from low to high and the other edits as they are."""
        size = size or self._size
        images = self._engine.sweep(self._asked.state, name, self._strengths(count), size)
        return [pictures.to_picture(image, size) for image in images]

    def pair(self) -> list[Image.Image]:
        """Before and after with all their pixels, enlarged where they have less than the screen."""
        frame = self.frame()
        return [pictures.at_least(image[0], self._size) for image in (frame.before, frame.after)]

    def close(self) -> None:
        """Draw nothing any more."""
        with self._lock:
            self._closed = True
            self._next(self._asked.state)  # stops a full image
        for work in (self._previews, self._fulls, self._panels):
            work.drop()

    def _next(self, state: EditState) -> None:
        self._asked = _Asked(self._asked.number + 1, state, time.monotonic() + REST)
        self._stop_rest()

    def _draw_preview(self, asked: _Asked) -> None:
        engine = self._engine
        known = engine.recent(asked.state)
        self._put(asked, known or engine.preview(asked.state))
        if not self._has_full():
            with self._lock:
                if asked is self._asked:
                    self._stop_rest()
                    left = max(asked.rested - time.monotonic(), 0)
                    context = contextvars.copy_context()  # of the event, as `Worker.submit` says
                    self._rest = threading.Timer(left, context.run, [self._begin_full, asked])
                    self._rest.daemon = True
                    self._rest.start()

    def _begin_full(self, asked: _Asked) -> None:
        self._panels.wait(_CHART_FIRST)
        if asked is self._asked:
            self._fulls.put(asked)

    def _draw_full(self, asked: _Asked) -> None:
        if asked is not self._asked or self._has_full():
            return
        self._engine.edited(asked.state)  # an editor may use what cannot be stopped half-way
        try:
            with until(lambda: asked is not self._asked):
                frame = self._engine.frame(asked.state)
        except Stopped:
            return
        if asked is self._asked:
            self._put(asked, frame)

    def _put(self, asked: _Asked, frame: Frame) -> None:
        """Show the images; the panel follows."""
        after = pictures.for_screen(frame.after[0], self._size)
        face, size = (frame.state.seed, frame.state.index), frame.size
        # the unedited face stays sharp while an edit of it is previewed
        sharp = self._before[0] == face and self._before[1] >= size
        before = None if sharp else pictures.for_screen(frame.before[0], self._size)
        with self._lock:
            if self._closed:
                return
            if before is not None:
                self._view.before.value, self._before = before, (face, size)
            self._view.after.value = after
            self._drawn, self._frame, self._error = asked.number, frame, None
        self._panels.put(frame)

    def _draw_panel(self, frame: Frame) -> None:
        view, engine = self._view, self._engine
        if view.strip.value:
            name, size = self.strip_of, 2 * self._size // _STRIP
            strengths = self._strengths(_STRIP)
            images = engine.sweep(frame.state, name, strengths, size)
            small = [pictures.to_picture(image, size) for image in images]
            html = strip_chart(small, strengths, frame.state.strengths.get(name, 0.0))
            self._write_panel(readable(name), "with the other edits as they are", html)
        elif engine.scorers is None:
            self._write_panel("", "", "")
        else:
            if not engine.knows_spread:
                self._write_panel("Scores", "looking at 64 faces once, for the scale …", "")
            moving = frame.size < engine.full_size
            try:
                with until(self._is_stale), yielding_to(self._previews, _PATIENCE):
                    scores = engine.scores(frame)
            except Stopped:
                return
            html = self._chart.html(scores, view.shown_scores.value, moving)
            self._write_panel("Scores", _KEY, html)
            self._charted = time.monotonic()

    def _is_stale(self) -> bool:
        return self._panels.waiting and time.monotonic() - self._charted < _YOUNG

    def _write_panel(self, title: str, key: str, html: str) -> None:
        with self._lock:
            if not self._closed:
                self._view.title_panel(title, key)
                self._view.panel.value = html

    def _strengths(self, count: int) -> list[float]:
        return torch.linspace(-self._reach, self._reach, count, dtype=torch.float64).tolist()

    def _has_full(self) -> bool:
        return self._drawn == self._asked.number and self._frame.size == self._engine.full_size

    def _result(self) -> Frame:
        if self._error is not None:
            raise self._error
        return self._frame

    def _stop_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._error = error
            if not self._closed:
                self._view.complain(error)
