"""Pickles read as data: tensors and plain containers, and nothing that could run.

A pickle is a small program that may call anything that can be imported. This unpickler imports
nothing. It knows a short list of names, each of which stands for a passive value here, and refuses
every other by its name, at the moment the file asks for it and before it is called.

Tensors come back as `Stored`: shape, type and where the numbers lie, but not the numbers. So a file
can be described, compared with a network, and measured against its own size, before any of them is
read.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from reprlib import repr as brief  # what a file holds may be long
from typing import BinaryIO

import torch

from facenb.errors import FacenbError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle in a file of torch before 1.6
_LEGACY_PROTOCOL = 1001


class WeightsError(FacenbError, ValueError):
    """A file that is not the weights of a known generator, or that asks for more than that."""


@dataclass(frozen=True)
class Storage:
    """A run of `numel` numbers of one type; `key` is its name in the file, or its own bytes."""

    dtype: torch.dtype
    key: str | bytes
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class Stored:
    """A tensor that has not been read: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype


@dataclass
class Record:
    """An object of a class that travelled as source code: its name and its attributes."""

    class_name: str
    state: dict = field(repr=False)


class Ignored:
    """Stands for a value that no weight depends on: a NumPy number, a device, parsed arguments."""

    def __init__(self, *given: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Mapping(dict):
    """A dictionary that may carry attributes, as those of NVIDIA's files do."""


class Unpickler(pickle.Unpickler):
    """Reads one pickle; `storages` collects what its tensors need, by key."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise WeightsError(_refusal(module, name)) from None

    def persistent_load(self, pid: object) -> Storage:
        kind, dtype, key, _, numel, *_ = pid
        if kind != "storage" or not isinstance(dtype, _StorageType) or not _natural(numel):
            raise WeightsError(f"it refers to {brief(pid)}, expected a storage of numbers")
        storage = Storage(dtype.dtype, str(key), numel)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise WeightsError(f"it declares the storage {brief(key)} twice, differently")
        return storage


def unpickle(stream: BinaryIO) -> tuple[object, dict[str, Storage]]:
    """The next pickle in `stream` and the storages that it refers to.

    Raises WeightsError for a name outside the list, and for whatever a damaged pickle may do.
    """
    reader = Unpickler(stream)
    try:
        return reader.load(), reader.storages
    except WeightsError:
        raise
    except EOFError as error:
        raise WeightsError("it ends in the middle of a pickle: truncated") from error
    except Exception as error:  # a damaged pickle can raise anything; none of it is ours
        said = f"{type(error).__name__}: {error}"
        raise WeightsError(f"its pickle is truncated or damaged ({said})") from error


def legacy_header(stream: BinaryIO) -> tuple[object, dict[str, Storage], list[str]]:
    """What torch before 1.6 writes before the numbers: root object, storages, their order."""
    magic, _ = unpickle(stream)
    protocol, _ = unpickle(stream)
    system, _ = unpickle(stream)
    if (magic, protocol) != (LEGACY_MAGIC, _LEGACY_PROTOCOL) or not isinstance(system, dict):
        raise WeightsError(
            f"it begins like a torch file, of protocol {brief(protocol)}; "
            f"expected {_LEGACY_PROTOCOL}"
        )
    root, storages = unpickle(stream)
    keys, _ = unpickle(stream)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise WeightsError("its list of storages does not agree with its tensors")
    return root, storages, [str(key) for key in keys]


def check_length(storages: dict[str, Storage], keys: Sequence[str], stream: BinaryIO) -> None:
    """Raise when the numbers that follow in a legacy file are fewer than it declares."""
    begin = stream.tell()
    found = stream.seek(0, io.SEEK_END) - begin
    declared = sum(8 + storages[key].nbytes for key in keys)  # each is led by its length
    if found < declared:
        raise WeightsError(
            f"it is truncated or damaged: it declares {declared:,} bytes of numbers, "
            f"and {found:,} follow"
        )


def _refusal(module: str, name: str) -> str:
    said = f"it asks for {module}.{name}, which is neither a tensor nor a plain container"
    if module.startswith("dnnlib.tflib"):
        said += " (a TensorFlow network: convert it with legacy.py of NVlabs/stylegan3 first)"
    return f"{said}. Nothing of it was run"


@dataclass(frozen=True)
class _StorageType:
    dtype: torch.dtype


def _natural(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _tensor(
    storage: Storage, offset: int, shape: Sequence[int], stride: Sequence[int], *_: object
) -> Stored:
    """torch's rebuilding of a tensor, checked: the view lies within its storage, without overlap.

    Overlap (a stride of 0) would let a file of some bytes stand for a tensor of any size.
    """
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > 8:
        raise WeightsError(f"it has a tensor of shape {brief(shape)} and stride {brief(stride)}")
    if not all(map(_natural, numbers)):
        raise WeightsError(f"it has a tensor of shape {brief(shape)} at offset {brief(offset)}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if count > storage.numel or (count and last >= storage.numel):
        raise WeightsError(
            f"it has a tensor of shape {tuple(shape)} over a storage of {storage.numel} numbers"
        )
    return Stored(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: object, *_: object) -> object:
    return data


def _storage_bytes(content: bytes) -> Storage:
    """A storage that was pickled by value: a small legacy torch file inside the pickle."""
    stream = io.BytesIO(content)
    root, storages, keys = legacy_header(stream)
    if not isinstance(root, Storage):
        raise WeightsError(f"it has a {type(root).__name__} where a storage is expected")
    check_length(storages, keys, stream)
    return Storage(root.dtype, content, root.numel)


def _record(meta: dict) -> Record:
    """In place of running the source code that `meta` carries: its class' name and state."""
    state = meta.get("state")
    if not isinstance(state, dict):
        raise WeightsError(
            f"it has an object of class {brief(meta.get('class_name'))} without a state"
        )
    return Record(str(meta.get("class_name")), state)


_DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
_NUMPY = [
    ("numpy", "dtype"), ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name)
      for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
]  # fmt: skip
_KNOWN: dict[tuple[str, str], object | Callable] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch", "device"): Ignored,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage_bytes,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _record,
    ("dnnlib.util", "EasyDict"): _Mapping,
    ("argparse", "Namespace"): Ignored,
    **{(module, name): Ignored for module, name in _NUMPY},
    **{("torch", f"{name}Storage"): _StorageType(dtype) for name, dtype in _DTYPES.items()},
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in _DTYPES.values()},
}
