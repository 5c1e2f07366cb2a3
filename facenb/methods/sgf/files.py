"""Fitted fields in one file, without the generator and the scorers that editors need."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from facenb.data import data_path
from facenb.editors.storage import Context, pack, unpack
from facenb.errors import UnknownNameError
from facenb.generators import DEFAULT
from facenb.methods.sgf.estimator import SurrogateGradientField
from facenb.storage.saved import Saved

_KIND = "sgf-fields"


def save_fields(
    path: str | PathLike[str],
    fields: Mapping[str, SurrogateGradientField],
    space: str,
    provenance: dict,
) -> None:
    """Write fitted fields by name, F and the axes in half precision; `read_fields` reads them."""
    tensors, structure = pack(fields)
    tensors = {
        key: tensor.half() if "/mapping/" in key or key.endswith("/axes") else tensor
        for key, tensor in tensors.items()
    }
    Saved(tuple(fields), tensors, space, provenance, _KIND, structure).write(path)


def read_fields(
    path: str | PathLike[str],
) -> tuple[dict[str, SurrogateGradientField], dict]:
    """Fields by name, and their provenance; FacenbError for another or a damaged file.

    They compute in single precision. What is known of the training only, `loss_` and `radius_`, is
    not in a file.
    """
    found = Saved.read(path, _KIND)
    return unpack(found.tensors, found.structure, Context(str(path))), found.provenance


def load_fields(
    name: str, generator: str = DEFAULT
) -> tuple[dict[str, SurrogateGradientField], dict]:
    """The fields that ship; UnknownNameError lists the files there are."""
    return read_fields(data_path(f"{name}_{generator}.safetensors"))


def shipped_field(name: str, generator: str = DEFAULT) -> SurrogateGradientField | None:
    """The one field of a file that ships; None where none ships for the generator."""
    try:
        (field,) = load_fields(f"sgf_{name}", generator)[0].values()
    except UnknownNameError:
        return None
    return field
