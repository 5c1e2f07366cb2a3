"""Other people's files as safetensors in the cache: each is converted once, by `child`.

    tensors, facts = converted("network.pkl", "generator")

Nothing of a file is read here but its hash. A process with limits opens it: memory in proportion to
the file, a minute of processor time, no network. A hang, a crash or a blow-up of that process is a
refusal like any other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.errors import FacenbError, printable
from facenb.storage import cache
from facenb.storage.files import sha256_file, temporary_path

SECONDS = 60  # of processor time, once torch is there
PATIENCE = 600  # seconds on the clock, on however busy a machine, and where there are no limits
SLACK = 512 << 20  # bytes beside what is in proportion to the file
_VERSION = 3  # of what the child writes
_CHILD = Path(__file__).with_name("child")
_REFUSED, _NOTES = 3, "notes"  # as the child has them
_KEPT = "notes.json"  # the notes among the tensors, so that the entry's sha256 covers them


class WeightsError(FacenbError, ValueError):
    """A file that is not the weights of a known generator, or that asks for more than that."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, 700))


@dataclass(frozen=True)
class Facts:
    """What a file says beside its tensors.

    Attributes:
        container: "zip", "legacy" (torch before 1.6), "pickle" (NVIDIA's) or "safetensors".
        attributes: of NVIDIA's modules, by path and name: plain values as they were found.
    """

    container: str
    attributes: dict[str, dict[str, object]] = field(default_factory=dict)


def converted(path: Path, what: str) -> tuple[dict[str, Tensor], Facts]:
    """The tensors of a file by their names in it, and what it says beside them.

    Args:
        what: "generator" for the state of its generator, "arrays" for a tensor (under "") or a
            dictionary of tensors.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is none of the known kinds, damaged or truncated, asks for a name that is
            neither a tensor nor a plain container, or for more memory or time than a file may.
    """
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}.")
        raise WeightsError(f"{path} is refused: expected a file, given a folder or a device.")
    with path.open("rb") as stream:
        start = stream.read(9)
    if start[8:9] == b"{":
        return _safetensors(path)
    entry = _folder() / f"{sha256_file(path)}-{what}-{_VERSION}.safetensors"
    tensors = cache.stored(entry, lambda: _convert(path, what))
    notes = json.loads(tensors.pop(_KEPT).numpy().tobytes())
    found = {name: tensors[name] for name in notes["names"]}
    return found, Facts(notes["container"], notes["attributes"])


def _safetensors(path: Path) -> tuple[dict[str, Tensor], Facts]:
    try:
        with safe_open(path, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, Facts("safetensors")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is refused: as safetensors, it is truncated or damaged ({error})."
        ) from error


def _convert(path: Path, what: str) -> dict[str, Tensor]:
    """What the child makes of the file; WeightsError when it refuses it or does not survive it."""
    with _working_folder() as folder:
        out, log = folder / "out.safetensors", folder / "log"
        budget = str(4 * path.stat().st_size + SLACK)
        code = _run([str(path.resolve()), str(out), what, budget, str(SECONDS)], log)
        if code == 0:
            with safe_open(out, "pt") as opened:
                tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}
                notes = (opened.metadata() or {})[_NOTES]
            return tensors | {_KEPT: torch.frombuffer(bytearray(notes.encode()), dtype=torch.uint8)}
        said = log.read_text(errors="replace")[-2000:].strip() if log.exists() else ""
    if code != _REFUSED:
        last = said.rpartition("\n")[2]
        said = f"the process that read it ended by code {code} ({last})"
        if code in (-24, -9):  # SIGXCPU, SIGKILL
            said = f"reading it took more than {SECONDS} seconds"
    raise WeightsError(f"{path} is refused: {said}.")


def _run(arguments: list[str], log: Path) -> int:
    """The exit code of the child for these arguments; what it says goes to `log`."""
    if sys.platform != "linux":  # elsewhere there is no fork, or none that torch's libraries bear
        with log.open("wb") as stream:
            try:
                return subprocess.run(
                    [*_COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                    cwd=log.parent, env=_environment(), timeout=PATIENCE,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                return -9
    request = json.dumps([*arguments, str(log), PATIENCE]) + "\n"
    with _busy:
        for _ in range(2):  # the first may have ended, idle for long
            try:
                server = _server()
                server.stdin.write(request)
                server.stdin.flush()
                if answer := server.stdout.readline():
                    return int(answer)
            except BrokenPipeError:
                pass
            except BaseException:  # interrupted: its answer would be taken for the next one's
                if own := _servers.get(os.getpid()):
                    own.kill()
                _servers.clear()
                raise
            _servers.clear()
    raise RuntimeError("the process that reads other people's files does not start.")


_COMMAND = [sys.executable, "-P", str(_CHILD)]
_IDLE = 120  # seconds without a file after which the server ends
_busy = threading.Lock()
_servers: dict[int, subprocess.Popen] = {}  # by process, since one that was forked shares its pipes


def _server() -> subprocess.Popen:
    """The child that has torch imported and forks for each file; started at the first."""
    found = _servers.get(os.getpid())
    if found is None or found.poll() is not None:
        _servers.clear()
        found = _servers[os.getpid()] = subprocess.Popen(
            [*_COMMAND, str(_IDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=_environment(), cwd=tempfile.gettempdir(), start_new_session=True,
        )  # fmt: skip
    return found


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _folder() -> Path:
    return cache.cache_dir() / "converted"


@contextmanager
def _working_folder() -> Iterator[Path]:
    """An empty folder beside the entries, or the system's own where the cache is read-only."""
    try:
        folder = temporary_path(_folder() / "work")
        folder.mkdir()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="facenb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
