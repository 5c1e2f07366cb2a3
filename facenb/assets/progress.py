"""Progress bars that can be silenced where several downloads share one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm

_silent: ContextVar[bool] = ContextVar("silent", default=False)


def bar(**options: object) -> tqdm:
    """A tqdm bar, which shows nothing inside `silence()`."""
    return tqdm(disable=_silent.get(), **options)


@contextmanager
def silence() -> Iterator[None]:
    """No bars from this thread, inside the block."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)
