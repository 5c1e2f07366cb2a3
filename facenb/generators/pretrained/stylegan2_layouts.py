"""StyleGAN2 in the layouts of rosinality's stylegan2-pytorch, of NVIDIA's, and of facenb.

All keep the same numbers in the same order, so that each tensor is only reshaped and renamed.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from facenb.generators.pretrained.convert import Facts, WeightsError
from facenb.generators.pretrained.layouts import (
    LARGEST,
    Kind,
    Row,
    State,
    attribute,
    bounded,
    check_images,
    count,
    size,
)
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


def _rosinality_layout(state: State, _: Facts) -> Layout:
    n = 1 + count(state, "to_rgbs.{}.bias")
    channels = [size(state, "input.input", 1)]
    channels += [size(state, f"convs.{2 * r}.conv.weight", 1) for r in range(n - 1)]
    side = (size(state, "input.input", axis) for axis in (2, 3))
    check_images(size(state, "to_rgb1.bias", 1), tuple(side))
    layout = Layout(
        tuple(channels),
        z_dim=size(state, "style.1.weight", 1),
        w_dim=size(state, "style.1.weight", 0),
        mapping_layers=count(state, "style.{}.weight", start=1),
    )
    if layout.z_dim != layout.w_dim:  # always the same there, but for what the mapping gets beside
        raise WeightsError(
            f"its mapping takes {layout.z_dim} numbers to {layout.w_dim}, as that of a "
            "class-conditional network does (z beside the class), expected an unconditional one"
        )
    return bounded(layout)


def _rosinality_rows(layout: Layout, state: State, _: Facts) -> list[Row]:
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
    # (w,), (1, w), or as e4e and pSp have it: a row for each layer, all the same
    given = tuple(state["latent_avg"].shape) if "latent_avg" in state else (w,)
    shape = (given[0], w) if len(given) == 2 and given[0] in (1, layout.w_layers) else (w,)
    rows.append(Row("latent_avg", shape, "w_avg", _same_rows, optional=True))
    return rows


def _same_rows(mean: Tensor) -> Tensor:
    rows = mean.reshape(-1, mean.shape[-1])
    if not torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-5):
        raise WeightsError("its latent_avg differs from layer to layer, expected one mean of w")
    return rows[0]


# --- NVlabs/stylegan2-ada-pytorch and the StyleGAN2 networks of NVlabs/stylegan3 -----------------


def _nvidia_layout(state: State, facts: Facts) -> Layout:
    if "mapping.embed.weight" in state:
        raise WeightsError("it is a class-conditional network, expected an unconditional one")
    sides = []
    while f"synthesis.b{4 << len(sides)}.conv1.weight" in state and len(sides) <= LARGEST:
        sides.append(4 << len(sides))
    _check_settings(state, facts, sides)
    # no constant at all: the rows name it
    side = state["synthesis.b4.const"].shape[1:] if "synthesis.b4.const" in state else (4, 4)
    check_images(size(state, f"synthesis.b{sides[-1]}.torgb.weight", 0), tuple(side))
    return bounded(
        Layout(
            tuple(size(state, f"synthesis.b{side}.conv1.weight", 0) for side in sides),
            z_dim=size(state, "mapping.fc0.weight", 1),
            w_dim=size(state, "mapping.fc0.weight", 0),
            mapping_layers=count(state, "mapping.fc{}.weight"),
            clamp=_clamp(facts),
        )
    )


def _check_settings(state: State, facts: Facts, sides: list[int]) -> None:
    """Raise for networks whose tensors look like ours and whose arithmetic is another."""
    for path, given in facts.attributes.items():
        expected = "linear" if path.endswith(".affine") else "lrelu"
        layer = re.fullmatch(r"mapping\.fc\d+|synthesis\.b\d+\.conv[01]|.*\.affine", path)
        if layer and given.get("activation", expected) != expected:
            raise WeightsError(
                f"its {path} has the activation {given['activation']!r}, expected {expected!r}: "
                "with ours its images would be others"
            )
    named = (given.get("architecture") for given in facts.attributes.values())
    architectures = {name for name in named if isinstance(name, str)}
    if any(".skip.weight" in key for key in state):
        architectures.add("resnet")
    elif any(f"synthesis.b{side}.torgb.weight" not in state for side in sides[:-1]):
        architectures.add("orig")
    if other := architectures - {"skip"}:
        raise WeightsError(f"its architecture is {min(other)!r}, expected 'skip'")


def _clamp(facts: Facts) -> float | None:
    """The bound on the outputs of all layers of the synthesis network, as its record says."""
    layers = {
        path: given["conv_clamp"]
        for path, given in facts.attributes.items()
        if re.fullmatch(r"synthesis\.b\d+\.conv[01]", path) and "conv_clamp" in given
    }
    if all(value is None for value in layers.values()):
        return None
    found = {attribute(facts, path, "conv_clamp", 0.0) for path in layers}
    if len(found) > 1 or min(found) <= 0:
        raise WeightsError(f"its conv_clamp is {sorted(found)}, expected one number above 0")
    return found.pop()


def _nvidia_rows(layout: Layout, state: State, facts: Facts) -> list[Row]:
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
    for i in range(layout.mapping_layers):
        n_in = w if i else layout.z_dim
        rate = attribute(facts, f"mapping.fc{i}", "bias_gain", MAPPING_RATE)
        if not 0 < rate <= 1:
            raise WeightsError(f"its mapping.fc{i}.bias_gain is {rate:g}, expected one up to 1")
        scaled = None if rate == MAPPING_RATE else partial(torch.mul, other=rate / MAPPING_RATE)
        rows.append(Row(f"mapping.fc{i}.weight", (w, n_in), f"mapping.{i}.weight", scaled))
        rows.append(Row(f"mapping.fc{i}.bias", (w,), f"mapping.{i}.bias", scaled))
    rows.append(Row("mapping.w_avg", (w,), "w_avg", optional=True))
    return rows


# --- facenb --------------------------------------------------------------------------------------


def _facenb_layout(state: State, _: Facts) -> Layout:
    n = count(state, "rgbs.{}.bias")
    side = (size(state, "constant", axis) for axis in (2, 3))
    check_images(size(state, "rgbs.0.bias", 0), tuple(side))
    return bounded(
        Layout(
            tuple(size(state, f"rgbs.{r}.style.bias", 0) for r in range(n)),
            z_dim=size(state, "mapping.0.weight", 1),
            w_dim=size(state, "mapping.0.weight", 0),
            mapping_layers=count(state, "mapping.{}.bias"),
        )
    )


def _facenb_rows(layout: Layout, state: State, _: Facts) -> list[Row]:
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
