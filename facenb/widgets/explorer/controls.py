"""What the explorer's widgets do when they are used."""

from __future__ import annotations

import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from facenb.errors import FacenbError
from facenb.widgets.explorer.state import History, parse_face
from facenb.widgets.explorer.view import View
from facenb.widgets.latest import SAVING, event_loop_runs

if TYPE_CHECKING:
    from facenb.widgets.explorer.explorer import Explorer


class Controls:
    """Connects the widgets of `view` with the methods of `explorer`, and keeps them in step.

    The kernel keeps every widget, and what its events lead to, until it is closed. They lead here,
    and from here to the explorer by a weak reference alone: one that nobody needs can go.

    Args:
        explorer: whose methods are called.
        view: the widgets.
        history: the state that they show.
        lock: held while widgets are written.
    """

    def __init__(
        self, explorer: Explorer, view: View, history: History, lock: threading.RLock
    ) -> None:
        self._explorer = weakref.ref(explorer)
        self._view, self._history, self._lock = view, history, lock
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
        view, when = self._view, self._handler
        # The number is taken as it is: written back rounded, it would pull at a slider that is
        # being dragged.
        view.sliders.connect(
            moved=when(lambda explorer, name, strength: explorer.drag(name, strength)),
            held=when(self._hold),
        )
        view.face.observe(when(self._go), "value")
        view.load_edit.observe(when(self._load_edit), "value")
        view.load_directions.observe(when(self._load_directions), "value")
        for control in (view.strip, view.shown_scores):
            control.observe(when(lambda explorer, _: explorer._screen.refresh_panel()), "value")
        for button, action in (
            (view.randomise, lambda explorer, _: explorer.randomise()),
            (view.reset, lambda explorer, _: explorer.reset()),
            (view.undo, lambda explorer, _: explorer.undo()),
            (view.redo, lambda explorer, _: explorer.redo()),
            (view.save_png, lambda explorer, _: self._save(explorer.save_png)),
            (view.save_gif, lambda explorer, _: self._save(explorer.save_gif)),
            (view.save_edit, lambda explorer, _: self._save(explorer.save_edit)),
        ):
            button.on_click(when(action))

    def _handler(self, action: Callable[..., object]) -> Callable[..., None]:
        """`action(explorer, …)` for a widget's event: an error is shown, and the controls go back.

        An exception would otherwise end in the kernel's log, where nobody sees it.
        """

        def handle(*event: object) -> None:
            with self._lock:  # waits for another thread that is syncing: its events are not ours
                if self._syncing:
                    return
            explorer = self._explorer()
            if explorer is None:
                return
            try:
                action(explorer, *event)
            except Exception as error:
                self._view.complain(error)
                self.sync()

        return handle

    def _hold(self, explorer: Explorer, name: str, held: bool) -> None:
        now = explorer.state.held
        explorer.condition_on(*(now | {name} if held else now - {name}))

    def _go(self, explorer: Explorer, change: object) -> None:
        if explorer.state.seed is None:
            explorer.go_to(index=change.new)
        else:
            explorer.go_to(*parse_face(change.new))

    def _load_edit(self, explorer: Explorer, _: object) -> None:
        if (upload := _taken(self._view.load_edit)) is None:
            return
        name, content = upload
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            explorer.load_text(content.decode(errors="replace"), name)
        self._view.say(str(caught[0].message) if caught else f"Loaded {name}")

    def _load_directions(self, explorer: Explorer, _: object) -> None:
        if (upload := _taken(self._view.load_directions)) is None:
            return
        name, content = upload
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (Path(name).name or "directions")
            path.write_bytes(content)
            try:
                added = explorer.load_directions(path)
            except Exception as error:  # named as the user knows it, not where it lay for a moment
                raise FacenbError(str(error).replace(f"{folder}/", "")) from error
        self._view.say(f"Loaded {', '.join(added)} from {name}")

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
            SAVING.submit(run)
        else:
            run()


def _taken(field: object) -> tuple[str, bytes] | None:
    """Name and content of the file in an upload field, which is emptied for the same file again."""
    if not field.value:
        return None
    upload = field.value[0]
    field.value = ()
    return upload["name"], bytes(upload["content"])
