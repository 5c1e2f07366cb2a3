"""The live editor: `Explorer(generator, editors, scorers)` at the end of a notebook's cell.

state.py holds what an edit is, with undo, and saved_edit.py its JSON; inputs.py checks what is
given; engine.py computes images and scores; screen.py shows them (../latest.py keeps a drag live);
pictures.py and charts.py draw; view.py, sliders.py, theme.py and controls.py are the widgets.
"""

from facenb.widgets.explorer.explorer import Explorer
from facenb.widgets.explorer.state import EditState

__all__ = ["EditState", "Explorer"]
