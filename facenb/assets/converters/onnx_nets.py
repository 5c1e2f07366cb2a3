"""The nets that come as ONNX files: identity (SFace), and the independent judge of age and gender.

Each function names every operation that the module in facenb/scorers will carry out, in order, and
folds what follows a convolution (batch normalisation, factors, offsets) into it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from facenb.assets.converters.folding import check_shape, fold_affine
from facenb.assets.converters.onnx_file import Walk
from facenb.errors import AssetError

# SFace is a MobileNet: after the first convolution, thirteen pairs of a depthwise and a pointwise
# one. (channels, stride of the depthwise one).
_PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
          (1024, 1)]  # fmt: skip
_SIDE = 7  # of the last feature map, from 112 pixels
_HALVES = {"strides": [2, 2], "kernel_shape": [2, 2]}


def sface(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The file of OpenCV's zoo, block-quantised: "NAME.weight", ".bias" and ".slope" of each layer.

    The graph is {"layers": [[name, stride], …]}; last comes "fc", (128, 1024 · 7 · 7).
    """
    walk = Walk(paths[0])
    tensors: dict[str, Tensor] = {}
    value = _centred(walk, 127.5, 1 / 128)
    layers, inputs = [("conv_1", 1)], 32
    value = _rectified(walk, value, "conv_1", [32, 3, 3, 3], 1, tensors)
    for index, (channels, stride) in enumerate(_PAIRS, start=2):
        spread, mix = f"conv_{index}_dw", f"conv_{index}"
        value = _rectified(walk, value, spread, [inputs, 1, 3, 3], stride, tensors)
        value = _rectified(walk, value, mix, [channels, inputs, 1, 1], 1, tensors)
        layers += [(spread, stride), (mix, 1)]
        inputs = channels
    value, (before, offset) = walk.batch_norm(value, inputs)
    value = walk.take("Dropout", value)[0].output
    value = walk.take("Flatten", value)[0].output
    found, (weight, bias) = walk.take("Gemm", value, transB=1)
    check_shape(weight, [128, inputs * _SIDE**2], f"{walk.file}: {found.output}")
    value, after = walk.batch_norm(found.output, 128)
    walk.end(value)
    cells = weight.double().view(128, inputs, _SIDE**2)
    bias = bias.double() + torch.einsum("oip,i->o", cells, offset)
    weight = (cells * before.view(1, -1, 1)).flatten(1)
    tensors["fc.weight"], tensors["fc.bias"] = fold_affine(weight, bias, *after)
    return tensors, json.dumps({"layers": layers})


def _centred(walk: Walk, mean: float, factor: float) -> str:
    """The two operations that bring pixels in 0..255 to (x − mean) × factor."""
    found, (subtracted,) = walk.take("Sub", walk.graph.source)
    scaled, (multiplied,) = walk.take("Mul", found.output)
    if (subtracted.tolist(), multiplied.tolist()) != ([mean], [factor]):
        raise AssetError(
            f"{walk.file}: expected pixels less {mean}, times {factor}; found less "
            f"{subtracted.tolist()}, times {multiplied.tolist()}."
        )
    return scaled.output


def _rectified(
    walk: Walk, value: str, name: str, shape: list[int], stride: int, tensors: dict[str, Tensor]
) -> str:
    """A convolution, its batch normalisation and PReLU, into `tensors`; the output's name."""
    value, weight, bias = walk.convolution(value, shape, stride, padding=shape[-1] // 2)
    value, affine = walk.batch_norm(value, shape[0])
    found, (slope,) = walk.take("PRelu", value)
    check_shape(slope, [shape[0], 1, 1], f"{walk.file}: slope of {found.output}")
    tensors[f"{name}.weight"], tensors[f"{name}.bias"] = fold_affine(weight, bias, *affine)
    tensors[f"{name}.slope"] = slope.flatten()
    return found.output


def age_gender(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The two nets from dlib's collection: "age/NAME.weight" and so on, "gender/NAME.weight"."""
    age, gender = paths
    nets = {"age": _age(Walk(age)), "gender": _gender(Walk(gender))}
    return {f"{net}/{key}": v for net, tensors in nets.items() for key, v in tensors.items()}, ""


def _age(walk: Walk) -> dict[str, Tensor]:
    """A small residual net; blocks 1 and 3 halve the side, as `_halving` says."""
    tensors: dict[str, Tensor] = {}
    value = _affine(walk, walk.graph.source, "stem", [64, 3, 7, 7], 2, 0, tensors)
    value = walk.take("Relu", value)[0].output
    value = walk.take("MaxPool", value, strides=[2, 2], kernel_shape=[3, 3])[0].output
    value = _plain(walk, value, "block0", 64, tensors)
    value = _halving(walk, value, "block1", 64, True, tensors)
    value = _plain(walk, value, "block2", 128, tensors)
    value = _halving(walk, value, "block3", 128, False, tensors)
    value = _plain(walk, value, "block4", 256, tensors)
    value = walk.take("GlobalAveragePool", value)[0].output
    value = walk.take("Flatten", value)[0].output
    value = _dense(walk, value, "fc", 256, 81, tensors)
    walk.end(walk.take("Softmax", value)[0].output)
    return tensors


def _plain(walk: Walk, value: str, name: str, channels: int, tensors: dict[str, Tensor]) -> str:
    """Two 3 × 3 convolutions beside the identity."""
    shape = [channels, channels, 3, 3]
    inner = _affine(walk, value, f"{name}.conv1", shape, 1, 1, tensors)
    inner = walk.take("Relu", inner)[0].output
    inner = _affine(walk, inner, f"{name}.conv2", shape, 1, 1, tensors)
    return walk.take("Relu", walk.take("Add", inner, value)[0].output)[0].output


def _halving(
    walk: Walk, value: str, name: str, inputs: int, grown: bool, tensors: dict[str, Tensor]
) -> str:
    """The side halved and the channels doubled; the shortcut is averaged, zeros fill what lacks.

    `grown`: the convolutions' map is one smaller than the shortcut, and gets a last row and column.
    """
    outputs = 2 * inputs
    inner = _affine(walk, value, f"{name}.conv1", [outputs, inputs, 3, 3], 2, 0, tensors)
    inner = walk.take("Relu", inner)[0].output
    inner = _affine(walk, inner, f"{name}.conv2", [outputs, outputs, 3, 3], 1, 1, tensors)
    short = walk.take("AveragePool", value, **_HALVES)[0].output
    short = _padded(walk, short, [0, 0, 0, 0, 0, inputs, 0, 0])
    if grown:
        inner = _padded(walk, inner, [0, 0, 0, 0, 0, 0, 1, 1])
    return walk.take("Relu", walk.take("Add", short, inner)[0].output)[0].output


def _padded(walk: Walk, value: str, pads: list[int]) -> str:
    found, (given,) = walk.take("Pad", value)
    if given.tolist() != pads:
        raise AssetError(
            f"{walk.file}: {found.output}: expected pads {pads}, found {given.tolist()}."
        )
    return found.output


def _gender(walk: Walk) -> dict[str, Tensor]:
    """Four 3 × 3 convolutions with two halvings of the side, and two dense layers."""
    tensors: dict[str, Tensor] = {}
    value, inputs = walk.graph.source, 3
    for index, channels in enumerate((32, 32, 64, 64)):
        shape = [channels, inputs, 3, 3]
        value = _affine(walk, value, f"conv{index}", shape, 1, 1, tensors)
        value = walk.take("Relu", value)[0].output
        if index % 2:
            value = walk.take("AveragePool", value, **_HALVES)[0].output
        inputs = channels
    value = _dense(walk, value, "fc0", 64 * 8 * 8, 16, tensors, scaled=True)
    value = walk.take("Relu", value)[0].output
    value = _dense(walk, value, "fc1", 16, 2, tensors, scaled=True)
    walk.end(walk.take("Softmax", value)[0].output)
    return tensors


def _affine(
    walk: Walk, value: str, name: str, shape: list[int], stride: int, padding: int,
    tensors: dict[str, Tensor],
) -> str:  # fmt: skip
    """A convolution, then a factor and an offset per channel."""
    value, weight, bias = walk.convolution(value, shape, stride, padding)
    scaled, (factor,) = walk.take("Mul", value)
    found, (offset,) = walk.take("Add", scaled.output)
    for tensor in (factor, offset):
        check_shape(tensor, [1, shape[0], 1, 1], f"{walk.file}: {found.output}")
    tensors[f"{name}.weight"], tensors[f"{name}.bias"] = fold_affine(weight, bias, factor, offset)
    return found.output


def _dense(
    walk: Walk, value: str, name: str, inputs: int, outputs: int, tensors: dict[str, Tensor],
    scaled: bool = False,
) -> str:  # fmt: skip
    """A dense layer; `scaled`: of its input times a constant (what was a dropout in training)."""
    factor = torch.ones(1)
    if scaled:
        found, (factor,) = walk.take("Mul", value)
        check_shape(factor, [1], f"{walk.file}: {found.output}")
        value = walk.take("Flatten", found.output)[0].output
    found, (weight, bias) = walk.take("Gemm", value)
    check_shape(weight, [inputs, outputs], f"{walk.file}: weight of {found.output}")
    check_shape(bias, [outputs], f"{walk.file}: bias of {found.output}")
    tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (weight * factor).T.contiguous(), bias
    return found.output
