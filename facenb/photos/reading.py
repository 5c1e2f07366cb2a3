"""Photographs from files: any mode and size that can be read, as RGB in [−1, 1].

A file is looked at before it is decoded: what is no image, too small, or of so many pixels that it
would fill the memory is refused by name, size and limit.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from facenb.errors import FacenbError

LEAST, MOST = 64, 80_000_000  # pixels of the shorter side; of the whole image
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


class PhotoError(FacenbError, ValueError):
    """A photograph that cannot be used, with the reason."""


def read_photo(source: str | os.PathLike[str] | bytes | Image.Image) -> Tensor:
    """A photograph (1, 3, H, W) in [−1, 1], RGB, upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images are converted; what is transparent becomes white. Of an
    animation the first frame is taken.

    Args:
        source: a path, the bytes of a file, or a PIL image.

    Raises:
        FileNotFoundError: no file at that path.
        PhotoError: not an image, damaged, below 64 pixels a side or above 80 million pixels.
    """
    what = "the image"
    if isinstance(source, (str, os.PathLike)):
        what, source = Path(source).name, Path(source).expanduser().read_bytes()
    if isinstance(source, bytes):
        source = _open(source, what)
    _check_size(source, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about EXIF that is odd: only the turn is read
            upright = ImageOps.exif_transpose(source)
        pixels = np.array(_rgb(upright))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise PhotoError(f"{what} is damaged or cut short: {error}.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def _open(content: bytes, what: str) -> Image.Image:
    Image.init()  # formats that are not loaded yet cannot be asked for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see _check_size
            return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{what}: expected at most {MOST:,} pixels, given many more. Make it smaller first."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{what} is not an image that can be read ({len(content):,} bytes). Expected one of "
            f"{', '.join(FORMATS)}."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{what} is damaged: {error}.") from error


def _check_size(image: Image.Image, what: str) -> None:
    width, height = image.size
    if width * height > MOST:
        raise PhotoError(
            f"{what}: expected at most {MOST:,} pixels, given {width:,} × {height:,}. "
            "Make it smaller first."
        )
    if min(width, height) < LEAST:
        raise PhotoError(
            f"{what}: expected sides of {LEAST} pixels and more, given {width} × {height}."
        )


def _rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, 8 bits; transparent parts over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or floats as 8 bits. Pillow's own conversion would clip it at 255."""
    values = np.array(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its pixels are not finite numbers")
    most = values.max(initial=0)
    full = next((full for full in (1, 255, 65535) if most <= full), most)
    if image.mode.startswith("I"):
        full = max(full, 65535)
    return Image.fromarray((values.clip(0) / full * 255).round().astype(np.uint8))


def to_image(pixels: Tensor) -> Image.Image:
    """(1, 3, H, W) or (3, H, W) in [−1, 1] → a PIL image."""
    pixels = pixels[0] if pixels.ndim == 4 else pixels
    whole = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(whole.permute(1, 2, 0).cpu().numpy())
