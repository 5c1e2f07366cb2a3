"""Pose, expression and action units from the mesh of 478 points, made for photographs.

The mesh and its blendshapes are MediaPipe's (mediapipe.py, blendshapes.py). Points lie in fractions
of the crop: x to the viewer's right, y down, z away from the camera.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facenb.scorers.nets.blendshapes import NAMES, Blendshapes, action_units
from facenb.scorers.nets.mediapipe import FaceMesh478

# Pairs of points at the viewer's left and right: outer and inner corners of the eyes, corners of
# the mouth. Of several choices the one whose roll a mirror reverses best (r -.91; cheeks: -.64).
PAIRS = ((33, 263), (133, 362), (61, 291))
# The blendshapes that bare the teeth.
TEETH = ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight")
# EMFACS: the action units of a felt smile and of surprise (Friesen and Ekman, 1983).
EXPRESSIONS = {"smile": ("AU06", "AU12"), "surprise": ("AU01", "AU02", "AU05", "AU26")}


class FaceMeshScores(nn.Module):
    """Images (N, 3, S, S) in [−1, 1], framed like FFHQ's → scores (N,) by name.

    Blendshapes end in a sigmoid, which saturates; all that is read from them is read before it.
    """

    native = FaceMesh478.native

    def __init__(self) -> None:
        super().__init__()
        self.mesh, self.blendshapes = FaceMesh478(), Blendshapes()
        self._teeth = [NAMES.index(name) for name in TEETH]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points, flag = self.mesh(images)
        shapes = self.blendshapes.logits(points)
        # mouthFrown, which would stand for AU15, is high for laughing faces as for sad ones
        units = action_units(shapes) | {"AU15": corners_down(points)}
        expressions = {
            name: torch.stack([units[unit] for unit in parts]).mean(0)
            for name, parts in EXPRESSIONS.items()
        }
        teeth = shapes[:, self._teeth].mean(1)
        measured = {"mouth_open": mouth_opening(points), "teeth": teeth, "quality": flag}
        return pose(points) | expressions | units | measured


def pose(points: Tensor) -> dict[str, Tensor]:
    """Yaw, pitch and roll in degrees of meshes (N, 478, 3).

    Yaw grows as the face turns to the viewer's right, pitch as it looks down, roll as the head
    tilts to the viewer's right. They are the angles of two lines: across the face, the sum of those
    between PAIRS, and down, from the top of the forehead (10) to the chin (152).
    """
    left, right = zip(*PAIRS, strict=True)
    across = (points[:, right] - points[:, left]).sum(1)
    down = points[:, 152] - points[:, 10]
    return {
        "yaw": torch.rad2deg(torch.atan2(across[:, 2], across[:, 0])),
        "pitch": torch.rad2deg(torch.atan2(down[:, 2], down[:, 1])),
        "roll": torch.rad2deg(torch.atan2(across[:, 1], across[:, 0])),
    }


def mouth_opening(points: Tensor) -> Tensor:
    """Between the inner lips (13, 14); the unit is from the bridge of the nose to the chin."""
    opening = torch.linalg.vector_norm(points[:, 13] - points[:, 14], dim=1)
    return opening / torch.linalg.vector_norm(points[:, 168] - points[:, 152], dim=1)


def corners_down(points: Tensor) -> Tensor:
    """How far the corners of the mouth (61, 291) lie below the middle of the lips (13, 14): (N,).

    Along the line from the bridge of the nose to the chin, and in units of its length.
    """
    line = points[:, 152] - points[:, 168]
    below = points[:, [61, 291]].mean(1) - points[:, [13, 14]].mean(1)
    return (below * line).sum(1) / line.square().sum(1)
