"""Who is it? Vectors whose dot product says whether two pictures show the same person.

Identity nets put all DCGAN faces into one narrow cone, so that the plain cosine of any two is near
one. Less the mean over the generator's samples, the cosine tells persons apart: about 0 for two
samples, near 1 for one sample lit or framed otherwise. `python -m facenb.scorers.identity`
measures the means and writes them to data/identity_means.safetensors.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from facenb.errors import check_images, unknown
from facenb.scorers.faceapi import Recognition, load_weights
from facenb.scorers.nets import FaceEmbedding, check_square, resize

MEANS_PATH = Path(__file__).resolve().parent.parent / "data" / "identity_means.safetensors"
_CHUNK = 16


class _Recognition(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Recognition(load_weights("face_recognition"))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(resize((images + 1) * 127.5, self.net.native))


class _Faceres(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = FaceEmbedding()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)[0]


NETS = {"face_recognition": _Recognition, "faceres": _Faceres}


class IdentityScorer(nn.Module):
    """Images (N, 3, S, S) in [−1, 1] → centred unit vectors (N, d), differentiable.

    A dot product of two rows is the mean-centred cosine. Attributes: `name` of the net, `mean`
    (d,).
    """

    def __init__(self, name: str, mean: Tensor) -> None:
        super().__init__()
        self.name = name
        self.net = NETS[name]()
        self.register_buffer("mean", mean)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 128) for "face_recognition", (N, 1024) for "faceres"; rows of length one.

        Raises:
            TypeError, ValueError: not a batch of square images in [−1, 1].
        """
        check_images(images)
        check_square(images)
        vectors = torch.cat([self.net(part) for part in images.float().split(_CHUNK)])
        return F.normalize(vectors - self.mean, dim=1)


def load_identity(
    device: str | torch.device = "cpu", name: str = "face_recognition"
) -> IdentityScorer:
    """The identity net: "face_recognition" (128-d), or "faceres" (1024-d) as a second judge.

    The second is the net behind gender, age and the probes: not independent of those scores.

    Raises:
        UnknownNameError: no such net.
        AssetError: the weights are not cached and cannot be fetched.
    """
    if name not in NETS:
        raise unknown("identity net", name, NETS)
    return IdentityScorer(name, load_file(MEANS_PATH)[name]).to(device)
