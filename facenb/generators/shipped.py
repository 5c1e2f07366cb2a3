"""Generators that this project trained and that come with the package."""

from __future__ import annotations

from pathlib import Path

from facenb.data import data_path
from facenb.errors import AssetError, UnknownNameError

# name → the command that makes it
SHIPPED = {
    "facenb-stylegan2-32": "python -m facenb.train_stylegan2 --config cpu",
    "facenb-stylegan2-64": "python -m facenb.train_stylegan2 --config gpu",
}


def shipped_file(name: str) -> Path:
    """The weights of a name in `SHIPPED`.

    Raises:
        AssetError: they do not exist; the message has the command that makes them.
    """
    try:
        return data_path(f"{name}.safetensors")
    except UnknownNameError as error:
        raise AssetError(
            f"{name} has no weights yet: it does not come with the package. Train it with "
            f"`{SHIPPED[name]}` (cpu: two hours; gpu: needs a CUDA device)."
        ) from error
