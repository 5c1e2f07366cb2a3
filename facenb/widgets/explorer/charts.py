"""The score chart and the strip as HTML: a few kilobytes of text, drawn by the browser at once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from PIL import Image

from facenb.scorers import Attribute
from facenb.widgets.explorer.engine import Scores
from facenb.widgets.explorer.groups import changed_most, group_of, readable, title
from facenb.widgets.explorer.pictures import to_jpeg

MINUS = "\N{MINUS SIGN}"
MOST = "Changed most"
ALL = "All scores"
_REACH = 3.5  # the chart shows this many standard deviations either side of the mean
_ROWS = 14  # as many as can be read at a glance
_VISIBLE = 0.3  # standard deviations: what moved less is drawn quietly


class ScoreChart:
    """Rows of scores: all of them, those of a group, or those that changed most.

    Attributes:
        choices: what there is to choose from; just one where all scores fit.
    """

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._attributes = tuple(attributes)
        self._groups: dict[str, list[str]] = {}
        for attribute in attributes:
            self._groups.setdefault(readable(group_of(attribute)), []).append(attribute.name)
        few = len(attributes) <= _ROWS
        self.choices = [ALL] if few else [MOST, ALL, *self._groups]
        self._chosen: list[str] = []

    def html(self, scores: Scores, choice: str, moving: bool) -> str:
        """One row a score: a ring before, a dot after, a bar between, the change in deviations.

        The middle of a row is the mean over random faces; a score beyond ±3.5 standard deviations
        stands at the edge. While a slider is `moving` the rows stay those that they were.
        """
        before = ((scores.before - scores.mean) / scores.deviation).tolist()
        after = ((scores.after - scores.mean) / scores.deviation).tolist()
        names = [attribute.name for attribute in self._attributes]
        if choice == MOST and not (moving and self._chosen):
            change = {n: a - b for n, b, a in zip(names, before, after, strict=True)}
            self._chosen = changed_most(change, self._chosen, _ROWS)
        shown = {MOST: self._chosen, ALL: names}.get(choice) or self._groups[choice]
        rows, group = [], None
        for i, attribute in enumerate(self._attributes):
            if attribute.name not in shown:
                continue
            if choice == ALL and len(self.choices) > 1 and group != group_of(attribute):
                group = group_of(attribute)
                rows.append(f'<div class="fx-group">{escape(readable(group))}</div>')
            values = float(scores.before[i]), float(scores.after[i])
            rows.append(_row(attribute, before[i], after[i], values))
        return f'<div class="fx-chart">{"".join(rows)}</div>'


def strip_chart(pictures: Sequence[Image.Image], strengths: Sequence[float], current: float) -> str:
    """Images in a row with their strengths; the one nearest to the slider is marked."""
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


def _row(attribute: Attribute, before: float, after: float, values: tuple[float, float]) -> str:
    change, name = after - before, escape(title(attribute))
    old, new = _place(before), _place(after)
    way, towards = ("up", attribute.high) if change > 0 else ("down", attribute.low)
    small = abs(change) < _VISIBLE
    tip = (
        f"{title(attribute)}: {values[0]:.3g} before, {values[1]:.3g} after "
        f"({attribute.unit}); left {attribute.low}, right {attribute.high}"
    )
    return (
        f'<div class="fx-row{" small" if small else ""}" title="{escape(tip)}">'
        f'<span class="fx-name">{name}</span>'
        f'<span class="fx-track"><i class="fx-mean"></i>'
        f'<i class="fx-bar {way}" style="left:{min(old, new):.2f}%;width:{abs(new - old):.2f}%">'
        f'</i><i class="fx-ring" style="left:{old:.2f}%"></i>'
        f'<i class="fx-dot {way}" style="left:{new:.2f}%"></i></span>'
        f'<span class="fx-change">{_signed(change)}</span>'
        f'<span class="fx-towards">{"" if small else escape(towards)}</span></div>'
    )


def _place(deviations: float) -> float:
    """Percent from the left edge of a track."""
    return 50 + 50 * max(-1.0, min(1.0, deviations / _REACH))


def _signed(value: float) -> str:
    """With a true minus sign; "0.0" without a sign."""
    text = f"{value:+.1f}".replace("-", MINUS)
    return "0.0" if text[1:] == "0.0" else text
