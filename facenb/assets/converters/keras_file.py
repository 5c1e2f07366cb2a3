"""Keras 3 weight files (HDF5), and the net that comes as one: the VGG16 inside HED.

Source: the layout that `keras.Model.save_weights` writes: one group a layer, its variables under
`vars` as "0" (kernel, height × width × in × out) and "1" (bias).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from facenb.errors import AssetError

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


def read_keras(path: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of a weights file, which has to hold exactly these, as finite float32 numbers.

    Raises AssetError when the file is cut short or is no HDF5, and for an array that is missing,
    surplus, kept outside the file, or of another shape or type.
    """
    found: dict[str, h5py.Dataset] = {}
    try:
        with h5py.File(path, "r") as file:

            def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
                if isinstance(item, h5py.Dataset):
                    found[name] = item

            file.visititems(note)
            if odd := set(found) ^ set(expected):
                raise AssetError(
                    f"{path.name}: expected exactly the arrays {sorted(expected)}; "
                    f"missing or surplus: {sorted(odd)}."
                )
            return {name: _read(found[name], shape, path.name) for name, shape in expected.items()}
    except OSError as error:
        raise AssetError(f"{path.name} is not a whole HDF5 file: {error}") from error


def _read(data: h5py.Dataset, shape: tuple[int, ...], file: str) -> np.ndarray:
    if data.shape != shape or data.dtype != np.float32 or data.external:
        raise AssetError(
            f"{file}: {data.name}: expected float32 of shape {shape} inside the file, found "
            f"{data.dtype} of shape {data.shape}{' outside' if data.external else ''}."
        )
    values = data[()]
    if not np.isfinite(values).all():
        raise AssetError(f"{file}: {data.name}: expected finite numbers.")
    return values


def vgg16_hed(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The thirteen convolutions: "convB_I.weight" (out, in, 3, 3) and ".bias", B and I from 1.

    The file's other arrays are HED's five side outputs and their fusion; they are left out.
    """
    names, expected, inputs = {}, {}, 3
    for block, (channels, count) in enumerate(_BLOCKS, start=1):
        for index in range(count):
            folder = f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"
            names[folder] = f"conv{block}_{index + 1}"
            expected |= {f"{folder}/0": (3, 3, inputs, channels), f"{folder}/1": (channels,)}
            inputs = channels
        expected |= {f"dsn{block}/vars/0": (1, 1, channels, 1), f"dsn{block}/vars/1": (1,)}
    expected |= {"fuse/vars/0": (1, 1, len(_BLOCKS), 1), "fuse/vars/1": (1,)}
    arrays = read_keras(paths[0], expected)
    tensors = {}
    for folder, name in names.items():
        kernel = torch.from_numpy(arrays[f"{folder}/0"]).permute(3, 2, 0, 1)
        tensors[f"{name}.weight"] = kernel.contiguous()
        tensors[f"{name}.bias"] = torch.from_numpy(arrays[f"{folder}/1"])
    return tensors, ""
