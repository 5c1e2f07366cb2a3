"""How many threads torch may use, and processes for what one thread does best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm.auto import tqdm

WORTHWHILE = 2_000  # steps of some milliseconds, against the start of the processes


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in here: for many small steps.

    Networks of a few thousand weights in batches of a few codes finish an operation before a second
    thread has woken up: with two they train three times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    function: Callable[..., object], calls: Sequence[Mapping[str, object]], what: str, steps: int
) -> None:
    """`function(**call)` of every call, a process for each core, for what it leaves on disk.

    Trainings that take one thread each go two at a time on two cores. The processes take seconds to
    start: a single call, a single core or fewer `steps` of training in all than WORTHWHILE are
    left to the caller.
    """
    processes = min(len(calls), cpu_count())
    if processes < 2 or steps < WORTHWHILE:
        return
    run = Parallel(processes, return_as="generator_unordered")
    for _ in tqdm(
        run(delayed(_quietly)(function, c) for c in calls), what, len(calls), leave=False
    ):
        pass


def _quietly(function: Callable[..., object], call: Mapping[str, object]) -> None:
    with one_thread(), redirect_stderr(StringIO()):  # two progress bars would share one line
        function(**call)
