"""Upload a photograph or take the astronaut, invert it, and edit it with sliders.

    PhotoEditor(load_generator(), load_editors("interfacegan"))      # at the end of a cell

The file goes from the browser to the kernel, which runs where JupyterLab runs, and no further.

The event loop reads a photograph and finds its face, a fraction of a second. Images are drawn in
the workers of the explorer, the newest only (`latest`), and inversions have a worker of
their own, in which a new photograph takes the place of the one before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import torch
import torch.nn.functional as F

from facenb.assets import asset_path
from facenb.editors import Editors
from facenb.errors import FacenbError
from facenb.generators.mobilestylegan import MobileStyleGAN
from facenb.photos import Aligner, Inversion, Photograph, read_photo, to_image
from facenb.widgets.explorer import pictures
from facenb.widgets.latest import FRAMES, SAVING, Latest, Worker
from facenb.widgets.live import classed, close_widgets, forget, page, show

_CSS = """
.facenb-photo { max-width: 1000px; overflow: visible; }
.facenb-photo .fp-row { gap: 10px; align-items: center; overflow: visible; flex-flow: row wrap; }
.facenb-photo .fp-quiet { color: var(--jp-ui-font-color2, #767676); }
"""
_PRIVATE = "The photograph stays on the machine that runs this notebook: nothing is sent anywhere."
_SECONDS = 45
INVERSIONS = Worker("inversions")
_WORKERS = (FRAMES, SAVING, INVERSIONS)


class PhotoEditor:
    """The widget. What its buttons do can be called as well.

    Args:
        generator: of FFHQ-like faces.
        editors: a slider each, applied in this order.
        seconds: for the inversion.
        size: pixels a side of the two images.
        strength_range: sliders go from minus this to plus this.

    Attributes:
        photograph: the present one, None before the first.
        root: the widget.
    """

    def __init__(
        self,
        generator: MobileStyleGAN,
        editors: Editors,
        seconds: float = _SECONDS,
        size: int = 320,
        strength_range: float = 5.0,
    ) -> None:
        editors.check(generator)
        self._generator, self._editors, self._seconds = generator, editors, seconds
        self._size, self._aligner = size, Aligner()
        self.photograph: Photograph | None = None
        self._stop = threading.Event()  # of the inversion of the present photograph
        self._inversions = Latest(self._invert, INVERSIONS, self._failed)
        self._frames = Latest(self._draw, FRAMES, self._failed)
        self._files = Latest(self._write, SAVING, self._failed)
        self._lay_out(strength_range)
        self._close = weakref.finalize(self, _release, self.root)
        self._close.atexit = False
        for worker in _WORKERS:
            worker.hire()

    def open(self, source: object, name: str = "the image") -> bool:
        """Show the face of a photograph (see `read_photo`) and invert it in the background.

        An inversion that still runs is given up. Returns False, and says why, where there is no
        face that can be used; what was shown before stays.
        """
        try:
            photograph = Photograph(self._generator, source, aligner=self._aligner)
        except (FacenbError, OSError) as error:
            self._say(f"{name}: {error}", wrong=True)
            return False
        self._stop.set()
        self._stop, self.photograph = threading.Event(), None  # sliders at 0 draw nothing
        for slider in self._sliders.values():
            slider.value = 0.0
        self.photograph = photograph
        self._before.value = self._png(photograph.aligned.image)
        self._progress.value = 0.0
        self._say(f"{name}: inverting, up to {self._seconds:g} seconds. Sliders work already.")
        self._inversions.put((photograph, self._stop))
        return True

    def wait(self) -> None:
        """Return when the inversion has ended and all is drawn and saved."""
        for work in (self._inversions, self._frames, self._files):
            work.wait()

    def close(self) -> None:
        """Give up an inversion and free the widgets. The editor cannot be used any more."""
        self._stop.set()
        self.photograph = None
        self._close()
        forget(self)

    def _invert(self, item: tuple[Photograph, threading.Event]) -> None:
        photograph, stop = item

        def shown(inversion: Inversion) -> None:
            if not stop.is_set():
                self._progress.value = min(1.0, inversion.spent / self._seconds)
                self._frames.put(photograph)

        if photograph is not self.photograph:
            return
        photograph.encoded  # noqa: B018  (found here, where nobody waits for it)
        self._frames.put(photograph)
        photograph.invert(seconds=self._seconds, shown=shown, stop=stop, quiet=True)
        if photograph is self.photograph:
            how, steps = "Stopped" if stop.is_set() else "Inverted", photograph.inversion.step
            self._progress.value = 1.0
            self._frames.put(photograph)
            self._say(f"{how} after {steps} steps. Move the sliders.")

    def _redraw(self, _: object = None) -> None:
        """Have the newest state drawn; returns at once."""
        if self.photograph is not None:
            self._frames.put(self.photograph)

    @torch.no_grad()
    def _draw(self, photograph: Photograph) -> None:
        if photograph is not self.photograph:
            return
        face = self._edited(photograph, size=512)
        if self._whole.value:
            whole = to_image(photograph.pasted(face))
            png = pictures.to_png(_within(whole, self._size))
        else:
            png = self._png(face)
        if photograph is self.photograph:
            self._after.value = png

    def _save(self, _: object = None) -> None:
        if self.photograph is None:
            self._say("there is no photograph yet.", wrong=True)
        else:
            self._files.put((self.photograph, self._file.value))

    def _write(self, item: tuple[Photograph, str]) -> None:
        photograph, path = item
        photograph.save(path, self._edited(photograph))
        self._say(f"Saved {path}.")

    def _failed(self, error: Exception) -> None:
        self._say(str(error) or type(error).__name__, wrong=True)

    def _edited(self, photograph: Photograph, size: int | None = None) -> torch.Tensor:
        """The face as the sliders and boxes are."""
        strengths = {name: s.value for name, s in self._sliders.items() if s.value}
        held = [name for name, box in self._held.items() if box.value]
        return photograph.edited(strengths, held, self._editors, size)

    def _uploaded(self, change: dict) -> None:
        if change["new"]:
            file = change["new"][0]
            self._upload.value = ()
            self.open(bytes(file["content"]), file["name"])

    def _png(self, image: torch.Tensor) -> bytes:
        step = max(1, image.shape[-1] // 512)
        return pictures.to_png(_within(to_image(F.avg_pool2d(image, step)), self._size))

    def _say(self, text: str, wrong: bool = False) -> None:
        kind = "fl-wrong" if wrong else "fp-quiet"
        self._status.value = f'<span class="{kind}">{escape(text)}</span>'

    def _lay_out(self, reach: float) -> None:
        self._upload = widgets.FileUpload(accept="image/*", description="Photograph")
        self._upload.observe(self._uploaded, "value")
        example = _button("Astronaut", lambda _: self.open(_astronaut(), "astronaut.png"))
        stop = _button("Stop", lambda _: self._stop.set())
        self._progress = widgets.FloatProgress(max=1.0)
        self._status = widgets.HTML()
        self._say(_PRIVATE)
        self._before, self._after = (
            classed(widgets.Image(format="png", width=self._size), name)
            for name in ("fp-before", "fp-after")
        )
        self._sliders, self._held, rows = {}, {}, []
        for name in self._editors:
            slider = widgets.FloatSlider(0.0, min=-reach, max=reach, step=0.1,
                                         description=name.replace("_", " "))  # fmt: skip
            held = widgets.Checkbox(False, description="hold", indent=False,
                                    layout=widgets.Layout(width="70px"))  # fmt: skip
            for widget in (slider, held):
                widget.observe(self._redraw, "value")
            self._sliders[name], self._held[name] = slider, held
            rows.append(widgets.HBox([slider, held]))
        self._whole = widgets.Checkbox(False, description="in the photograph", indent=False)
        self._whole.observe(self._redraw, "value")
        self._file = widgets.Text("edited.jpg")
        save = _button("Save", self._save)
        bar = classed(widgets.HBox([self._upload, example, stop, self._progress]), "fp-row")
        pair = classed(widgets.HBox([self._before, self._after, widgets.VBox(rows)]), "fp-row")
        last = classed(widgets.HBox([self._whole, self._file, save]), "fp-row")
        note = widgets.HTML(f'<span class="fp-quiet">{_PRIVATE}</span>')
        self.root = classed(page(bar, self._status, pair, last, note, css=_CSS), "facenb-photo")

    def _ipython_display_(self) -> None:
        photo = self.photograph.aligned.photo if self.photograph else read_photo(_astronaut())
        image = _within(to_image(photo), self._size)
        show(self.root, pictures.to_png(image),
             "Edit a photograph: run this cell in JupyterLab.", self)  # fmt: skip


def _release(root: widgets.Widget) -> None:
    """What an editor has that it alone cannot free, when it is closed or nobody needs it."""
    close_widgets(root)
    for worker in _WORKERS:
        worker.release()


def _button(text: str, pressed: Callable[[object], object]) -> widgets.Button:
    button = widgets.Button(description=text)
    button.on_click(pressed)
    return button


def _astronaut() -> bytes:
    return asset_path("astronaut/astronaut.png").read_bytes()


def _within(image, size: int):
    """A PIL image no larger than `size` a side."""
    image.thumbnail((size, size))
    return image
