"""The newest item wins: work that never queues up behind a moving slider.

How a drag stays live. A slider sends dozens of positions a second; an image takes some milliseconds
or a good part of a second, a score chart longer. Rendering inside the slider's own event would make
the kernel work through every position in turn, and the image would trail behind the hand. Instead
an event only leaves the newest state in a slot of size one (overwriting what waited there) and
returns; a worker thread takes from the slot when it is done with the image before. So at most one
image is in work and one waits, whatever the speed of the hand, and the last position is always
drawn in the end. An image of full size is given up half-way when the hand moves on (`until`).

The way back to the browser cannot pile up either: a Jupyter slider sends its next position only
when the kernel has answered the one before, and that answer travels behind the images on the same
connection, so that a slow network slows the slider down instead of filling up with images.

Images and scores have a worker each, because an image must not wait for the scores of the one
before; and as long as a preview is drawn the scores hold still (`yielding_to`), since on two cores
they would slow it down by half. All explorers share the workers, and with the last of them the
threads end.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from facenb.parallel import compute_on_one_core

Item = TypeVar("Item")


class Worker:
    """One thread for many users: it exists while anyone has hired it.

    Args:
        name: of the thread.
        begin: called in the thread when it starts.
    """

    def __init__(self, name: str, begin: Callable[[], None] | None = None) -> None:
        self._name, self._begin = name, begin
        self._lock = threading.RLock()  # garbage collection may release inside of hire
        self._users, self._pool = 0, None

    def hire(self) -> None:
        """Have the thread, until as many calls of `release`."""
        with self._lock:
            self._users += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, f"facenb-{self._name}", self._begin)

    def release(self) -> None:
        """Need it no longer. The last one ends the thread after what it is doing."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def submit(self, task: Callable[[], None]) -> bool:
        """Run `task` in the thread; False when nobody has hired it, or Python is about to end.

        Jupyter keeps the message that is being handled in a context variable and marks what a
        widget says as its reply, so the task inherits the context.
        """
        with self._lock:
            if self._pool is None:
                return False
            try:
                self._pool.submit(contextvars.copy_context().run, task)
            except RuntimeError:
                return False
            return True


FRAMES = Worker("frames")
# On one core: one image is too little work to share out, and the scores' threads would take the
# cores from the frames. On two busy cores the chart is there sooner this way.
SCORES = Worker("scores", lambda: compute_on_one_core(torch.get_num_threads()))
SAVING = Worker("saving")
WORKERS = (FRAMES, SCORES, SAVING)


class Latest(Generic[Item]):
    """Calls `work(item)` in `worker` for the newest item that was put in.

    Args:
        work: what to do; never runs twice at the same time.
        worker: a hired one.
        failed: told of an exception that `work` raised.
    """

    def __init__(
        self, work: Callable[[Item], None], worker: Worker, failed: Callable[[Exception], None]
    ) -> None:
        self._work, self._worker, self._failed = work, worker, failed
        self._changed = threading.Condition()
        self._slot: list[Item] = []  # empty, or the one item that waits
        self._running = False

    def put(self, item: Item) -> None:
        """Have `item` worked on next; what waited is dropped. Returns at once."""
        with self._changed:
            self._slot[:] = [item]
            if not self._running:
                self._running = self._worker.submit(self._step)

    def drop(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._slot.clear()

    @property
    def running(self) -> bool:
        """Whether an item is in work or waits."""
        return self._running

    @property
    def waiting(self) -> bool:
        """Whether an item waits: what is in work, if anything, is no longer the newest."""
        return bool(self._slot)

    def wait(self, longest: float | None = None) -> None:
        """Return when the newest item has been worked on, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, longest)

    def _step(self) -> None:
        with self._changed:
            item = self._slot.pop() if self._slot else None
        if item is not None:
            try:
                self._work(item)
            except Exception as error:
                self._failed(error)
        with self._changed:
            self._running = bool(self._slot) and self._worker.submit(self._step)
            self._changed.notify_all()


class Stopped(Exception):
    """A computation was given up half-way: nobody waits for its result any more."""


@contextmanager
def until(stop: Callable[[], bool]) -> Iterator[None]:
    """Raise `Stopped` at the first operation of torch in this block for which `stop()` is true.

    It needs no help of what computes: torch asks before each operation of this thread.
    """

    def ask() -> None:
        if stop():
            raise Stopped

    with _Before(ask):
        yield


@contextmanager
def yielding_to(others: Latest, longest: float) -> Iterator[None]:
    """Let what `others` works on go first: each operation of torch in this block waits for it.

    In all it waits for `longest` seconds and no more, however long `others` has to do.
    """
    left = longest

    def ask() -> None:
        nonlocal left
        if left > 0 and others.running:
            start = time.monotonic()
            others.wait(left)
            left -= time.monotonic() - start

    with _Before(ask):
        yield


class _Before(TorchFunctionMode):
    """Calls `ask` before each operation of torch in this thread."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__()
        self._ask = ask

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self._ask()
        return function(*args, **(kwargs or {}))


def event_loop_runs() -> bool:
    """Whether this thread belongs to an event loop (a Jupyter kernel), or is plain Python."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
