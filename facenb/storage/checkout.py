"""Which commit is running, for the provenance of what it makes."""

from __future__ import annotations

import subprocess


def current_commit() -> str:
    """The checked-out commit, or "unknown" outside a checkout.

    "-dirty" when tracked files differ from it, figures aside: a run rewrites those itself.
    """
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git(
            "status", "--porcelain", "--untracked-files=no", ":/", ":(top,exclude)figures"
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
