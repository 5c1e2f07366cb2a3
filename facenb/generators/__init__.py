"""Generators behind one interface: `load_generator(name)`."""

from __future__ import annotations

import torch

from facenb.assets import asset_path, asset_sha256
from facenb.errors import unknown
from facenb.generators import dcgan
from facenb.generators.base import Generator

__all__ = ["Generator", "load_generator"]

_WEIGHTS = {"digiface-dcgan-64": ("digiface-dcgan-64/weights.tar", dcgan.load)}


def load_generator(
    name: str = "digiface-dcgan-64",
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Generator:
    """The generator called `name`, with its weights fetched on first use.

    Args:
        dtype: torch.bfloat16 is much faster where the processor has it (AVX512-BF16, AMX, recent
            GPUs), for pictures that differ by about as much as rounding to 8 bits. It is for
            looking at many of them; penalties divide that difference by ε² and need float32.

    Raises:
        UnknownNameError: no such generator; the message lists the known ones.
        AssetError: the weights are not cached and cannot be fetched, or are not the pinned file.
    """
    if name not in _WEIGHTS:
        raise unknown("generator", name, _WEIGHTS)
    asset, load = _WEIGHTS[name]
    fingerprint = asset_sha256(asset)
    if dtype != torch.float32:  # other pictures, so other entries in every cache
        fingerprint += f"-{dtype}"
    return load(asset_path(asset), name, fingerprint).to(device, dtype)
