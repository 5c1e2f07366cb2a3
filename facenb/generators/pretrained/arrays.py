"""Arrays in other people's files: `.npy` of NumPy and `.pt` of torch, without running anything."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facenb.errors import FacenbError
from facenb.generators.pretrained.convert import WeightsError, converted

LARGEST_FILE = 64 << 20  # bytes; 512 directions with a row for each of 18 layers have 19 MB
_LONGEST_NAME = 80


def read_arrays(path: str | PathLike[str]) -> Tensor | dict[str, Tensor]:
    """The array in a `.npy` or `.pt` file, or the named arrays of a dictionary in a `.pt` file.

    Told apart by content. Shapes and types are the file's; nothing is said of their values.

    Raises:
        FileNotFoundError: there is no such file.
        FacenbError: it is larger than 64 MiB, damaged, of another kind, declares more numbers than
            it has, or holds anything but tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise FacenbError(f"{path}: expected a .npy or .pt file, given a folder.")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise FacenbError(
            f"{path}: expected a file up to {LARGEST_FILE >> 20} MiB, given {size:,} bytes."
        )
    with path.open("rb") as stream:
        start = stream.read(8)
    if start[:6] == b"\x93NUMPY":
        return _read_numpy(path, size)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _read_torch(path)
    raise FacenbError(
        f"{path}: expected a .npy file or a .pt file of torch, given one that begins with "
        f"{start!r}. A set that facenb saved is read by Editors.load(path)."
    )


def _read_numpy(path: Path, size: int) -> Tensor:
    try:
        with path.open("rb") as stream:  # what it declares, before memory is taken for it
            version = np.lib.format.read_magic(stream)
            header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = header(stream)
            declared = dtype.itemsize * int(np.prod(shape, dtype=object))
            if dtype.hasobject or declared != size - stream.tell():
                raise ValueError(
                    f"it declares {shape} numbers of {dtype} and has {size - stream.tell():,} bytes"
                )
        array = np.load(path, allow_pickle=False)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), "C"))
    except (ValueError, TypeError, OSError, EOFError, AttributeError, OverflowError) as error:
        raise FacenbError(f"{path}: expected a .npy file of numbers: {error}.") from error


def _read_torch(path: Path) -> Tensor | dict[str, Tensor]:
    try:
        tensors, _ = converted(path, "arrays")
    except WeightsError as error:
        raise FacenbError(str(error)) from error
    for name in tensors:
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise FacenbError(
                f"{path}: expected names of up to {_LONGEST_NAME} letters, given {name!r:.100}."
            )
    if not tensors:
        raise FacenbError(f"{path}: expected directions, given an empty dictionary.")
    return tensors[""] if list(tensors) == [""] else tensors
