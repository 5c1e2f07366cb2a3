"""What the explorer's widgets do when they are used."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from facenb.explorer.latest import SAVING, event_loop_runs, submit
from facenb.explorer.state import History, parse_face
from facenb.explorer.view import View

if TYPE_CHECKING:
    from facenb.explorer.explorer import Explorer


class Controls:
    """Connects the widgets of `view` with the methods of `explorer`, and keeps them in step.

    Args:
        explorer: whose methods are called.
        view: the widgets.
        history: the state that they show.
        lock: held while widgets are written.
    """

    def __init__(
        self, explorer: Explorer, view: View, history: History, lock: threading.RLock
    ) -> None:
        self._explorer, self._view, self._history, self._lock = explorer, view, history, lock
        self._syncing = False
        self._connect()
        self.sync()

    def sync(self) -> None:
        """Put the controls where the state has them; the events of doing so are not the user's."""
        with self._lock:
            self._syncing = True
            try:
                history = self._history
                self._view.show_state(history.state, history.can_undo, history.can_redo)
            finally:
                self._syncing = False

    def _connect(self) -> None:
        explorer, view = self._explorer, self._view
        for name, slider in view.sliders.items():
            # The number is taken as it is: written back rounded, it would pull at a slider that is
            # being dragged.
            drag = self._handler(lambda change, name=name: explorer.drag(name, change.new))
            slider.observe(drag, "value")
        hold = self._handler(
            lambda _: explorer.hold(*[name for name, tick in view.ticks.items() if tick.value])
        )
        for tick in view.ticks.values():
            tick.observe(hold, "value")
        go = self._handler(lambda change: explorer.go_to(*parse_face(change.new)))
        view.seed.observe(go, "value")
        view.load_edit.observe(self._handler(lambda _: self._upload()), "value")
        for button, action in (
            (view.randomise, explorer.randomise),
            (view.reset, explorer.reset),
            (view.undo, explorer.undo),
            (view.redo, explorer.redo),
            (view.save_png, lambda: self._save(explorer.save_png)),
            (view.save_gif, lambda: self._save(explorer.save_gif)),
            (view.save_edit, lambda: self._save(explorer.save_edit)),
        ):
            button.on_click(self._handler(lambda _, action=action: action()))

    def _handler(self, action: Callable[[object], None]) -> Callable[[object], None]:
        """`action` for a widget's event: an error is shown, and the controls go back to the state.

        An exception would otherwise end in the kernel's log, where nobody sees it.
        """

        def handle(event: object) -> None:
            with self._lock:  # waits for another thread that is syncing: its events are not ours
                if self._syncing:
                    return
            try:
                action(event)
            except Exception as error:
                self._complain(error)

        return handle

    def _complain(self, error: Exception) -> None:
        self._view.complain(error)
        self.sync()

    def _upload(self) -> None:
        if not self._view.load_edit.value:
            return
        upload = self._view.load_edit.value[0]
        self._view.load_edit.value = ()  # or the same file could not be chosen again
        name, text = upload["name"], bytes(upload["content"]).decode(errors="replace")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._explorer.load_text(text, name)
        self._view.say(str(caught[0].message) if caught else f"Loaded {name}")

    def _save(self, save: Callable[[], Path]) -> None:
        """Save in the background with the controls off, and say where."""

        def run() -> None:
            try:
                path = save()
                self._view.say("Saved", str(path))
            except Exception as error:
                self._view.complain(error)
            finally:
                self._view.enable(True)
                self.sync()

        self._view.enable(False)
        self._view.say("Saving …")
        if event_loop_runs():
            submit(SAVING, run)
        else:
            run()
