"""Training that can be stopped at any moment: checkpoints seen whole or not at all.

A checkpoint is one line with the format, one with the sha256 of the rest, and then what torch
saves: tensors and plain values, read back with `weights_only=True`, so that nothing in it is
executed. It carries what decides the run (its identity), and any other run refuses it.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from facenb.errors import FacenbError
from facenb.storage.files import atomic_write

_MAGIC = b"facenb-training-1\n"


class CheckpointError(FacenbError, ValueError):
    """A checkpoint that belongs to another run, or a file that is no checkpoint of facenb's."""


def save_checkpoint(
    path: str | os.PathLike[str], identity: Mapping[str, object], state: Mapping[str, object]
) -> None:
    """Write `state` (tensors, numbers, strings, lists and dictionaries of them) in one piece.

    Where that cannot be, a warning: the training goes on, and cannot be resumed.
    """
    stream = io.BytesIO()
    torch.save({"identity": dict(identity), "state": dict(state)}, stream)
    content = stream.getvalue()
    whole = _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content
    try:
        atomic_write(path, whole)
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error}), so that this training cannot be resumed. Set "
            "FACENB_CACHE to a folder that can be written to.",
            stacklevel=2,
        )


def load_checkpoint(
    path: str | os.PathLike[str], identity: Mapping[str, object]
) -> dict[str, object] | None:
    """The state that a run of the same `identity` saved; None when there is nothing to resume.

    Tensors come back on the CPU. A checkpoint that is cut short or altered is put aside as
    `….damaged` with a warning, and None is returned: training begins again.

    Raises:
        CheckpointError: the file is something else, or of another run: every field that differs is
            named with what the checkpoint has and what was given.
    """
    path = Path(path)
    if not path.exists():
        return None
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a training checkpoint, given a folder.")
    raw = path.read_bytes()
    if not _MAGIC.startswith(raw[: len(_MAGIC)]):
        raise CheckpointError(
            f"{path}: expected a training checkpoint, which begins with {_MAGIC!r}, given a file "
            f"that begins with {raw[: len(_MAGIC)]!r}. Name another file to keep checkpoints in."
        )
    digest, _, content = raw[len(_MAGIC) :].partition(b"\n")
    if digest != hashlib.sha256(content).hexdigest().encode():
        aside = path.with_name(f"{path.name}.damaged")
        try:
            os.replace(path, aside)
            done = f"was put aside as {aside.name}"
        except OSError as error:
            done = f"cannot be put aside ({error})"
        warnings.warn(f"{path} is damaged and {done}; training begins again.", stacklevel=2)
        return None
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    _compare(path, found["identity"], identity)
    return found["state"]


def _compare(path: Path, found: Mapping[str, object], given: Mapping[str, object]) -> None:
    differing = [
        f"{field}: {found.get(field, 'nothing')!r} in the checkpoint, "
        f"{given.get(field, 'nothing')!r} given"
        for field in sorted(found.keys() | given.keys())
        if found.get(field, ...) != given.get(field, ...)
    ]
    if differing:
        raise CheckpointError(
            f"{path} is a checkpoint of another configuration ({'; '.join(differing)}). "
            "Resume with the configuration that it was made with, or name another file."
        )
