"""The four kinds of file that weights come in, told apart by content, looked into, then read.

    zip          torch since 1.6                    PK…
    legacy       torch before 1.6                   five pickles, then the numbers
    pickle       stylegan2-ada-pytorch, stylegan3   one pickle with tensors inside
    safetensors  facenb's own

`look` reads names and shapes and compares the sizes that a file declares with its own length: a
file cannot ask for more memory than it has bytes. `read` takes the numbers: torch's files through
`torch.load(weights_only=True)`, which refuses by itself what this module has already refused.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.generators.checkpoints.unpickle import (
    LEGACY_MAGIC,
    Record,
    Storage,
    Stored,
    WeightsError,
    check_length,
    legacy_header,
    unpickle,
)

_PLACES = ("g_ema", "G_ema", "generator_smooth", "g", "state_dict")
_LARGEST_PICKLE = 64 << 20  # bytes; that of the largest published networks has 0.2 MB
_LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."


@dataclass(frozen=True)
class Found:
    """A tensor of a generator's state, and where it lies in the root of the file."""

    stored: Stored
    place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a file holds, before its numbers are read.

    Attributes:
        container: "zip", "legacy", "pickle" or "safetensors".
        root: the object saved: dictionaries, lists, `Record` and, in place of tensors, `Stored`.
        metadata: the header's texts (safetensors alone).
    """

    path: Path
    container: str
    root: object = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)


def look(path: str | os.PathLike[str]) -> Contents:
    """The contents of a file, without reading its numbers and without running anything of it.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is none of the four kinds, it is truncated, it declares more than it has,
            or it asks for a name that is neither a tensor nor a plain container.
    """
    path = Path(path)
    with path.open("rb") as stream:
        start = stream.read(16)
        stream.seek(0)
        try:
            if start[:4] == b"PK\x03\x04":
                return Contents(path, "zip", _look_into_zip(path))
            if start.startswith(_LEGACY_START):
                root, storages, keys = legacy_header(stream)
                check_length(storages, keys, stream)
                return Contents(path, "legacy", root)
            if start[:1] == b"\x80":
                return Contents(path, "pickle", unpickle(stream)[0])
            if start[8:9] == b"{":
                return _look_into_safetensors(path)
            raise WeightsError(
                f"it begins with {start[:8]!r}; expected a torch file (.pt, .pth), a network of "
                "stylegan2-ada-pytorch (.pkl) or safetensors"
            )
        except WeightsError as error:
            raise WeightsError(f"{path} is refused: {error}.") from error


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
                return {name: opened.get_tensor(name) for name in state}
        root = _load(contents)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"it could not be read ({error})") from error
    return {name: _at(root, found.place) for name, found in state.items()}


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


def _look_into_zip(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_sizes(entries, path.stat().st_size)
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].filename.count("/") != 1:
                raise WeightsError("it is a zip, but not one of torch's: it has no data.pkl")
            if pickles[0].file_size > _LARGEST_PICKLE:
                raise WeightsError(
                    f"its data.pkl has {pickles[0].file_size:,} bytes, "
                    f"expected at most {_LARGEST_PICKLE:,}"
                )
            root, storages = unpickle(io.BytesIO(archive.read(pickles[0])))
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"it begins like a zip and is truncated or damaged ({error})") from error
    folder = pickles[0].filename.removesuffix("data.pkl")
    sizes = {entry.filename: entry.file_size for entry in entries}
    for key, storage in storages.items():
        if sizes.get(f"{folder}data/{key}") != storage.nbytes:
            raise WeightsError(
                f"its storage {key} declares {storage.nbytes:,} bytes, "
                f"and {sizes.get(f'{folder}data/{key}', 0):,} are there"
            )
    return root


def _check_sizes(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Raise for an archive that would unpack to more than its own size, or that is ambiguous.

    torch stores its entries as they are, so that nothing is lost by refusing compression.
    """
    names = [entry.filename for entry in entries]
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise WeightsError(
                f"its entry {entry.filename} unpacks from {entry.compress_size:,} to "
                f"{entry.file_size:,} bytes; expected entries as torch writes them, not compressed"
            )
    declared = sum(entry.file_size for entry in entries)
    if declared > size:
        raise WeightsError(f"its entries declare {declared:,} bytes, and it has {size:,}")
    if len(set(names)) < len(names):
        raise WeightsError("two of its entries have the same name")


def _look_into_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, "pt") as opened:
            root = {}
            for name in opened.keys():
                part = opened.get_slice(name)
                shape = tuple(part.get_shape())
                dtype = _SAFETENSORS.get(part.get_dtype(), torch.float32)
                storage = Storage(dtype, name, math.prod(shape))
                root[name] = Stored(storage, 0, shape, _contiguous(shape))
            return Contents(path, "safetensors", root, opened.metadata() or {})
    except SafetensorError as error:
        raise WeightsError(f"as safetensors, it is truncated or damaged ({error})") from error


_SAFETENSORS = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


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
