"""StyleGAN2 in the layouts of rosinality's stylegan2-pytorch, of NVIDIA's, and of facenb.

All keep the same numbers in the same order, so that each tensor is only reshaped and renamed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facenb.generators.pretrained.layouts import LARGEST, Kind, Row, State, bounded, count, size
from facenb.generators.pretrained.unpickle import Record, WeightsError
from facenb.generators.stylegan2 import StyleGAN2
from facenb.generators.stylegan2_network import (
    MAPPING_RATE,
    Layout,
    StyleGAN2Network,
    blur_kernel,
)


def _blur(gain: float) -> Tensor:
    return blur_kernel(1, gain)[0, 0]


# --- rosinality/stylegan2-pytorch ----------------------------------------------------------------


def _rosinality_layout(state: State, _: Record | None) -> Layout:
    n = 1 + count(state, "to_rgbs.{}.bias")
    channels = [size(state, "input.input", 1)]
    channels += [size(state, f"convs.{2 * r}.conv.weight", 1) for r in range(n - 1)]
    return Layout(
        bounded(channels),
        z_dim=size(state, "style.1.weight", 1),
        w_dim=size(state, "style.1.weight", 0),
        mapping_layers=count(state, "style.{}.weight", start=1),
    )


def _rosinality_rows(layout: Layout, state: State, _: Record | None) -> list[Row]:
    w, widths, rows = layout.w_dim, layout.channels, []
    for i in range(layout.mapping_layers):
        n_in = w if i else layout.z_dim
        rows.append(Row(f"style.{i + 1}.weight", (w, n_in), f"mapping.{i}.weight"))
        rows.append(Row(f"style.{i + 1}.bias", (w,), f"mapping.{i}.bias"))
    rows.append(Row("input.input", (1, widths[0], 4, 4), "constant"))

    def conv(theirs: str, ours: str, n_in: int, n_out: int, up: bool) -> list[Row]:
        blur = [Row(f"{theirs}.conv.blur.kernel", (4, 4), equals=_blur(4.0))] if up else []
        return [
            Row(f"{theirs}.conv.weight", (1, n_out, n_in, 3, 3), f"{ours}.weight"),
            *blur,
            Row(f"{theirs}.conv.modulation.weight", (n_in, w), f"{ours}.style.weight"),
            Row(f"{theirs}.conv.modulation.bias", (n_in,), f"{ours}.style.bias"),
            Row(f"{theirs}.noise.weight", (1,), f"{ours}.noise_strength"),
            Row(f"{theirs}.activate.bias", (n_out,), f"{ours}.bias"),
        ]

    def rgb(theirs: str, ours: str, n_in: int, up: bool) -> list[Row]:
        blur = [Row(f"{theirs}.upsample.kernel", (4, 4), equals=_blur(4.0))] if up else []
        return [
            Row(f"{theirs}.bias", (1, 3, 1, 1), f"{ours}.bias"),
            *blur,
            Row(f"{theirs}.conv.weight", (1, 3, n_in, 1, 1), f"{ours}.weight"),
            Row(f"{theirs}.conv.modulation.weight", (n_in, w), f"{ours}.style.weight"),
            Row(f"{theirs}.conv.modulation.bias", (n_in,), f"{ours}.style.bias"),
        ]

    rows += conv("conv1", "convs.0", widths[0], widths[0], up=False)
    rows += rgb("to_rgb1", "rgbs.0", widths[0], up=False)
    for r in range(1, len(widths)):
        n_in, n_out, i = widths[r - 1], widths[r], 2 * r - 2
        rows += conv(f"convs.{i}", f"convs.{i + 1}", n_in, n_out, up=True)
        rows += conv(f"convs.{i + 1}", f"convs.{i + 2}", n_out, n_out, up=False)
        rows += rgb(f"to_rgbs.{r - 1}", f"rgbs.{r}", n_out, up=True)
    # the repository's first networks hold no noise, and what its training saves no mean of w
    bare = "noises.noise_0" not in state
    for i in range(2 * len(widths) - 1):
        side = 4 << ((i + 1) // 2)
        shape = (1, 1, side, side)
        rows.append(Row(f"noises.noise_{i}", shape, f"convs.{i}.noise", optional=bare))
    given = state["latent_avg"].stored.shape if "latent_avg" in state else (w,)
    rows.append(Row("latent_avg", (1, w) if len(given) == 2 else (w,), "w_avg", optional=True))
    return rows


# --- NVlabs/stylegan2-ada-pytorch and the StyleGAN2 networks of NVlabs/stylegan3 -----------------


def _nvidia_layout(state: State, record: Record | None) -> Layout:
    if "mapping.embed.weight" in state:
        raise WeightsError("it is a class-conditional network, expected an unconditional one")
    sides = []
    while f"synthesis.b{4 << len(sides)}.conv1.weight" in state and len(sides) <= LARGEST:
        sides.append(4 << len(sides))
    return Layout(
        bounded([size(state, f"synthesis.b{side}.conv1.weight", 0) for side in sides]),
        z_dim=size(state, "mapping.fc0.weight", 1),
        w_dim=size(state, "mapping.fc0.weight", 0),
        mapping_layers=count(state, "mapping.fc{}.weight"),
        clamp=_attribute(record, "conv_clamp", None, "synthesis", "b4", "conv1"),
    )


def _nvidia_rows(layout: Layout, state: State, record: Record | None) -> list[Row]:
    w, widths = layout.w_dim, layout.channels
    rows = [Row("synthesis.b4.const", (widths[0], 4, 4), "constant")]

    def layer(theirs: str, ours: str, n_in: int, n_out: int, side: int) -> list[Row]:
        quiet = f"{theirs}.noise_const" not in state and f"{theirs}.noise_strength" not in state
        return [
            Row(f"{theirs}.weight", (n_out, n_in, 3, 3), f"{ours}.weight"),
            Row(f"{theirs}.noise_strength", (), f"{ours}.noise_strength", optional=quiet),
            Row(f"{theirs}.bias", (n_out,), f"{ours}.bias"),
            Row(f"{theirs}.resample_filter", (4, 4), equals=_blur(1.0)),
            Row(f"{theirs}.noise_const", (side, side), f"{ours}.noise", optional=quiet),
            Row(f"{theirs}.affine.weight", (n_in, w), f"{ours}.style.weight"),
            Row(f"{theirs}.affine.bias", (n_in,), f"{ours}.style.bias"),
        ]

    for r, width in enumerate(widths):
        side = 4 << r
        block = f"synthesis.b{side}"
        rows.append(Row(f"{block}.resample_filter", (4, 4), equals=_blur(1.0)))
        if r:
            rows += layer(f"{block}.conv0", f"convs.{2 * r - 1}", widths[r - 1], width, side)
        rows += layer(f"{block}.conv1", f"convs.{2 * r}", width, width, side)
        rows.append(Row(f"{block}.torgb.weight", (3, width, 1, 1), f"rgbs.{r}.weight"))
        rows.append(Row(f"{block}.torgb.bias", (3,), f"rgbs.{r}.bias"))
        rows.append(Row(f"{block}.torgb.affine.weight", (width, w), f"rgbs.{r}.style.weight"))
        rows.append(Row(f"{block}.torgb.affine.bias", (width,), f"rgbs.{r}.style.bias"))
    rate = _attribute(record, "bias_gain", MAPPING_RATE, "mapping", "fc0") / MAPPING_RATE
    for i in range(layout.mapping_layers):
        n_in = w if i else layout.z_dim
        scaled = None if rate == 1 else lambda values: values * rate
        rows.append(Row(f"mapping.fc{i}.weight", (w, n_in), f"mapping.{i}.weight", scaled))
        rows.append(Row(f"mapping.fc{i}.bias", (w,), f"mapping.{i}.bias", scaled))
    rows.append(Row("mapping.w_avg", (w,), "w_avg", optional=True))
    return rows


def _attribute(record: Record | None, name: str, default: float | None, *path: str) -> float | None:
    """A number among the attributes of a module within the record; the default without one."""
    for part in path:
        modules = record.state.get("_modules") if record else None
        record = modules.get(part) if isinstance(modules, dict) else None
    value = record.state.get(name, default) if isinstance(record, Record) else default
    if value is not None and type(value) not in (int, float):
        raise WeightsError(f"its {'.'.join(path)}.{name} is {value!r}, expected a number")
    return value


# --- facenb --------------------------------------------------------------------------------------


def _facenb_layout(state: State, _: Record | None) -> Layout:
    n = count(state, "rgbs.{}.bias")
    return Layout(
        bounded([size(state, f"rgbs.{r}.style.bias", 0) for r in range(n)]),
        z_dim=size(state, "mapping.0.weight", 1),
        w_dim=size(state, "mapping.0.weight", 0),
        mapping_layers=count(state, "mapping.{}.bias"),
    )


def _facenb_rows(layout: Layout, state: State, _: Record | None) -> list[Row]:
    with torch.device("meta"):
        ours = StyleGAN2Network(layout).state_dict()
    return [Row(key, tuple(value.shape), key) for key, value in ours.items()]


ROSINALITY = Kind(
    "StyleGAN2 of rosinality/stylegan2-pytorch",
    lambda state: "input.input" in state and "conv1.conv.modulation.weight" in state,
    _rosinality_layout,
    _rosinality_rows,
    StyleGAN2Network,
    StyleGAN2,
)
NVIDIA = Kind(
    "StyleGAN2 of NVlabs/stylegan2-ada-pytorch or NVlabs/stylegan3",
    lambda state: "synthesis.b4.conv1.weight" in state,
    _nvidia_layout,
    _nvidia_rows,
    StyleGAN2Network,
    StyleGAN2,
)
FACENB = Kind(
    "StyleGAN2 of facenb",
    lambda state: "convs.0.style.weight" in state and "rgbs.0.style.weight" in state,
    _facenb_layout,
    _facenb_rows,
    StyleGAN2Network,
    StyleGAN2,
)
