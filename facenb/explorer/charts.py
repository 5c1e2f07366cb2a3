"""The score chart and the strip as HTML: a few kilobytes of text, drawn by the browser at once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from PIL import Image

from facenb.explorer.engine import Scores
from facenb.explorer.pictures import to_jpeg
from facenb.scorers import Attribute

MINUS = "\N{MINUS SIGN}"
_REACH = 3.5  # the chart shows this many standard deviations either side of the mean


def readable(name: str) -> str:
    """ "mouth_open" → "Mouth open"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def score_chart(attributes: Sequence[Attribute], scores: Scores) -> str:
    """One row a score: a ring before, a dot after, a bar between, the change in deviations.

    The middle of a row is the mean over random faces; a score beyond ±3.5 standard deviations
    stands at the edge.
    """
    before = (scores.before - scores.mean) / scores.deviation
    after = (scores.after - scores.mean) / scores.deviation
    rows = []
    for i, attribute in enumerate(attributes):
        change = float(after[i] - before[i])
        old, new = _place(float(before[i])), _place(float(after[i]))
        way = "up" if change > 0 else "down"
        size = "" if abs(change) >= 0.3 else " small"
        tip = (
            f"{readable(attribute.name)}: {float(scores.before[i]):.3g} before, "
            f"{float(scores.after[i]):.3g} after ({attribute.unit})"
        )
        rows.append(
            f'<div class="fx-row{size}" title="{escape(tip)}">'
            f'<span class="fx-name">{escape(readable(attribute.name))}</span>'
            f'<span class="fx-low">{escape(attribute.low)}</span>'
            f'<span class="fx-track"><i class="fx-mean"></i>'
            f'<i class="fx-bar {way}" style="left:{min(old, new):.2f}%;'
            f'width:{abs(new - old):.2f}%"></i>'
            f'<i class="fx-ring" style="left:{old:.2f}%"></i>'
            f'<i class="fx-dot {way}" style="left:{new:.2f}%"></i></span>'
            f'<span class="fx-high">{escape(attribute.high)}</span>'
            f'<span class="fx-change">{_signed(change)}</span></div>'
        )
    return f'<div class="fx-chart">{"".join(rows)}</div>'


def strip_chart(pictures: Sequence[Image.Image], strengths: Sequence[float], current: float) -> str:
    """Pictures in a row with their strengths; the one nearest to the slider is marked."""
    nearest = min(range(len(strengths)), key=lambda i: abs(strengths[i] - current))
    cells = []
    for i, (picture, strength) in enumerate(zip(pictures, strengths, strict=True)):
        data = base64.b64encode(to_jpeg(picture)).decode()
        here = ' class="fx-here"' if i == nearest else ""
        cells.append(
            f"<figure{here}>"
            f'<img src="data:image/jpeg;base64,{data}" alt="strength {strength:+g}">'
            f"<figcaption>{_signed(strength)}</figcaption></figure>"
        )
    return f'<div class="fx-strip">{"".join(cells)}</div>'


def _place(deviations: float) -> float:
    """Percent from the left edge of a track."""
    return 50 + 50 * max(-1.0, min(1.0, deviations / _REACH))


def _signed(value: float) -> str:
    """With a true minus sign; "0.0" without a sign."""
    text = f"{value:+.1f}".replace("-", MINUS)
    return "0.0" if text[1:] == "0.0" else text
