"""The nets that a suite can run, by framing: how each is built, and which files decide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from facenb.scorers.independent import IndependentAgeGender, IndependentExpressions
from facenb.scorers.nets import human
from facenb.scorers.nets.face_mesh import FaceMeshScores
from facenb.scorers.nets.human import Faceres, Probes
from facenb.scorers.nets.object_probes import ObjectProbes

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


def _face_api(name: str) -> tuple[str, str]:
    return f"face-api/{name}_model-weights_manifest.json", f"face-api/{name}_model.bin"


def _probed(
    kind: Callable[[Probes], nn.Module], probes: str, embedding: str, **files: object
) -> Net:
    path = PROBES[probes]
    return Net(lambda: kind(Probes(path, embedding)), data=(path,), **files)


_FACERES = {"assets": ("human/faceres.json", "human/faceres.bin")}
_EFFICIENTNET = {"converted": ("efficientnet-lite0",)}
_PIXELS = Net(human.Pixels)
_LANDMARKS = Net(human.Landmarks, _face_api("face_landmark_68"))

NETS: dict[str, dict[str, Net]] = {
    "digiface": {
        "pixels": _PIXELS,
        "facemesh": Net(human.Facemesh, ("human/facemesh.json", "human/facemesh.bin")),
        "face_landmark_68": _LANDMARKS,
        "face_expression": Net(human.Expressions, _face_api("face_expression")),
        "faceres": _probed(Faceres, "digiface", "", **_FACERES),
    },
    "ffhq": {
        "pixels": _PIXELS,
        "face_mesh": Net(FaceMeshScores, converted=("face-mesh", "face-blendshapes")),
        "face_landmark_68": _LANDMARKS,  # of no score, but a condition (facenb.scorers.conditions)
        "faceres": _probed(Faceres, "ffhq", "faceres", **_FACERES),
        "efficientnet": _probed(ObjectProbes, "ffhq", "efficientnet", **_EFFICIENTNET),
    },
    # never used for learning
    "independent": {
        "age_gender": Net(IndependentAgeGender, converted=("age-gender",)),
        "face_expression": Net(IndependentExpressions, _face_api("face_expression")),
        "face_landmark_68": _LANDMARKS,
        "faceres": _probed(Faceres, "independent", "faceres", **_FACERES),
        "efficientnet": _probed(ObjectProbes, "independent", "efficientnet", **_EFFICIENTNET),
    },
}
