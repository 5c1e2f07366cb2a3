"""How long a slider's new position takes to the screen, measured as a kernel runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import torch

from facenb.editors import Editor
from facenb.explorer.explorer import Explorer
from facenb.generators import Generator
from facenb.scorers import ScorerSuite


def measure(
    generator: Generator, editors: Mapping[str, Editor], scorers: ScorerSuite, events: int = 200
) -> dict[str, float]:
    """95th percentiles in milliseconds, from a slider's event to what the widgets then show.

    "frame": the new picture, without scores. "chart": the picture and the chart of its scores.
    "frame in a drag": the new picture while the scores of the one before are still being computed.
    """
    plain, scored = Explorer(generator, editors), Explorer(generator, editors, scorers)
    scored.render()  # leaves the one-off look at random faces out
    drags = {
        "frame": (plain, plain._screen.frame),
        "chart": (scored, scored._screen.wait),
        "frame in a drag": (scored, scored._screen.frame),
    }
    return {what: asyncio.run(_drag(*how, events)) for what, how in drags.items()}


async def _drag(explorer: Explorer, shown, events: int) -> float:
    slider = next(iter(explorer._view.sliders.values()))
    spent = []
    for position in torch.linspace(slider.min, slider.max, events).tolist():
        start = time.perf_counter()
        slider.value = position
        shown()
        spent.append(1e3 * (time.perf_counter() - start))
    explorer.render()
    return sorted(spent)[int(0.95 * events)]
