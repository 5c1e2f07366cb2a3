"""One loop for all that learns within a budget: steps or seconds, stopped at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tqdm.auto import tqdm


@dataclass
class Spent:
    """What was spent so far: steps, and the seconds that they took."""

    steps: int = 0
    seconds: float = 0.0


def spend(
    what: str,
    step: Callable[[float], float],
    spent: Spent,
    seconds: float | None = None,
    steps: int | None = None,
    stop: threading.Event | None = None,
    after: Callable[[], object] | None = None,
    quiet: bool = False,
) -> None:
    """Call `step` until so many seconds or steps have been spent in all; `spent` counts them.

    Ctrl-C (a notebook's stop button) and `stop` end it early.

    Args:
        what: the progress bar's name.
        step: is given the fraction of the budget that is spent, from 0 to 1; returns a loss, which
            the bar shows.
        spent: by earlier calls, which count as well.
        seconds, steps: one of them, the budget.
        stop: ends it after the present step when set.
        after: called after each step; its time is not counted.
        quiet: without a progress bar.

    Raises:
        ValueError: both budgets, none, or one that is not above 0.
    """
    if (seconds is None) == (steps is None):
        raise ValueError(f"{what}: expected either seconds or steps.")
    total = steps if seconds is None else seconds
    if not total > 0:
        raise ValueError(f"{what}: expected a budget above 0, given {total}.")
    unit = "step" if seconds is None else "s"
    bar = tqdm(total=round(total), desc=what, unit=unit, leave=False, disable=quiet)
    try:
        while (done := (spent.steps if seconds is None else spent.seconds) / total) < 1:
            begun = time.monotonic()
            loss = step(done)
            spent.seconds += time.monotonic() - begun
            spent.steps += 1
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            reached = spent.steps if seconds is None else round(spent.seconds)
            bar.update(min(reached, bar.total) - bar.n)
            if stop is not None and stop.is_set():
                break
            if after is not None:
                after()
    except KeyboardInterrupt:
        pass  # what was found so far is kept
    finally:
        bar.close()
