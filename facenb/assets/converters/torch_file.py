"""Weights saved by torch, read without unpickling objects; the net is EfficientNet-Lite0.

Source: Tan and Le, EfficientNet (2019), table 1 and its first, "B0" network; the Lite variant drops
squeeze-and-excitation and has ReLU6 for Swish. The names are those of EfficientNet-PyTorch.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from facenb.assets.converters.folding import check_shape, fold_affine, fold_batch_norm
from facenb.errors import AssetError

# kernel, stride of the first block, expansion, output channels, blocks
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
           (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))  # fmt: skip
_EPSILON = 1e-3
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def read_torch(path: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a state dictionary, which has to hold exactly these, finite float32 numbers.

    Counters of training steps ("….num_batches_tracked") are passed over.

    Raises AssetError for a file that is cut short, that holds anything but tensors in a dictionary,
    and for a tensor that is missing, surplus, or of another shape or type.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or ["it ends too early"])[0]
        raise AssetError(f"{path.name} is not a whole file of torch weights: {first}") from error
    if not isinstance(found, dict):
        raise AssetError(f"{path.name}: expected a dictionary, found {type(found).__name__}.")
    found = {key: v for key, v in found.items() if not str(key).endswith(".num_batches_tracked")}
    if odd := set(found) ^ set(expected):
        raise AssetError(
            f"{path.name}: expected {len(expected)} tensors; missing or surplus: "
            f"{sorted(map(str, odd))[:8]}."
        )
    for name, shape in expected.items():
        tensor = found[name]
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise AssetError(f"{path.name}: {name}: expected float32 numbers, found {kind}.")
        check_shape(tensor, shape, f"{path.name}: {name}")
        if not torch.isfinite(tensor).all():
            raise AssetError(f"{path.name}: {name}: expected finite numbers.")
    return found


def efficientnet_lite0(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The convolutions with their batch normalisations folded in: "NAME.weight" and ".bias".

    Names: "stem", "N.expand" (not in block 0), "N.depthwise", "N.project" for N = 0 … 15, "head".
    The graph is {"strides": [one per block]}. The classifier is left out.
    """
    # name here → (convolution, batch normalisation) in the file, and the shape of its weight
    layers = {"stem": ("_conv_stem", "_bn0", (32, 3, 3, 3))}
    strides, inputs = [], 32
    for kernel, stride, expansion, outputs, count in _STAGES:
        for repeat in range(count):
            here, there = str(len(strides)), f"_blocks.{len(strides)}"
            wide = inputs * expansion
            if expansion != 1:
                layers[f"{here}.expand"] = _layer(there, "expand", 0, (wide, inputs, 1, 1))
            layers[f"{here}.depthwise"] = _layer(there, "depthwise", 1, (wide, 1, kernel, kernel))
            layers[f"{here}.project"] = _layer(there, "project", 2, (outputs, wide, 1, 1))
            strides.append(1 if repeat else stride)
            inputs = outputs
    layers["head"] = ("_conv_head", "_bn1", (1280, inputs, 1, 1))

    expected = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    for conv, norm, shape in layers.values():
        expected[f"{conv}.weight"] = shape
        expected |= {f"{norm}.{part}": shape[:1] for part in _STATISTICS}
    found = read_torch(paths[0], expected)
    tensors = {}
    for name, (conv, norm, shape) in layers.items():
        affine = fold_batch_norm(*(found[f"{norm}.{part}"] for part in _STATISTICS), _EPSILON)
        folded = fold_affine(found[f"{conv}.weight"], torch.zeros(shape[0]), *affine)
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = folded
    return tensors, json.dumps({"strides": strides})


def _layer(
    block: str, name: str, norm: int, shape: tuple[int, ...]
) -> tuple[str, str, tuple[int, ...]]:
    return f"{block}._{name}_conv", f"{block}._bn{norm}", shape
