"""The explorer's widgets and how they are laid out. What they do is in explorer.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from html import escape

import ipywidgets as widgets

from facenb.explorer.charts import MINUS, readable
from facenb.explorer.state import EditState
from facenb.explorer.theme import CSS


class View:
    """Every widget of one explorer; `root` is the one to display.

    Args:
        names: the editors, one slider each.
        holdable: those that get a tick to hold them fixed.
        ends: attribute → (word for the low end, word for the high end), for tooltips.
        reach: sliders go from −reach to +reach.
        size: pixels a side of each picture.
    """

    def __init__(
        self,
        names: Iterable[str],
        holdable: Collection[str],
        ends: dict[str, tuple[str, str]],
        reach: float,
        size: int,
    ) -> None:
        self.seed = widgets.Text(
            description="Seed", continuous_update=False, tooltip="7, or 7:3 for face 3 of seed 7"
        )
        self.randomise = _button("Randomise", "random", "Another face, with the same edit")
        self.reset = _button("Reset", "refresh", "All sliders to 0, nothing held")
        self.undo = _button("Undo", "undo", "Back by one change")
        self.redo = _button("Redo", "repeat", "Forward by one change")
        self.save_png = _button("PNG", "picture-o", "Save before and after as one picture")
        self.save_gif = _button("GIF", "film", "Save a sweep of the attribute moved last")
        self.save_edit = _button("Save edit", "download", "Save the edit as JSON")
        self.load_edit = widgets.FileUpload(
            accept=".json", description="Load edit", tooltip="Load an edit that was saved as JSON"
        )
        self.sliders = {name: _slider(name, ends.get(name), reach) for name in names}
        self.ticks = {name: _tick(name) for name in self.sliders if name in holdable}
        self.before, self.after = (widgets.Image(format="jpeg", width=size) for _ in range(2))
        self.strip = widgets.ToggleButton(
            description="Strip", icon="columns", tooltip="The attribute moved last, low to high"
        )
        self.heading, self.panel, self.status = (widgets.HTML() for _ in range(3))
        self.panel.add_class("fx-panel")
        self.status.add_class("fx-status")
        self._rows: dict[str, widgets.HBox] = {}
        self.root = self._lay_out(reach)

    def show_state(self, state: EditState, can_undo: bool, can_redo: bool) -> None:
        """Put every control where `state` says."""
        self.seed.value = state.face
        for name, slider in self.sliders.items():
            slider.value = state.strengths.get(name, 0.0)
            change = self._rows[name].add_class if slider.value else self._rows[name].remove_class
            change("fx-moved")
        for name, tick in self.ticks.items():
            tick.value = name in state.held
        self.undo.disabled, self.redo.disabled = not can_undo, not can_redo

    def enable(self, enabled: bool) -> None:
        """Let the controls be used, or not while something long runs."""
        controls = [self.seed, self.randomise, self.reset, self.save_png, self.save_gif]
        controls += [self.save_edit, self.load_edit, self.strip, self.undo, self.redo]
        for control in (*controls, *self.sliders.values(), *self.ticks.values()):
            control.disabled = not enabled

    def say(self, message: str, code: str = "") -> None:
        """A line below everything; `code` is set in a fixed width."""
        code = f" <code>{escape(code)}</code>" if code else ""
        self.status.value = f'<div role="status">{escape(message)}{code}</div>'

    def complain(self, error: Exception) -> None:
        """An error, as text."""
        self.status.value = f'<div role="alert" class="fx-error">{escape(str(error))}</div>'

    def title_panel(self, title: str, key: str = "") -> None:
        """The heading of the panel, with a quieter explanation after it."""
        self.heading.value = _heading(title, key)

    def _lay_out(self, reach: float) -> widgets.VBox:
        space = _classed(widgets.Box(), "fx-space")
        tools = [self.seed, self.randomise, self.reset, self.undo, self.redo, space]
        tools += [self.save_png, self.save_gif, self.save_edit, self.load_edit]
        for name, slider in self.sliders.items():
            last = self.ticks.get(name) or _classed(widgets.Box(), "fx-no-hold")
            self._rows[name] = _classed(widgets.HBox([slider, last]), "fx-slider")
        head = f"Edit <small>{MINUS}{reach:g} … +{reach:g}</small>"
        head += '<small class="fx-hold">Hold</small>' if self.ticks else ""
        sliders = widgets.VBox(
            [
                widgets.HTML(f'<div class="fx-heading">{head}</div>'),
                _classed(widgets.VBox(list(self._rows.values())), "fx-rows"),
                self.status,
            ]
        )
        pictures = widgets.HBox([_picture("Before", self.before), _picture("After", self.after)])
        panel_head = _classed(widgets.HBox([self.heading, self.strip]), "fx-panel-head")
        right = widgets.VBox([_classed(pictures, "fx-pictures"), panel_head, self.panel])
        body = widgets.HBox([_classed(sliders, "fx-sliders"), _classed(right, "fx-right")])
        style = widgets.HTML(f"<style>{CSS}</style>", layout=widgets.Layout(display="none"))
        parts = [
            style,
            _classed(widgets.HBox(tools), "fx-tools"),
            _classed(body, "fx-body"),
        ]
        return _classed(widgets.VBox(parts), "facenb-explorer")


def _slider(name: str, ends: tuple[str, str] | None, reach: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        description=readable(name),
        tooltip=f"{MINUS} {ends[0]}, + {ends[1]}" if ends else readable(name),
        min=-reach,
        max=reach,
        step=reach / 30,
        readout_format=".1f",
    )


def _tick(name: str) -> widgets.Checkbox:
    tip = f"Hold {readable(name).lower()} fixed: the other edits leave it alone"
    return widgets.Checkbox(indent=False, tooltip=tip)


def _button(label: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=label, icon=icon, tooltip=tooltip)


def _picture(caption: str, image: widgets.Image) -> widgets.VBox:
    image.add_class(f"fx-{caption.lower()}")
    return _classed(widgets.VBox([widgets.HTML(_heading(caption)), image]), "fx-picture")


def _heading(title: str, key: str = "") -> str:
    key = f"<small>{escape(key)}</small>" if key else ""
    return f'<div class="fx-heading">{escape(title)}{key}</div>'


def _classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    widget.add_class(name)
    return widget
