"""The nets behind the scores: each takes images and returns the scores that it yields, by name.

Images are (N, 3, S, S) in [−1, 1] with any side S; each net brings them to its native size and to
the pixel values that it was trained on. The framing is that of DigiFace crops: a face that fills
the picture, so no face detector runs. `Faceres` reads the probes that
train_probes.py wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from facenb.assets import asset_path
from facenb.scorers.faceapi import EXPRESSIONS, DenseNet, load_weights
from facenb.scorers.layers import resize
from facenb.scorers.tfjs import GraphNet, read_weights

PROBES_PATH = Path(__file__).resolve().parent.parent / "data" / "probes.safetensors"


def check_square(images: Tensor) -> None:
    """Raise ValueError unless the images are square with a side of 32 or more."""
    height, width = images.shape[2:]
    if height != width or height < 32:
        raise ValueError(
            f"images: expected square ones with a side of at least 32, given {height}x{width}."
        )


def _graph(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A packaged graph model and its weights, as GraphNet takes them."""
    model = json.loads(asset_path(f"human/{name}.json").read_text())
    path = asset_path(f"human/{name}.bin")
    return model, read_weights(model["weightsManifest"], path.read_bytes(), str(path))


class Pixels(nn.Module):
    """Brightness: mean luma (ITU-R BT.601), 0 black to 1 white. Warmth: mean of red − blue.

    Both over the whole picture, background too, from pixel values in 0..1 as they are stored.
    """

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        red, green, blue = ((images + 1) / 2).mean((2, 3)).unbind(1)
        return {
            "brightness": 0.299 * red + 0.587 * green + 0.114 * blue,
            "warmth": red - blue,
        }


class Facemesh(nn.Module):
    """MediaPipe's face mesh: 468 points in 3-D and how sure it is that there is a face.

    x runs to the viewer's right, y down, z away from the camera, all in pixels of the 192-pixel
    input. Angles are read from two lines across the face: between the cheeks at the ears
    (points 234, 454) and from the top of the forehead to the chin (10, 152).
    """

    native = 192

    def __init__(self) -> None:
        super().__init__()
        outputs = ["Identity_2", "StatefulPartitionedCall/model_1/conv2d_31/BiasAdd"]
        self.net = GraphNet(*_graph("facemesh"), outputs)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        mesh, flag = self.net(resize((images + 1) / 2, self.native))
        points = mesh.view(-1, 468, 3)
        across = points[:, 454] - points[:, 234]
        down = points[:, 152] - points[:, 10]
        return {
            "yaw": torch.rad2deg(torch.atan2(across[:, 2], across[:, 0])),
            "pitch": torch.rad2deg(torch.atan2(down[:, 2], down[:, 1])),
            "quality": flag.flatten(),
        }


class Landmarks(nn.Module):
    """face-api's 68 points: how far the mouth is open.

    The net expects a tight crop; it gets rows 14–64 and columns 7–57 of 64. The opening is the
    distance between the inner lips (points 62, 66) in units of the distance from the bridge of the
    nose to the chin (27, 8).
    """

    native = 112

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(load_weights("face_landmark_68"))

    def points(self, images: Tensor) -> Tensor:
        """The points (N, 68, 2), x then y, 0..1 from the picture's left and upper edge."""
        side = images.shape[-1]
        top, left, size = (round(part * side / 64) for part in (14, 7, 50))
        crop = images[:, :, top : top + size, left : left + size]
        points = self.net(resize((crop + 1) * 127.5, self.native)).view(-1, 68, 2)
        return (points * size + points.new_tensor([left, top])) / side

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points = self.points(images)
        opening = torch.linalg.vector_norm(points[:, 62] - points[:, 66], dim=1)
        height = torch.linalg.vector_norm(points[:, 27] - points[:, 8], dim=1)
        return {"mouth_open": opening / height}


class Expressions(nn.Module):
    """face-api's seven expressions: log-odds of happy and of surprised against the other six.

    The log-odds of the softmax do not saturate, as probabilities do on most pictures.
    """

    native = 112

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(load_weights("face_expression"))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.net(resize((images + 1) * 127.5, self.native))
        return {
            "smile": _log_odds(logits, EXPRESSIONS.index("happy")),
            "surprise": _log_odds(logits, EXPRESSIONS.index("surprised")),
        }


def _log_odds(logits: Tensor, index: int) -> Tensor:
    others = torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
    return logits[:, index] - others.logsumexp(1)


class _MobileNet(nn.Module):
    """HSE's net itself: pixels (N, 3, 224, 224) → embedding, gender logit, probabilities of ages.

    The feature maps of its first eight layers are twenty times as large as those of the others.
    They are made for a few pictures at a time, so that they stay in the core's own cache, which
    saves a quarter of the whole.
    """

    cut = "conv_dw_4_relu/clip_by_value"  # maps of 28 × 28 from here on

    def __init__(self) -> None:
        super().__init__()
        graph = _graph("faceres")
        outputs = ["global_pooling/Mean", "gender_pred/BiasAdd", "age_pred/Softmax"]
        self.first = GraphNet(*graph, [self.cut])
        self.rest = GraphNet(*graph, outputs, source=self.cut)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        few = 2 * torch.get_num_threads() if pixels.device.type == "cpu" else len(pixels)
        return self.rest(torch.cat([self.first(part)[0] for part in pixels.split(few)]))


class FaceEmbedding(nn.Module):
    """HSE's MobileNet. forward: embedding (N, 1024), gender logit (N,), age in years (N,).

    Its authors trained it on blue-green-red pixels less a mean colour; its packager's own library
    feeds it plain red-green-blue. On the labelled samples the authors' way is the better one
    (probes: cross-validated AUC .97 to .98 against .94 to .97; gender logit against beard: .74
    against .67), so it is the one here. Age is the expectation over the net's 100
    classes of a year each.
    """

    native = 224
    mean = (103.939, 116.779, 123.68)  # blue, green, red, in 0..255

    def __init__(self) -> None:
        super().__init__()
        self.net = _MobileNet()
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1))
        self.register_buffer("_years", torch.arange(100.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = (images.flip(1) + 1) * 127.5 - self._mean
        embedding, gender, age = self.net(resize(pixels, self.native))
        return embedding, gender.flatten(), age @ self._years


class Faceres(nn.Module):
    """Gender and age from the MobileNet; glasses, hat and beard from our probes on its embedding.

    A probe is one affine map of the embedding, in log-odds (train_probes.py).
    """

    probes = ("glasses", "hat", "beard")

    def __init__(self) -> None:
        super().__init__()
        self.embed = FaceEmbedding()
        tensors = load_file(PROBES_PATH)
        self.register_buffer("_weight", torch.stack([tensors[f"{p}/weight"] for p in self.probes]))
        self.register_buffer("_bias", torch.stack([tensors[f"{p}/bias"] for p in self.probes]))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        embedding, gender, age = self.embed(images)
        logits = F.linear(embedding, self._weight, self._bias)
        probed = dict(zip(self.probes, logits.unbind(1), strict=True))
        return {"gender": gender, "age": age, **probed}


# net → how to build it, and the outside files that decide what it says
NETS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "pixels": (Pixels, ()),
    "facemesh": (Facemesh, ("human/facemesh.json", "human/facemesh.bin")),
    "face_landmark_68": (
        Landmarks,
        (
            "face-api/face_landmark_68_model-weights_manifest.json",
            "face-api/face_landmark_68_model.bin",
        ),
    ),
    "face_expression": (
        Expressions,
        (
            "face-api/face_expression_model-weights_manifest.json",
            "face-api/face_expression_model.bin",
        ),
    ),
    "faceres": (Faceres, ("human/faceres.json", "human/faceres.bin")),
}
