"""How far an image is from the one that is to be reconstructed: what inversion makes small.

Pixels (absolute at full size, squared at halves of it), VGG distance (HED), identity (SFace) and
the mesh's points. All four are differentiable, each has a weight, and a weight of 0 costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.scorers.alignment import MESH_POINTS, align_faces
from facenb.scorers.nets.mediapipe import FaceMesh478
from facenb.scorers.nets.sface import SFace
from facenb.scorers.nets.vgg import VGGDistance


@dataclass(frozen=True)
class Weights:
    """Of the parts of the loss.

    Args:
        pixels, vgg, identity, landmarks: of the four distances to the image.
        mean: of the squared Mahalanobis distance of the mean of the layers from the mean of W, per
            dimension: 1 for a usual face (the pull towards W, after Zhu et al., 2020).
        layers: of the variance of the layers around their mean, in variances of W.
    """

    pixels: float = 1.0
    vgg: float = 0.6
    identity: float = 0.5
    landmarks: float = 20.0
    mean: float = 0.02
    layers: float = 0.04


DEFAULT = Weights()
PLAIN = Weights(vgg=0, identity=0, landmarks=0)


class ImageLoss(nn.Module):
    """Images (N, 3, S, S) → loss (N,) against N fixed targets, and its parts by name.

    Args:
        targets: (N, 3, S, S) in [−1, 1], S a multiple of 64.
        weights: parts of weight 0 are not computed.
        vgg_size: side in pixels at which the VGG distance is taken: at half the side it costs a
            quarter.
    """

    def __init__(self, targets: Tensor, weights: Weights, vgg_size: int = 128) -> None:
        super().__init__()
        self.weights, self.vgg_size = weights, vgg_size
        self.targets = targets.float()
        with torch.no_grad():
            if weights.vgg:
                self.vgg = VGGDistance().bfloat16().requires_grad_(False)
                self.features = self.vgg.features(_averaged(self.targets, vgg_size))
            if weights.identity or weights.landmarks:
                self.mesh = FaceMesh478().requires_grad_(False)
                self.points = self.mesh(self.targets)[0]
            if weights.identity:
                self.sface = SFace().requires_grad_(False)
                self.person = self._identity(self.targets)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.weights
        parts = {"pixels": self._pixels(images)}
        if weights.vgg:
            found = self.vgg.features(_averaged(images, self.vgg_size))
            parts["vgg"] = self.vgg.distance(found, self.features)
        if weights.identity:
            parts["identity"] = 1 - (self._identity(images) * self.person).sum(1)
        if weights.landmarks:
            moved = self.mesh(images)[0][..., :2] - self.points[..., :2]
            parts["landmarks"] = moved.square().sum(2).mean(1).add(1e-8).sqrt()
        total = sum(getattr(weights, name) * part for name, part in parts.items())
        return total, {name: part.detach() for name, part in parts.items()}

    def _pixels(self, images: Tensor) -> Tensor:
        loss = (images - self.targets).abs().mean((1, 2, 3))
        for side in (images.shape[-1] // 4, images.shape[-1] // 8):
            difference = _averaged(images, side) - _averaged(self.targets, side)
            loss = loss + difference.square().mean((1, 2, 3))
        return loss

    def _identity(self, images: Tensor) -> Tensor:
        """Unit vectors (N, 128) of faces cut out where the targets have their five points."""
        faces = align_faces(images, self.points[:, MESH_POINTS, :2], self.sface.native)
        return F.normalize(self.sface((faces + 1) * 127.5), dim=1)


def _averaged(images: Tensor, side: int) -> Tensor:
    step = images.shape[-1] // side
    return F.avg_pool2d(images, step) if step > 1 else images
