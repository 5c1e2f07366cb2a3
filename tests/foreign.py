"""Weights of made-up generators in other people's layouts, the files they come in, and what the
published networks would show: plain formulas on the foreign keys, in float64, without our modules.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = dict[str, Tensor]
Z, W = 12, 10
WIDTHS = (9, 8, 6, 5)  # 4 to 32 pixels


class Draw:
    """Random tensors that are each of about the size that training leaves them at."""

    def __init__(self, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return mean + scale * torch.randn(shape, generator=self.random)


def blur(gain: float = 1.0) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return gain * torch.outer(taps, taps) / 64


# --- states --------------------------------------------------------------------------------------


def rosinality(
    widths: tuple[int, ...] = WIDTHS, z: int = W, w: int = W, depth: int = 3, noises: bool = True
) -> State:
    draw, state = Draw(1), {}
    for i in range(1, depth + 1):
        state[f"style.{i}.weight"] = draw(w, z if i == 1 else w, scale=100)
        state[f"style.{i}.bias"] = draw(w, scale=10)
    state["input.input"] = draw(1, widths[0], 4, 4)

    def modulated(name: str, n_in: int, n_out: int, side: int) -> None:
        state[f"{name}.conv.weight"] = draw(1, n_out, n_in, side, side)
        state[f"{name}.conv.modulation.weight"] = draw(n_in, w)
        state[f"{name}.conv.modulation.bias"] = draw(n_in, scale=0.2, mean=1)

    def conv(name: str, n_in: int, n_out: int, up: bool) -> None:
        modulated(name, n_in, n_out, 3)
        if up:
            state[f"{name}.conv.blur.kernel"] = blur(4)
        state[f"{name}.noise.weight"] = draw(1, scale=0.3)
        state[f"{name}.activate.bias"] = draw(n_out, scale=0.3)

    def rgb(name: str, n_in: int, up: bool) -> None:
        state[f"{name}.bias"] = draw(1, 3, 1, 1, scale=0.1)
        if up:
            state[f"{name}.upsample.kernel"] = blur(4)
        modulated(name, n_in, 3, 1)

    conv("conv1", widths[0], widths[0], False)
    rgb("to_rgb1", widths[0], False)
    for r in range(1, len(widths)):
        conv(f"convs.{2 * r - 2}", widths[r - 1], widths[r], True)
        conv(f"convs.{2 * r - 1}", widths[r], widths[r], False)
        rgb(f"to_rgbs.{r - 1}", widths[r], True)
    for i in range(2 * len(widths) - 1 if noises else 0):
        side = 4 << ((i + 1) // 2)
        state[f"noises.noise_{i}"] = draw(1, 1, side, side)
    return state


def nvidia(
    widths: tuple[int, ...] = WIDTHS, z: int = Z, w: int = W, depth: int = 2, rate: float = 0.01
) -> State:
    draw, state = Draw(2), {}

    def layer(name: str, n_in: int, n_out: int, side: int) -> None:
        state[f"{name}.weight"] = draw(n_out, n_in, 3, 3)
        state[f"{name}.noise_strength"] = draw(scale=0.3)
        state[f"{name}.bias"] = draw(n_out, scale=0.3)
        state[f"{name}.resample_filter"] = blur()
        state[f"{name}.noise_const"] = draw(side, side)
        state[f"{name}.affine.weight"] = draw(n_in, w)
        state[f"{name}.affine.bias"] = draw(n_in, scale=0.2, mean=1)

    state["synthesis.b4.const"] = draw(widths[0], 4, 4)
    for r, width in enumerate(widths):
        block = f"synthesis.b{4 << r}"
        state[f"{block}.resample_filter"] = blur()
        if r:
            layer(f"{block}.conv0", widths[r - 1], width, 4 << r)
        layer(f"{block}.conv1", width, width, 4 << r)
        state[f"{block}.torgb.weight"] = draw(3, width, 1, 1)
        state[f"{block}.torgb.bias"] = draw(3, scale=0.1)
        state[f"{block}.torgb.affine.weight"] = draw(width, w)
        state[f"{block}.torgb.affine.bias"] = draw(width, scale=0.2, mean=1)
    for i in range(depth):
        state[f"mapping.fc{i}.weight"] = draw(w, w if i else z, scale=1 / rate)
        state[f"mapping.fc{i}.bias"] = draw(w, scale=0.1 / rate)
    state["mapping.w_avg"] = draw(w, scale=0.3)
    return state


def stylegan(widths: tuple[int, ...] = (7, 6, 6, 5, 4, 4), z: int = Z, w: int = W) -> State:
    """Up to 128 pixels, where the layout changes to fused doubling."""
    draw, state = Draw(3), {}
    for i in range(3):
        state[f"mapping.dense{i}.linear.weight"] = draw(w, w if i else z, scale=100)
        state[f"mapping.dense{i}.wscale.bias"] = draw(w, scale=10)
    state["truncation.w_avg"] = draw(w, scale=0.3)
    state["synthesis.lod"] = torch.zeros(())
    for i in range(2 * len(widths)):
        name, side = f"synthesis.layer{i}", 4 << (i // 2)
        n_in, n_out = widths[max(i - 1, 0) // 2], widths[i // 2]
        if i == 0:
            state[f"{name}.first_layer"] = draw(1, n_out, 4, 4)
        elif i % 2 == 0 and side >= 128:
            state[f"{name}.weight"] = draw(3, 3, n_in, n_out)
        else:
            state[f"{name}.conv.weight"] = draw(n_out, n_in, 3, 3)
        if i and i % 2 == 0:
            taps = torch.tensor([1.0, 2.0, 1.0])
            state[f"{name}.blur.kernel"] = (torch.outer(taps, taps) / 16).repeat(n_out, 1, 1, 1)
        state[f"{name}.epilogue.apply_noise.noise"] = draw(1, 1, side, side)
        state[f"{name}.epilogue.apply_noise.weight"] = draw(n_out, scale=0.3)
        state[f"{name}.epilogue.bias"] = draw(n_out, scale=0.3)
        state[f"{name}.epilogue.style_mod.dense.linear.weight"] = draw(2 * n_out, w)
        state[f"{name}.epilogue.style_mod.dense.wscale.bias"] = draw(2 * n_out, scale=0.2)
    for r, width in enumerate(widths):
        state[f"synthesis.output{r}.conv.weight"] = draw(3, width, 1, 1)
        state[f"synthesis.output{r}.bias"] = draw(3, scale=0.1)
    return state


def pggan(widths: tuple[int, ...] = WIDTHS, z: int = Z, early: bool = False) -> State:
    """`early`: in the repository's first layout, with layers from 1 and one head."""
    draw, state, n_in = Draw(4), {}, z
    if not early:
        state["lod"] = torch.zeros(())
    for i in range(2 * len(widths)):
        name, side, n_out = f"layer{i + early}", (3 if i else 4), widths[i // 2]
        state[f"{name}.conv.weight"] = draw(n_out, n_in, side, side)
        state[f"{name}.wscale.bias"] = draw(n_out, scale=0.3)
        n_in = n_out
        if i % 2 and (not early or i == 2 * len(widths) - 1):
            head = f"output_{4 << i // 2}x{4 << i // 2}" if early else f"output{i // 2}"
            state[f"{head}.conv.weight"] = draw(3, n_in, 1, 1, scale=0.5)
            state[f"{head}.wscale.bias"] = draw(3, scale=0.1)
    return state


# --- what they show ------------------------------------------------------------------------------


def _unit(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()


def _lrelu(x: Tensor, gain: float = 1.0) -> Tensor:
    return gain * torch.where(x > 0, x, 0.2 * x)


def _fir_doubled(x: Tensor) -> Tensor:
    """Zeros between the pixels, then the 4-tap filter: upfirdn(up=2, pad=(2, 1)) of gain 4."""
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = x
    return _filtered(F.pad(spread, (2, 1, 2, 1)), blur(4))


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    n, c, h, w = x.shape
    flat = F.conv2d(x.reshape(n * c, 1, h, w), kernel.to(x)[None, None])
    return flat.view(n, c, *flat.shape[2:])


def _modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool) -> Tensor:
    """One sample after the other, each with weights of its own (StyleGAN2's equations 1 and 3)."""
    scaled, pictures = weight / math.sqrt(weight[0].numel()), []
    for one, s in zip(x, style, strict=True):
        own = scaled * s[None, :, None, None]
        if demodulate:
            own = own / (own.pow(2).sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:  # a transposed convolution, as a convolution of the spread input
            c, h, w = one.shape
            spread = one.new_zeros(c, 2 * h - 1, 2 * w - 1)
            spread[:, ::2, ::2] = one
            whole = F.conv2d(F.pad(spread, (2, 2, 2, 2))[None], own.flip(2, 3))
            pictures.append(_filtered(F.pad(whole, (1, 1, 1, 1)), blur(4))[0])
        else:
            pictures.append(F.conv2d(one[None], own, padding=weight.shape[-1] // 2)[0])
    return torch.stack(pictures)


def _mapped(z: Tensor, pairs: list[tuple[Tensor, Tensor]], rate: float = 0.01) -> Tensor:
    x = _unit(z)
    for weight, bias in pairs:
        x = _lrelu(x @ (weight * rate / math.sqrt(weight.shape[1])).T + bias * rate, math.sqrt(2))
    return x


def _affine(w: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return w @ (weight / math.sqrt(weight.shape[1])).T + bias


def rosinality_shows(state: State, z: Tensor | None = None, w: Tensor | None = None) -> Tensor:
    """g_ema([z], randomize_noise=False), or of w (N, L, w) with input_is_latent."""
    s = {key: value.double() for key, value in state.items()}
    depth = sum(key.startswith("style.") and key.endswith(".bias") for key in s)
    if w is None:
        pairs = [(s[f"style.{i}.weight"], s[f"style.{i}.bias"]) for i in range(1, depth + 1)]
        w = _mapped(z.double(), pairs)[:, None].repeat(1, 50, 1)
    w = w.double()

    def conv(name: str, x: Tensor, code: Tensor, noise: Tensor, up: bool) -> Tensor:
        style = _affine(
            code, s[f"{name}.conv.modulation.weight"], s[f"{name}.conv.modulation.bias"]
        )
        x = _modulated(x, s[f"{name}.conv.weight"][0], style, True, up)
        x = x + s[f"{name}.noise.weight"] * noise + s[f"{name}.activate.bias"][:, None, None]
        return _lrelu(x, math.sqrt(2))

    def rgb(name: str, x: Tensor, code: Tensor) -> Tensor:
        style = _affine(
            code, s[f"{name}.conv.modulation.weight"], s[f"{name}.conv.modulation.bias"]
        )
        return _modulated(x, s[f"{name}.conv.weight"][0], style, False, False) + s[f"{name}.bias"]

    x = s["input.input"].repeat(len(w), 1, 1, 1)
    x = conv("conv1", x, w[:, 0], s["noises.noise_0"], False)
    picture = rgb("to_rgb1", x, w[:, 1])
    for r in range(sum(key.startswith("to_rgbs.") and key.endswith("kernel") for key in s)):
        i = 2 * r + 1
        x = conv(f"convs.{2 * r}", x, w[:, i], s[f"noises.noise_{i}"], True)
        x = conv(f"convs.{2 * r + 1}", x, w[:, i + 1], s[f"noises.noise_{i + 1}"], False)
        picture = _fir_doubled(picture) + rgb(f"to_rgbs.{r}", x, w[:, i + 2])
    return picture


def nvidia_shows(
    state: State, z: Tensor, rate: float = 0.01, clamp: float = math.inf, psi: float = 1.0
) -> Tensor:
    """G_ema(z, None, truncation_psi=psi, noise_mode="const", force_fp32=True)."""
    s = {key: value.double() for key, value in state.items()}
    depth = sum(key.startswith("mapping.fc") and key.endswith("bias") for key in s)
    w = _mapped(
        z.double(),
        [(s[f"mapping.fc{i}.weight"], s[f"mapping.fc{i}.bias"]) for i in range(depth)],
        rate,
    )
    w = s["mapping.w_avg"] + psi * (w - s["mapping.w_avg"])

    def layer(name: str, x: Tensor, up: bool) -> Tensor:
        style = _affine(w, s[f"{name}.affine.weight"], s[f"{name}.affine.bias"])
        x = _modulated(x, s[f"{name}.weight"], style, True, up)
        if f"{name}.noise_const" in s:
            x = x + s[f"{name}.noise_const"] * s[f"{name}.noise_strength"]
        return _lrelu(x + s[f"{name}.bias"][:, None, None], math.sqrt(2)).clamp(-clamp, clamp)

    x, picture, side = s["synthesis.b4.const"].repeat(len(w), 1, 1, 1), None, 4
    while f"synthesis.b{side}.conv1.weight" in s:
        block = f"synthesis.b{side}"
        x = layer(f"{block}.conv0", x, True) if side > 4 else x
        x = layer(f"{block}.conv1", x, False)
        style = _affine(w, s[f"{block}.torgb.affine.weight"], s[f"{block}.torgb.affine.bias"])
        y = _modulated(x, s[f"{block}.torgb.weight"], style, False, False)
        y = (y + s[f"{block}.torgb.bias"][:, None, None]).clamp(-clamp, clamp)
        picture = y if picture is None else _fir_doubled(picture) + y
        side *= 2
    return picture


def stylegan_shows(
    state: State, z: Tensor, psi: float = 1.0, truncated: int = 0, noise: bool = True
) -> Tensor:
    """The generator of z with truncation psi in the first `truncated` layers."""
    s = {key: value.double() for key, value in state.items()}
    w, i = _unit(z.double()), 0
    while f"mapping.dense{i}.linear.weight" in s:
        weight, bias = s[f"mapping.dense{i}.linear.weight"], s[f"mapping.dense{i}.wscale.bias"]
        gain = math.sqrt(2 / weight.shape[1]) * 0.01
        w, i = _lrelu(gain * (w @ weight.T) + 0.01 * bias), i + 1
    mean, x = s["truncation.w_avg"], None
    for i in range(sum(key.endswith("epilogue.bias") for key in s)):
        name, epilogue = f"synthesis.layer{i}", f"synthesis.layer{i}.epilogue"
        if i == 0:
            x = s[f"{name}.first_layer"].repeat(len(z), 1, 1, 1)
        elif f"{name}.weight" in s:  # doubled and convolved in one, by taps summed in pairs
            kernel = s[f"{name}.weight"].permute(3, 2, 0, 1)
            kernel = kernel * math.sqrt(2 / kernel[0].numel())
            wide = sum(F.pad(kernel, (dx, 1 - dx, dy, 1 - dy)) for dx in (0, 1) for dy in (0, 1))
            n, c, h, _ = x.shape
            spread = x.new_zeros(n, c, 2 * h - 1, 2 * h - 1)
            spread[:, :, ::2, ::2] = x
            x = F.conv2d(F.pad(spread, (2, 2, 2, 2)), wide.flip(2, 3))
        else:
            weight = s[f"{name}.conv.weight"]
            if i % 2 == 0:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = F.conv2d(x, weight * math.sqrt(2 / weight[0].numel()), padding=1)
        if f"{name}.blur.kernel" in s:
            x = _filtered(F.pad(x, (1, 1, 1, 1)), s[f"{name}.blur.kernel"][0, 0])
        if noise:
            strength = s[f"{epilogue}.apply_noise.weight"][:, None, None]
            x = x + s[f"{epilogue}.apply_noise.noise"] * strength
        x = _lrelu(x + s[f"{epilogue}.bias"][:, None, None])
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.pow(2).mean((2, 3), keepdim=True) + 1e-8).sqrt()
        dense = f"{epilogue}.style_mod.dense"
        code = mean + (psi if i < truncated else 1.0) * (w - mean)
        style = _affine(code, s[f"{dense}.linear.weight"], s[f"{dense}.wscale.bias"])
        scale, shift = style.view(len(z), 2, -1, 1, 1).unbind(1)
        x = x * (scale + 1) + shift
    head = f"synthesis.output{sum('.output' in key for key in s) // 2 - 1}"
    weight = s[f"{head}.conv.weight"] / math.sqrt(x.shape[1])
    return F.conv2d(x, weight) + s[f"{head}.bias"][:, None, None]


def pggan_shows(state: State, z: Tensor) -> Tensor:
    s = {key: value.double() for key, value in state.items()}
    names = [key.removesuffix(".wscale.bias") for key in s if key.endswith("wscale.bias")]
    x = z.double()[:, :, None, None]
    for i, name in enumerate(name for name in names if name.startswith("layer")):
        weight, bias = s[f"{name}.conv.weight"], s[f"{name}.wscale.bias"]
        x = _unit(x)
        if i and i % 2 == 0:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = F.conv2d(x, weight, padding=1 if i else 3) * math.sqrt(2 / weight[0].numel())
        x = _lrelu(x + bias[:, None, None])
    head = names[-1]
    picture = F.conv2d(_unit(x), s[f"{head}.conv.weight"]) / math.sqrt(x.shape[1])
    return picture + s[f"{head}.wscale.bias"][:, None, None]


# --- NVIDIA's pickles ----------------------------------------------------------------------------

SOURCE = "raise SystemExit('the source code inside the file was run')"


class Persistent(nn.Module):
    """Pickles as a class of torch_utils.persistence does: its source code beside its state."""

    def __reduce__(self) -> tuple:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": self.class_name,
            "state": self.__dict__,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def module(state: Mapping[str, Tensor], class_name: str, **attributes: object) -> Persistent:
    """A tree of modules with these weights; buffers where NVIDIA has buffers."""
    root = Persistent()
    root.class_name = class_name
    children: dict[str, State] = {}
    for key, value in state.items():
        head, _, tail = key.partition(".")
        if tail:
            children.setdefault(head, {})[tail] = value
        elif head in ("resample_filter", "noise_const", "w_avg"):
            root.register_buffer(head, value)
        else:
            root.register_parameter(head, nn.Parameter(value, requires_grad=False))
    for name, inner in children.items():
        kind = {"mapping": "MappingNetwork", "synthesis": "SynthesisNetwork"}.get(name, "Layer")
        root.add_module(name, module(inner, kind, **attributes))
    for name, value in attributes.items():
        setattr(root, name, value)
    return root


@contextlib.contextmanager
def their_modules() -> Iterator[None]:
    """The modules that the files name, so that such files can be written; gone afterwards."""

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise SystemExit("reconstructed")

    class EasyDict(dict):
        pass

    members = {"torch_utils.persistence": _reconstruct_persistent_obj, "dnnlib.util": EasyDict}
    homes = {name: types.ModuleType(name) for name in (*members, "torch_utils", "dnnlib")}
    for name, member in members.items():
        member.__module__, member.__qualname__ = name, member.__name__
        setattr(homes[name], member.__name__, member)
    with mock.patch.dict(sys.modules, homes):
        yield


def save_nvidia(
    path: Path,
    state: State,
    rate: float = 0.01,
    clamp: float | None = None,
    snapshots: int = 0,
) -> Path:
    """A network-snapshot pickle: G, D, G_ema, augment_pipe, training_set_kwargs.

    `snapshots`: how many of G and D are as large as G_ema.
    """
    with their_modules():
        easy = sys.modules["dnnlib.util"].EasyDict
        attributes = {
            "conv_clamp": clamp,
            "bias_gain": rate,
            "weight_gain": np.float64(rate),
            "_init_kwargs": easy(z_dim=Z),
        }
        network = module(state, "Generator", **attributes)
        small = {"b4.fc.weight": torch.ones(3, 3)}
        others = [module(state if i < snapshots else small, "Other") for i in range(2)]
        with path.open("wb") as stream:
            pickle.dump(
                {
                    "G": others[0],
                    "D": others[1],
                    "G_ema": network,
                    "augment_pipe": None,
                    "training_set_kwargs": easy(class_name="Dataset", path="faces.zip"),
                },
                stream,
            )
    return path


def save_rosinality(path: Path, state: State, legacy: bool = False, **more: object) -> Path:
    torch.save(
        {"g_ema": OrderedDict(state), **more}, path, _use_new_zipfile_serialization=not legacy
    )
    return path
