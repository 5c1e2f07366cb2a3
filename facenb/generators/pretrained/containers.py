"""The four kinds of file that weights come in, told apart by content and looked into.

    zip          torch since 1.6                    PK…
    legacy       torch before 1.6                   five pickles, then the numbers
    pickle       stylegan2-ada-pytorch, stylegan3   one pickle with tensors inside
    safetensors  facenb's own

`look` reads names and shapes, and compares the sizes that a file declares with its own length: a
file cannot ask for more memory than it has bytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from facenb.generators.pretrained.unpickle import (
    LEGACY_MAGIC,
    Storage,
    Stored,
    WeightsError,
    check_length,
    legacy_header,
    unpickle,
)

_LARGEST_PICKLE = 64 << 20  # bytes; that of the largest published networks has 0.2 MB
_LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."


@dataclass(frozen=True)
class Contents:
    """What a file holds, before its numbers are read.

    Attributes:
        container: "zip", "legacy", "pickle" or "safetensors".
        root: the object saved: dictionaries, lists, `Record` and, in place of tensors, `Stored`.
    """

    path: Path
    container: str
    root: object = field(repr=False)


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
    except (zipfile.BadZipFile, OSError, RuntimeError, UnicodeDecodeError) as error:
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
            return Contents(path, "safetensors", root)
    except SafetensorError as error:
        raise WeightsError(f"as safetensors, it is truncated or damaged ({error})") from error


_SAFETENSORS = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
