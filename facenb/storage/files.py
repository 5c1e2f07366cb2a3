"""Small file helpers: whole-file writes that are seen complete or not at all, and sha256."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor

_DAY = 86_400  # seconds; nothing takes so long to write
_swept: set[Path] = set()  # folders, by this process


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds.

    The temporary file keeps the suffix, since many writers choose their format by it, and is
    removed when the block fails. A reader sees the old file or the whole new one; a process that
    is killed inside the block leaves at most a hidden `.….tmp…` file, which the next process that
    writes in this folder removes.
    """
    temporary = temporary_path(Path(path))
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path) -> Path:
    """A hidden name beside `path`, whose folder is made where it is missing.

    Files and folders of such names are removed once the process that made them has ended. Not
    tempfile: it makes files that their owner alone can read, also after the renaming.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    token = f"{_here()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}-{token}.tmp{path.suffix}")


def _here() -> str:
    """This machine: of others that share a folder, it cannot be known what is still running."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left in `folder`."""
    if folder in _swept:
        return
    _swept.add(folder)
    for left in folder.glob(".*-*-*-*.tmp*"):
        here, pid, _ = left.name.partition(".tmp")[0].rsplit("-", 3)[1:]
        try:
            ended = here == _here() and pid.isdecimal() and not _runs(int(pid))
            if ended or time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:  # another process was faster, or the folder is read-only
            continue


def _runs(pid: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    try:  # "pid (name) state …": Z has ended, and waits for its parent to ask how
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):  # no Linux
        return True


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file `path`; without one, and with a warning, where there can be none.

    Every file appears whole or not at all, so that a lock saves work and guards nothing.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        warnings.warn(f"{path} cannot be locked ({error}); going on without.", stacklevel=3)
    try:
        yield
    finally:
        lock.release()


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write bytes, or text as UTF-8, so that `path` is never seen half-written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file's content, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_tensor(values: Tensor) -> str:
    """The sha256 of a tensor's numbers, bit for bit, wherever they lie, in hex."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def sha256_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of CPU tensors with their names, types and shapes, in hex."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def header(content: bytes) -> tuple[dict, int]:
    """The header of safetensors, JSON behind a length of 8 bytes, and where it ends."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), end


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """A file of safetensors that is kept: whole, and the same bytes for the same content."""
    atomic_write(path, ordered_header(save(dict(tensors), metadata and dict(metadata))))


def ordered_header(content: bytes) -> bytes:
    """safetensors with its header in order: the library writes that of the metadata at random."""
    found, end = header(content)
    text = json.dumps(found, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]
