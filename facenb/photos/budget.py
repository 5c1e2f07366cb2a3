"""One loop for all that learns within a budget: steps or seconds, stopped at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.seeds import random_for


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


def learn(
    what: str,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[torch.Generator], Tensor],
    steps: int,
    rate: float,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Steps of Adam on `loss`, which is given the random numbers of its step.

    The rate rises over the first tenth of the steps and falls to a twentieth.
    """
    optimizer, spent = torch.optim.Adam(parameters, rate, betas=(0.9, 0.99)), Spent()

    def step(done: float) -> float:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 10 * done + 0.05) * (1 - 0.95 * done)
        error = loss(random_for(seed, what, spent.steps))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        return float(error.detach())

    spend(what, step, spent, steps=steps, quiet=quiet)
