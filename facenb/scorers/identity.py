"""Who is it? Vectors whose dot product says whether two images show the same person.

"sface" is for real-looking faces and photographs, framed as FFHQ frames them: a net for recognition
on faces that are cut out by five points of the mesh. Its threshold, above which two images show the
same person, is measured on pairs of different generated faces: `python -m
scripts.identity_threshold` writes data/identity_threshold.json.

The other two are for the DCGAN. They put all its faces into one narrow cone, so that the plain
cosine of any two is near one. Less the mean over the generator's samples, the cosine tells persons
apart: about 0 for two samples, near 1 for one sample lit or framed otherwise. `python -m
scripts.identity_means` measures the means and writes data/identity_means.safetensors.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from facenb.data import load_json
from facenb.errors import check_images, unknown
from facenb.scorers.alignment import MESH_POINTS, align_faces
from facenb.scorers.nets.faceapi import Recognition, load_weights
from facenb.scorers.nets.human import FaceEmbedding, check_square
from facenb.scorers.nets.layers import resize
from facenb.scorers.nets.mediapipe import FaceMesh478
from facenb.scorers.nets.sface import SFace

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


class _SFace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mesh, self.net = FaceMesh478(), SFace()

    def forward(self, images: Tensor) -> Tensor:
        points, _ = self.mesh(images)
        faces = align_faces(images, points[:, MESH_POINTS, :2], self.net.native)
        return self.net((faces + 1) * 127.5)


NETS = {"face_recognition": _Recognition, "faceres": _Faceres, "sface": _SFace}
_BY_FRAMING = {"ffhq": "sface", "digiface": "face_recognition"}


class IdentityScorer(nn.Module):
    """Images (N, 3, S, S) in [−1, 1] → unit vectors (N, d), differentiable.

    A dot product of two rows is the cosine, centred where the net needs it.

    Attributes:
        name: of the net.
        framing: of the images that it is for.
        mean: (d,), subtracted from the net's vectors; zero for "sface".
        threshold: the cosine above which two images count as the same person: one pair in a
            thousand of different generated faces lies above. None where it was not measured;
            `facenb.metrics.preservation.false_acceptance_threshold` measures it for any generator.
    """

    def __init__(self, name: str, mean: Tensor, threshold: float | None = None) -> None:
        super().__init__()
        self.name, self.threshold = name, threshold
        self.framing = "ffhq" if name == "sface" else "digiface"
        self.net = NETS[name]()
        self.register_buffer("mean", mean)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1024) for "faceres", (N, 128) for the others; rows of length one.

        Raises:
            TypeError, ValueError: not a batch of square images in [−1, 1].
        """
        check_images(images)
        check_square(images)
        vectors = torch.cat([self.net(part) for part in images.float().split(_CHUNK)])
        return F.normalize(vectors - self.mean, dim=1)


def load_identity(
    name: str | None = None, framing: str = "ffhq", device: str | torch.device = "cpu"
) -> IdentityScorer:
    """The identity net for images that are cut around the face as `generator.framing` says.

    Args:
        name: "sface", "face_recognition" or "faceres"; by default the first for "ffhq", the second
            for "digiface". "faceres" is a second net for "digiface": the one behind gender, age and
            the probes, so not independent of those scores.
        framing: "ffhq" or "digiface".

    Raises:
        UnknownNameError: no such net or framing.
        AssetError: the weights are not cached and cannot be fetched.
    """
    if framing not in _BY_FRAMING:
        raise unknown("framing", framing, _BY_FRAMING)
    name = name or _BY_FRAMING[framing]
    if name not in NETS:
        raise unknown("identity net", name, NETS)
    if name == "sface":
        return IdentityScorer(name, torch.zeros(128), _measured_threshold()).to(device)
    return IdentityScorer(name, load_file(MEANS_PATH)[name]).to(device)


def _measured_threshold() -> float:
    """Of faces at full variety (ψ = 1)."""
    return load_json("identity_threshold.json")["psi"]["1.0"]["threshold"]
