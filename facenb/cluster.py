"""Independent tasks on a cluster of Dask: the optional extra `cluster`.

    with connected("tcp://host:8786") as client:
        for result in compute(client, function, tasks):
            ...

The workers run the same facenb and the same torch as the caller, which is checked before the first
task and with every task. A task whose worker is lost goes to another one. Tasks write what they
make by themselves, each result once and whole: after a lost scheduler the same call goes on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from facenb.errors import FacenbError

if TYPE_CHECKING:
    from distributed import Client, Future

TIMEOUT = 10.0  # seconds in which a scheduler answers and a first worker is there
ALONE = 60.0  # seconds without any worker after which the work is given up
_LOOK = 2.0  # seconds between looks at the scheduler while no task ends
_NOTICE = 3.0  # seconds in which a client notices that its connection to the scheduler is broken
_FETCH = 600.0  # seconds for a result that is there, from a worker that computes the next one

Task = TypeVar("Task")
Result = TypeVar("Result")


class ClusterError(FacenbError):
    """No scheduler, a lost one, no workers, or a worker that cannot do its task; says which."""


@contextmanager
def connected(address: str, timeout: float = TIMEOUT) -> Iterator[Client]:
    """A client of the scheduler at `address`, whose workers have all been checked.

    Raises:
        ClusterError: Dask is not installed, nothing answers at the address within `timeout`
            seconds, no worker is there, or one has another facenb or torch than this process.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            f"a scheduler needs Dask ({error}): pip install -c constraints.txt -e '.[cluster]'."
        ) from error
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise ClusterError(
            f"no scheduler of Dask answers at {address!r} within {timeout:g} s ({error}). Start "
            "one with `dask scheduler`, and give the address that it prints, such as "
            "tcp://10.0.0.1:8786."
        ) from error
    try:
        _check_workers(client, address, timeout)
        yield client
    finally:
        client.close(timeout=timeout)


def compute(
    client: Client, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    """`function(task)` of every task on the workers, in the order in which they end.

    `function` is one that the workers can import, and safe to be run twice for one task: a worker
    that is lost may have been about to end.

    Raises:
        ClusterError: a task failed (the worker and the error are named), the scheduler was lost,
            no worker was left for a minute, or four workers were lost with the same task.
    """
    run = partial(_guarded, function, versions())
    pending = set(client.map(run, tasks, pure=False))
    total, alone = len(pending), time.monotonic()
    try:
        while pending:
            for future in _ended(client, pending):
                pending.remove(future)
                alone = time.monotonic()
                yield _result(client, future, total - len(pending), total)
            if _count(client, total - len(pending), total):
                alone = time.monotonic()
            elif time.monotonic() - alone > ALONE:
                raise ClusterError(
                    f"no worker is left at {client.scheduler.address}; {total - len(pending)} of "
                    f"{total} tasks are done. Start workers (`dask worker ADDRESS`) and give the "
                    "same command again: it goes on."
                )
    finally:
        if client.status == "running":
            client.cancel(list(pending))


def versions() -> dict[str, str]:
    """What has to be the same on every machine: facenb, the hash of its source, torch's release."""
    try:
        installed = importlib.metadata.version("facenb")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        installed = "of a checkout"
    release = torch.__version__.partition("+")[0]  # its CPU and CUDA builds are one release
    return {"facenb": installed, "source of facenb": _source(), "torch": release}


@cache
def _source() -> str:
    digest, package = hashlib.sha256(), Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def differing(found: dict[str, str], expected: dict[str, str]) -> str:
    """Which of `versions` differ, in words; empty where none does."""
    return ", ".join(
        f"{what} {found.get(what, 'unknown')} (here {value})"
        for what, value in expected.items()
        if found.get(what) != value
    )


def _check_workers(client: Client, address: str, timeout: float) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler at {address} has no workers. Start some: dask worker {address} "
            "--nworkers CORES --nthreads 1, in an environment with facenb."
        ) from error
    expected = versions()
    for worker, found in client.run(versions, on_error="return").items():
        if isinstance(found, BaseException):
            raise ClusterError(
                f"worker {worker} has no facenb of this version ({found}), expected "
                f"{_listed(expected)}."
            )
        if wrong := differing(found, expected):
            raise ClusterError(f"worker {worker} has {wrong}. Install the same on every machine.")


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{what} {value}" for what, value in found.items())


def _guarded(
    function: Callable[[Task], Result], expected: dict[str, str], task: Task
) -> tuple[str, Result | None]:
    """On the worker: what went wrong, or "" and the result.

    Errors travel as text, since not every exception survives being sent.
    """
    if wrong := differing(versions(), expected):
        return f"{socket.gethostname()} has {wrong}. Install the same on every machine.", None
    try:
        return "", function(task)
    except (FacenbError, OSError, ValueError, RuntimeError, MemoryError) as error:
        return f"{socket.gethostname()}: {type(error).__name__}: {error}", None


def _ended(client: Client, pending: set[Future]) -> list[Future]:
    from distributed import wait

    try:
        with client.as_current():
            return list(wait(list(pending), timeout=_LOOK, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []
    except Exception as error:  # cancelled futures, and closed connections of several kinds
        if _lost(client):
            return []  # `_count` says so
        raise ClusterError(f"the tasks were given up by the scheduler: {error}.") from error


def _result(client: Client, future: Future, done: int, total: int) -> Result:
    from distributed import KilledWorker

    try:
        wrong, result = future.result(timeout=_FETCH)
    except KilledWorker as error:
        raise ClusterError(
            f"{error}. Too little memory for a worker is the usual cause: drawing and scoring "
            "takes up to 2 GiB each."
        ) from error
    except Exception as error:
        if _lost(client):
            raise _lost_after(client, done, total) from error
        raise ClusterError(f"a task failed: {type(error).__name__}: {error}.") from error
    if wrong:
        raise ClusterError(f"a task failed on {wrong}")
    return result


def _lost(client: Client) -> bool:
    """After an error, whether the scheduler is gone: a client notices it a moment later."""
    until = time.monotonic() + _NOTICE
    while client.status == "running" and time.monotonic() < until:
        time.sleep(0.05)
    return client.status != "running"


def _count(client: Client, done: int, total: int) -> int:
    """How many workers there are; ClusterError where the scheduler is gone."""
    if client.status == "running":
        try:
            return len(client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):  # busy: were it gone, the client would know soon
            return 1
    raise _lost_after(client, done, total)


def _lost_after(client: Client, done: int, total: int) -> ClusterError:
    return ClusterError(
        f"the scheduler at {client.scheduler.address} was lost; of {total} tasks {done} were seen "
        "to end. Start it and its workers again, and give the same command again: what is done is "
        "not done twice."
    )
