"""Small file helpers: whole-file writes that are seen complete or not at all, and sha256."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds.

    The temporary file keeps the suffix, since many writers choose their format by it, and is
    removed when the block fails. A reader sees the old file or the whole new one; a process that
    is killed inside the block leaves at most a hidden `.….tmp…` file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: it makes files that their owner alone can read, also after the renaming.
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}-{token}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
