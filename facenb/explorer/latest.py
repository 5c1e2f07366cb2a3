"""The newest item wins: work that never queues up behind a moving slider.

How a drag stays live. A slider sends dozens of positions a second; a frame takes some milliseconds,
a score chart longer. Rendering inside the slider's own event would make the kernel work through
every position in turn, and the picture would trail behind the hand. Instead an event only leaves
the newest state in a slot of size one (overwriting what waited there) and returns; a worker thread
takes from the slot when it is done with the frame before. So at most one frame is in work and one
waits, whatever the speed of the hand, and the last position is always drawn in the end.

The way back to the browser cannot pile up either: a Jupyter slider sends its next position only
when the kernel has answered the one before, and that answer travels behind the frames on the same
connection, so that a slow network slows the slider down instead of filling up with frames.

Frames and scores have a worker each, because a frame must not wait for the scores of the one
before. The threads belong to the process, not to an explorer: a cell that is run twenty times must
not leave forty threads behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from facenb.threads import compute_on_one_core

Item = TypeVar("Item")


FRAMES = ThreadPoolExecutor(1, "facenb-frames")
# On one core: one picture is too little work to share out, and the scores' threads would take the
# cores from the frames. On two busy cores the chart is there sooner this way.
SCORES = ThreadPoolExecutor(
    1, "facenb-scores", lambda: compute_on_one_core(torch.get_num_threads())
)
SAVING = ThreadPoolExecutor(1, "facenb-saving")


class Latest(Generic[Item]):
    """Calls `work(item)` in the worker of `pool` for the newest item that was put in.

    Args:
        work: what to do; never runs twice at the same time.
        pool: a pool of one thread.
        failed: told of an exception that `work` raised.
    """

    def __init__(
        self,
        work: Callable[[Item], None],
        pool: ThreadPoolExecutor,
        failed: Callable[[Exception], None],
    ) -> None:
        self._work, self._pool, self._failed = work, pool, failed
        self._changed = threading.Condition()
        self._slot: list[Item] = []  # empty, or the one item that waits
        self._running = False

    def put(self, item: Item) -> None:
        """Have `item` worked on next; what waited is dropped. Returns at once."""
        with self._changed:
            self._slot[:] = [item]
            if not self._running:
                self._running = True
                self._schedule()

    def wait(self) -> None:
        """Return when the newest item has been worked on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running)

    def _schedule(self) -> None:
        submit(self._pool, self._step)

    def _step(self) -> None:
        with self._changed:
            item = self._slot.pop()
        try:
            self._work(item)
        except Exception as error:
            self._failed(error)
        with self._changed:
            if self._slot:
                self._schedule()
            else:
                self._running = False
                self._changed.notify_all()


def submit(pool: ThreadPoolExecutor, task: Callable[[], None]) -> None:
    """Run `task` in `pool`, on behalf of the Jupyter message that is being handled here.

    Jupyter keeps that message in a context variable and marks what a widget says as its reply, so
    the worker inherits the context.
    """
    pool.submit(contextvars.copy_context().run, task)


def event_loop_runs() -> bool:
    """Whether this thread belongs to an event loop (a Jupyter kernel), or is plain Python."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
