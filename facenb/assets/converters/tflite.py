"""TensorFlow Lite models as tensors and a graph in JSON.

The constants keep their names, shapes and orders of axes (a kernel is (out, h, w, in), a depthwise
one (1, h, w, channels)); halves are widened, and the operations that only widen them are left out.
The graph is

    {"inputs": [name …], "outputs": [name …],
     "steps": [{"op": "CONV_2D", "inputs": [name …], "output": name, "stride": 2, …} …]}

in the order of the file; a name that no step computes is a constant.
facenb.scorers.nets.litenet reads it. What a step says is all that there is to it: options are
checked in tflite_operations.py. Sizes for batch 1 are nowhere in it.

Source: the TensorFlow Lite schema, version 3 (schema.fbs), whose field numbers are used below.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facenb.assets.converters.flatbuffers import Table
from facenb.assets.converters.tflite_operations import OPERATIONS
from facenb.errors import AssetError

# TensorType, for constants; halves become floats
_STORED = {0: "<f4", 1: "<f2", 2: "<i4", 4: "<i8"}
_DEQUANTIZE, _CUSTOM = 6, 32  # BuiltinOperator


def face_mesh(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The 478-point mesh, from the face landmarker's .task file."""
    return convert(_inside(paths[0], "face_landmarks_detector.tflite"), "face_landmarks_detector")


def face_detector(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """BlazeFace for short range, from the face landmarker's .task file."""
    return convert(_inside(paths[0], "face_detector.tflite"), "face_detector")


def face_blendshapes(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The constants of the blendshapes' net; its module is written out, so no graph is needed."""
    model = _model(_inside(paths[0], "face_blendshapes.tflite"), "face_blendshapes")
    return _constants(model, "face_blendshapes"), ""


def selfie_segmentation(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The person mask."""
    return convert(Path(paths[0]).read_bytes(), "selfie_segmentation")


def convert(data: bytes, source: str) -> tuple[dict[str, Tensor], str]:
    """A model's constants by name, and its graph as JSON text.

    Raises AssetError for a file that is damaged, or has something that is not supported.
    """
    model = _model(data, source)
    tensors = _constants(model, source)
    graph = _graph(model, tensors, source)
    used = {name for step in graph["steps"] for name in step["inputs"]}
    return {name: tensor for name, tensor in tensors.items() if name in used}, json.dumps(graph)


def _inside(path: Path, member: str) -> bytes:
    """One model of a .task file, which is a zip of models."""
    try:
        with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as archive:
            return archive.read(member)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise AssetError(f"{path}: expected a zip with {member}, found none ({error}).") from error


def _model(data: bytes, source: str) -> Table:
    model = Table.root(data, source, b"TFL3")
    version, graphs = model.number(0, "I"), len(model.tables(2))
    if (version, graphs) != (3, 1):
        raise AssetError(
            f"{source}: expected one graph in version 3 of the format, "
            f"given {graphs} in version {version}."
        )
    return model


def _names(model: Table, source: str) -> list[str]:
    names = [tensor.text(3) for tensor in model.tables(2)[0].tables(0)]
    if len(set(names)) != len(names):
        raise AssetError(f"{source}: two tensors have the same name.")
    return names


def _constants(model: Table, source: str) -> dict[str, Tensor]:
    """Every tensor that has content."""
    buffers = model.tables(4)
    constants = {}
    for name, tensor in zip(_names(model, source), model.tables(2)[0].tables(0), strict=True):
        index, kind = tensor.number(2, "I"), tensor.number(1, "b")
        data = _item(buffers, index, "buffer", source).array(0, "u1").tobytes()
        if not data:
            continue
        if kind not in _STORED:
            raise AssetError(f"{source}: constant {name!r} has type {kind}, which is unsupported.")
        dtype, shape = np.dtype(_STORED[kind]), [int(size) for size in tensor.array(0, "<i4")]
        if min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize != len(data):
            raise AssetError(
                f"{source}: constant {name!r} of shape {shape} and {dtype.itemsize} bytes "
                f"an element has {len(data)} bytes."
            )
        values = np.frombuffer(data, dtype).reshape(shape)
        wide = values.astype(np.float32 if dtype.kind == "f" else dtype.newbyteorder("="))
        constants[name] = torch.from_numpy(np.array(wide))
    return constants


def _graph(model: Table, constants: dict[str, Tensor], source: str) -> dict[str, Any]:
    graph, names, codes = model.tables(2)[0], _names(model, source), model.tables(1)
    inputs, outputs = ([names[i] for i in _indices(graph, f, names, source)] for f in (1, 2))
    alias: dict[str, str] = {}  # widened half → the constant
    known = {*inputs, *constants}
    steps = []
    for operator in graph.tables(3):
        code = _item(codes, operator.number(0, "I"), "operation", source)
        number = max(code.number(0, "b"), code.number(3, "i"))
        given = [names[i] for i in _indices(operator, 1, names, source)]
        made = [names[i] for i in _indices(operator, 2, names, source)]
        given = [alias.get(name, name) for name in given]
        if len(made) != 1 or not given or not known.issuperset(given):
            raise AssetError(f"{source}: the step for {made} lacks inputs, or comes before them.")
        known.update(made)
        if number == _DEQUANTIZE and given[0] in constants:
            alias[made[0]] = given[0]
            continue
        name = code.text(1) if number == _CUSTOM else number
        if name not in OPERATIONS:
            raise AssetError(f"{source}: operation {name!r}, which makes {made[0]!r}, is unknown.")
        op, options = OPERATIONS[name]
        where = f"{source}: {op} for {made[0]!r}"
        step = {"op": op, "inputs": given, "output": made[0]}
        steps.append(step | options(operator, [constants.get(name) for name in given], where))
    if lacking := [name for name in outputs if name not in known]:
        raise AssetError(f"{source}: nothing makes the output {lacking[0]!r}.")
    return {"inputs": inputs, "outputs": outputs, "steps": steps}


def _indices(table: Table, field: int, names: list[str], source: str) -> list[int]:
    indices = [int(i) for i in table.array(field, "<i4")]
    if any(not 0 <= i < len(names) for i in indices):
        raise AssetError(f"{source}: tensors {indices}, but there are {len(names)}.")
    return indices


def _item(items: list[Table], index: int, what: str, source: str) -> Table:
    if index >= len(items):
        raise AssetError(f"{source}: {what} {index}, but there are {len(items)}.")
    return items[index]
