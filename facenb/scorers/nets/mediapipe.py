"""MediaPipe's nets for photographs: the mesh of a face, the person's mask, and where faces are.

They are small nets for telephones, and made for photographs. All are differentiable but the
detector. A point is given in fractions of the image: x from 0 at the left edge to 1 at the right
edge, y downwards. Blendshapes and action units are read from the mesh (blendshapes.py).

Sources: MediaPipe's model cards ("Face Mesh V2", "BlazeFace short range", "Selfie Segmentation")
and the graphs of its face landmarker task, which say how values go in and out. Licence of the nets:
Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import load_net
from facenb.scorers.nets.layers import resize
from facenb.scorers.nets.litenet import LiteNet


def _check(images: Tensor, square: bool = True) -> None:
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3 or (square and shape[2] != shape[3]):
        expected = "(N, 3, S, S)" if square else "(N, 3, H, W)"
        raise ValueError(f"images: expected shape {expected}, given {shape}.")


class FaceMesh478(nn.Module):
    """478 points on a face that fills the image as FFHQ's faces do, and how sure the net is.

    forward: images (N, 3, S, S) in [−1, 1] → points (N, 478, 3), x and y in fractions of the
    image and z, growing away from the camera, in the unit of x from the head's centre; and the
    logit (N,) of there being a face. Points 0 to 467 are those of `Facemesh`, 468 and 473 are
    the irises' centres (the one at the image's left first), each with four points around it.

    A face much smaller than in FFHQ, or turned in the image's plane, has to be cut out first.
    Raises ValueError for another shape.
    """

    native = 256

    def __init__(self) -> None:
        super().__init__()
        self.net = LiteNet(*load_net("face-mesh"), outputs=["Identity", "Identity_1"])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        _check(images)
        mesh, flag = self.net(resize((images + 1) / 2, self.native))
        return mesh.reshape(-1, 478, 3) / self.native, flag.flatten()


class PersonMask(nn.Module):
    """How much of each pixel is the person, hair and clothes included.

    forward: images (N, 3, S, S) in [−1, 1] → (N, 1, S, S), 0 (background) to 1 (person). People in
    the background count, too. Raises ValueError for another shape.
    """

    native = 256

    def __init__(self) -> None:
        super().__init__()
        self.net = LiteNet(*load_net("selfie-segmentation"), outputs=["activation_10"])

    def forward(self, images: Tensor) -> Tensor:
        _check(images)
        (mask,) = self.net(resize((images + 1) / 2, self.native))
        return mask if images.shape[-1] == self.native else resize(mask, images.shape[-1])


@dataclass(frozen=True)
class Detections:
    """The K faces that were found in one image, the surest first.

    Attributes:
        boxes: (K, 4), left, top, right and bottom in fractions of the image.
        points: (K, 6, 2), x and y: the eye at the image's left, the other eye, the tip of the
            nose, the mouth, the ear at the image's left, the other ear (of an upright face).
        scores: (K,), 0 to 1.
    """

    boxes: Tensor
    points: Tensor
    scores: Tensor


class FaceDetector(nn.Module):
    """BlazeFace for short range: faces that are a fifth of the image or more.

    forward: images (N, 3, H, W) in [−1, 1] → a list of N `Detections`. Not differentiable. Boxes
    that overlap are merged into the surest of them, each weighing as much as it is sure, as
    MediaPipe does it. Raises ValueError for another shape.

    Args:
        least: the score below which nothing is a face.
    """

    native = 128
    overlap = 0.3  # intersection over union above which two boxes show the same face

    def __init__(self, least: float = 0.5) -> None:
        super().__init__()
        outputs = ["regressors", "classificators"]
        self.net = LiteNet(*load_net("face-detector"), outputs=outputs)
        self.least = least
        self.register_buffer("_anchors", anchors(self.native))

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Detections]:
        _check(images, square=False)
        height, width = images.shape[2:]
        # the whole image in the middle of a black square
        scale = self.native / max(height, width)
        inner = [max(round(side * scale), 1) for side in (height, width)]
        above, left = [(self.native - side) // 2 for side in inner]
        below, right = self.native - inner[0] - above, self.native - inner[1] - left
        small = F.interpolate(images, inner, mode="bilinear", antialias=scale < 1)
        square = F.pad(small, (left, right, above, below), value=-1.0)
        values, logits = self.net(square.contiguous(memory_format=torch.channels_last))
        boxes, points = decode(values, self._anchors, self.native)
        # from fractions of the square to fractions of the image
        offset = boxes.new_tensor([left, above])
        size = boxes.new_tensor([inner[1], inner[0]])
        points = (points * self.native - offset) / size
        boxes = ((boxes.view(*boxes.shape[:2], 2, 2) * self.native - offset) / size).flatten(2)
        scores = logits.squeeze(2).clamp(-100, 100).sigmoid()
        return [self._select(*one) for one in zip(boxes, points, scores, strict=True)]

    def _select(self, boxes: Tensor, points: Tensor, scores: Tensor) -> Detections:
        keep = scores >= self.least
        boxes, points, scores = boxes[keep], points[keep], scores[keep]
        return Detections(*merge_overlapping(boxes, points, scores, self.overlap))


def anchors(side: int) -> Tensor:
    """The 896 places (x, y) that BlazeFace looks at, in fractions of its square image.

    The centres of cells of 8 pixels, two at each, then those of cells of 16 pixels, six at each,
    row by row.
    """
    places = []
    for stride, times in ((8, 2), (16, 6)):
        centres = (torch.arange(side // stride) + 0.5) * stride / side
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        places.append(torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(times, 0))
    return torch.cat(places)


def decode(values: Tensor, anchors: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Raw values (N, 896, 16) → boxes (N, 896, 4) and points (N, 896, 6, 2), in fractions.

    The values are in pixels of an image of `side`: the box's centre from the anchor, its width and
    height, and six points from the anchor.
    """
    values = values / side
    centre, half = anchors + values[..., :2], values[..., 2:4] / 2
    points = anchors.unsqueeze(1) + values[..., 4:].unflatten(2, (6, 2))
    return torch.cat([centre - half, centre + half], -1), points


def merge_overlapping(
    boxes: Tensor, points: Tensor, scores: Tensor, overlap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Groups of boxes (K, 4) that overlap the surest of them → one each, with points and score.

    A merged box and its points are the means of the group, weighted by the scores; its score is the
    highest. Source: MediaPipe's non_max_suppression_calculator, algorithm WEIGHTED.
    """
    left = list(scores.argsort(descending=True, stable=True))
    merged: list[tuple[Tensor, Tensor, Tensor]] = []
    while left:
        rest = torch.stack(left)
        same = _overlaps(boxes[rest[0]], boxes[rest]) > overlap
        same[0] = True
        group = rest[same]
        weights = scores[group] / scores[group].sum()
        box = (weights.unsqueeze(1) * boxes[group]).sum(0)
        merged.append((box, (weights.view(-1, 1, 1) * points[group]).sum(0), scores[rest[0]]))
        left = list(rest[~same])
    if not merged:
        return boxes[:0], points[:0], scores[:0]
    return tuple(torch.stack(part) for part in zip(*merged, strict=True))


def _overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of one box (4,) with each of (K, 4)."""
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return common / ((box[2:] - box[:2]).clamp(min=0).prod() + areas - common)
