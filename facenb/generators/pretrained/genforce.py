"""PGGAN and StyleGAN in the layouts of genforce/interfacegan's `.pth` files.

Theirs apply the equalised learning rate, gain/√fan-in, when they run; ours have it folded in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.generators.pggan import PGGAN, doubling_kernel
from facenb.generators.pretrained.convert import Facts
from facenb.generators.pretrained.layouts import (
    Kind,
    Row,
    State,
    bounded,
    check_images,
    count,
    size,
)
from facenb.generators.stylegan import StyleGAN, StyleGANNetwork
from facenb.generators.stylegan2_network import Layout


def _scaled(shape: tuple[int, ...], gain: float = math.sqrt(2)) -> Callable[[Tensor], Tensor]:
    """Multiply by gain/√fan-in, for a weight (out, in, …)."""
    scale = gain / math.sqrt(math.prod(shape[1:]))
    return lambda weight: weight * scale


# --- PGGAN ---------------------------------------------------------------------------------------


def _first(state: State) -> int:
    """Layers count from 0; in the repository's first weeks they counted from 1."""
    return 0 if "layer0.wscale.bias" in state else 1


def _pggan_layout(state: State, _: Facts) -> Layout:
    first = _first(state)
    n = count(state, "layer{}.wscale.bias", first) // 2
    channels = [size(state, f"layer{2 * r + first}.wscale.bias", 0) for r in range(n)]
    z_dim = size(state, f"layer{first}.conv.weight", 1)
    head = "output0.conv.weight" if first == 0 else f"output_{2 << n}x{2 << n}.conv.weight"
    side = (size(state, f"layer{first}.conv.weight", axis) for axis in (2, 3))
    check_images(size(state, head, 0), tuple(side))
    return bounded(Layout(tuple(channels), z_dim=z_dim, mapping_layers=0))


def _pggan_rows(layout: Layout, state: State, _: Facts) -> list[Row]:
    first, widths = _first(state), layout.channels
    # 0 once it has grown to its full resolution; unfinished networks show a smaller head
    rows = [Row("lod", (), equals=torch.tensor(0.0))] if first == 0 else []
    n_in = layout.z_dim
    for i in range(2 * len(widths)):
        theirs, n_out, side = f"layer{i + first}", widths[i // 2], 3 if i else 4
        if f"{theirs}.weight" in state:  # doubled and convolved in one
            shape = (3, 3, n_in, n_out)
            rows.append(Row(f"{theirs}.weight", shape, f"convs.{i}.weight", _fused))
        else:
            shape = (n_out, n_in, side, side)
            rows.append(Row(f"{theirs}.conv.weight", shape, f"convs.{i}.weight", _pggan(i, shape)))
        rows.append(Row(f"{theirs}.wscale.bias", (n_out,), f"convs.{i}.bias"))
        n_in = n_out
    heads = [f"output{r}" for r in range(len(widths))]
    if first == 1:
        heads = [*[None] * (len(widths) - 1), f"output_{layout.resolution}x{layout.resolution}"]
    for head, width in zip(heads, widths, strict=True):
        if head:
            rows += _head(f"{head}.conv.weight", f"{head}.wscale.bias", width, head == heads[-1])
    return rows


def _head(weight: str, bias: str, width: int, last: bool) -> list[Row]:
    """The way to colours; those of smaller resolutions serve training alone."""
    shape = (3, width, 1, 1)
    return [
        Row(weight, shape, "rgb.weight" if last else None, _scaled(shape, 1.0)),
        Row(bias, (3,), "rgb.bias" if last else None),
    ]


def _pggan(i: int, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    scaled = _scaled(shape)
    if i == 0:  # over one pixel padded by 3, a correlation lays its kernel down reversed
        return lambda weight: scaled(weight).flip(2, 3).transpose(0, 1)
    if i % 2 == 0:
        return lambda weight: doubling_kernel(scaled(weight))
    return scaled


def _empty_pggan(layout: Layout) -> PGGAN:
    return PGGAN(layout.channels, layout.z_dim, "PGGAN", "")


def _named_pggan(network: nn.Module, name: str, fingerprint: str) -> PGGAN:
    network.name, network.fingerprint = name, fingerprint
    return network


# --- StyleGAN ------------------------------------------------------------------------------------


def _stylegan_layout(state: State, _: Facts) -> Layout:
    n = count(state, "synthesis.output{}.bias")
    channels = [size(state, f"synthesis.layer{2 * r}.epilogue.bias", 0) for r in range(n)]
    last = count(state, "mapping.dense{}.linear.weight")
    side = (size(state, "synthesis.layer0.first_layer", axis) for axis in (2, 3))
    check_images(size(state, "synthesis.output0.conv.weight", 0), tuple(side))
    return bounded(
        Layout(
            tuple(channels),
            z_dim=size(state, "mapping.dense0.linear.weight", 1),
            w_dim=size(state, "mapping.dense0.linear.weight", 0),
            mapping_layers=last,
        )
    )


def _stylegan_rows(layout: Layout, state: State, _: Facts) -> list[Row]:
    w, widths, rows = layout.w_dim, layout.channels, []
    for i in range(layout.mapping_layers):
        theirs, ours, n_in = f"mapping.dense{i}", f"mapping.{i}", w if i else layout.z_dim
        rows.append(Row(f"{theirs}.linear.weight", (w, n_in), f"{ours}.weight"))
        # the gain √2 of the activation is in the weight's scale alone there, over both in ours
        rows.append(
            Row(f"{theirs}.wscale.bias", (w,), f"{ours}.bias", lambda bias: bias / math.sqrt(2))
        )
    rows.append(Row("truncation.w_avg", (w,), "w_avg"))
    # the strength of truncation, which their loader replaces by its own setting
    rows.append(Row("truncation.truncation", (1, layout.w_layers, 1), optional=True))
    # 0 once it has grown to its full resolution; unfinished networks show a smaller head
    rows.append(Row("synthesis.lod", (), equals=torch.tensor(0.0)))
    rows.append(Row("synthesis.layer0.first_layer", (1, widths[0], 4, 4), "constant"))
    for i in range(layout.w_layers):
        rows += _stylegan_layer(i, widths[max(i - 1, 0) // 2], widths[i // 2], w, state)
    for r, width in enumerate(widths):
        head, last = f"synthesis.output{r}", r == len(widths) - 1
        rows += _head(f"{head}.conv.weight", f"{head}.bias", width, last)
    return rows


def _stylegan_layer(i: int, n_in: int, n_out: int, w: int, state: State) -> list[Row]:
    theirs, ours, side = f"synthesis.layer{i}", f"convs.{i}", 4 << (i // 2)
    rows, shape = [], (n_out, n_in, 3, 3)
    if f"{theirs}.weight" in state:  # from 128 pixels on: doubled and convolved in one
        rows.append(Row(f"{theirs}.weight", (3, 3, n_in, n_out), f"{ours}.conv.weight", _fused))
    elif i:
        scaled = _scaled(shape)
        convert = scaled if i % 2 else lambda weight: doubling_kernel(scaled(weight))
        rows.append(Row(f"{theirs}.conv.weight", shape, f"{ours}.conv.weight", convert))
    if i and i % 2 == 0:
        taps = torch.tensor([0.25, 0.5, 0.25])
        blur = torch.outer(taps, taps).expand(n_out, 1, 3, 3)
        rows.append(Row(f"{theirs}.blur.kernel", (n_out, 1, 3, 3), equals=blur))
    style = f"{theirs}.epilogue.style_mod.dense"
    noise = f"{theirs}.epilogue.apply_noise"
    return [
        *rows,
        Row(f"{theirs}.epilogue.bias", (n_out,), f"{ours}.bias"),
        Row(f"{noise}.weight", (n_out,), f"{ours}.noise_strength"),
        Row(f"{noise}.noise", (1, 1, side, side), f"{ours}.noise"),
        Row(f"{style}.linear.weight", (2 * n_out, w), f"{ours}.style.weight"),
        Row(f"{style}.wscale.bias", (2 * n_out,), f"{ours}.style.bias"),
    ]


def _fused(weight: Tensor) -> Tensor:
    """(3, 3, in, out) → (in, out, 4, 4): each output gets the mean effect of a doubled pixel.

    Theirs is not reversed, unlike the kernel of a plain convolution over doubled pixels.
    """
    scaled = weight.permute(2, 3, 0, 1) * math.sqrt(2 / math.prod(weight.shape[:3]))
    padded = F.pad(scaled, (1, 1, 1, 1))
    summed = padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1]
    return summed + padded[..., :-1, :-1]


PGGAN_KIND = Kind(
    "PGGAN of genforce/interfacegan",
    lambda state: "layer1.conv.weight" in state and "layer1.wscale.bias" in state,  # both ways
    _pggan_layout,
    _pggan_rows,
    _empty_pggan,
    _named_pggan,
)
STYLEGAN_KIND = Kind(
    "StyleGAN of genforce/interfacegan",
    lambda state: "synthesis.layer0.first_layer" in state,
    _stylegan_layout,
    _stylegan_rows,
    StyleGANNetwork,
    StyleGAN,
)
