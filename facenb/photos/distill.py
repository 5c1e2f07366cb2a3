"""An edit distilled into an image-to-image network, which needs no latent code.

InterFaceGAN's authors train such a network in two stages on pairs that the edit itself makes: first
the identity map, then the edit; its weights interpolated between the two give every strength in
between. Small here: 128 pixels, seconds to minutes on a CPU. What the network cannot do is shown by
an edit of pose: it has to paint what it has not seen, by convolutions that reach a few pixels.

    edits = distill(before, {"age": after}, steps=300)
    images = edits("age", photographs, 0.5)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.drawing import images_of
from facenb.editors import Editor
from facenb.errors import check_images, unknown
from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.photos.budget import learn
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor

SIDE, BATCH, RATE = 128, 6, 1.5e-3
_BLOCK = 4  # pixels of a side that become channels
_WIDTH, _BLOCKS = 64, 4  # channels, residual blocks
IDENTITY = "identity"
_VERSION = 1  # raise when a change here alters what is learned


class ImageToImage(nn.Module):
    """Images (N, 3, 128, 128) → images of the same size.

    Blocks of 4 × 4 pixels become channels, so that the convolutions work at 32 pixels. Nothing
    leads around the network: the identity map has to be learned as well.
    """

    def __init__(self) -> None:
        super().__init__()
        inside = 3 * _BLOCK**2
        self.read = nn.Conv2d(inside, _WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LeakyReLU(0.2),
                # holes in the kernels of the first half: they reach further across the face
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=2, dilation=2),
                nn.LeakyReLU(0.2),
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            )
            for _ in range(_BLOCKS)
        )
        self.write = nn.Conv2d(_WIDTH, inside, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.read(F.pixel_unshuffle(images, _BLOCK))
        for block in self.blocks:
            x = x + 0.5 * block(x)
        return F.pixel_shuffle(self.write(x), _BLOCK)


class Distilled:
    """Edits of images by a network whose weights lie between those of the identity and of an edit.

    Attributes:
        states: the weights, by "identity" and by the edits' names.
    """

    def __init__(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        self.states = {name: dict(state) for name, state in states.items()}
        self._network = ImageToImage().requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, name: str, images: Tensor, amount: float = 1.0) -> Tensor:
        """Images (N, 3, 128, 128) in [−1, 1], edited.

        Args:
            amount: 0 for the identity, 1 for the edit as it was learned; between and beyond the
                weights are interpolated and extrapolated.

        Raises:
            UnknownNameError: no edit of that name.
        """
        if name not in self.states:
            raise unknown("distilled edit", name, self.states)
        start, end = self.states[IDENTITY], self.states[name]
        self._network.load_state_dict({k: torch.lerp(start[k], end[k], amount) for k in start})
        return self._network(_checked(images)).clamp(-1, 1)


def distill(
    before: Tensor,
    after: Mapping[str, Tensor],
    steps: int = 300,
    seed: int = 0,
    quiet: bool = False,
) -> Distilled:
    """Learn the identity map on images `before`, and from there each edit of `after`.

    Args:
        before: (N, 3, 128, 128) in [−1, 1].
        after: the same faces edited, by the edit's name.
        steps: of the identity map, and of each edit.
    """
    before = _checked(before)
    states = {IDENTITY: _identity(before, steps, seed, quiet)}
    for name, images in after.items():
        states[name] = _edit(states[IDENTITY], before, images, name, steps, seed, quiet)
    return Distilled(states)


def distill_from(
    generator: Generator,
    edits: Mapping[str, tuple[Editor, float]],
    latents: Latents,
    steps: int = 300,
    seed: int = 0,
) -> Distilled:
    """`distill` of pairs that a generator makes; each stage is kept in the cache.

    Args:
        edits: an editor and its strength, by the name that the distilled edit gets.
        latents: of the faces, of the editors' space.
    """
    inputs = {"version": _VERSION, "generator": generator.fingerprint, "steps": steps, "seed": seed}
    inputs |= {"before": sha256_tensor(latents.values)}

    def images(codes: Latents) -> Tensor:
        return images_of(generator, codes, SIDE)

    start = cached("distilled", inputs, lambda: _identity(images(latents), steps, seed))
    states = {IDENTITY: start}
    for name, (editor, strength) in edits.items():
        after = editor.edit(latents, strength)
        states[name] = cached(
            "distilled",
            inputs | {"name": name, "after": sha256_tensor(after.values)},
            lambda n=name, a=after: _edit(start, images(latents), images(a), n, steps, seed),
        )
    return Distilled(states)


def _identity(before: Tensor, steps: int, seed: int, quiet: bool = False) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ImageToImage()
    _learn(network, before, before, IDENTITY, steps, seed, quiet)
    return _weights(network)


def _edit(
    start: Mapping[str, Tensor],
    before: Tensor,
    after: Tensor,
    name: str,
    steps: int,
    seed: int,
    quiet: bool = False,
) -> dict[str, Tensor]:
    network = ImageToImage()
    network.load_state_dict(start)
    _learn(network, before, _checked(after), name, steps, seed, quiet)
    return _weights(network)


def _learn(
    network: ImageToImage, before: Tensor, after: Tensor, what: str, steps: int, seed: int, quiet
) -> None:
    """The absolute error of pixels and of the differences of neighbours."""

    def loss(random: torch.Generator) -> Tensor:
        rows = torch.randint(len(before), (BATCH,), generator=random)
        error = network(before[rows]) - after[rows]
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        return error.abs().mean() + edges

    learn(f"distilling: {what}", network.parameters(), loss, steps, RATE, seed, quiet)


def _weights(network: ImageToImage) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _checked(images: Tensor) -> Tensor:
    check_images(images)
    if images.shape[2:] != (SIDE, SIDE):
        raise ValueError(f"expected images (N, 3, {SIDE}, {SIDE}), given {tuple(images.shape)}.")
    return images.float()
