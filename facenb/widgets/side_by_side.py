"""One face under several methods, side by side with scores, and the table of them, sortable.

    SideBySide(faces, editors, [Comparison(data), Comparison(data, independent=True)])

Images are drawn in the Explorer's worker: the newest choice wins, and a drawing that nobody waits
for any more is given up between two methods.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import unknown
from facenb.latents import Latents
from facenb.metrics.compare_table import MEASURES, Comparison
from facenb.metrics.faces import Faces
from facenb.widgets.explorer import pictures
from facenb.widgets.latest import FRAMES, Latest
from facenb.widgets.live import classed, close_widgets, forget, keep, page, show

_CSS = """
.facenb-side { max-width: 1100px; overflow: visible; }
.facenb-side .fs-faces { gap: 12px; flex-flow: row wrap; overflow: visible; }
.facenb-side .fs-face { overflow: visible; }
.facenb-side .fs-face .widget-html-content { line-height: 1.3; }
.facenb-side table { border-collapse: collapse; }
.facenb-side td, .facenb-side th { padding: 1px 10px; text-align: right; }
.facenb-side td:first-child, .facenb-side th:first-child { text-align: left; }
.facenb-side .fs-by { text-decoration: underline; }
"""
_LOW_IS_GOOD = ("side effects", "side effects / change", "worst")


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: a row of the faces, a target, methods, and how strong the edits are.

    A strength of 1 is each method's own strength for equal side effects.
    """

    face: int
    target: str
    methods: tuple[str, ...]
    strength: float


class SideBySide:
    """Choose methods, a target and a strength: the same face under all of them.

    Args:
        faces: with joint scorers.
        editors: by (method, target), of those that can be drawn at once.
        tables: of the measured edits of these methods, by one or two sets of scorers, for strengths
            and for the table.
        shown: methods to begin with.
        size: pixels a side of each image.

    Attributes:
        columns: of the last drawing, one row for each method, as `Faces.columns` has them.
    """

    def __init__(
        self,
        faces: Faces,
        editors: Mapping[tuple[str, str], Editor],
        tables: Sequence[Comparison],
        shown: Sequence[str] = (),
        size: int = 180,
    ) -> None:
        self._faces, self._editors, self._tables = faces, dict(editors), list(tables)
        self._data, self._size = tables[0].data, size
        known = [m for m in self._data.methods if any(pair[0] == m for pair in self._editors)]
        for name in shown:
            if name not in known:
                raise unknown("method to show", name, known)
        self.columns: dict[str, Tensor] = {}
        self._pictures: list[Image.Image] = []
        self._lay_out(known, tuple(shown) or tuple(known[:3]))
        FRAMES.hire()
        self._close = weakref.finalize(self, _release, self.root)
        self._close.atexit = False
        draw = weakref.WeakMethod(self._draw)  # neither thread nor kernel keeps the generator
        changed = weakref.WeakMethod(self._changed)
        self._latest = Latest(lambda asked: draw()(asked), FRAMES, self._failed)
        for control in self._controls:
            control.observe(lambda _: changed()(), "value")
        self._changed()
        self.wait()

    @property
    def asked(self) -> Asked:
        """What the controls say."""
        face = int(self._faces.test[self._face.value])
        return Asked(face, self._target.value, self._methods.value, self._strength.value)

    def wait(self) -> None:
        """Return when what was asked for last is drawn."""
        self._latest.wait()

    def close(self) -> None:
        """Free the widgets and the thread."""
        self._latest.drop()
        self._close()
        forget(self)

    def _lay_out(self, known: Sequence[str], shown: tuple[str, ...]) -> None:
        last = len(self._faces.test) - 1
        self._face = widgets.IntSlider(0, 0, last, description="face")
        self._target = widgets.Dropdown(options=self._data.targets, description="target")
        self._strength = widgets.FloatSlider(1, min=0, max=2, step=0.1, description="strength")
        self._methods = widgets.SelectMultiple(
            options=known, value=shown, rows=min(8, len(known)), description="methods"
        )
        self._scorers = widgets.Dropdown(
            options=[("of the suite", 0), ("independent", 1)][: len(self._tables)],
            description="scorers",
        )
        self._sort = widgets.Dropdown(options=MEASURES, value="success", description="sort by")
        self._controls = (self._face, self._target, self._strength, self._methods,
                          self._scorers, self._sort)  # fmt: skip
        self._status, self._table = widgets.HTML(), widgets.HTML()
        self._drawn = classed(widgets.HBox(), "fs-faces")
        left = widgets.VBox([self._target, self._face, self._strength, self._sort, self._scorers])
        controls = widgets.HBox([left, self._methods])
        body = (controls, self._status, self._drawn, self._table)
        self.root = classed(page(*body, css=_CSS), "facenb-side")

    def _changed(self) -> None:
        self._table.value = self.table()
        self._status.value = "Drawing …"
        self._latest.put(self.asked)

    def table(self) -> str:
        """The methods for the chosen target by the chosen scorers, sorted, as HTML."""
        tables, target = self._tables[self._scorers.value], self._target.value
        by = self._sort.value
        values = {
            method: [float(tables.values(m, method, target)[0]) for m in MEASURES]
            for method in self._data.methods
        }
        sign = 1 if by in _LOW_IS_GOOD else -1
        at = MEASURES.index(by)
        order = sorted(values, key=lambda m: (values[m][at] != values[m][at], sign * values[m][at]))
        heads = "".join(f'<th class="{"fs-by" if m == by else ""}">{m}</th>' for m in MEASURES)
        rows = "".join(
            f"<tr><td>{escape(method)}</td>"
            + "".join(f"<td>{'—' if v != v else f'{v:.2f}'}</td>" for v in values[method])
            + f"<td>{escape(self._reason(method, target))}</td></tr>"
            for method in order
        )
        return f"<table><tr><th>method</th>{heads}<th></th></tr>{rows}</table>"

    def _reason(self, method: str, target: str) -> str:
        edits = self._data.edits.get((method, target))
        return edits.reason if edits else ""

    def _draw(self, asked: Asked) -> None:
        rows, faces = torch.tensor([asked.face]), self._faces
        images, columns, notes = [self._image(faces.given[rows])], {}, ["unedited"]
        before = faces.before(rows)
        notes[0] += f"<br>{asked.target} {float(before[0, faces.column(asked.target)]):.1f}"
        for method in asked.methods:
            if self._latest.waiting:
                return
            editor = self._editors.get((method, asked.target))
            measured = self._data.edits.get((method, asked.target))
            if editor is None or measured is None or measured.strength != measured.strength:
                continue
            strength = (faces.signs(asked.target) * measured.strength * asked.strength)[rows]
            start = faces.latents(editor.space)[rows]
            images.append(self._image(editor.edit(start, strength.to(start.values))))
            with torch.no_grad():
                found = faces.columns(faces.scorers(images[-1]).cpu(), rows)
            columns[method] = found[0]
            own = float(found[0, faces.column(asked.target)])
            effect = float(faces.side_effects(asked.target, found, rows))
            notes.append(
                f"<b>{escape(method)}</b><br>{asked.target} {own:.1f}"
                f"{', over' if bool(faces.turned(asked.target, found, rows)) else ''}<br>"
                f"side effects {effect:.2f}, person {float(found[0, -1]):.2f}"
            )
        self.columns = columns
        self._pictures = [pictures.to_picture(image[0], self._size) for image in images]
        self._drawn.children = [
            self._captioned(picture, note)
            for picture, note in zip(self._pictures, notes, strict=True)
        ]
        self._status.value = ""

    def _image(self, latents: Latents) -> Tensor:
        generator = self._faces.generator
        with torch.no_grad():
            images = generator.synthesize(latents.to(generator.device), generator.scoring_size)
        return images.float()

    def _captioned(self, picture: Image.Image, note: str) -> widgets.VBox:
        image = widgets.Image(value=pictures.to_jpeg(picture), format="jpg", width=self._size)
        return classed(widgets.VBox([image, widgets.HTML(note)]), "fs-face")

    def _failed(self, error: Exception) -> None:
        self._status.value = f'<div role="alert" class="fl-wrong">{escape(str(error))}</div>'

    def _ipython_display_(self) -> None:
        keep(self, self.close)
        saved = pictures.to_png(pictures.side_by_side(self._pictures))
        show(self.root, saved, "One face under several methods: run this cell in JupyterLab.", self)


def _release(root: widgets.VBox) -> None:
    close_widgets(root)
    FRAMES.release()
