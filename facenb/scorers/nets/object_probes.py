"""Probes on the embedding of a net that was trained on objects, not on faces: hats and hair."""

from __future__ import annotations

from torch import Tensor, nn

from facenb.scorers.nets.efficientnet import EfficientNetLite0
from facenb.scorers.nets.human import Probes


class ObjectProbes(nn.Module):
    """Images (N, 3, S, S) in [−1, 1] → what our probes read from EfficientNet-Lite0's embedding."""

    native = EfficientNetLite0.native

    def __init__(self, probes: Probes) -> None:
        super().__init__()
        self.embed, self.probes = EfficientNetLite0(), probes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.probes(self.embed(images))
