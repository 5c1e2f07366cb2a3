"""The TensorFlow Lite operations that the packaged nets are made of, and their options.

Each takes an operation's table, its constant inputs (None where an input is a value) and what to
call it in an error, and returns what a step of the graph has to say beside its inputs. An option
that facenb.scorers.nets.litenet does not follow is refused with AssetError.

Source: the TensorFlow Lite schema, version 3 (schema.fbs), whose field numbers are used below.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from torch import Tensor

from facenb.assets.converters.flatbuffers import Table
from facenb.errors import AssetError

Options = Callable[[Table, list[Tensor | None], str], dict[str, Any]]

_DEPTHWISE_OPTIONS = 2  # BuiltinOptions
_PADDING = ("same", "valid")


def _fields(operator: Table, where: str) -> Table:
    fields = operator.table(4)
    if fields is None:
        raise AssetError(f"{where} has no options.")
    return fields


def _require(fits: bool, where: str, what: str) -> None:
    if not fits:
        raise AssetError(f"{where} is unsupported: {what}.")


def _window(fields: Table, where: str) -> dict[str, Any]:
    """Padding and stride, which stand first in the options of convolutions and poolings."""
    padding, columns, rows = fields.number(0, "b"), fields.number(1, "i"), fields.number(2, "i")
    _require(padding in (0, 1), where, f"padding {padding}")
    _require(rows == columns > 0, where, f"strides {rows} and {columns}")
    return {"padding": _PADDING[padding], "stride": rows}


def _plain(fields: Table, activation: int, where: str) -> None:
    _require(fields.number(activation, "b") == 0, where, "an activation of its own")


def _convolution(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    fields = _fields(operator, where)
    kernel = constants[1] if len(constants) == 3 else None
    _require(kernel is not None and constants[2] is not None, where, "a kernel or bias that varies")
    _require(kernel.ndim == 4 and constants[2].ndim == 1, where, "kernel or bias of odd shape")
    depthwise = operator.number(3, "B") == _DEPTHWISE_OPTIONS
    if depthwise:
        _require(fields.number(3, "i") == kernel.shape[0] == 1, where, "more filters a channel")
    activation, dilation = (4, 5) if depthwise else (3, 4)
    _plain(fields, activation, where)
    dilations = {fields.number(f, "i", 1) for f in (dilation, dilation + 1)}
    _require(dilations == {1}, where, f"dilations {dilations}")
    return _window(fields, where)


def _pooling(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    fields = _fields(operator, where)
    _plain(fields, 5, where)
    columns, rows = fields.number(3, "i"), fields.number(4, "i")
    window = _window(fields, where)
    _require(rows == columns == window["stride"], where, f"a window of {rows} × {columns}")
    # whole windows only: the nets here have even sides, where SAME and VALID are alike
    return {"stride": window["stride"]}


def _transposed(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    """MediaPipe's own operation: options are padding (1: SAME), stride across, stride down."""
    kernel = constants[1] if len(constants) == 3 else None
    _require(kernel is not None and constants[2] is not None, where, "a kernel or bias that varies")
    stride = kernel.shape[1]
    options = operator.array(5, "u1").tobytes()
    fits = kernel.ndim == 4 and kernel.shape[2] == stride
    _require(fits and options == struct.pack("<3i", 1, stride, stride), where, "other options")
    return {"stride": stride}


def _resize(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    fields = _fields(operator, where)
    half_pixel = (fields.number(2, "b"), fields.number(3, "b")) == (0, 1)
    _require(half_pixel, where, "other than half-pixel centres")
    _require(constants[1] is not None and constants[1].shape == (2,), where, "a size that varies")
    return {"size": constants[1].tolist()}


def _arithmetic(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    _plain(_fields(operator, where), 0, where)
    _require(all(constant is None for constant in constants), where, "a constant")
    return {}


def _concatenation(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    fields = _fields(operator, where)
    _plain(fields, 1, where)
    return {"axis": fields.number(0, "i")}


def _padding(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    pads = constants[1]
    channels_only = pads is not None and pads.shape == (4, 2) and not pads[:3].any()
    _require(channels_only and bool((pads >= 0).all()), where, "other than channels")
    return {"channels": pads[3].tolist()}


def _reshape(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    if len(constants) == 1:
        shape = _fields(operator, where).array(0, "<i4")
    else:
        shape = constants[1]
    _require(shape is not None and len(shape) > 1 and shape[0] in (1, -1), where, f"shape {shape}")
    return {"shape": [int(size) for size in shape[1:]]}


def _slopes(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    slopes = constants[1] if len(constants) == 2 else None
    by_channel = slopes is not None and slopes.numel() == slopes.shape[-1]
    _require(by_channel, where, "other than a slope for each channel")
    return {}


def _nothing(operator: Table, constants: list[Tensor | None], where: str) -> dict[str, Any]:
    return {}


# by number (BuiltinOperator), or by name for what is not of TensorFlow Lite itself
OPERATIONS: dict[int | str, tuple[str, Options]] = {
    0: ("ADD", _arithmetic),
    1: ("AVERAGE_POOL_2D", _pooling),
    2: ("CONCATENATION", _concatenation),
    3: ("CONV_2D", _convolution),
    4: ("DEPTHWISE_CONV_2D", _convolution),
    14: ("LOGISTIC", _nothing),
    17: ("MAX_POOL_2D", _pooling),
    18: ("MUL", _arithmetic),
    19: ("RELU", _nothing),
    22: ("RESHAPE", _reshape),
    23: ("RESIZE_BILINEAR", _resize),
    34: ("PAD", _padding),
    54: ("PRELU", _slopes),
    117: ("HARD_SWISH", _nothing),
    "Convolution2DTransposeBias": ("TRANSPOSE_CONV", _transposed),
}
