"""The small files that ship with the package: trained heads, labels, directions, statistics."""

from __future__ import annotations

import json
from pathlib import Path

from facenb.errors import unknown


def data_path(name: str) -> Path:
    """The path of a shipped file; UnknownNameError lists what there is."""
    path = Path(__file__).parent / name
    if not path.is_file():
        known = sorted(p.name for p in path.parent.iterdir() if p.suffix not in ("", ".py"))
        raise unknown("data file", name, known)
    return path


def load_json(name: str) -> dict:
    """A shipped JSON file."""
    return json.loads(data_path(name).read_text())
