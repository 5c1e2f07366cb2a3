"""The images at both ends of every score, one picture per group of scores, for the model cards."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from facenb.generators import Generator
from facenb.sampling import ScoredSamples, draw
from facenb.scorers.attributes import Attribute
from facenb.scorers.suite import ScorerSuite
from facenb.storage.files import atomic_write

EACH = 7  # images at an end
_SIDE, _TEXT, _GAP, _LEFT = 92, 17, 10, 4
_QUALITY = 84  # of JPEG


def write_ends(
    generator: Generator, suite: ScorerSuite, samples: ScoredSamples, folder: Path
) -> list[Path]:
    """Write GROUP.jpg for each group of scores; the paths."""
    groups = dict.fromkeys(attribute.group for attribute in suite.attributes)
    paths = []
    for group in groups:
        attributes = [a for a in suite.attributes if a.group == group]
        rows = [_row(generator, samples, attribute) for attribute in attributes]
        path = folder / f"{group.replace(' ', '_')}.jpg"
        stream = io.BytesIO()
        stack(rows).save(stream, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
        atomic_write(path, stream.getvalue())
        paths.append(path)
    return paths


def ends(scores: Tensor, each: int = EACH) -> tuple[Tensor, Tensor]:
    """Indices of the lowest scores, the lowest first, and of the highest, the highest last."""
    order = scores.argsort()
    return order[:each], order[-each:]


def _row(generator: Generator, samples: ScoredSamples, attribute: Attribute) -> Image.Image:
    low, high = ends(samples[attribute.name])
    with torch.no_grad():
        index = torch.cat([low, high])
        images = draw(generator, samples.latents[index], generator.scoring_size)
    return row(images[: len(low)], images[len(low) :], attribute)


def row(low: Tensor, high: Tensor, attribute: Attribute) -> Image.Image:
    """One score: images (N, 3, S, S) at its low end, a gap, those at its high end, and words."""
    width = _SIDE * (len(low) + len(high)) + _GAP
    picture = Image.new("RGB", (width, _TEXT + _SIDE), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    right = _SIDE * len(low) + _GAP
    pen.text((_LEFT, 0), f"{attribute.name}: {attribute.low}", "black", font)
    pen.text((right + _LEFT, 0), attribute.high, "black", font)
    for start, images in ((0, low), (right, high)):
        for i, image in enumerate(images):
            picture.paste(_small(image), (start + i * _SIDE, _TEXT))
    return picture


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows of the same width, one below the other."""
    picture = Image.new("RGB", (rows[0].width, sum(r.height for r in rows)), "white")
    top = 0
    for each in rows:
        picture.paste(each, (0, top))
        top += each.height
    return picture


def _small(image: Tensor) -> Image.Image:
    pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
