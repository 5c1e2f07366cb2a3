"""Latents in other people's files: what e4e, pSp and optimisers save, as `.npy` or `.pt`.

latents = read_latents("latents.pt", generator)       # (N, 18, 512) → Latents of "w+"
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from facenb.errors import SpaceError, unknown
from facenb.generators.base import Generator
from facenb.generators.pretrained.arrays import read_arrays
from facenb.latents import SPACES, Latents

_STYLEGAN2_LAYERS = 18


def read_latents(
    path: str | PathLike[str], generator: Generator, space: str | None = None
) -> Latents:
    """The latents in a `.npy` or `.pt` file, on the generator's device, in float32.

    (N, L, d) are of "w+". (L, d) with L the generator's number of layers is one of "w+", unless
    `space` says otherwise. (d,), (N, d) and (N, 1, d) are of "w" where the generator has it, else
    of "z". The 18 rows of StyleGAN2-1024 are taken by a generator that has `from_stylegan2`.

    Args:
        space: of (d,), (N, d) and (L, d), which a file does not say.

    Raises:
        FileNotFoundError: there is no such file.
        FacenbError: it is damaged, of another kind, or not only numbers.
        ValueError, SpaceError: latents of another dimension, number of layers or space than the
            generator has; a dictionary of several.
    """
    path = Path(path)
    if space is not None and space not in SPACES:
        raise unknown("latent space", space, SPACES)
    values = read_arrays(path)
    if isinstance(values, dict):
        if len(values) != 1:
            raise ValueError(f"{path}: expected one array of latents, given {', '.join(values)}.")
        (values,) = values.values()
    layers = generator.w_layers
    counts = {layers} | ({_STYLEGAN2_LAYERS} if hasattr(generator, "from_stylegan2") else set())
    if values.ndim == 1:
        values = values[None]
    elif values.ndim == 2 and space in (None, "w+") and len(values) in counts - {None, 1}:
        values = values[None]
    elif values.ndim == 3 and values.shape[1] == 1 and layers != 1:
        values = values[:, 0]
    if values.ndim == 3:
        space = "w+"
    space = space or ("w" if "w" in generator.spaces else "z")
    if space not in generator.spaces:
        has = ", ".join(map(repr, generator.spaces))
        raise SpaceError(f"{path} has latents of {space!r}, {generator.name} has {has}.")
    if space == "w+" and values.shape[1] != layers and values.shape[1] in counts:
        values = generator.from_stylegan2(values)
    latents = Latents(values.float(), space)
    expected = (generator.dim(space),) if space != "w+" else (layers, generator.dim(space))
    if latents.values.shape[1:] != expected:
        raise ValueError(
            f"{path}: expected latents (N, {', '.join(map(str, expected))}) in space {space!r} of "
            f"{generator.name}, given {tuple(latents.values.shape)}."
        )
    return latents.to(generator.device)
