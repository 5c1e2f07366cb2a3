"""A photograph from file to file: aligned, inverted, edited, and the face back in its place.

photograph = Photograph(load_generator(), "me.jpg")
photograph.invert(seconds=60)                       # again with more seconds: goes on
face = photograph.edited({"age": 3.0}, hold=["glasses"])
photograph.save("older.jpg", face)
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from facenb.editors import Editors, load_editors
from facenb.errors import FacenbError
from facenb.generators.mobilestylegan import MobileStyleGAN
from facenb.latents import Latents
from facenb.photos.align import Aligned, Aligner
from facenb.photos.encoder import load_encoder
from facenb.photos.invert import Inversion
from facenb.photos.paste import Paster
from facenb.photos.reading import read_photo, to_image
from facenb.photos.tune import tune
from facenb.storage.files import atomic_write

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


class Photograph:
    """One face of a photograph and its latent. Everything is computed here, nothing is sent.

    Args:
        generator: of FFHQ-like faces.
        source: a path, the bytes of a file, or a PIL image.
        face: which one, counted from the largest.
        aligner: the nets that find the face, where they are loaded already.

    Attributes:
        aligned: the photograph and the face that was cut out.
        inversion: its optimisation.
        generator: tuned, after `tune`.

    Raises:
        PhotoError: what cannot be read or has no such face, with the reason.
        FileNotFoundError: no such file.
    """

    def __init__(
        self,
        generator: MobileStyleGAN,
        source: str | os.PathLike[str] | bytes | Image.Image,
        face: int = 0,
        aligner: Aligner | None = None,
    ) -> None:
        self.generator = generator
        self.aligned: Aligned = (aligner or Aligner())(read_photo(source), face)
        self._given: Latents | None = None

    @cached_property
    def encoded(self) -> Latents:
        """The encoder's latent (1, L, 512) in w+."""
        with torch.no_grad():
            return load_encoder(self.generator.name)(self.aligned.image)

    @cached_property
    def inversion(self) -> Inversion:
        fast = self.generator.variant(precision=torch.bfloat16)
        return Inversion(fast, self.aligned.image, start=self.encoded)

    @property
    def latents(self) -> Latents:
        """(1, L, 512) in w+: the best so far, the encoder's at first; or one that was assigned."""
        if self._given is not None:
            return self._given
        return self.inversion.latents if self._inverted else self.encoded

    @latents.setter
    def latents(self, latents: Latents) -> None:
        if len(latents) != 1:
            raise ValueError(f"latents: expected one, given {len(latents)}.")
        self._given = self.generator.map(latents, "w+")

    @property
    def _inverted(self) -> bool:
        return "inversion" in self.__dict__ and self.inversion.step > 0

    def invert(
        self,
        seconds: float | None = None,
        steps: int | None = None,
        shown: Callable[[Inversion], object] | None = None,
        stop: threading.Event | None = None,
        quiet: bool = False,
    ) -> Latents:
        """Optimise the latent, see `Inversion.run`; returns it."""
        self._given = None
        self.inversion.run(seconds, steps, shown, stop, quiet)
        return self.latents

    def tune(self, seconds: float | None = None, steps: int | None = None) -> None:
        """Pivotal tuning around the present latent: `generator` is another one from now on."""
        self.generator = tune(self.generator, self.aligned.image, self.latents, seconds, steps)

    def edited(
        self,
        strengths: Mapping[str, float],
        hold: Sequence[str] = (),
        editors: Editors | None = None,
        size: int | None = None,
    ) -> Tensor:
        """The face (1, 3, S, S) edited by each of `strengths` in turn; all held fixed but itself.

        Args:
            editors: of w or w+; by default InterFaceGAN's boundaries that ship.
            size: of the image, by default the generator's full one.

        Raises:
            UnknownNameError: no editor of that name.
        """
        editors = load_editors("interfacegan", self.generator.name) if editors is None else editors
        editors.check(self.generator)
        latents = self.latents
        for name, strength in strengths.items():
            chosen = editors.condition(name, hold) if hold else editors.select([name])
            if chosen.space == "w":
                chosen = chosen.in_layers(0, self.generator.w_layers)
            latents = chosen[name].edit(latents, strength)
        with torch.no_grad():
            return self.generator.synthesize(latents, size=size)

    @cached_property
    def _paster(self) -> Paster:
        return Paster()

    @torch.no_grad()
    def pasted(self, face: Tensor) -> Tensor:
        """The photograph (1, 3, H, W) with an edited face (1, 3, S, S) in it."""
        before = self.generator.synthesize(self.latents, size=face.shape[-1])
        return self._paster(self.aligned, face, before)

    def save(self, path: str | os.PathLike[str], face: Tensor) -> None:
        """Write the photograph with that face in it; the format follows the file's ending.

        Raises:
            FacenbError: an ending that is not .jpg, .png or .webp.
        """
        save_image(path, self.pasted(face))


def save_image(path: str | os.PathLike[str], pixels: Tensor) -> None:
    """Write an image (1, 3, H, W) in [−1, 1] whole or not at all.

    Raises:
        FacenbError: an ending that is not .jpg, .jpeg, .png or .webp.
    """
    kind = _FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise FacenbError(
            f"{path}: expected a file that ends in {', '.join(_FORMATS)}, given "
            f"{Path(path).suffix!r}."
        )
    stream = io.BytesIO()
    to_image(pixels).save(stream, kind, quality=95)
    atomic_write(path, stream.getvalue())
