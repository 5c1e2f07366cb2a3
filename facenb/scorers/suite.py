"""Several scores of the same images at once: each net, crop and resize is computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from facenb.assets import asset_sha256
from facenb.assets.converted import converted_path
from facenb.errors import check_images
from facenb.scorers.attributes import Attribute
from facenb.scorers.framing import Crop, crops
from facenb.scorers.nets.human import check_square
from facenb.scorers.registry import NETS, Net
from facenb.storage.files import sha256_file

# Raise this whenever a change alters any score by more than rounding: caches are keyed by it.
SCORERS_VERSION = 2

# Images a pass: the largest net's feature maps stay in the CPU's cache, and memory bounded.
_CHUNK = 16


class ScorerSuite(nn.Module):
    """Scores of images: forward (N, 3, S, S) → (N, A).

    Args:
        attributes: what the columns are to be, in order.
        suite: the key of `facenb.scorers.registry.NETS` whose nets they are read from.
        framing: how the images are cut around the face, a key of `facenb.scorers.framing.CROPS`.

    Attributes:
        attributes: what the columns are, in order.
        names: their names.
        framing: as given.
        fingerprint: hash of the names, the weights and the code version, for cache keys.
    """

    def __init__(self, attributes: Sequence[Attribute], suite: str, framing: str) -> None:
        super().__init__()
        self.attributes, self.framing = tuple(attributes), framing
        self.names = tuple(attribute.name for attribute in attributes)
        nets = {a.net: NETS[suite][a.net] for a in attributes}
        self.nets = nn.ModuleDict({key: net.build() for key, net in nets.items()})
        self._crops = {key: crops(framing)[key] for key in nets}
        self.fingerprint = _fingerprint(self.names, nets, self._crops)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, A), float32, differentiable with respect to the images.

        Without gradients memory does not grow with N; with them the whole suite keeps some 130 MB
        an image until the backward pass.

        Args:
            images: (N, 3, S, S) in [−1, 1], S ≥ 32, framed as `framing` says.

        Raises:
            TypeError, ValueError: no such batch, NaN, or values out of range.
        """
        check_images(images)
        check_square(images)
        return torch.cat([self._score(part) for part in images.float().split(_CHUNK)])

    def _score(self, images: Tensor) -> Tensor:
        views: dict[object, Tensor] = {}
        scores: dict[str, dict[str, Tensor]] = {}
        for key, net in self.nets.items():
            view = self._crops[key], net.native
            if view not in views:
                views[view] = self._crops[key](images, net.native)
            scores[key] = net(views[view])
        return torch.stack([scores[a.net][a.name] for a in self.attributes], dim=1)


def _fingerprint(names: Sequence[str], nets: Mapping[str, Net], crops: Mapping[str, Crop]) -> str:
    parts = [str(SCORERS_VERSION), *names]
    for key, net in nets.items():
        parts += [key, str(crops[key]), *map(asset_sha256, net.assets)]
        parts += [converted_path(name).name for name in net.converted]
        parts += map(sha256_file, net.data)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
