"""Scores of face images: `load_scorers(names)(images)` → one column per attribute.

    suite = load_scorers(["yaw", "smile"])
    scores = suite(images)            # images (N, 3, S, S) in [−1, 1] → (N, 2)

The nets are packaged face networks run as torch modules (docs/model_cards.md says whose, and how
far each score can be trusted). `load_identity()` gives the vectors that tell persons apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from facenb.assets import asset_sha256
from facenb.errors import check_images, unknown
from facenb.files import sha256_file
from facenb.scorers.attributes import ATTRIBUTES, BY_NAME, QUALITY_GATE, Attribute
from facenb.scorers.identity import IdentityScorer, load_identity
from facenb.scorers.nets import NETS, PROBES_PATH, check_square

__all__ = ["ATTRIBUTES", "QUALITY_GATE", "Attribute", "IdentityScorer", "ScorerSuite",
           "load_identity", "load_scorers"]  # fmt: skip

# Raise this whenever a change alters any score by more than rounding: caches are keyed by it.
SCORERS_VERSION = 1

# Images a pass: the largest net's feature maps stay in the CPU's cache, and memory bounded.
_CHUNK = 16


class ScorerSuite(nn.Module):
    """Several scores at once, each net run once for all the scores that it yields.

    Attributes:
        attributes: what the columns are, in order.
        names: their names.
        fingerprint: hash of the names, the weights and the code version, for cache keys.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        for name in names:
            if name not in BY_NAME:
                raise unknown("attribute", name, BY_NAME)
        if not names or len(set(names)) != len(names):
            raise ValueError(f"names: expected distinct attributes, at least one, given {names}.")
        self.attributes = tuple(BY_NAME[name] for name in names)
        self.names = tuple(names)
        keys = dict.fromkeys(attribute.net for attribute in self.attributes)
        self.nets = nn.ModuleDict({key: NETS[key][0]() for key in keys})
        self.fingerprint = _fingerprint(self.names)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, len(names)), float32, differentiable with respect to the images.

        Without gradients memory does not grow with N; with them all thirteen keep about 60 MB a
        picture until the backward pass.

        Args:
            images: (N, 3, S, S) in [−1, 1], S ≥ 32, framed like the generator's: the face fills
                the picture.

        Raises:
            TypeError, ValueError: no such batch, NaN, or values out of range.
        """
        check_images(images)
        check_square(images)
        return torch.cat([self._score(part) for part in images.float().split(_CHUNK)])

    def _score(self, images: Tensor) -> Tensor:
        scores = {name: s for net in self.nets.values() for name, s in net(images).items()}
        return torch.stack([scores[name] for name in self.names], dim=1)


def load_scorers(
    names: Sequence[str] | None = None, device: str | torch.device = "cpu"
) -> ScorerSuite:
    """The scorers of these attributes, or of all thirteen, in the order given.

    Raises:
        UnknownNameError: no such attribute; the message lists the known ones.
        AssetError: a net's weights are not cached and cannot be fetched.
    """
    return ScorerSuite(list(BY_NAME) if names is None else list(names)).to(device)


def _fingerprint(names: tuple[str, ...]) -> str:
    parts = [str(SCORERS_VERSION), *names, sha256_file(PROBES_PATH)]
    parts += [asset_sha256(asset) for _, assets in NETS.values() for asset in assets]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
