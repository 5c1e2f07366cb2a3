"""Generators, scorers and editors of a few numbers, for tests of what is built around them."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from facenb.generators import Generator
from facenb.generators.stylegan2 import StyleGAN2
from facenb.generators.stylegan2_network import Layout, StyleGAN2Network
from facenb.latents import Latents
from facenb.scorers import Attribute

DIM = 6
LAYERS = 4
NAMES = ("smile", "age", "glasses")


class TinyGenerator(Generator):
    """A linear picture of the code; `gate` can keep it waiting, `drawn` counts its pictures."""

    name, resolution, latent_dim, spaces, fingerprint = "tiny", 8, DIM, ("z",), "f1"

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.basis = nn.Parameter(torch.randn(DIM, 3 * 8 * 8, generator=random), False)
        self.gate, self.drawn = threading.Event(), 0
        self.gate.set()

    def _synthesize(self, latents: Latents) -> Tensor:
        self.gate.wait()
        self.drawn += len(latents)
        return (latents.values @ self.basis / 4).tanh().view(-1, 3, 8, 8)


class StyledGenerator(Generator):
    """z → w = 2z → w+ of four layers, each of which paints two of eight rows; of several sizes.

    `drawn` has the size of every picture. A full one begins by setting `begun`, and then computes
    on and on until `gate` is set: what gives it up half-way need not wait for the gate. `overdue`
    tells that nothing did for a minute. Others begin by setting `preview_begun`, and wait.
    """

    name, resolution, latent_dim, fingerprint = "styled", 512, DIM, "f2"
    spaces, sizes, w_layers = ("z", "w", "w+"), (64, 256, 512), LAYERS

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.basis = nn.Parameter(torch.randn(LAYERS, DIM, 3 * 2 * 8, generator=random), False)
        self.drawn, self.overdue = [], False
        self.gate, self.begun = threading.Event(), threading.Event()
        self.preview_gate, self.preview_begun = threading.Event(), threading.Event()
        self.gate.set()
        self.preview_gate.set()

    def _map(self, latents: Latents, space: str) -> Latents:
        if latents.space == "z":
            return self.map(Latents(2 * latents.values, "w"), space)
        if (latents.space, space) == ("w", "w+"):
            return Latents(latents.values[:, None].repeat(1, LAYERS, 1), "w+")
        return super()._map(latents, space)

    def _synthesize(self, latents: Latents) -> Tensor:
        self.begun.set()
        end = time.monotonic() + 60
        while not (self.gate.is_set() or self.overdue):
            torch.zeros(1).add(1)
            self.overdue = time.monotonic() > end
        return self._paint(latents, self.resolution)

    def _synthesize_at(self, latents: Latents, size: int) -> Tensor:
        self.preview_begun.set()
        assert self.preview_gate.wait(60)
        return self._paint(latents, size)

    def _paint(self, latents: Latents, size: int) -> Tensor:
        self.drawn += [size] * len(latents)
        values = self.map(latents, "w+").values
        rows = torch.einsum("nld,ldp->nlp", values, self.basis).div(8).tanh()
        image = rows.view(-1, LAYERS, 3, 2, 8).transpose(1, 2).reshape(-1, 3, 8, 8)
        return F.interpolate(image, (size, size))


def small_stylegan2() -> StyleGAN2:
    """A StyleGAN2 of random weights: w of 16, seven layers of w+, 32 × 32 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = StyleGAN2Network(Layout((16, 16, 12, 8), z_dim=16, w_dim=16, mapping_layers=3))
    return StyleGAN2(network, "small-stylegan2", "0123456789abcdef")


class TinySuite(nn.Module):
    """Brightness and the red part of it."""

    fingerprint = "s1"
    names = ("brightness", "red")
    attributes = (
        Attribute("brightness", "grey", "dark", "bright", "nuisance", "pixels", ""),
        Attribute("red", "grey", "<cold>", "warm", "nuisance", "pixels", ""),
    )

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images.mean((1, 2, 3)), images[:, 0].mean((1, 2))], 1)


@dataclass(frozen=True)
class Bend:
    """A non-linear editor: it moves a code in a way that depends on the code."""

    name: str = "bend"
    space: str = "z"

    def edit(self, latents: Latents, strength: float | Tensor) -> Latents:
        strength = torch.as_tensor(strength).reshape(-1, 1)
        return latents + strength * latents.values.roll(1, -1).sin()


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def shown(widget) -> np.ndarray:
    """The pixels that an image widget shows."""
    return pixels(Image.open(io.BytesIO(widget.value)).convert("RGB"))


def drive(steps: Callable[[], None]) -> None:
    """Run `steps` on an event loop, as a kernel runs the events of widgets."""

    async def run() -> None:
        steps()

    asyncio.run(run())
