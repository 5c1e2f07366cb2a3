"""An encoder: aligned faces → latents of w+, in one pass.

It reads what two nets know that were trained for something else (EfficientNet-Lite0's maps of
three sizes, faceres' embedding) and the image itself at 16 pixels: 14,360 numbers. What is learned
is a linear map of low rank from these to the latents of all layers, by ridge regression on the
generator's own images, whose latents are known (scripts/train_encoder.py). It has a closed form,
and the optimisation that follows (`invert`) does the rest. `encoder_provenance` has its errors.
"""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from facenb.data import data_path
from facenb.latents import Latents
from facenb.scorers.framing import crops
from facenb.scorers.nets.efficientnet import EfficientNetLite0
from facenb.scorers.nets.human import FaceEmbedding
from facenb.scorers.nets.layers import resize

# EfficientNet's blocks whose maps are read, each with its channels and the side it is averaged to
MAPS = {4: (40, 7), 10: (112, 7), 15: (320, 4)}
EMBEDDING, SMALL = 1024, 16  # numbers of faceres' embedding; side of the image that is read
# The numbers of each kind, in the order in which they stand
SIZES = (*(channels * side**2 for channels, side in MAPS.values()), EMBEDDING, 3 * SMALL**2)


class Features(nn.Module):
    """Images (N, 3, S, S) in [−1, 1], framed as FFHQ's → what the encoder reads, (N, 14,360)."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.embedding = EfficientNetLite0(), FaceEmbedding()
        self.crop = crops("ffhq")["faceres"]
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.net.maps(images)
        parts = [F.adaptive_avg_pool2d(maps[i], side) for i, (_, side) in MAPS.items()]
        embedding, *_ = self.embedding(self.crop(images))
        return torch.cat([x.flatten(1) for x in (*parts, embedding, resize(images, SMALL))], 1)


class Encoder(nn.Module):
    """Images (N, 3, S, S) in [−1, 1], aligned as FFHQ's, S ≥ 64 → `Latents` (N, L, 512) in w+.

    Args:
        scale, shift: (14,360,), bring the features to a common scale.
        read: (14,360, rank), and `write`: (rank, L·512), the map.
        mean: (L, 512), the latent of features of 0.
    """

    def __init__(
        self, scale: Tensor, shift: Tensor, read: Tensor, write: Tensor, mean: Tensor
    ) -> None:
        super().__init__()
        self.features = Features()
        for name, tensor in {"scale": scale, "shift": shift, "read": read, "write": write,
                             "mean": mean}.items():  # fmt: skip
            self.register_buffer(name, tensor.float())
        self.eval()

    def forward(self, images: Tensor) -> Latents:
        return self.latents(self.features(images.float()))

    def latents(self, features: Tensor) -> Latents:
        """Codes from what `Features` gives."""
        found = (features * self.scale + self.shift) @ self.read @ self.write
        return Latents(found.unflatten(1, self.mean.shape) + self.mean, "w+")


def load_encoder(name: str = "mobilestylegan-ffhq-1024") -> Encoder:
    """The encoder that ships for the generator of that name, stored in half precision.

    Raises:
        UnknownNameError: no encoder ships for that generator.
        AssetError: the nets that it reads are not cached and cannot be fetched.
    """
    with safe_open(data_path(f"encoder_{name}.safetensors"), "pt") as file:
        return Encoder(**{key: file.get_tensor(key) for key in file.keys()})


def encoder_provenance(name: str = "mobilestylegan-ffhq-1024") -> dict[str, object]:
    """How the shipped encoder was made, with its errors on held-out images by number of faces."""
    with safe_open(data_path(f"encoder_{name}.safetensors"), "pt") as file:
        return json.loads(file.metadata()["provenance"])
