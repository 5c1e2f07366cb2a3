"""The explorer's widgets and how they are laid out. What they do is in controls.py."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as widgets

from facenb.widgets.explorer.sliders import SliderPanel
from facenb.widgets.explorer.state import EditState
from facenb.widgets.explorer.theme import CSS
from facenb.widgets.live import classed, close_widgets

_SEED = "A whole number from 0 to 2**63 - 1, such as 7; or 7:3 for face 3 of seed 7"


class View:
    """Every widget of one explorer; `root` is the one to display.

    Args:
        sliders: the panel of the editors.
        choices: of scores for the chart; a control where there are several.
        size: pixels a side of each image on the page, where there is room.
        codes: how many codes the user has given; 0 where seeds give the faces.
    """

    def __init__(self, sliders: SliderPanel, choices: Sequence[str], size: int, codes: int) -> None:
        self.sliders, self._codes = sliders, codes
        self.face = _code_field(codes) if codes else _seed_field()
        self.randomise = _button("Randomise", "random", "Another face, with the same edit")
        self.randomise.disabled = codes == 1
        self.reset = _button("Reset", "refresh", "All sliders to 0, nothing held")
        self.undo = _button("Undo", "undo", "Back by one change")
        self.redo = _button("Redo", "repeat", "Forward by one change")
        self.save_png = _button("PNG", "picture-o", "Save before and after, all pixels")
        self.save_gif = _button("GIF", "film", "Save a sweep of the attribute moved last")
        self.save_edit = _button("Save edit", "download", "Save the edit as JSON")
        self.load_edit = classed(
            _upload("Load edit", ".json", "Load an edit that was saved as JSON"), "fx-load-edit"
        )
        self.load_directions = classed(
            _upload("Load directions", ".npy,.pt", "Directions of W learned elsewhere"),
            "fx-load-directions",
        )
        self.before, self.after = (widgets.Image(format="jpeg") for _ in range(2))
        self.strip = widgets.ToggleButton(
            description="Strip", icon="columns", tooltip="The attribute moved last, low to high"
        )
        self.shown_scores = widgets.Dropdown(options=choices, tooltip="Which scores to show")
        if len(choices) < 2:
            self.shown_scores.layout.display = "none"
        self.heading, self.panel, self.status = (widgets.HTML() for _ in range(3))
        self.panel.add_class("fx-panel")
        self.status.add_class("fx-status")
        self.root = self._lay_out(size)

    def show_state(self, state: EditState, can_undo: bool, can_redo: bool) -> None:
        """Put every control where `state` says."""
        self.face.value = state.index if self._codes else state.face
        self.sliders.show_state(state)
        self.undo.disabled, self.redo.disabled = not can_undo, not can_redo

    def enable(self, enabled: bool) -> None:
        """Let the controls be used, or not while something long runs."""
        controls = [self.face, self.reset, self.save_png, self.save_gif, self.save_edit]
        controls += [self.load_edit, self.load_directions, self.strip, self.undo, self.redo]
        controls += [self.shown_scores, *([] if self._codes == 1 else [self.randomise])]
        for control in controls:
            control.disabled = not enabled
        self.sliders.enable(enabled)

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

    def close(self) -> None:
        """Take the widgets off every page, and out of the kernel's memory."""
        close_widgets(self.root)
        self.sliders.close()

    def _lay_out(self, size: int) -> widgets.VBox:
        faces = [self.face]
        if self._codes:
            faces.append(classed(widgets.HTML(f"of {self._codes}"), "fx-count"))
        space = classed(widgets.Box(), "fx-space")
        tools = [*faces, self.randomise, self.reset, self.undo, self.redo, space]
        tools += [self.save_png, self.save_gif, self.save_edit, self.load_edit]
        left = classed(
            widgets.VBox([self.sliders.root, self.load_directions, self.status]), "fx-left"
        )
        images = [_picture("Before", self.before), _picture("After", self.after)]
        head = classed(widgets.HBox([self.heading, self.shown_scores, self.strip]), "fx-panel-head")
        body = widgets.HBox(
            [
                left,
                classed(widgets.HBox(images), "fx-pictures"),
                classed(widgets.VBox([head, self.panel]), "fx-right"),
            ]
        )
        own = f"fx-size-{size}"  # several explorers share a page
        style = f"<style>{CSS}\n.facenb-explorer.{own} {{ --fx-size: {size}px; }}</style>"
        parts = [
            widgets.HTML(style, layout=widgets.Layout(display="none")),
            classed(widgets.HBox(tools), "fx-tools"),
            classed(body, "fx-body"),
        ]
        return classed(classed(widgets.VBox(parts), "facenb-explorer"), own)


def _seed_field() -> widgets.Text:
    return widgets.Text(
        description="Seed", placeholder="0 to 2⁶³ − 1", continuous_update=False, tooltip=_SEED
    )


def _code_field(count: int) -> widgets.BoundedIntText:
    tip = f"Which of your latents, from 0 to {count - 1}"
    return widgets.BoundedIntText(
        description="Code", min=0, max=count - 1, disabled=count == 1, tooltip=tip
    )


def _button(label: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=label, icon=icon, tooltip=tooltip)


def _upload(label: str, kinds: str, tooltip: str) -> widgets.FileUpload:
    return widgets.FileUpload(accept=kinds, description=label, tooltip=tooltip)


def _picture(caption: str, image: widgets.Image) -> widgets.VBox:
    image.add_class(f"fx-{caption.lower()}")
    return classed(widgets.VBox([widgets.HTML(_heading(caption)), image]), "fx-picture")


def _heading(title: str, key: str = "") -> str:
    key = f"<small>{escape(key)}</small>" if key else ""
    return f'<div class="fx-heading">{escape(title)}{key}</div>'
