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
    name: str = "digiface-dcgan-64", device: str | torch.device = "cpu"
) -> Generator:
    """The generator called `name`, with its weights fetched on first use.

    Raises:
        UnknownNameError: no such generator; the message lists the known ones.
        AssetError: the weights are not cached and cannot be fetched, or are not the pinned file.
    """
    if name not in _WEIGHTS:
        raise unknown("generator", name, _WEIGHTS)
    asset, load = _WEIGHTS[name]
    return load(asset_path(asset), name, asset_sha256(asset)).to(device)
