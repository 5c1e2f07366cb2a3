"""Other people's generators, read without running anything of their files.

    generator = load("network.pkl")     # also .pt, .pth, .safetensors: told apart by content
    print(describe("network.pkl"))

`convert` has each file turned into safetensors by a process with limits (`child`), once; `layouts`
compares keys and shapes, and each known layout has its table in `stylegan2_layouts` or `genforce`.
`others` has the names of those that are known and not taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from facenb.generators.base import Generator
from facenb.generators.pretrained.convert import Facts, WeightsError, converted
from facenb.generators.pretrained.genforce import PGGAN_KIND, STYLEGAN_KIND
from facenb.generators.pretrained.layouts import Kind, Row, State, compare, take
from facenb.generators.pretrained.others import title_of
from facenb.generators.pretrained.stylegan2_layouts import FACENB, NVIDIA, ROSINALITY
from facenb.generators.stylegan2_network import Layout
from facenb.storage.files import sha256_file

__all__ = ["WeightsError", "describe", "load"]

_KINDS = (ROSINALITY, NVIDIA, STYLEGAN_KIND, PGGAN_KIND, FACENB)
_MEAN_OF = 4096  # latents, where a file does not carry the mean of w


@dataclass(frozen=True)
class _Recognised:
    state: State
    facts: Facts
    kind: Kind
    layout: Layout
    rows: list[Row]


def load(path: str | os.PathLike[str], name: str | None = None) -> Generator:
    """The generator in a file of weights, on the CPU; `name` is the file's own by default.

    Known are StyleGAN2 of rosinality (`.pt`), of NVIDIA's PyTorch repositories (`.pkl`) and of
    facenb, PGGAN and StyleGAN of genforce's InterFaceGAN (`.pth`), and the decoder in a whole
    checkpoint of e4e or pSp. The exponential moving average is taken where a file has it. Where it
    lacks the mean of w, the mean of 4096 latents stands in; where it lacks the stored noise, seed 0
    draws it.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is truncated, asks for code to run, is another network (the first
            key that differs is named with what was expected and given), or holds NaN.
    """
    path = Path(path)
    found = _recognise(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = found.kind.build(found.layout)
    try:
        filled = take(found.state, found.rows, network)
    except WeightsError as error:
        raise WeightsError(f"{path} is refused as {found.kind.title}: {error}.") from error
    if hasattr(network, "w_avg") and "w_avg" not in filled:
        network.w_avg.copy_(_mean(network, found.layout.z_dim))
    return found.kind.wrap(network, name or path.stem, sha256_file(path))


def describe(path: str | os.PathLike[str]) -> str:
    """What a file of weights holds, in lines of text. Raises as `load`."""
    return "\n".join(_lines(Path(path), _recognise(Path(path))))


def _recognise(path: Path) -> _Recognised:
    state, facts = converted(path, "generator")
    kind = next((kind for kind in _KINDS if kind.matches(state)), None)
    if kind is None:
        other = title_of(state)
        given = f"{other}" if other else f"{len(state)} tensors that begin with {list(state)[:3]}"
        raise WeightsError(
            f"{path} holds no generator that can be used: given {given}, expected "
            f"{'; '.join(kind.title for kind in _KINDS)}."
        )
    try:
        layout = kind.layout(state, facts)
        rows = list(compare(kind.rows(layout, state, facts), state))
    except WeightsError as error:
        raise WeightsError(f"{path} is refused as {kind.title}: {error}.") from error
    return _Recognised(state, facts, kind, layout, rows)


def _mean(network: nn.Module, z_dim: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return network.map(torch.randn(_MEAN_OF, z_dim, generator=random)).mean(dim=0)


def _lines(path: Path, found: _Recognised) -> Iterator[str]:
    layout = found.layout
    with torch.device("meta"):  # shapes alone
        generator = found.kind.wrap(found.kind.build(layout), path.stem, "")
    sizes = {"z": layout.z_dim, "w": layout.w_dim, "w+": (layout.w_layers, layout.w_dim)}
    yield f"{path}"
    yield f"  {found.kind.title}, in a file of kind {found.facts.container}"
    yield f"  resolution  {layout.resolution}"
    yield f"  widths      {', '.join(f'{4 << r}: {n}' for r, n in enumerate(layout.channels))}"
    yield f"  spaces      {', '.join(f'{space} {sizes[space]}' for space in generator.spaces)}"
    if layout.clamp is not None:
        yield f"  clamp       ±{layout.clamp:g} on every layer's output"
    yield f"  parameters  {sum(p.numel() for p in generator.parameters()):,}"
    yield "  layers"
    for name, layer in generator.layers().items():
        shapes = (f"{key} {tuple(p.shape)}" for key, p in layer.named_parameters())
        yield f"    {name:9} {', '.join(shapes)}"
