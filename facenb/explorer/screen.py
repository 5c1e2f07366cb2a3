"""Puts states on the explorer's screen: pictures first, scores or the strip right after."""

from __future__ import annotations

import threading

import torch
from PIL import Image

from facenb.explorer import pictures
from facenb.explorer.charts import readable, score_chart, strip_chart
from facenb.explorer.engine import Engine, Frame
from facenb.explorer.latest import FRAMES, SCORES, Latest
from facenb.explorer.state import EditState
from facenb.explorer.view import View

_STRIP = 7  # pictures in a strip
_KEY = "○ before ● after │ average · change in standard deviations"


class Screen:
    """Draws the newest state into the pictures and the panel of `view`, in worker threads.

    Args:
        engine, view: what computes, and where it shows.
        size: pixels a side of each picture.
        reach: a strip goes from −reach to +reach.
        lock: held while widgets are written, since events write them as well.
    """

    def __init__(
        self, engine: Engine, view: View, size: int, reach: float, lock: threading.RLock
    ) -> None:
        self._engine, self._view, self._size, self._reach = engine, view, size, reach
        self._lock = lock
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._frames = Latest(self._draw, FRAMES, self._failed)
        self._panels = Latest(self._draw_panel, SCORES, self._failed)
        view.strip.observe(lambda _: self._panels.put(self.frame()), "value")
        self.strip_of = next(iter(engine.editors))  # the attribute that was moved last

    def show(self, state: EditState) -> None:
        """Have `state` drawn; returns at once."""
        self._frames.put(state)

    def frame(self) -> Frame:
        """The newest state as drawn, once it is; raises what drawing raised."""
        self._frames.wait()
        if self._error is not None:
            raise self._error
        return self._frame

    def wait(self) -> None:
        """Return when pictures and panel both show the newest state; raises what drawing raised."""
        self.frame()
        self._panels.wait()
        self.frame()

    def sweep(self, name: str, count: int, size: int | None = None) -> list[Image.Image]:
        """`count` pictures with `name` from low to high and the other edits as they are."""
        images = self._engine.sweep(self.frame().state, name, self._strengths(count))
        return [pictures.to_picture(image, size or self._size) for image in images]

    def pair(self) -> list[Image.Image]:
        """Before and after."""
        frame = self.frame()
        return [pictures.to_picture(image[0], self._size) for image in (frame.before, frame.after)]

    def _draw(self, state: EditState) -> None:
        frame = self._engine.frame(state)
        after = pictures.to_jpeg(pictures.to_picture(frame.after[0], self._size))
        with self._lock:
            if self._frame is None or self._frame.before is not frame.before:
                before = pictures.to_picture(frame.before[0], self._size)
                self._view.before.value = pictures.to_jpeg(before)
            self._view.after.value = after
            self._frame, self._error = frame, None
        self._panels.put(frame)

    def _draw_panel(self, frame: Frame) -> None:
        view, scorers = self._view, self._engine.scorers
        if view.strip.value:
            name = self.strip_of
            images = self._engine.sweep(frame.state, name, self._strengths(_STRIP))
            small = [pictures.to_picture(image, 2 * self._size // _STRIP) for image in images]
            current = frame.state.strengths.get(name, 0.0)
            html = strip_chart(small, self._strengths(_STRIP), current)
            self._write_panel(readable(name), "with the other edits as they are", html)
        elif scorers is None:
            self._write_panel("", "", "")
        else:
            if not self._engine.knows_spread:
                self._write_panel("Scores", "looking at 64 faces once, for the scale …", "")
            scores = self._engine.scores(frame)
            self._write_panel("Scores", _KEY, score_chart(scorers.attributes, scores))

    def _write_panel(self, title: str, key: str, html: str) -> None:
        with self._lock:
            self._view.title_panel(title, key)
            self._view.panel.value = html

    def _strengths(self, count: int) -> list[float]:
        return torch.linspace(-self._reach, self._reach, count, dtype=torch.float64).tolist()

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._error = error
            self._view.complain(error)
