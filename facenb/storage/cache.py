"""Results of long steps on disk, keyed by everything that decides them.

A key is the hash of a step's inputs as JSON: asset hashes, method, hyper-parameters, seed, and the
version of the step's code. An entry carries the hash of its own content; one that is damaged or
truncated is recomputed with a warning, never trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facenb.storage.files import atomic_write, sha256_tensors


def cache_dir() -> Path:
    """The folder for all that facenb keeps between runs: $FACENB_CACHE, or the user's cache.

    A user without a folder of their own gets one among the temporary files.
    """
    if given := os.environ.get("FACENB_CACHE"):
        return Path(given).expanduser().absolute()
    try:
        Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "facenb"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "facenb"


def key(inputs: Mapping[str, object]) -> str:
    """A short name for `inputs`; TypeError when one of them is not a plain JSON value."""
    text = json.dumps(inputs, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def folder(step: str, inputs: Mapping[str, object]) -> Path:
    """Where a step that is computed in parts keeps them."""
    return cache_dir() / "steps" / step / key(inputs)


def cached(
    step: str, inputs: Mapping[str, object], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What `compute` returns, from disk when it was computed before with the same inputs."""
    return stored(folder(step, inputs).with_suffix(".safetensors"), compute)


def stored(
    path: Path, compute: Callable[[], dict[str, Tensor]], notes: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """The tensors in `path`, or else those of `compute`, written there whole, if that can be.

    An entry carries the name that it was written under: one that was copied over another is not
    taken for it.

    `notes` go into the file's metadata, for whoever wants to know where it came from.
    """
    if path.exists():
        try:
            return _read(path)
        except (SafetensorError, ValueError, OSError, RuntimeError, KeyError) as error:
            warnings.warn(f"{path} is damaged ({error}); computing it again.", stacklevel=2)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
    try:
        metadata = {**(notes or {}), "entry": _entry(path), "sha256": sha256_tensors(tensors)}
        atomic_write(path, save(tensors, metadata))
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error}), so that this will be computed again next time. "
            "Set FACENB_CACHE to a folder that can be written to.",
            stacklevel=2,
        )
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata() or {}
    found = {"sha256": sha256_tensors(tensors), "entry": _entry(path)}
    for what, value in found.items():  # entries had no name of their own at first
        if metadata.get(what, value if what == "entry" else None) != value:
            raise ValueError(f"expected {what} {metadata.get(what)}, found {value}")
    return tensors


def _entry(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
