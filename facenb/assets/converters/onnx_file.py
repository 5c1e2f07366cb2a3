"""ONNX files as constants and a list of operations, for the nets of onnx_nets.py.

The onnx package parses the file, at set-up only. Constants that the graph computes from other
constants (int8 weights in blocks, reshaped) are computed here, so that what is left is a list of
operations on the input. `Walk` goes along that list and refuses any operation but the expected
one: the module that will run the net is written out in facenb/scorers, and must not differ.

Source: the ONNX specification (IR, and the operators DequantizeLinear, Reshape, BatchNormalization
of opsets 18 to 21).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from facenb.assets.converters.folding import check_shape, fold_batch_norm
from facenb.errors import AssetError

_TYPES = ("FLOAT", "INT8", "INT64")
# What an attribute means where a node leaves it out; momentum is of training alone.
_DEFAULTS = {"group": 1, "dilations": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "alpha": 1.0,
             "beta": 1.0, "transA": 0, "transB": 0, "axis": 1, "ceil_mode": 0,
             "count_include_pad": 0, "mode": b"constant"}  # fmt: skip
_FREE = ("momentum", "epsilon")


@dataclass(frozen=True)
class Operation:
    """One node: its operator, the names of its inputs and of its output, its attributes."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A net: the names of its input and output, its constants, and the operations between them."""

    source: str
    result: str
    constants: dict[str, Tensor]
    operations: tuple[Operation, ...]


def read_onnx(path: Path) -> Graph:
    """The graph of an ONNX file, without what can be computed from constants alone.

    Raises AssetError for a file that is cut short or is no ONNX file, a graph with more than one
    input or output, a tensor that lies outside the file, is not finite, does not fill its shape or
    is of another type than float32, int8 and int64, and an operator outside the standard's own.
    """
    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
    except DecodeError as error:
        raise AssetError(f"{path.name} is not a whole ONNX file: {error}") from error
    constants = {tensor.name: _constant(tensor, path.name) for tensor in graph.initializer}
    # older exporters list the constants among the inputs, and quantisation leaves unused ones there
    used = {name for node in graph.node for name in node.input} - set(constants)
    inputs = [value.name for value in graph.input if value.name in used]
    outputs = [value.name for value in graph.output]
    if len(inputs) != 1 or len(outputs) != 1 or not graph.node:
        raise AssetError(
            f"{path.name}: expected one input, one output and operations between them, found "
            f"{len(inputs)} inputs, {len(outputs)} outputs and {len(graph.node)} operations."
        )
    operations: list[Operation] = []
    known = {*inputs, *constants, ""}  # "" stands for an input that is left out
    for node in graph.node:
        operation = _operation(node, path.name)
        if lacking := set(operation.inputs) - known:
            raise AssetError(f"{path.name}: nothing before {operation} makes {sorted(lacking)}.")
        known.add(operation.output)
        if operation.kind == "Constant":
            constants[operation.output] = _constant(operation.attributes["value"], path.name)
        elif operation.kind in _COMPUTED and all(name in constants for name in operation.inputs):
            given = [constants[name] for name in operation.inputs]
            constants[operation.output] = _COMPUTED[operation.kind](
                given, operation.attributes, f"{path.name}: {operation.output}"
            )
        else:
            operations.append(operation)
    return Graph(inputs[0], outputs[0], constants, tuple(operations))


def _operation(node: onnx.NodeProto, file: str) -> Operation:
    if node.domain or len(node.output) != 1:
        raise AssetError(
            f"{file}: expected operators of the ONNX standard with one output, found "
            f"{node.domain}:{node.op_type} with {len(node.output)}."
        )
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return Operation(node.op_type, tuple(node.input), node.output[0], attributes)


def _constant(tensor: onnx.TensorProto, file: str) -> Tensor:
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind not in _TYPES or tensor.data_location != onnx.TensorProto.DEFAULT:
        raise AssetError(
            f"{file}: tensor {tensor.name!r}: expected {', '.join(_TYPES)} inside the file, "
            f"found {kind}{' in another file' if tensor.data_location else ''}."
        )
    try:
        values = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    except ValueError as error:
        raise AssetError(
            f"{file}: tensor {tensor.name!r} does not fill its shape {list(tensor.dims)}: {error}"
        ) from error
    if not torch.isfinite(values).all():
        raise AssetError(f"{file}: tensor {tensor.name!r}: expected finite numbers.")
    return values


def dequantise(given: Sequence[Tensor], attributes: dict[str, Any], what: str) -> Tensor:
    """(q − zero point) × scale, where one scale serves `block_size` numbers along `axis`."""
    codes, scale, *rest = given
    zero = rest[0] if rest else torch.zeros_like(scale)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    expected = list(codes.shape)
    if not 0 <= axis < len(expected) or block < 1:
        raise AssetError(f"{what}: expected blocks along an axis, found {block} along {axis}.")
    expected[axis] = -(-expected[axis] // block)
    check_shape(scale, expected, f"{what}: scales for blocks of {block}")
    check_shape(zero, expected, f"{what}: zero points for blocks of {block}")

    def spread(values: Tensor) -> Tensor:
        return values.repeat_interleave(block, axis).narrow(axis, 0, codes.shape[axis]).float()

    return (codes.float() - spread(zero)) * spread(scale)


def _reshape(given: Sequence[Tensor], _: dict[str, Any], what: str) -> Tensor:
    values, shape = given
    try:
        return values.reshape(shape.tolist())
    except RuntimeError as error:
        raise AssetError(f"{what}: {error}") from error


_COMPUTED = {"DequantizeLinear": dequantise, "Reshape": _reshape}


class Walk:
    """Goes along the operations of a graph, in order; each has to be the expected one."""

    def __init__(self, path: Path) -> None:
        self.graph, self.file, self.place = read_onnx(path), path.name, 0

    def take(self, kind: str, *values: str, **attributes: object) -> tuple[Operation, list[Tensor]]:
        """The next operation and its constants; it has to be `kind`, of these computed values.

        Attributes that are not named have to be the standard's defaults.
        """
        wanted = f"{kind} of {', '.join(values)} with {attributes}"
        if self.place == len(self.graph.operations):
            raise AssetError(f"{self.file}: expected {wanted}, found the end of the graph.")
        found = self.graph.operations[self.place]
        constants = self.graph.constants
        same = found.kind == kind and values == tuple(i for i in found.inputs if i not in constants)
        for key in {*found.attributes, *attributes} - set(_FREE):
            default = _DEFAULTS.get(key)
            same &= found.attributes.get(key, default) == attributes.get(key, default)
        if not same:
            raise AssetError(
                f"{self.file}: operation {self.place}: expected {wanted}, found {found}."
            )
        self.place += 1
        return found, [constants[name] for name in found.inputs if name in constants]

    def end(self, value: str) -> None:
        """Raise AssetError unless every operation was taken and `value` is the graph's result."""
        left = len(self.graph.operations) - self.place
        if left or value != self.graph.result:
            raise AssetError(
                f"{self.file}: expected to end with {value!r}, found {left} more operations and "
                f"the result {self.graph.result!r}."
            )

    def convolution(
        self, value: str, shape: list[int], stride: int, padding: int
    ) -> tuple[str, Tensor, Tensor]:
        """A convolution whose weight is `shape`: (output, weight, bias), depthwise by its shape."""
        group = shape[0] if shape[1] == 1 else 1
        geometry = {"strides": [stride] * 2, "pads": [padding] * 4, "kernel_shape": shape[2:]}
        found, (weight, *bias) = self.take("Conv", value, group=group, **geometry)
        check_shape(weight, shape, f"{self.file}: weight of {found.output}")
        shift = bias[0] if bias else torch.zeros(shape[0])
        check_shape(shift, shape[:1], f"{self.file}: bias of {found.output}")
        return found.output, weight, shift

    def batch_norm(self, value: str, channels: int) -> tuple[str, tuple[Tensor, Tensor]]:
        """A batch normalisation as (output, (factor, offset)), one of each per channel."""
        found, statistics = self.take("BatchNormalization", value)
        for tensor in statistics:
            check_shape(tensor, [channels], f"{self.file}: {found.output}")
        return found.output, fold_batch_norm(*statistics, found.attributes.get("epsilon", 1e-5))
