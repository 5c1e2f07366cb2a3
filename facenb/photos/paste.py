"""An edited face back into its photograph: the inverse of the cut, a mask, and matched colours."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.photos.align import Aligned, Square
from facenb.scorers.nets.mediapipe import PersonMask

_FEATHER = 0.06  # of the square's side, over which the edge of the square fades
_SOFT = 0.02  # … over which the mask's own edge is softened


class Paster(nn.Module):
    """Faces (1, 3, S, S) into the photograph that they were cut out of."""

    def __init__(self) -> None:
        super().__init__()
        self.person = PersonMask()
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, aligned: Aligned, edited: Tensor, before: Tensor | None = None) -> Tensor:
        """The photograph (1, 3, H, W) with the edited face in it.

        Args:
            edited: (1, 3, S, S) in [−1, 1], the edited face.
            before: the same face without the edit, as the generator shows it: the colours of the
                photograph's face are what it is matched with, so that a change of colour that the
                edit makes stays. By default the edited face itself is matched.
        """
        before = edited if before is None else before
        cut = _resized(aligned.image, edited.shape[-1])
        mask = self.mask(torch.cat([cut, before, edited]))
        inside = self.mask(torch.cat([cut, before]), torch.minimum)
        edited = matched(edited, before, cut, inside)
        return pasted(aligned.photo, aligned.face.square, edited, mask)

    def mask(self, faces: Tensor, join=torch.maximum) -> Tensor:
        """(1, 1, S, S), 1 where the face is pasted: the person in any of the faces (N, 3, S, S).

        It fades towards the edges of the square and along the person's outline.
        """
        side = faces.shape[-1]
        person = self.person(_resized(faces, 256))
        joined = person[:1]
        for other in person[1:].split(1):
            joined = join(joined, other)
        joined = _resized(blurred(joined, _SOFT), side)
        return joined * _window(side)


def matched(images: Tensor, before: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """`images` changed as `before` has to be for the mean and deviation of `target`'s channels.

    All (1, 3, S, S); mean and deviation are taken under the mask (1, 1, S, S). The gain is kept
    between .8 and 1.25.
    """
    weight = mask / mask.sum().clamp(min=1e-6)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x * weight).sum((2, 3), keepdim=True)
        return mean, ((x - mean).square() * weight).sum((2, 3), keepdim=True).sqrt()

    (mean, deviation), (wanted, spread) = moments(before), moments(target)
    gain = (spread / deviation.clamp(min=1e-6)).clamp(0.8, 1.25)
    return (wanted + (images - mean) * gain).clamp(-1, 1)


def pasted(photo: Tensor, square: Square, face: Tensor, mask: Tensor) -> Tensor:
    """The photograph (1, 3, H, W) with the face (1, 3, S, S) over it where the mask is.

    Outside of the square no pixel is changed.
    """
    height, width = photo.shape[2:]
    corners = square.to_photo(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]))
    left, top = (max(0, math.floor(v)) for v in corners.amin(0).tolist())
    right, bottom = (
        min(side, math.ceil(v)) for v, side in zip(corners.amax(0).tolist(), (width, height),
                                                   strict=True)
    )  # fmt: skip
    if right <= left or bottom <= top:
        return photo.clone()
    y, x = torch.meshgrid(
        torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5, indexing="ij"
    )
    grid = (square.to_square(torch.stack([x, y], -1)) * 2 - 1)[None]
    layers = torch.cat([face, mask.clamp(0, 1)], 1)
    small = max(1, round(square.side))
    if small < face.shape[-1]:  # so that every pixel of the face counts
        layers = F.interpolate(layers, (small, small), mode="bilinear", antialias=True)
    cut = F.grid_sample(layers, grid, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1).all(-1)[:, None]
    weight = cut[:, 3:] * inside
    result = photo.clone()
    part = result[:, :, top:bottom, left:right]
    part += weight * (cut[:, :3] - part)
    return result


def blurred(mask: Tensor, width: float) -> Tensor:
    """A mask averaged over squares of `width` of its side, twice."""
    size = 2 * round(width * mask.shape[-1] / 2) + 1
    for _ in range(2):
        mask = F.avg_pool2d(F.pad(mask, [size // 2] * 4, mode="replicate"), size, 1)
    return mask


def _window(side: int) -> Tensor:
    """(1, 1, side, side): 1 inside, falling to 0 at the edges."""
    place = (torch.arange(side) + 0.5) / side
    edge = (torch.minimum(place, 1 - place) / _FEATHER).clamp(max=1)
    edge = edge * edge * (3 - 2 * edge)
    return (edge[:, None] * edge)[None, None]


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    shrinks = images.shape[-1] > side
    return F.interpolate(images, (side, side), mode="bilinear", antialias=shrinks)
