"""How long a slider's new position takes to the screen, measured as a kernel runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import torch

from facenb.editors import Editor
from facenb.generators import Generator
from facenb.scorers import ScorerSuite
from facenb.widgets.explorer.explorer import Explorer


def measure(
    generator: Generator,
    editors: Mapping[str, Editor],
    scorers: ScorerSuite,
    events: int = 200,
    rests: int = 20,
) -> dict[str, float]:
    """95th percentiles in milliseconds, from a slider's event to what the widgets then show.

    "preview": the edited image in preview size, without scores. "preview while scores are
    computed": the same with the chart of the position before in work. "score chart": the chart, in
    a drag that waits for it. "full image at rest": from the last event of a drag, the moment of
    rest included. Where the generator has no smaller size, previews are full images.

    Args:
        events: positions in a drag. rests: how often a drag ends.
    """
    plain = Explorer(generator, editors)
    scored = Explorer(generator, editors, scorers)
    scored.render()  # leaves the one-off look at random faces out

    def chart() -> None:
        scored._screen.preview()
        scored._screen._panels.wait()

    try:
        return {
            "preview": asyncio.run(_drag(plain, plain._screen.preview, events)),
            "preview while scores are computed": asyncio.run(
                _drag(scored, scored._screen.preview, events)
            ),
            "score chart": asyncio.run(_drag(scored, chart, events // 2)),
            "full image at rest": asyncio.run(_rest(scored, rests)),
        }
    finally:
        plain.close()
        scored.close()


async def _drag(explorer: Explorer, shown: Callable[[], object], events: int) -> float:
    """From each of many positions to `shown`, as soon as which the hand moves on."""
    slider, spent = _slider(explorer), []
    for position in torch.linspace(slider.min, slider.max, events).tolist():
        start = time.perf_counter()
        slider.value = position
        shown()
        spent.append(1e3 * (time.perf_counter() - start))
    explorer.render()
    return _p95(spent)


async def _rest(explorer: Explorer, rests: int) -> float:
    """From the last of a few positions to the full image, again and again."""
    slider, spent = _slider(explorer), []
    for end in torch.linspace(slider.min, slider.max, rests).tolist():
        for position in (0.3 * end, 0.6 * end, end):
            slider.value = position
            start = time.perf_counter()
            explorer._screen.preview()
        while not explorer._screen._has_full():
            await asyncio.sleep(0.002)
        spent.append(1e3 * (time.perf_counter() - start))
    return _p95(spent)


def _slider(explorer: Explorer):
    sliders = explorer._view.sliders
    return sliders.slider(sliders.names[0])


def _p95(milliseconds: list[float]) -> float:
    return sorted(milliseconds)[int(0.95 * len(milliseconds))]
