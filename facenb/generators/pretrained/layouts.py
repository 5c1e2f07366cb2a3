"""Comparing a file with the network that it claims to be, key by key, and taking its weights.

Each known layout is a list of `Row`s in the order of its network: what its file must hold, and
which of our weights that becomes. The first row that a file does not keep is what its error names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facenb.generators.base import Generator
from facenb.generators.pretrained.containers import Contents
from facenb.generators.pretrained.states import Found, read
from facenb.generators.pretrained.unpickle import Record, WeightsError
from facenb.generators.stylegan2_network import Layout

State = Mapping[str, Found]
LARGEST = 12  # resolutions: 4 to 8192 pixels


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
        layout: the network's shape, from the state and, where there is one, the module's record.
        rows: what the file must hold.
        build: the module that `ours` of the rows refers to, without its weights.
        wrap: (that module, name, fingerprint) → the generator.
    """

    title: str
    matches: Callable[[State], bool]
    layout: Callable[[State, Record | None], Layout]
    rows: Callable[[Layout, State, Record | None], list[Row]]
    build: Callable[[Layout], nn.Module]
    wrap: Callable[[nn.Module, str, str], Generator]


def compare(rows: Sequence[Row], state: State) -> Iterator[Row]:
    """The rows that the state holds; WeightsError at the first key that differs."""
    known = {row.theirs: row for row in rows}
    for row in rows:
        found = state.get(row.theirs)
        if found is None and not row.optional:
            raise WeightsError(_difference(row.theirs, row.shape, "nothing"))
        if found is not None and found.stored.shape != row.shape:
            raise WeightsError(_difference(row.theirs, row.shape, found.stored.shape))
    for key, found in state.items():
        if key not in known:
            raise WeightsError(_difference(key, "nothing", found.stored.shape))
    return (row for row in rows if row.theirs in state)


def take(contents: Contents, state: State, rows: Sequence[Row], network: nn.Module) -> set[str]:
    """Fill the network's weights from the file; the keys of ours that were filled.

    Raises WeightsError for a constant with another value, and for NaN or infinity.
    """
    needed = [row for row in rows if row.ours or row.equals is not None]
    tensors = read(contents, {row.theirs: state[row.theirs] for row in needed})
    ours = dict(network.state_dict())
    with torch.no_grad():
        for row in needed:
            values = tensors.pop(row.theirs).float()  # popped, so that one is held at a time
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


def size(state: State, key: str, axis: int) -> int:
    """One dimension of a tensor that a layout is read from."""
    found = state.get(key)
    if found is None:
        raise WeightsError(_difference(key, "a tensor", "nothing"))
    shape = found.stored.shape
    if axis >= len(shape):
        raise WeightsError(_difference(key, f"at least {axis + 1} dimensions", shape))
    return shape[axis]


def count(state: State, pattern: str, start: int = 0) -> int:
    """How many of pattern.format(start), pattern.format(start + 1), … there are in a row."""
    n = 0
    while pattern.format(start + n) in state:
        n += 1
    return n


def bounded(channels: Sequence[int]) -> tuple[int, ...]:
    """The widths by resolution, when there are 1 to `LARGEST` of them."""
    if not 1 <= len(channels) <= LARGEST:
        raise WeightsError(f"it has {len(channels)} resolutions, expected 1 to {LARGEST}")
    return tuple(channels)


def _difference(key: str, expected: object, given: object) -> str:
    return f"the first key that differs is {key}: expected {expected}, given {given}"
