"""Upload a photograph or take the astronaut, invert it, and edit it with sliders.

    PhotoEditor(load_generator(), load_editors("interfacegan"))      # at the end of a cell

The file goes from the browser to the kernel, which runs where JupyterLab runs, and no further.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import torch
import torch.nn.functional as F

from facenb.assets import asset_path
from facenb.editors import Editors
from facenb.errors import FacenbError
from facenb.generators.mobilestylegan import MobileStyleGAN
from facenb.photos import Aligner, Inversion, Photograph, to_image
from facenb.widgets.explorer import pictures
from facenb.widgets.live import classed, close_widgets, page, show

_CSS = """
.facenb-photo { max-width: 1000px; overflow: visible; }
.facenb-photo .fp-row { gap: 10px; align-items: center; overflow: visible; flex-flow: row wrap; }
.facenb-photo .fp-quiet { color: var(--jp-ui-font-color2, #767676); }
"""
_PRIVATE = "The photograph stays on the machine that runs this notebook: nothing is sent anywhere."
_SECONDS = 45


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
        self._lock, self._thread = threading.Lock(), None
        self._lay_out(strength_range)

    def open(self, source: object, name: str = "the image") -> bool:
        """Show the face of a photograph (see `read_photo`) and invert it in the background.

        An inversion that still runs is given up. Returns False, and says why, where there is no
        face that can be used; what was shown before stays.
        """
        try:
            photograph = Photograph(self._generator, source, aligner=self._aligner)
        except (FacenbError, OSError) as error:
            self._say(str(error), wrong=True)
            return False
        self._give_up()
        with self._lock:
            self.photograph = photograph
            self._before.value = self._png(photograph.aligned.image)
            for slider in self._sliders.values():
                slider.value = 0.0
        self._progress.value = 0.0
        self._say(f"{name}: inverting, up to {self._seconds:g} seconds. Sliders work already.")
        self._thread = threading.Thread(target=self._invert, args=[photograph], daemon=True)
        self._thread.start()
        return True

    def wait(self) -> None:
        """Return when the inversion has ended."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Give up an inversion and free the widgets."""
        self._give_up()
        close_widgets(self.root)

    def _invert(self, photograph: Photograph) -> None:
        def shown(inversion: Inversion) -> None:
            if photograph is not self.photograph:
                inversion.stop()
                return
            self._progress.value = min(1.0, inversion.spent / self._seconds)
            self._draw()

        try:
            self._draw()  # of the encoder's code
            photograph.invert(seconds=self._seconds, shown=shown, quiet=True)
        except Exception as error:  # a thread's own would be lost
            self._say(f"the inversion failed: {error}", wrong=True)
            raise
        if photograph is self.photograph:
            self._progress.value = 1.0
            self._say(f"Inverted in {photograph.inversion.step} steps. Move the sliders.")

    def _give_up(self) -> None:
        before, self.photograph = self.photograph, None
        if before is not None:
            before.inversion.stop()
        self.wait()

    @torch.no_grad()
    def _draw(self) -> None:
        with self._lock:
            if self.photograph is None:
                return
            face = self._edited(size=512)
            if self._whole.value:
                photo = self.photograph.pasted(face)
                self._after.value = pictures.to_png(_within(to_image(photo), self._size))
            else:
                self._after.value = self._png(face)

    def _save(self, _: object = None) -> None:
        if self.photograph is None:
            self._say("there is no photograph yet.", wrong=True)
            return
        face = self._edited()
        try:
            self.photograph.save(self._file.value, face)
        except (FacenbError, OSError) as error:
            self._say(str(error), wrong=True)
        else:
            self._say(f"Saved {self._file.value}.")

    def _edited(self, size: int | None = None) -> torch.Tensor:
        """The face as the sliders and boxes are."""
        strengths = {name: s.value for name, s in self._sliders.items() if s.value}
        held = [name for name, box in self._held.items() if box.value]
        return self.photograph.edited(strengths, held, self._editors, size)

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
        stop = _button("Stop", lambda _: self.photograph and self.photograph.inversion.stop())
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
                widget.observe(lambda _: self._draw(), "value")
            self._sliders[name], self._held[name] = slider, held
            rows.append(widgets.HBox([slider, held]))
        self._whole = widgets.Checkbox(False, description="in the photograph", indent=False)
        self._whole.observe(lambda _: self._draw(), "value")
        self._file = widgets.Text("edited.jpg")
        save = _button("Save", self._save)
        bar = classed(widgets.HBox([self._upload, example, stop, self._progress]), "fp-row")
        pair = classed(widgets.HBox([self._before, self._after, widgets.VBox(rows)]), "fp-row")
        last = classed(widgets.HBox([self._whole, self._file, save]), "fp-row")
        note = widgets.HTML(f'<span class="fp-quiet">{_PRIVATE}</span>')
        self.root = classed(page(bar, self._status, pair, last, note, css=_CSS), "facenb-photo")

    def _ipython_display_(self) -> None:
        image = to_image(torch.ones(1, 3, self._size, 2 * self._size))
        if self.photograph is not None:
            image = to_image(F.avg_pool2d(self.photograph.aligned.image, 4))
        show(self.root, pictures.to_png(image),
             "Edit a photograph: run this cell in JupyterLab.", self)  # fmt: skip


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
