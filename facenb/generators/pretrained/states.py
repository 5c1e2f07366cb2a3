"""A generator's tensors within the contents of a file: found by name, then read.

torch's files are read by `torch.load(weights_only=True)`, which refuses by itself what `unpickle`
has already refused.
"""

from __future__ import annotations

import argparse
import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.generators.pretrained.containers import Contents
from facenb.generators.pretrained.unpickle import Record, Stored, WeightsError

_PLACES = ("g_ema", "G_ema", "generator_smooth", "g", "state_dict")
_DAMAGE = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError),
    *(pickle.UnpicklingError, SafetensorError),
)  # what torch and safetensors raise for a file that is not as it should be


@dataclass(frozen=True)
class Found:
    """A tensor of a generator's state, and where it lies in the root of the file."""

    stored: Stored
    place: tuple[str, ...] = ()


def find_state(contents: Contents) -> tuple[dict[str, Found], Record | None]:
    """The generator's tensors by name, and the record of its module in NVIDIA's files.

    The moving average of the weights comes first: g_ema, G_ema, generator_smooth.
    """
    root = contents.root
    if contents.container == "pickle":
        record = root.get("G_ema") if isinstance(root, dict) else root
        if not isinstance(record, Record):
            raise WeightsError(f"expected a pickle with a module G_ema, given {_summary(root)}")
        return {name: Found(tensor) for name, tensor in _of_module(record, set())}, record
    if not isinstance(root, dict):
        raise WeightsError(f"expected a dictionary of tensors, given {_summary(root)}")
    place = next((key for key in _PLACES if isinstance(root.get(key), dict)), None)
    inner = root if place is None else root[place]
    state = {
        str(key).removeprefix("module."): Found(value, (key,) if place is None else (place, key))
        for key, value in inner.items()
        if isinstance(value, Stored)
    }
    if place and isinstance(root.get("latent_avg"), Stored):
        state["latent_avg"] = Found(root["latent_avg"], ("latent_avg",))
    if not state:
        raise WeightsError(f"expected a dictionary of tensors, given {_summary(root)}")
    return state, None


def read(contents: Contents, state: Mapping[str, Found]) -> dict[str, Tensor]:
    """The numbers of these tensors. Those of a zip are views of the file: copy them."""
    try:
        if contents.container == "pickle":
            return {name: _by_value(found.stored) for name, found in state.items()}
        if contents.container == "safetensors":
            with safe_open(contents.path, "pt") as opened:
                return {n: opened.get_tensor(found.place[0]) for n, found in state.items()}
        root = _load(contents)
        return {name: _at(root, found.place) for name, found in state.items()}
    except _DAMAGE as error:
        raise WeightsError(f"it could not be read ({error})") from error


def _at(root: object, place: tuple[str, ...]) -> Tensor:
    for key in place:
        root = root[key]
    return root


def _summary(root: object) -> str:
    """A few words about an object that is not what was expected."""
    if isinstance(root, Record):
        return f"an object of class {root.class_name}"
    if isinstance(root, dict):
        return f"a dictionary of {', '.join(map(repr, list(root)[:6])) or 'nothing'}"
    return f"a {type(root).__name__}"


def _load(contents: Contents) -> Mapping:
    with torch.serialization.safe_globals([argparse.Namespace]):  # rosinality keeps its arguments
        return torch.load(
            contents.path, map_location="cpu", weights_only=True, mmap=contents.container == "zip"
        )


def _by_value(stored: Stored) -> Tensor:
    """A tensor whose storage was pickled by value; that storage is a legacy torch file."""
    storage = torch.load(io.BytesIO(stored.storage.key), map_location="cpu", weights_only=True)
    flat = torch.empty(0, dtype=stored.dtype).set_(storage._untyped_storage)
    return flat.as_strided(stored.shape, stored.stride, stored.offset)


def _of_module(record: object, seen: set[int], prefix: str = "") -> Iterator[tuple[str, Stored]]:
    """Names and tensors of a module's record, in the order of its state dictionary."""
    if not isinstance(record, Record) or id(record) in seen:  # no cycles, no towers of sharing
        raise WeightsError(f"its {prefix or 'network'} is not a module, but {_summary(record)}")
    seen.add(id(record))
    for part in ("_parameters", "_buffers"):
        for name, value in _entries(record, part):
            if isinstance(value, Stored):
                yield f"{prefix}{name}", value
    for name, child in _entries(record, "_modules"):
        if child is not None:
            yield from _of_module(child, seen, f"{prefix}{name}.")


def _entries(record: Record, part: str) -> list[tuple[object, object]]:
    found = record.state.get(part)
    return list(found.items()) if isinstance(found, dict) else []
