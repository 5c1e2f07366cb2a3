"""The nets that a suite can run, by framing: how each is built, and which files decide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from facenb.scorers import nets
from facenb.scorers.age_gender import AgeGender
from facenb.scorers.efficientnet import EfficientNetLite0
from facenb.scorers.face_mesh import FaceMeshScores
from facenb.scorers.nets import Faceres, Probes

_DATA = Path(__file__).resolve().parent.parent / "data"
PROBES = {
    "digiface": _DATA / "probes.safetensors",
    "ffhq": _DATA / "probes_ffhq.safetensors",
    "independent": _DATA / "probes_ffhq_independent.safetensors",
}


@dataclass(frozen=True)
class Net:
    """How one net is built, and what its scores depend on.

    Attributes:
        build: makes the module: images (N, 3, S, S) cut out for it → scores (N,) by name. Its
            `native` is the side that it wants, None for any.
        assets: outside files, as facenb.assets names them.
        converted: outside nets, as facenb.assets.converted names them.
        data: files of the package.
    """

    build: Callable[[], nn.Module]
    assets: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()


class ObjectProbes(nn.Module):
    """What our probes read from EfficientNet's embedding, which knows hats and hair, no faces."""

    native = EfficientNetLite0.native

    def __init__(self, probes: Probes) -> None:
        super().__init__()
        self.embed, self.probes = EfficientNetLite0(), probes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.probes(self.embed(images))


class IndependentAgeGender(nn.Module):
    """Age and gender by nets that nothing is learned with, for images framed like FFHQ's.

    The nets cut a face out by five points; under FFHQ's alignment these are always about the same,
    and so their means over 464 generated faces serve for all.
    """

    native = 256
    points = ((0.330, 0.473), (0.434, 0.480), (0.565, 0.480), (0.669, 0.472), (0.498, 0.653))

    def __init__(self) -> None:
        super().__init__()
        self.net = AgeGender()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points = images.new_tensor(self.points).expand(len(images), -1, -1)
        age, gender = self.net(images, points)
        return {"age": age, "gender": gender}


def _face_api(name: str) -> tuple[str, str]:
    return f"face-api/{name}_model-weights_manifest.json", f"face-api/{name}_model.bin"


def _probed(
    kind: Callable[[Probes], nn.Module], probes: str, embedding: str, **files: object
) -> Net:
    path = PROBES[probes]
    return Net(lambda: kind(Probes(path, embedding)), data=(path,), **files)


_FACERES = {"assets": ("human/faceres.json", "human/faceres.bin")}
_EFFICIENTNET = {"converted": ("efficientnet-lite0",)}
_PIXELS = Net(nets.Pixels)
_LANDMARKS = Net(nets.Landmarks, _face_api("face_landmark_68"))
_EXPRESSIONS = Net(nets.Expressions, _face_api("face_expression"))

NETS: dict[str, dict[str, Net]] = {
    "digiface": {
        "pixels": _PIXELS,
        "facemesh": Net(nets.Facemesh, ("human/facemesh.json", "human/facemesh.bin")),
        "face_landmark_68": _LANDMARKS,
        "face_expression": _EXPRESSIONS,
        "faceres": _probed(Faceres, "digiface", "", **_FACERES),
    },
    "ffhq": {
        "pixels": _PIXELS,
        "face_mesh": Net(FaceMeshScores, converted=("face-mesh", "face-blendshapes")),
        "face_landmark_68": _LANDMARKS,  # of no score, but a condition (facenb.conditions)
        "faceres": _probed(Faceres, "ffhq", "faceres", **_FACERES),
        "efficientnet": _probed(ObjectProbes, "ffhq", "efficientnet", **_EFFICIENTNET),
    },
    # never used for learning
    "independent": {
        "age_gender": Net(IndependentAgeGender, converted=("age-gender",)),
        "face_expression": _EXPRESSIONS,
        "face_landmark_68": _LANDMARKS,
        "faceres": _probed(Faceres, "independent", "faceres", **_FACERES),
        "efficientnet": _probed(ObjectProbes, "independent", "efficientnet", **_EFFICIENTNET),
    },
}
