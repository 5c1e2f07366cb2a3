"""Which part of an image each net is given: the table of crops, by framing.

No face detector runs: a generator frames its faces in one way (`generator.framing`), and each net
gets the part of the image that suits it. "ffhq" is the alignment of FFHQ and CelebA-HQ, with eyes
and mouth in the same places, hair and shoulders; "digiface" is a face that fills the image.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from facenb.errors import unknown
from facenb.scorers.nets.layers import resize


@dataclass(frozen=True)
class Crop:
    """A square part of a square image: its upper and left edge and its side, in fractions."""

    top: float
    left: float
    side: float

    def __call__(self, images: Tensor, size: int | None = None) -> Tensor:
        """The part of images (N, 3, S, S), brought to (N, 3, size, size) if a size is given."""
        if self.side < 1:
            pixels = images.shape[-1]
            top, left, side = (round(f * pixels) for f in (self.top, self.left, self.side))
            images = images[:, :, top : top + side, left : left + side]
        return images if size is None else resize(images, size)

    def to_image(self, points: Tensor) -> Tensor:
        """Points (…, 2), x and y in fractions of the crop → in fractions of the image."""
        return points * self.side + points.new_tensor([self.left, self.top])


WHOLE = Crop(0, 0, 1)
_FACE = Crop(0.15, 0.10, 0.80)  # of FFHQ's frame: from the hairline to below the chin, both ears

CROPS: dict[str, dict[str, Crop]] = {
    "digiface": {
        "pixels": WHOLE,
        "facemesh": WHOLE,
        "face_landmark_68": Crop(14 / 64, 7 / 64, 50 / 64),
        "face_expression": WHOLE,
        "faceres": WHOLE,
    },
    "ffhq": {
        "pixels": WHOLE,
        "face_mesh": _FACE,
        "face_landmark_68": _FACE,
        "face_expression": _FACE,
        "faceres": _FACE,
        "efficientnet": WHOLE,
        "age_gender": WHOLE,
    },
}


def crops(framing: str) -> dict[str, Crop]:
    """The crop of each net under a framing; UnknownNameError lists the framings."""
    if framing not in CROPS:
        raise unknown("framing", framing, CROPS)
    return CROPS[framing]
