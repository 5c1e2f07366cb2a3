"""MobileStyleGAN's constants, by the names of `facenb.generators.mobilestylegan.network`.

The file is OpenVINO's, and names only a part of its constants: modulations, depthwise kernels and
biases carry their torch names, while the other weights and the noise maps are told by their shape
and come in the order of the layers. The mapping network's constants have no names at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from facenb.assets.converters.openvino import read_constants
from facenb.errors import AssetError

_BLOCKS = 7
_MEAN_OF = 100_000  # draws of z behind the mean of w


def convert(paths: Sequence[Path]) -> tuple[dict[str, Tensor], str]:
    """The state dictionary, and no graph.

    Args:
        paths: MappingNetwork.xml, MappingNetwork.bin, SynthesisNetwork.xml, SynthesisNetwork.bin.

    Raises:
        AssetError: a file that cannot be read, or constants of another network.
    """
    contents = [Path(path).read_bytes() for path in paths]
    mapping = read_constants(contents[0], contents[1], Path(paths[0]).name)
    synthesis = read_constants(contents[2], contents[3], Path(paths[2]).name)
    state = _mapping(mapping) | _synthesis(synthesis)
    return {name: tensor.float().contiguous() for name, tensor in state.items()}, ""


def _mapping(constants: list[tuple[str, Tensor]]) -> dict[str, Tensor]:
    tensors = [
        tensor for _, tensor in constants if tensor.is_floating_point() and tensor.numel() > 1
    ]
    weights = [t for t in tensors if t.shape == (512, 512)]
    biases = [t.flatten() for t in tensors if t.numel() == 512]
    _expect("mapping network", "weights of 512 × 512 and biases of 512", 8, weights, biases)
    state = {}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        state |= {f"mapping.{i}.weight": weight, f"mapping.{i}.bias": bias}
    return state | {"w_avg": _mean_of_w(weights, biases)}


def _mean_of_w(weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The mean of w, (512,), which the file lacks."""
    random = torch.Generator().manual_seed(0)
    total = torch.zeros(512, dtype=torch.float64)
    for _ in range(0, _MEAN_OF, 1000):
        x = torch.randn(1000, 512, generator=random)
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
        for weight, bias in zip(weights, biases, strict=True):
            x = torch.nn.functional.leaky_relu(x @ weight.T + bias, 0.2) * 2**0.5
        total += x.double().sum(0)
    return (total / _MEAN_OF).float()


def _synthesis(constants: list[tuple[str, Tensor]]) -> dict[str, Tensor]:
    named = dict(constants)
    floats = [(name, t) for name, t in constants if t.is_floating_point()]
    weights = [t for name, t in floats if name.endswith("_copy")]
    noises = [t[0, 0] for _, t in floats if t.shape[:2] == (1, 1) and t.ndim == 4 and t.numel() > 1]
    _expect("synthesis network", "convolutions and noise maps", 2 * _BLOCKS + 1, weights, noises)

    def named_as(key: str) -> Tensor:
        if key not in named:
            raise AssetError(f"synthesis network: expected a constant {key!r}, there is none.")
        return named[key]

    def style(ours: str, theirs: str) -> dict[str, Tensor]:
        weight = named_as(f"m.{theirs}.modulation.weight")
        bias = named_as(f"m.{theirs}.modulation.bias").flatten()
        return {f"{ours}.style.weight": weight, f"{ours}.style.bias": bias}

    layers = [f"layers.{i}.{conv}" for i in range(_BLOCKS) for conv in ("conv1", "conv2")]
    state = {"constant": named_as("m.input.input")}
    for i, layer in enumerate(["conv1", *layers]):
        state |= style(f"convs.{i}", f"{layer}.conv")
        state[f"convs.{i}.weight"] = weights[i]
        state[f"convs.{i}.bias"] = named_as(f"m.{layer}.bias").flatten()
        state[f"convs.{i}.noise"] = noises[i]
        if i:
            state[f"convs.{i}.depthwise"] = named_as(f"m.{layer}.conv.weight_dw").flatten(1, 2)
    for i in range(_BLOCKS):
        state |= style(f"ups.{i}", f"layers.{i}.up")
    last = f"layers.{_BLOCKS - 1}.to_img"
    state |= style("rgb", f"{last}.conv")
    state["rgb.weight"] = named_as(f"m.{last}.conv.weight")
    return state | {"rgb.bias": named_as(f"m.{last}.bias").flatten()}


def _expect(where: str, what: str, count: int, *lists: list[Tensor]) -> None:
    given = [len(part) for part in lists]
    if given != [count] * len(lists):
        raise AssetError(
            f"{where}: expected {count} {what}, given {' and '.join(map(str, given))}."
        )
