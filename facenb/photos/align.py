"""The face of a photograph, found and cut out as FFHQ cuts faces out.

A detector finds faces; a mesh of 478 points on the one that is wanted gives eyes and mouth; the
square follows from these as in FFHQ's own alignment (Karras et al., 2019, after CelebA-HQ, 2018,
appendix C): it is turned by the eyes, twice as wide as they are apart or 1.8 times the way from
eyes to mouth, whichever is more, to each side of a centre a tenth of that way below the eyes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.photos.reading import PhotoError
from facenb.scorers.nets.mediapipe import FaceDetector, FaceMesh478, merge_overlapping

SIZE = 1024
# Contours of the eyes in the mesh, the one at the picture's left first, and the mouth's corners
LEFT_EYE = (33, 160, 158, 133, 153, 144)
RIGHT_EYE = (362, 385, 387, 263, 373, 380)
MOUTH = (61, 291)
_DETECTED = 1.5  # side of the mesh's crop by that of the detector's box
_SURE = 0.0  # logit of there being a face, from the mesh
_CUT = 0.04  # of the face's side: how far beyond the photograph's edge its points may lie
_LEAST = 128  # pixels to a side of the square: below, there is too little to invert


@dataclass(frozen=True)
class Square:
    """A turned square of a photograph, in pixels: centre + x·(a, b) + y·(−b, a), x and y in ±1."""

    centre: tuple[float, float]
    across: tuple[float, float]  # from the centre to the middle of the right side

    @property
    def side(self) -> float:
        return 2 * math.hypot(*self.across)

    @property
    def roll(self) -> float:
        """Degrees by which it is turned, clockwise."""
        return math.degrees(math.atan2(self.across[1], self.across[0]))

    def to_photo(self, points: Tensor) -> Tensor:
        """Points (…, 2) in fractions of the square → pixels of the photograph."""
        x, y = (points * 2 - 1).unbind(-1)
        (cx, cy), (a, b) = self.centre, self.across
        return torch.stack([cx + x * a - y * b, cy + x * b + y * a], -1)

    def to_square(self, points: Tensor) -> Tensor:
        """Pixels (…, 2) of the photograph → fractions of the square."""
        (cx, cy), (a, b) = self.centre, self.across
        x, y = (points - points.new_tensor([cx, cy])).unbind(-1)
        length = a * a + b * b
        return torch.stack([(x * a + y * b) / length, (y * a - x * b) / length], -1) / 2 + 0.5

    def cut(self, photo: Tensor, size: int) -> Tensor:
        """The square out of a photograph (1, 3, H, W) as (1, 3, size, size).

        Each pixel is a mean over the area that it covers; beyond the edges the photograph is
        mirrored.
        """
        shrinking = self.side / size
        step = max(1, math.floor(shrinking))
        corner, photo = self._near(photo)
        if step > 1:
            photo = F.avg_pool2d(photo, step, ceil_mode=True, count_include_pad=False)
        fine = 2 if shrinking / step > 1.05 else 1
        centres = (torch.arange(size * fine) + 0.5) / (size * fine)
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        points = (self.to_photo(torch.stack([x, y], -1)) - corner) / step
        sides = points.new_tensor([photo.shape[3], photo.shape[2]])
        grid = (points / (sides / 2) - 1)[None]
        cut = F.grid_sample(photo, grid, padding_mode="reflection", align_corners=False)
        return F.avg_pool2d(cut, fine)

    def _near(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the photograph around the square, and its upper left corner (x, y)."""
        height, width = photo.shape[2:]
        corners = self.to_photo(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]))
        low = (corners.amin(0) - 2).floor().clamp(min=0)
        high = (corners.amax(0) + 2).ceil()
        # whole edges stay edges, so that mirroring happens at them
        left, top = (min(int(v), side - 1) for v, side in zip(low, (width, height), strict=True))
        right, bottom = (
            min(max(int(v), least + 1), side)
            for v, least, side in zip(high, (left, top), (width, height), strict=True)
        )
        return torch.tensor([float(left), float(top)]), photo[:, :, top:bottom, left:right]


@dataclass(frozen=True)
class Face:
    """A face in a photograph.

    Attributes:
        square: FFHQ's square around it.
        points: (478, 2), the mesh, in pixels of the photograph.
        score: the detector's, 0 to 1.
        outside: the fraction of the square that lies beyond the photograph's edges.
        cut_by: the edges that cut the face itself: "left", "top", "right", "bottom".
    """

    square: Square
    points: Tensor
    score: float
    outside: float
    cut_by: tuple[str, ...]


@dataclass(frozen=True)
class Aligned:
    """A photograph (1, 3, H, W) with one of its faces cut out: image (1, 3, 1024, 1024)."""

    photo: Tensor
    face: Face
    image: Tensor
    faces: int  # how many there are


class Aligner(nn.Module):
    """Photographs → faces as FFHQ frames them. The nets are loaded once."""

    def __init__(self) -> None:
        super().__init__()
        self.detector, self.mesh = FaceDetector(), FaceMesh478()
        self.requires_grad_(False).eval()

    def forward(self, photo: Tensor, face: int = 0, size: int = SIZE) -> Aligned:
        """One face of a photograph (1, 3, H, W) in [−1, 1], by default the largest.

        Args:
            face: which one, counted from the largest.

        Raises:
            PhotoError: no face, fewer faces than that, one that is cut by the edge of the
                photograph or is too small; the message says what was seen.
        """
        faces = self.find(photo)
        height, width = photo.shape[2:]
        if not faces:
            raise PhotoError(
                f"no face was found in the photograph of {width} × {height} pixels. A face is "
                "found when it is seen from the front or half from the side, upright, and a "
                "fortieth of the photograph's longer side or more."
            )
        if not 0 <= face < len(faces):
            number = f"{len(faces)} face{'s' if len(faces) > 1 else ''}"
            raise PhotoError(
                f"face {face}: the photograph shows {number}, counted from 0, the largest."
            )
        chosen = faces[face]
        if chosen.cut_by:
            raise PhotoError(
                f"the face is cut by the {' and '.join(chosen.cut_by)} edge of the photograph. "
                "Take one with the whole face in it" + (", or another face." if len(faces) > 1
                else ".")
            )  # fmt: skip
        if chosen.square.side < _LEAST:
            raise PhotoError(
                f"the face is too small: its square of the photograph has {chosen.square.side:.0f} "
                f"pixels a side, expected {_LEAST} and more."
            )
        return Aligned(photo, chosen, chosen.square.cut(photo, size).clamp(-1, 1), len(faces))

    @torch.no_grad()
    def find(self, photo: Tensor) -> list[Face]:
        """All faces, the largest first.

        The detector sees faces of a fifth of its image: parts of half the longer side show smaller
        ones, and where there are none, parts of a quarter and of an eighth. It may take a shoulder
        for a face; the mesh does not.
        """
        found: list[Face] = []
        for parts in (1, 2, 4, 8):
            side = max(photo.shape[2:]) // parts
            if (parts > 1 and side < self.detector.native) or (parts > 2 and found):
                break
            for box, points, score in self._detected(photo, side):
                face = self._measured(photo, box, points, score)
                if face is not None and not any(_same(face, other) for other in found):
                    found.append(face)
        return sorted(found, key=lambda face: -face.square.side)

    def _detected(self, photo: Tensor, side: int) -> list[tuple[Tensor, Tensor, float]]:
        """Boxes (4,), points (6, 2) in pixels, and scores, from square parts of that side."""
        boxes, points, scores = [], [], []
        for top in _starts(photo.shape[2], side):
            for left in _starts(photo.shape[3], side):
                part = photo[:, :, top : top + side, left : left + side]
                seen = self.detector(_at_most(part, 2 * self.detector.native))[0]
                size = torch.tensor([part.shape[3], part.shape[2]])
                corner = torch.tensor([left, top])
                boxes.append((seen.boxes.view(-1, 2, 2) * size + corner).flatten(1))
                points.append(seen.points * size + corner)
                scores.append(seen.scores)
        merged = merge_overlapping(torch.cat(boxes), torch.cat(points), torch.cat(scores), 0.3)
        return [(box, p, float(score)) for box, p, score in zip(*merged, strict=True)]

    def _measured(self, photo: Tensor, box: Tensor, points: Tensor, score: float) -> Face | None:
        """The mesh of a detected face, by way of its box, then of FFHQ's square."""
        eyes = points[1] - points[0]
        half = float((box[2:] - box[:2]).max()) / 2 * _DETECTED
        if half < 4 or not float(eyes.norm()) > 0:
            return None
        across = eyes / eyes.norm() * half
        centre = (box[:2] + box[2:]) / 2
        square = Square(tuple(centre.tolist()), tuple(across.tolist()))
        for _ in range(2):
            mesh, flag = self.mesh(square.cut(photo, self.mesh.native))
            mesh = square.to_photo(mesh[0, :, :2])
            square = ffhq_square(mesh)
        if float(flag[0]) < _SURE:
            return None
        height, width = photo.shape[2:]
        limit = _CUT * square.side
        low, high = mesh.amin(0), mesh.amax(0)
        edges = {
            "left": low[0] < -limit,
            "top": low[1] < -limit,
            "right": high[0] > width + limit,
            "bottom": high[1] > height + limit,
        }
        cut_by = tuple(name for name, cut in edges.items() if cut)
        return Face(square, mesh, score, _outside(square, height, width), cut_by)


def ffhq_square(points: Tensor) -> Square:
    """FFHQ's square of a mesh (478, 2) in pixels."""
    left, right = points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0)
    eyes, mouth = (left + right) / 2, points[list(MOUTH)].mean(0)
    apart, down = right - left, mouth - eyes
    across = apart + torch.stack([down[1], -down[0]])
    length = torch.maximum(2 * apart.norm(), 1.8 * down.norm())
    across = across / across.norm() * length
    return Square(tuple((eyes + 0.1 * down).tolist()), tuple(across.tolist()))


def _starts(length: int, side: int) -> list[int]:
    """Where parts of a side begin along a length, so that they overlap by half."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _at_most(image: Tensor, side: int) -> Tensor:
    """The image averaged by a whole number, so that its longer side is near `side`."""
    step = max(image.shape[2:]) // side
    return F.avg_pool2d(image, step, ceil_mode=True) if step > 1 else image


def _same(a: Face, b: Face) -> bool:
    apart = math.dist(a.square.centre, b.square.centre)
    return apart < 0.2 * min(a.square.side, b.square.side)


def _outside(square: Square, height: int, width: int) -> float:
    steps = (torch.arange(64) + 0.5) / 64
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    px, py = square.to_photo(torch.stack([x, y], -1)).unbind(-1)
    inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    return float(1 - inside.float().mean())
