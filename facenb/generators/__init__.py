"""Generators behind one interface: `load_generator(name | path | URL)`."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import torch

from facenb.errors import unknown
from facenb.generators import dcgan, pretrained
from facenb.generators.base import Generator
from facenb.generators.latent_files import read_latents
from facenb.generators.mobilestylegan import generator as mobilestylegan
from facenb.generators.pretrained import WeightsError
from facenb.generators.style_based import StyleBased
from facenb.generators.zoo import ZOO, fetched_file, published_file
from facenb.storage.files import sha256_file

__all__ = ["DEFAULT", "EMBEDDED", "Generator", "WeightsError", "absolute", "label",
           "load_generator", "read_latents", "record", "weights_file"]  # fmt: skip

DEFAULT = mobilestylegan.NAME
EMBEDDED = "digiface-dcgan-64"  # the small one, without a W
_OUTSIDE = {DEFAULT: mobilestylegan.load, EMBEDDED: dcgan.load}  # from files of facenb.assets
_NAMES = (*_OUTSIDE, *ZOO)
_SUFFIXES = (".pt", ".pth", ".pkl", ".safetensors")


def load_generator(
    name: str | os.PathLike[str] = DEFAULT,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Generator:
    """The generator called `name`, or the one in a file of weights, given by its path or URL.

    Files of StyleGAN2, StyleGAN and PGGAN in the layouts that `facenb.generators.pretrained`
    lists are told apart by content; nothing in them is run. Files behind names and URLs are
    fetched on first use, kept, and compared with what they were ever after.

    Args:
        dtype: torch.bfloat16 is much faster where the processor has it (AVX512-BF16, AMX, recent
            GPUs), for images that differ by about as much as rounding to 8 bits. It is for
            looking at many of them; penalties divide that difference by ε² and need float32.

    Raises:
        UnknownNameError: no such generator; the message lists the known ones.
        FileNotFoundError: no file at that path.
        AssetError: the weights are not cached and cannot be fetched, or are not the pinned file.
        WeightsError: the file is damaged, of another network, or asks for code to run.
    """
    if name in _OUTSIDE:
        generator = _OUTSIDE[name]()
    else:
        generator = pretrained.load(weights_file(name), name if name in _NAMES else None)
    if dtype != torch.float32:  # other images, so other entries in every cache
        if isinstance(generator, StyleBased):
            return generator.variant(precision=dtype).to(device)
        generator.fingerprint += f"-{dtype}"
    return generator.to(device, dtype)


def weights_file(name: str | os.PathLike[str]) -> Path:
    """The file behind a path, a URL or a published name, fetched on first use."""
    if name in ZOO:
        return published_file(name)
    if "://" in str(name):
        return fetched_file(str(name))
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if isinstance(name, Path) or path.suffix in _SUFFIXES or len(path.parts) > 1:
        raise FileNotFoundError(f"there is no file {path}; give the path of a file of weights.")
    raise unknown("generator", name, _NAMES)


def absolute(name: str) -> str:
    """`name` as it means the same in every folder: a path becomes absolute, the rest stays.

    Raises as `weights_file` for a file that is not there, and for a name that is not known or has
    no weights yet; nothing is fetched.
    """
    if name in _OUTSIDE or name in ZOO or "://" in name:
        return name
    path = weights_file(name)
    return str(path.absolute())


def label(name: str | os.PathLike[str]) -> str:
    """What to call it in folders and records: its name, or the stem of its file, without a path."""
    return str(name) if name in _NAMES else Path(urlsplit(str(name)).path).stem


def record(name: str | os.PathLike[str]) -> str:
    """`label`, and for a file the beginning of its sha256, since many have the same name."""
    if name in _NAMES or not ("://" in str(name) or Path(name).expanduser().is_file()):
        return str(name)
    return f"{label(name)} (sha256 {sha256_file(weights_file(name))[:12]})"
