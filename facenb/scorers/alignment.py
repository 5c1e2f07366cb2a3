"""Faces cut out so that five points lie where a net expects them.

The map from an image to the cut face is the similarity (turn, size, shift) that brings the five
points nearest to the template in the least-squares sense; for points in the plane it has a closed
form (Umeyama, 1991, without its reflection), so that gradients reach the pixels and the points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.errors import check_finite

# Of the 478-point mesh: the irises (the one at the image's left first), the tip of the nose, the
# corners of the mouth (likewise).
MESH_POINTS = (468, 473, 1, 61, 291)
# Where they lie in ArcFace's crop (Deng et al., 2019): centres of pixels of 112 × 112, in fractions
# of its side.
ARCFACE = (torch.tensor([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
                         (41.5493, 92.3655), (70.7299, 92.2041)]) + 0.5) / 112  # fmt: skip
_MOST_SHRINKING = 3.0  # by which the cut itself shrinks; larger images are averaged first


def similarity(points: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
    """The least-squares similarity x → M x + t that takes points (N, P, 2) to template (P, 2).

    Returns M (N, 2, 2) and t (N, 2). Raises ValueError where all points of an image coincide.
    """
    centre, goal = points.mean(1, keepdim=True), template.mean(0)
    p, q = points - centre, template - goal
    spread = p.square().sum((1, 2))
    if not (spread > 0).all():
        bad = int((spread <= 0).nonzero()[0])
        raise ValueError(f"points: expected five different ones; those of image {bad} coincide.")
    a = (p * q).sum((1, 2)) / spread
    b = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / spread
    matrix = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
    return matrix, goal - (matrix @ centre.transpose(1, 2)).squeeze(2)


def align_faces(
    images: Tensor, points5: Tensor, size: int = 112, template: Tensor = ARCFACE
) -> Tensor:
    """Cut each face out: (N, 3, H, W) → (N, 3, size, size), in the same range of values.

    Each pixel of a cut face is the mean over the area that it covers in the image, so that large
    images are not aliased; beyond the image's edge its nearest pixel goes on. Differentiable
    with respect to images and points.

    Args:
        points5: (N, 5, 2), x and y in fractions of width and height: 0 and 1 are the outer edges
            of the first and the last pixel, so that pixel i has its centre at (i + ½) / width.
        template: (5, 2), where they belong, in fractions of the cut face's side.

    Raises:
        ValueError: not five points per image, points that are not finite or coincide.
    """
    if points5.shape != (len(images), 5, 2) or images.ndim != 4:
        raise ValueError(
            f"points5: expected ({len(images)}, 5, 2) for images of shape {tuple(images.shape)}, "
            f"given {tuple(points5.shape)}."
        )
    check_finite(points5, "points5")
    side = points5.new_tensor([images.shape[3], images.shape[2]])
    matrix, shift = similarity(points5 * side, template.to(points5) * size)
    # pixels of the image per pixel of the cut face: how densely each image has to be sampled must
    # not depend on the others of the batch
    shrinking = torch.linalg.det(matrix.detach()).rsqrt()
    step = (shrinking / _MOST_SHRINKING).floor().clamp(min=1)
    fine = (shrinking / step - 0.01).ceil().clamp(min=1)
    kinds, which = torch.stack([step, fine], 1).int().unique(dim=0, return_inverse=True)
    rows = [(which == i).nonzero().flatten() for i in range(len(kinds))]
    faces = [
        _cut(images[r], matrix[r], shift[r], size, *kind)
        for r, kind in zip(rows, kinds.tolist(), strict=True)
    ]
    return torch.cat(faces)[torch.cat(rows).argsort()]


def _cut(images: Tensor, matrix: Tensor, shift: Tensor, size: int, step: int, fine: int) -> Tensor:
    """Faces of images that are averaged by `step`, then sampled `fine` times too densely."""
    if step > 1:
        images = F.avg_pool2d(images, step, ceil_mode=True, count_include_pad=False)
    centres = (torch.arange(size * fine, device=images.device, dtype=matrix.dtype) + 0.5) / fine
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    goal = torch.stack([x, y], -1).view(1, -1, 2) - shift.unsqueeze(1)
    source = goal @ torch.linalg.inv(matrix).transpose(1, 2) / step
    grid = source / (shift.new_tensor([images.shape[3], images.shape[2]]) / 2) - 1
    faces = F.grid_sample(
        images,
        grid.view(-1, size * fine, size * fine, 2).to(images.dtype),
        padding_mode="border",
        align_corners=False,
    )
    return F.avg_pool2d(faces, fine) if fine > 1 else faces
