"""A widget with a saved picture in its place: where no kernel runs, a page is never blank."""

from __future__ import annotations

import ipywidgets as widgets
from IPython.display import Image, display

# Where the widget lives, the picture before it is taken away.
_HIDE = """
.jp-OutputArea-child:has(+ .jp-OutputArea-child .facenb-live) { display: none; }
.facenb-live .fl-wrong { color: var(--jp-error-color1, #d32f2f); font-weight: 600; }
"""


def classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    """`widget` with a class for the style sheet."""
    widget.add_class(name)
    return widget


def page(*rows: widgets.Widget, css: str) -> widgets.VBox:
    """Rows below each other with a style sheet of their own, to be shown by `show`."""
    style = widgets.HTML(f"<style>{_HIDE}{css}</style>", layout=widgets.Layout(display="none"))
    return classed(widgets.VBox([style, *rows]), "facenb-live")


def show(root: widgets.VBox, png: bytes, text: str) -> None:
    """Display `png`, and the live widget that replaces it; `text` is for neither."""
    display(Image(png))
    display(root._repr_mimebundle_() | {"text/plain": text}, raw=True)
