"""Image tensors as PIL pictures, JPEG bytes, strips and animated GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

ENOUGH = 256  # pixels a side that a browser can enlarge without the squares showing


def to_picture(image: Tensor, size: int | None = None) -> Image.Image:
    """One image (3, R, R) in [−1, 1] as a PIL picture, of `size` pixels a side if that is given."""
    pixels = image.detach().add(1).mul_(127.5).clamp_(0, 255).round_().byte().permute(1, 2, 0)
    picture = Image.fromarray(pixels.cpu().contiguous().numpy())
    if size in (None, picture.width):
        return picture
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def for_screen(image: Tensor, size: int) -> bytes:
    """One image (3, R, R) as JPEG for a place of `size` pixels a side, scaled by the browser.

    All its pixels, since a screen may have two for each of the page's; small ones are enlarged.
    """
    side = image.shape[-1]
    return to_jpeg(to_picture(image, side if side >= min(size, ENOUGH) else size))


def at_least(image: Tensor, size: int) -> Image.Image:
    """One image (3, R, R) as a PIL picture of all its pixels, enlarged to `size` if it has less."""
    return to_picture(image, max(size, image.shape[-1]))


def to_jpeg(picture: Image.Image) -> bytes:
    """JPEG without chroma subsampling: nothing to see of it, and six times faster than PNG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=92, subsampling=0)
    return stream.getvalue()


def to_png(picture: Image.Image) -> bytes:
    """Lossless PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def side_by_side(pictures: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Pictures of one height in a row on white."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    row = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def to_gif(pictures: Sequence[Image.Image], milliseconds: int = 80) -> bytes:
    """An endless animation, a frame for each picture."""
    frames = [p.convert("P", palette=Image.Palette.ADAPTIVE, colors=256) for p in pictures]
    stream = io.BytesIO()
    frames[0].save(
        stream, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
    )
    return stream.getvalue()
