"""Comparing a file with the network that it claims to be, key by key, and taking its weights.

Each known layout is a list of `Row`s in the order of its network: what its file must hold, and
which of our weights that becomes. The first row that a file does not keep is what its error names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facenb.generators.base import Generator
from facenb.generators.pretrained.convert import Facts, WeightsError
from facenb.generators.stylegan2_network import Layout

State = Mapping[str, Tensor]
LARGEST = 10  # resolutions: 4 to 2048 pixels
_WIDEST = 8192  # of z, w and feature maps; 512 in the published networks
_DEEPEST = 64  # layers of a mapping network


@dataclass(frozen=True)
class Row:
    """One tensor of a layout.

    Attributes:
        theirs, shape: its key and shape in the file.
        ours: the key in our network; None for what we do not keep.
        convert: from their values to ours; by default they are only reshaped.
        equals: the values that a constant must have, since our network has them built in.
        optional: files without it are in order.
    """

    theirs: str
    shape: tuple[int, ...]
    ours: str | None = None
    convert: Callable[[Tensor], Tensor] | None = None
    equals: Tensor | None = None
    optional: bool = False


@dataclass(frozen=True)
class Kind:
    """A layout that is known.

    Attributes:
        title: whose it is.
        matches: whether a state has this layout, as far as a few keys tell.
        layout: the network's shape, from the state and what the file says beside it.
        rows: what the file must hold.
        build: the module that `ours` of the rows refers to, without its weights.
        wrap: (that module, name, fingerprint) → the generator.
    """

    title: str
    matches: Callable[[State], bool]
    layout: Callable[[State, Facts], Layout]
    rows: Callable[[Layout, State, Facts], list[Row]]
    build: Callable[[Layout], nn.Module]
    wrap: Callable[[nn.Module, str, str], Generator]


def compare(rows: Sequence[Row], state: State) -> Iterator[Row]:
    """The rows that the state holds; WeightsError at the first key that differs."""
    known = {row.theirs: row for row in rows}
    for row in rows:
        found = state.get(row.theirs)
        if found is None and not row.optional:
            raise WeightsError(_difference(row.theirs, row.shape, "nothing"))
        if found is not None and tuple(found.shape) != row.shape:
            raise WeightsError(_difference(row.theirs, row.shape, tuple(found.shape)))
        if found is not None and not found.is_floating_point():
            raise WeightsError(f"its {row.theirs} holds {found.dtype}, expected floating numbers")
    for key, found in state.items():
        if key not in known:
            raise WeightsError(_difference(key, "nothing", tuple(found.shape)))
    return (row for row in rows if row.theirs in state)


def take(state: State, rows: Sequence[Row], network: nn.Module) -> set[str]:
    """Fill the network's weights from the file; the keys of ours that were filled.

    Raises WeightsError for a constant with another value, and for NaN or infinity.
    """
    needed = [row for row in rows if row.ours or row.equals is not None]
    ours = dict(network.state_dict())
    with torch.no_grad():
        for row in needed:
            values = state[row.theirs].float()
            if not torch.isfinite(values).all():
                raise WeightsError(f"its {row.theirs} holds NaN or infinity")
            if row.equals is not None and not torch.allclose(values, row.equals, atol=1e-5):
                raise WeightsError(
                    f"its {row.theirs} is {values.flatten()[:4].tolist()}…, expected "
                    f"{row.equals.flatten()[:4].tolist()}…: another network"
                )
            if row.ours:
                values = values if row.convert is None else row.convert(values)
                ours[row.ours].copy_(values.reshape(ours[row.ours].shape))
    return {row.ours for row in needed if row.ours}


def attribute(facts: Facts, path: str, name: str, default: float) -> float:
    """A number among the attributes of a module; the default where there is none."""
    value = facts.attributes.get(path, {}).get(name, default)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise WeightsError(f"its {path}.{name} is {value!r}, expected a number")
    return float(value)


def size(state: State, key: str, axis: int) -> int:
    """One dimension of a tensor that a layout is read from."""
    found = state.get(key)
    if found is None:
        raise WeightsError(_difference(key, "a tensor", "nothing"))
    if axis >= found.ndim:
        raise WeightsError(_difference(key, f"at least {axis + 1} dimensions", tuple(found.shape)))
    return found.shape[axis]


def count(state: State, pattern: str, start: int = 0) -> int:
    """How many of pattern.format(start), pattern.format(start + 1), … there are in a row."""
    n = 0
    while pattern.format(start + n) in state:
        n += 1
    return n


def bounded(layout: Layout) -> Layout:
    """The layout, when a network of it can be made: no size of 0, none beyond all that exist."""
    if not 1 <= len(layout.channels) <= LARGEST:
        raise WeightsError(f"it has {len(layout.channels)} resolutions, expected 1 to {LARGEST}")
    sizes = {"z": layout.z_dim, "w": layout.w_dim}
    sizes |= {f"{4 << r} × {4 << r} pixels": n for r, n in enumerate(layout.channels)}
    for what, n in sizes.items():
        if not 1 <= n <= _WIDEST:
            raise WeightsError(f"its width at {what} is {n:,}, expected 1 to {_WIDEST:,}")
    if layout.mapping_layers > _DEEPEST:
        raise WeightsError(f"it has {layout.mapping_layers} mapping layers: {_DEEPEST} at most")
    return layout


def check_images(channels: int, side: tuple[int, ...]) -> None:
    """Raise unless the network's images have three channels and its first map is 4 × 4."""
    if channels != 3:
        kind = {1: " (grey)", 4: " (RGBA)"}.get(channels, "")
        raise WeightsError(f"its images have {channels} channel(s){kind}, expected 3 (RGB)")
    if tuple(side) != (4, 4):
        shape = " × ".join(map(str, side))
        raise WeightsError(f"it begins at {shape} pixels, expected 4 × 4: square images")


def _difference(key: str, expected: object, given: object) -> str:
    return f"the first key that differs is {key}: expected {expected}, given {given}"
