"""The constants of a network in OpenVINO's intermediate representation (IR), versions 10 and 11.

A network is an XML file that lists its layers, and a binary file that holds the numbers. A layer of
the type Const says where its tensor lies: offset and size in bytes, element type and shape, which
is empty for a scalar. Several constants may share one offset. Nothing else of the graph is read.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import torch
from torch import Tensor

from facenb.errors import AssetError

_TYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}


def read_constants(xml: bytes, weights: bytes, source: str) -> list[tuple[str, Tensor]]:
    """(name, tensor) of every constant, in the order of the file; names may occur twice.

    Args:
        xml, weights: the contents of the two files.
        source: what to call the network in an error.

    Raises:
        AssetError: no such XML, XML with a document type (and so perhaps with entities), a type
            that is not supported, a size that does not fit its shape, an offset outside the file.
    """
    if b"<!" in xml or b"\0" in xml:  # the format has neither; entities can expand without end
        raise AssetError(f"{source}: expected plain XML, given XML with declarations.")
    try:
        layers = ElementTree.fromstring(xml).find("layers")
    except ElementTree.ParseError as error:
        raise AssetError(f"{source}: its XML cannot be read, it may be cut: {error}.") from error
    if layers is None:
        raise AssetError(f"{source}: expected OpenVINO's XML, with <layers>; there are none.")
    return [
        (layer.get("name", ""), _constant(layer, weights, source))
        for layer in layers
        if layer.get("type") == "Const"
    ]


def _constant(layer: ElementTree.Element, weights: bytes, source: str) -> Tensor:
    data, name = layer.find("data"), layer.get("name", "")[:100]
    attributes = {} if data is None else data.attrib
    kind = _TYPES.get(attributes.get("element_type", "").lower())
    if kind is None:
        raise AssetError(
            f"{source}: constant {name!r} is of type {attributes.get('element_type')!r}; "
            f"supported are {', '.join(_TYPES)}."
        )
    try:
        shape = [int(side) for side in attributes.get("shape", "").split(",") if side.strip()]
        offset, size = int(attributes["offset"]), int(attributes["size"])
    except (KeyError, ValueError) as error:
        raise AssetError(
            f"{source}: constant {name!r} needs whole numbers as offset, size and shape, "
            f"given {dict(attributes)}."
        ) from error
    expected = math.prod(shape) * np.dtype(kind).itemsize
    if size != expected or min([offset, *shape, 0]) < 0:
        raise AssetError(
            f"{source}: constant {name!r} of shape {shape} needs {expected} bytes, given {size} "
            f"at {offset}."
        )
    if offset + size > len(weights):
        raise AssetError(
            f"{source}: constant {name!r} needs bytes {offset} to {offset + size}, the file of "
            f"weights has {len(weights)}; it is cut, or of another network."
        )
    values = np.frombuffer(weights, kind, math.prod(shape), offset).reshape(shape)
    return torch.from_numpy(np.array(values))  # a copy: frombuffer's arrays are read-only
