"""A widget with a saved picture in its place, alive while its cell shows it.

Where no kernel runs, a page is never blank: `show` puts a picture before the widget. A kernel keeps
every widget until it is closed, and with it whatever its events lead to; a cell that is run twenty
times would keep twenty generators. So `keep` closes what the cell showed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import Image, display

# Where the widget lives, the picture before it is taken away.
_HIDE = """
.jp-OutputArea-child:has(+ .jp-OutputArea-child .facenb-live) { display: none; }
.facenb-live .fl-wrong { color: var(--jp-error-color1, #d32f2f); font-weight: 600; }
"""


@dataclass(frozen=True)
class _Shown:
    """What a cell shows, in which of the cell's executions, and how to close it."""

    cell: str
    execution: int
    owner: object
    close: Callable[[], None]


_SHOWN: list[_Shown] = []


def classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    """`widget` with a class for the style sheet."""
    widget.add_class(name)
    return widget


def page(*rows: widgets.Widget, css: str) -> widgets.VBox:
    """Rows below each other with a style sheet of their own, to be shown by `show`."""
    style = widgets.HTML(f"<style>{_HIDE}{css}</style>", layout=widgets.Layout(display="none"))
    return classed(widgets.VBox([style, *rows]), "facenb-live")


def show(root: widgets.VBox, png: bytes, text: str, owner: object = None) -> None:
    """Display `png`, and the live widget that replaces it; `text` is for neither.

    `owner` is whose widget it is: when the cell shows another one, its `close` is called, unless a
    variable of the notebook still holds it. Without an owner the widgets are closed.
    """
    keep(owner or root, owner.close if owner else lambda: close_widgets(root))
    display(Image(png))
    display(root._repr_mimebundle_() | {"text/plain": text}, raw=True)


def keep(owner: object, close: Callable[[], None]) -> None:
    """Keep `owner` alive while the running cell shows it; close what that cell showed before.

    What a variable of the notebook still holds is not closed, since it may be shown again. Outside
    a Jupyter kernel nothing is kept.
    """
    shell = get_ipython()
    where = _running_cell(shell)
    if where is None:
        return
    cell, execution = where
    earlier = [s for s in _SHOWN if s.cell == cell and s.execution != execution]
    _SHOWN[:] = [s for s in _SHOWN if s not in earlier]
    _SHOWN.append(_Shown(cell, execution, owner, close))
    shown = [s.owner for s in _SHOWN]
    variables = [value for name, value in shell.user_ns.items() if not name.startswith("_")]
    for old in earlier:
        if not any(old.owner is other for other in (*shown, *variables)):
            old.close()


def forget(owner: object) -> None:
    """Keep `owner` no longer: it has been closed."""
    _SHOWN[:] = [shown for shown in _SHOWN if shown.owner is not owner]


def close_widgets(*roots: widgets.Widget) -> None:
    """Close these widgets and everything in them, with their layouts and styles."""
    for widget in {w.model_id: w for root in roots for w in _inside(root)}.values():
        widget.close()


def _inside(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    if widget.comm is None:
        return
    yield widget
    for name in ("layout", "style"):
        part = getattr(widget, name, None)
        if isinstance(part, widgets.Widget) and part.comm is not None:
            yield part
    for child in getattr(widget, "children", ()):
        yield from _inside(child)


def _running_cell(shell: object) -> tuple[str, int] | None:
    """The cell that is running and the number of its execution; None outside a kernel's cell."""
    parent = getattr(shell, "parent_header", None)
    if not parent or parent.get("header", {}).get("msg_type") != "execute_request":
        return None
    # a front end that does not say which cell it is runs the same code again
    cell = parent.get("metadata", {}).get("cellId") or parent["content"]["code"]
    return cell, shell.execution_count
