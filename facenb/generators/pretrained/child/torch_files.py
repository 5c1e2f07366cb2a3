"""Files of torch, read by torch with `weights_only=True`, and watched while it does."""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import torch
from torch import Tensor

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch before 1.6


class Refused(Exception):
    """What the file is not."""


class Ignored:
    """Stands for a value that no weight depends on: a NumPy number, a path, parsed arguments."""

    def __new__(cls, *given: object, **named: object) -> Ignored:
        return super().__new__(cls)

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def dictionary(*given: object) -> dict:
    return {}


HARMLESS = (
    "_codecs.encode", "argparse.Namespace", "types.SimpleNamespace", "numpy.dtype",
    "numpy.ndarray", "numpy.bool_", "numpy.random._pickle.__randomstate_ctor",
    *(f"numpy.{core}.{name}" for core in ("core", "_core")
      for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in
      ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__")
      for name in ("list", "dict", "tuple", "set", "int", "float", "str", "bool", "complex")),
    *(f"datetime.{name}" for name in ("datetime", "date", "timedelta", "timezone")),
)  # fmt: skip
# Of storages, by address, which stays theirs as long as they are kept here:
sizes: dict[int, tuple[int, object]] = {}  # the bytes of those that tensors were made of
filled: dict[int, object] = {}  # those whose numbers came from the file
_mapped: list[torch.UntypedStorage] = []  # a whole zip, of which its storages are slices
_entries: dict[int, int] = {}  # where the content of its entries begins, and how long it is


def watch_torch() -> None:
    """Let torch say which storages it filled, and refuse tensors that go beyond theirs.

    `set_` enlarges a storage without a word where a shape asks for it, by whatever is in memory.
    """
    rebuild, fill = torch._utils._rebuild_tensor, torch.UntypedStorage._set_from_file

    def within(storage: object, offset: int, size: tuple, stride: tuple) -> Tensor:
        untyped = storage._untyped_storage
        nbytes, _ = sizes.setdefault(untyped._cdata, (untyped.nbytes(), untyped))
        if _mapped and nbytes:  # a slice may go on into the entry behind
            there = _entries.get(untyped.data_ptr() - _mapped[0].data_ptr(), 0)
            if there != nbytes:
                raise Refused(f"a storage declares {nbytes:,} bytes, and {there:,} are there")
        if len(size) != len(stride) or len(size) > 8 or min((offset, *size, *stride)) < 0:
            raise Refused(f"it has a tensor of shape {tuple(size)} and stride {tuple(stride)}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        numbers = nbytes // storage.dtype.itemsize
        count = 1
        for n in size:
            count *= n
        if count > numbers or (count and last >= numbers):
            raise Refused(
                f"it has a tensor of shape {tuple(size)} over a storage of {numbers} numbers"
            )
        return rebuild(storage, offset, size, stride)

    def from_file(storage: torch.UntypedStorage, *given: object) -> object:
        filled[storage._cdata] = storage
        return fill(storage, *given)

    def mapped(*given: object, **named: object) -> torch.UntypedStorage:
        _mapped.append(whole(*given, **named))
        return _mapped[-1]

    whole = torch.UntypedStorage.from_file
    torch._utils._rebuild_tensor = within
    torch.UntypedStorage._set_from_file = from_file
    torch.UntypedStorage.from_file = staticmethod(mapped)


def load_torch(file: Path | io.BytesIO, mapped: bool = False) -> object:
    """What torch reads with `weights_only=True`, with passive values for a few harmless names."""
    names = [(Ignored, name) for name in HARMLESS]
    try:
        with torch.serialization.safe_globals([*names, (dictionary, "collections.defaultdict")]):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise Refused(foreign(asked[1])) from error
        raise Refused(f"its pickle is truncated or damaged ({error})") from error


def foreign(name: str) -> str:
    said = f"it asks for {name}, which is neither a tensor nor a plain container"
    if name.startswith("dnnlib.tflib"):
        said += " (a TensorFlow network: convert it with legacy.py of NVlabs/stylegan3 first)"
    return f"{said}. Nothing of it was run"


def check_zip(path: Path) -> None:
    """Raise for an archive that is ambiguous, would unpack to more than its size, or is damaged."""
    with zipfile.ZipFile(path) as archive:
        entries, size = archive.infolist(), path.stat().st_size
        names = [entry.filename.casefold() for entry in entries]
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise Refused(
                    f"its entry {entry.filename} unpacks from {entry.compress_size:,} to "
                    f"{entry.file_size:,} bytes; expected entries as torch writes them, not "
                    "compressed"
                )
        declared = sum(entry.file_size for entry in entries)
        if declared > size:
            raise Refused(f"its entries declare {declared:,} bytes, and it has {size:,}")
        if len(set(names)) < len(names):
            raise Refused("two of its entries have the same name, but for capitals")
        if sum(name.endswith("/data.pkl") and name.count("/") == 1 for name in names) != 1:
            raise Refused("it is a zip, but not one of torch's: it has no data.pkl")
        if damaged := archive.testzip():
            raise Refused(f"its entry {damaged} is damaged: its checksum differs")
        for entry in entries:
            archive.fp.seek(entry.header_offset + 26)  # its header ends with two lengths
            name, extra = struct.unpack("<HH", archive.fp.read(4))
            _entries[entry.header_offset + 30 + name + extra] = entry.file_size
