"""Type a sentence, and faces walk towards it: captions as targets (Li et al. 2021, §4.8).

    box = CaptionBox(generator, field, captions, latents, "an old man with glasses")
    box                                     # at the end of a cell: a text field, the faces
    box.walk_to("a smiling young woman")    # the same from code: a Manipulation

The field is a `SurrogateGradientField` that was fitted on vectors of `captions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor

from facenb.errors import FacenbError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.sgf import MAX_STEPS, Manipulation, SurrogateGradientField
from facenb.sampling import observe
from facenb.scorers.captions import Captions
from facenb.widgets.explorer import pictures
from facenb.widgets.live import classed, page, show

_CSS = """
.facenb-caption { max-width: 1000px; overflow: visible; }
.facenb-caption .fc-ask { gap: 8px; align-items: center; overflow: visible; }
.facenb-caption .fc-ask .widget-text { flex: 1 1 auto; max-width: 560px; }
.facenb-caption .fc-pair { gap: 4px; overflow: visible; }
.facenb-caption .fc-faces { gap: 22px; flex-flow: row wrap; overflow: visible; }
.facenb-caption .fc-face { width: 290px; overflow: visible; }
.facenb-caption .fc-face .widget-html-content { line-height: 1.3; }
.facenb-caption .fc-quiet { color: var(--jp-ui-font-color2, #767676); }
"""


class CaptionBox:
    """N faces, a text field, and the same faces after their walk to the sentence.

    Args:
        generator: draws the faces.
        field: fitted on `captions` of this generator's samples.
        captions: what a picture is said to show.
        latents: the N faces to start from, in the field's space.
        sentence: the first one, walked to at once.
        max_steps: of Algorithm 1.
        size: pixels a side of each picture.

    Attributes:
        found: what became of the faces at the last sentence, a `Manipulation`.

    Raises:
        ValueError: a field of other conditions, or an empty sentence.
    """

    def __init__(
        self,
        generator: Generator,
        field: SurrogateGradientField,
        captions: Captions,
        latents: Latents,
        sentence: str,
        max_steps: int = MAX_STEPS,
        size: int = 140,
    ) -> None:
        if field.names_ != captions.names:
            raise ValueError(
                f"CaptionBox: expected a field of captions ({len(captions.names)} numbers), given "
                f"one of {len(field.names_)} conditions: {', '.join(field.names_[:3])}, …"
            )
        self._generator, self._field, self._captions = generator, field, captions
        self._latents, self._max_steps, self._size = latents, max_steps, size
        self._observe = observe(generator, captions, latents.space)
        self._before, self._words = self._see(latents)
        self._sentence: str | None = None
        self._lay_out()
        self.walk_to(sentence)

    def walk_to(self, sentence: str) -> Manipulation:
        """Walk every face towards `sentence`, show where it came, and return the walks.

        Raises ValueError for an empty sentence; what was shown before stays.
        """
        if not sentence.strip():
            raise ValueError('expected a sentence, such as "a smiling young woman", given none.')
        self._sentence = sentence
        self._text.value = sentence
        start = self._latents.values
        before, (target,) = self._encode(self._words), self._encode([sentence])
        self.found = self._field.manipulate(
            start, before, target, self._observe, max_steps=self._max_steps
        )
        self._show(before @ target, self.found.conditions[-1] @ target)
        return self.found

    def _encode(self, sentences: Sequence[str]) -> Tensor:
        return self._captions.encoder(sentences).to(self._latents.values)

    def _see(self, latents: Latents) -> tuple[list[Image.Image], list[str]]:
        """The pictures of latents, and what is said of them."""
        with torch.no_grad():
            images = self._generator.synthesize(latents)
        drawn = [pictures.to_picture(image, self._size) for image in images]
        return drawn, self._captions.captions(images)

    def _lay_out(self) -> None:
        # the value arrives with Enter or when the field is left, not with every letter
        self._text = widgets.Text(description="Walk to", continuous_update=False)
        self._button = widgets.Button(description="Walk", icon="play")
        self._text.observe(lambda _: self._asked(), "value")
        self._button.on_click(lambda _: self._asked())
        self._status = widgets.HTML()
        pairs = [[widgets.Image(format="png", width=self._size) for _ in "12"] for _ in self._words]
        self._notes = [widgets.HTML() for _ in self._words]
        self._after = [after for _, after in pairs]
        for (before, _), picture in zip(pairs, self._before, strict=True):
            before.value = pictures.to_png(picture)
        faces = [
            classed(widgets.VBox([classed(widgets.HBox(pair), "fc-pair"), note]), "fc-face")
            for pair, note in zip(pairs, self._notes, strict=True)
        ]
        ask = classed(widgets.HBox([self._text, self._button]), "fc-ask")
        row = classed(widgets.HBox(faces), "fc-faces")
        self.root = classed(page(ask, self._status, row, css=_CSS), "facenb-caption")

    def _asked(self) -> None:
        sentence = self._text.value
        if sentence == self._sentence:  # a click after Enter, or walk_to itself
            return
        self._button.disabled, self._status.value = True, "Walking …"
        try:
            self.walk_to(sentence)
        except (FacenbError, ValueError) as error:  # the faces stay as they were
            self._sentence = None  # so that the same one can be tried again
            self._status.value = f'<div role="alert" class="fl-wrong">{escape(str(error))}</div>'
        finally:
            self._button.disabled = False

    def _show(self, before: Tensor, after: Tensor) -> None:
        """Pictures and notes of what was found, with the cosines to the sentence."""
        found = self.found
        self._edited, words = self._see(self._latents.with_values(found.latents))
        for i, picture in enumerate(self._edited):
            self._after[i].value = pictures.to_png(picture)
            steps = int(found.steps[i])
            self._notes[i].value = (
                f"{escape(self._words[i])}<br>→ <b>{escape(words[i])}</b><br>"
                f'<span class="fc-quiet">{found.status[i]}, {steps} step{"s" * (steps != 1)}; '
                f"cosine to the sentence {before[i]:.2f} → {after[i]:.2f}</span>"
            )
        self._status.value = (
            '<span class="fl-wrong">Hardly a sample has a caption like this one: walks to it may '
            "stop short.</span>"
            if found.out_of_range.any()
            else "The sentence is like those that the samples have."
        )

    def _ipython_display_(self) -> None:
        pairs = zip(self._before, self._edited, strict=True)
        saved = pictures.side_by_side([picture for pair in pairs for picture in pair])
        text = "A field for a sentence: run this cell in JupyterLab."
        show(self.root, pictures.to_png(saved), text)
