"""52 blendshapes from the mesh of a face, and the action units that they come close to.

    points, _ = FaceMesh478()(images)
    shapes = Blendshapes().logits(points)       # (N, 52)
    smile = action_units(shapes)["AU12"]        # (N,)

A blendshape is how far a face is in one of ARKit's 52 poses, 0 to 1. They were made for avatars:
an action unit (Ekman and Friesen's Facial Action Coding System) is a muscle's movement, and the
table here is a rough map, the mean of left and right. No coder of FACS has checked it.

The net ends in a sigmoid, and as a score its logits are the better choice: on 300 samples of
mobilestylegan-ffhq-1024 at ψ = 1 more than half of the values of eight of the twelve units lie
under .01, where a sigmoid has next to no gradient, while the logits spread evenly and follow w (R²
of a ridge regression on 60 principal components: .14 to .59, against −.18 to .56). AU06 and AU09
never come to .01 there, and those who score highest in AU15 do not look sad: these three are weak.

Source: MediaPipe's face_blendshapes_graph.cc (names and points) and its model card "Blendshape V2";
the net is an MLP-Mixer (Tolstikhin et al., 2021). Licence of the net: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import load_net

# Left and right are the person's own.
NAMES = tuple(
    "_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff "
    "cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight "
    "eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight "
    "eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight "
    "mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel "
    "mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker "
    "mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft "
    "mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight "
    "noseSneerLeft noseSneerRight".split()
)

# The points of the mesh that the net looks at.
POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip

# action unit → its name in FACS, the blendshapes whose mean stands for it
ACTION_UNITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "AU01": ("inner brow raiser", ("browInnerUp",)),
    "AU02": ("outer brow raiser", ("browOuterUpLeft", "browOuterUpRight")),
    "AU04": ("brow lowerer", ("browDownLeft", "browDownRight")),
    "AU05": ("upper lid raiser", ("eyeWideLeft", "eyeWideRight")),
    "AU06": ("cheek raiser", ("cheekSquintLeft", "cheekSquintRight")),
    "AU09": ("nose wrinkler", ("noseSneerLeft", "noseSneerRight")),
    "AU10": ("upper lip raiser", ("mouthUpperUpLeft", "mouthUpperUpRight")),
    "AU12": ("lip corner puller", ("mouthSmileLeft", "mouthSmileRight")),
    "AU15": ("lip corner depressor", ("mouthFrownLeft", "mouthFrownRight")),
    "AU18": ("lip pucker", ("mouthPucker",)),
    "AU26": ("jaw drop", ("jawOpen",)),
    "AU45": ("blink", ("eyeBlinkLeft", "eyeBlinkRight")),
}


def action_units(blendshapes: Tensor) -> dict[str, Tensor]:
    """(N, 52) blendshapes, or their logits → each of ACTION_UNITS as (N,), in the same unit."""
    if blendshapes.ndim != 2 or blendshapes.shape[1] != len(NAMES):
        raise ValueError(f"blendshapes: expected (N, 52), given {tuple(blendshapes.shape)}.")
    columns = {
        unit: [NAMES.index(name) for name in names] for unit, (_, names) in ACTION_UNITS.items()
    }
    return {unit: blendshapes[:, column].mean(1) for unit, column in columns.items()}


class Blendshapes(nn.Module):
    """The mesh of a face → 52 blendshapes, in the order of NAMES.

    forward: points (N, 478, 2 or 3) with x and y in the same unit, such as fractions of a square
    image → (N, 52), 0 to 1. Neither the unit nor the place matters, since the net centres and
    scales the points; a turn in the image's plane does. `logits` gives the values before the
    sigmoid that ends the net.
    """

    def __init__(self) -> None:
        super().__init__()
        tensors, _ = load_net("face-blendshapes")
        # the names of the file, without what they all begin with
        tensors = {
            name.removeprefix("model_1/GhumMarkerPoserMlpMixerGeneral/"): tensor
            for name, tensor in tensors.items()
        }
        self.tokens = _linear(tensors, "conv2d")
        self.embedding = _linear(tensors, "MLPMixer/input_tokens_embedding")
        self.register_buffer("extra", tensors["MLPMixer/AddExtraTokens/strided_slice_1"].flatten())
        self.blocks = nn.ModuleList(_Block(tensors, i) for i in range(4))
        self.output = _linear(tensors, "output_blendweights")
        self.register_buffer("_points", torch.tensor(POINTS))
        self.requires_grad_(False)

    def forward(self, points: Tensor) -> Tensor:
        return self.logits(points).sigmoid()

    def logits(self, points: Tensor) -> Tensor:
        """The same before the sigmoid: (N, 52), unbounded, with a gradient everywhere."""
        if points.ndim != 3 or points.shape[1] != 478 or points.shape[2] not in (2, 3):
            raise ValueError(f"points: expected (N, 478, 2 or 3), given {tuple(points.shape)}.")
        x = points[:, self._points, :2]
        x = x - x.mean(1, keepdim=True)
        x = x / torch.linalg.vector_norm(x, dim=2, keepdim=True).mean(1, keepdim=True) / 2
        x = self.embedding(self.tokens(x.transpose(1, 2)).transpose(1, 2))
        x = torch.cat([self.extra.expand(len(x), 1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.output(x[:, 0])


class _Block(nn.Module):
    """x (N, 97 tokens, 64 channels) plus a net over the tokens, then plus one over the channels."""

    def __init__(self, tensors: Mapping[str, Tensor], index: int) -> None:
        super().__init__()
        prefix = f"MLPMixer/MixerBlock_{index}"
        for part, kind in (("tokens", "token"), ("channels", "channel")):
            layers = [_linear(tensors, f"{prefix}/mlp_{kind}_mixing/Mlp_{i}") for i in (1, 2)]
            setattr(self, part, nn.Sequential(layers[0], nn.ReLU(inplace=True), layers[1]))
        for i in (1, 2):
            scale = tensors[f"{prefix}/layer_norm{i}/batchnorm/mul/ReadVariableOp"]
            self.register_buffer(f"scale{i}", scale)
        self.epsilon = tensors["MLPMixer/MixerBlock_0/layer_norm1/batchnorm/add/y"].item()

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, x.shape[2:], self.scale1, eps=self.epsilon)
        x = x + self.tokens(y.transpose(1, 2)).transpose(1, 2)
        y = F.layer_norm(x, x.shape[2:], self.scale2, eps=self.epsilon)
        return x + self.channels(y)


def _linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    """A 1 × 1 convolution of the file, as a linear layer."""
    weight = tensors[f"{name}/Conv2D"].flatten(1)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(tensors[f"{name}/BiasAdd/ReadVariableOp"])
    return layer
