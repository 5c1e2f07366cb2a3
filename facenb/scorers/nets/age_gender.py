"""An independent judge of age and gender: two small nets that nothing here is learned with.

From dlib's collection of models (Cydral Technology, CC0). What `facenb` learns, it learns with the
suite's own scores; these say whether an edit that the suite calls older looks older to a stranger.

dlib cuts a face out by five points: the corners of both eyes and the base of the nose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import load_net
from facenb.scorers.alignment import align_faces
from facenb.scorers.nets.folded import Folded, channels_last, check_native

# Of the 478-point mesh: outer and inner corner of the eye at the image's left, inner and outer
# corner of the other, base of the nose.
MESH_POINTS = (33, 133, 362, 263, 2)
# Where these five lie in the cut face, in fractions of its side: dlib's mean face, which it calls
# with a border of .2 on each side.
_MEAN_FACE = ((0.1205750620789, 0.2137274526848), (0.3340850613712, 0.2290642403242),
              (0.6460604764104, 0.2289674387677), (0.8595674595992, 0.2134981538014),
              (0.4901123135679, 0.6277975316475))  # fmt: skip
_BORDER = 0.2
_MEAN = (122.782, 117.001, 104.298)  # red, green, blue


class AgeGender(nn.Module):
    """forward: images and points → age in years (N,), gender logit (N,), above 0 for male.

    Age is the expectation over the net's 81 classes: under one (counted as a quarter), 1, … 80.

    Args of forward:
        images: (N, 3, H, W) in [−1, 1].
        points: (N, 5, 2), the mesh's `MESH_POINTS`, in fractions of width and height.
    """

    def __init__(self) -> None:
        super().__init__()
        tensors, _ = load_net("age-gender")
        parts = {part: _under(tensors, f"{part}/") for part in ("age", "gender")}
        self.age, self.gender = _Age(parts["age"]), _Gender(parts["gender"])
        self.register_buffer("years", torch.tensor([0.25, *range(1, 81)]))
        self.register_buffer("face", (torch.tensor(_MEAN_FACE) + _BORDER) / (1 + 2 * _BORDER))
        self.eval()

    def forward(self, images: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        faces = [align_faces(images, points, side, self.face) for side in (64, 32)]
        return self.of_faces(*((face + 1) * 127.5 for face in faces))

    def of_faces(self, large: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """Age and gender of faces that are cut out already: 64 px and 32 px, RGB in 0..255."""
        probabilities = self.age(large).softmax(1)
        female, male = self.gender(small).unbind(1)
        return probabilities @ self.years, male - female


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _centred(pixels: Tensor) -> Tensor:
    mean = torch.tensor(_MEAN, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    return channels_last((pixels - mean) / 256)


class _Dense(nn.Module):
    def __init__(self, tensors: dict[str, Tensor], name: str) -> None:
        super().__init__()
        self.register_buffer("weight", tensors[f"{name}.weight"].clone())
        self.register_buffer("bias", tensors[f"{name}.bias"].clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class _Age(nn.Module):
    """Pixels (N, 3, 64, 64) in 0..255 → logits (N, 81). A residual net of ten convolutions."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.stem = Folded(tensors, "stem", stride=2)
        self.blocks = nn.ModuleList(_Residual(tensors, f"block{i}") for i in range(5))
        self.head = _Dense(tensors, "fc")

    def forward(self, pixels: Tensor) -> Tensor:
        check_native(pixels, 64, "faces for the age")
        x = F.max_pool2d(F.relu_(self.stem(_centred(pixels))), 3, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class _Residual(nn.Module):
    """Two 3 × 3 convolutions beside the identity; one that doubles the channels halves the side.

    Then its shortcut is averaged, and zeros fill the channels that the shortcut lacks and the last
    row and column where the convolutions' map is one smaller.
    """

    def __init__(self, tensors: dict[str, Tensor], name: str) -> None:
        super().__init__()
        outputs, inputs = tensors[f"{name}.conv1.weight"].shape[:2]
        self.halves = outputs != inputs
        stride, padding = (2, 0) if self.halves else (1, 1)
        self.conv1 = Folded(tensors, f"{name}.conv1", stride, padding)
        self.conv2 = Folded(tensors, f"{name}.conv2", 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu_(self.conv1(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2)
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu_(x + y)


class _Gender(nn.Module):
    """Pixels (N, 3, 32, 32) in 0..255 → logits (N, 2), female and male."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(Folded(tensors, f"conv{i}", 1, 1) for i in range(4))
        self.fc0, self.fc1 = _Dense(tensors, "fc0"), _Dense(tensors, "fc1")

    def forward(self, pixels: Tensor) -> Tensor:
        check_native(pixels, 32, "faces for the gender")
        x = _centred(pixels)
        for index, layer in enumerate(self.convolutions):
            x = F.relu_(layer(x))
            if index % 2:
                x = F.avg_pool2d(x, 2)
        return self.fc1(F.relu_(self.fc0(x.flatten(1))))
