"""What a process gives up before it opens a file that others made. Imports nothing of facenb."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

_DENIED = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.kill", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.putenv",
}  # fmt: skip


def give_up(budget: int, seconds: int, target: Path, refused: Callable[[str], Exception]) -> None:
    """Limits of this process, for good: no network, no other program, no file written but `target`.

    Args:
        budget: bytes of memory beyond what it has. seconds: of processor time from now on. Both
            where the system knows such limits.
        refused: makes the exception for what asks the system for more.
    """
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        spent = int(sum(os.times()[:2])) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 1))
        status = Path("/proc/self/statm")
        if status.exists():
            mapped = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (mapped + budget, mapped + budget))

    def deny(event: str, arguments: tuple) -> None:
        what = event.partition(".")[0]
        writes = event == "open" and (
            set("wax+") & set(arguments[1] or "") or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and os.path.abspath(os.fsdecode(arguments[0])) == str(target):
            return
        if writes or what in ("socket", "subprocess", "ctypes", "shutil") or event in _DENIED:
            raise refused(f"reading it asked the system for {event}")

    sys.addaudithook(deny)
