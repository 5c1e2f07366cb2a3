"""How many threads torch may use, and threads and processes for what one core does best."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TypeVar

import torch
from joblib import Parallel, cpu_count, delayed
from tqdm.auto import tqdm

WORTHWHILE = 2_000  # steps of some milliseconds, against the start of the processes

Part = TypeVar("Part")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in here: for many small steps.

    Networks of a few thousand weights in batches of a few latents finish an operation before a
    second thread has woken up: with two they train three times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_on_one_core(cores: int) -> None:
    """Let this thread compute on one core; other threads keep what they have.

    Args:
        cores: what a thread that starts later computes on: torch's setting is of the thread that
            sets it, and by default of all that start afterwards.
    """
    torch.get_num_threads()  # the first question sets it to the default: not after the next line
    torch.set_num_threads(1)
    restore = threading.Thread(target=torch.set_num_threads, args=[cores])
    restore.start()
    restore.join()


def on_all_cores(function: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """`function(part)` of every part, in order, each computed on one core and all cores at work.

    For networks of many small layers: shared out layer by layer, the cores wait for each other a
    hundred times an image. Gradient mode is of a thread; `function` sets its own.
    """
    cores = torch.get_num_threads()
    if cores == 1 or len(parts) < 2:
        yield from map(function, parts)
        return
    pool = ThreadPoolExecutor(min(cores, len(parts)), "facenb", compute_on_one_core, [cores])
    try:
        yield from pool.map(function, parts)
    finally:
        pool.shutdown(cancel_futures=True)


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
