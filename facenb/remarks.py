"""What a notebook says where its generator is not the one for which its text is written.

remark = Remarks(G)
remark("no directions ship for it: they are learned here.")   # of its own generator: nothing
if remark.own:
    assert accuracy > 0.9
"""

from __future__ import annotations

import torch
from IPython.display import Markdown, display

from facenb.errors import FacenbError
from facenb.generators import DEFAULT, Generator

_ALIKE = 1e-4  # images in [−1, 1] that differ by less everywhere show one thing


class Remarks:
    """Called with a sentence, shows it as a block quote; silent on the notebook's own generator.

    Args:
        written_for: the generator that the notebook's text is about.

    Attributes:
        own: whether it is.
        styles: whether it has W, whose latents drive the style of every layer.

    Raises:
        FacenbError: all latents give the same image, so that there is nothing to learn or to edit.
    """

    def __init__(self, generator: Generator, written_for: str = DEFAULT) -> None:
        self.own, self.styles = generator.name == written_for, "w" in generator.spaces
        if self.own:
            return
        with torch.inference_mode():
            images = generator.synthesize(generator.sample(8))
        if (images - images[0]).abs().max() < _ALIKE:
            raise FacenbError(
                f"{generator.name}: eight latents give one and the same image, expected images "
                "that differ. There is nothing to edit; were its weights trained and saved whole?"
            )
        spaces = ", ".join(f"{space} of {generator.dim(space)}" for space in generator.spaces)
        self(
            f"this run is on **{generator.name}** (sha256 {generator.fingerprint[:12]}): "
            f"{generator.resolution} × {generator.resolution} pixels, {spaces}. The text, its "
            f"numbers and the images in it are about {written_for}, and what Check "
            "asserts of that one is only printed. What does not apply is said where it would stand."
        )

    def __call__(self, text: str) -> None:
        if not self.own:
            display(Markdown(f"> **On another generator:** {text}"))
