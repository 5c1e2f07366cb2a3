"""The nets behind the scores: each takes images and returns the scores that it yields, by name.

Images are (N, 3, S, S) in [−1, 1], cut out as the net wants them (`facenb.scorers.framing`), with
any side S; each net brings them to its `native` size and to the pixel values that it was trained
on. The mesh that is made for photographs has a module of its own (`face_mesh`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from facenb.assets import asset_path
from facenb.scorers.nets.faceapi import EXPRESSIONS, DenseNet, load_weights
from facenb.scorers.nets.layers import resize
from facenb.scorers.nets.tfjs import GraphNet, read_weights


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

    Both over the whole image, background too, from pixel values in 0..1 as they are stored.
    """

    native = None  # any size

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
        mesh, flag = self.net((resize(images, self.native) + 1) / 2)
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

    The net expects a tight crop. The opening is the distance between the inner lips (points 62, 66)
    in units of the distance from the bridge of the nose to the chin (27, 8).
    """

    native = 112

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(load_weights("face_landmark_68"))

    def points(self, images: Tensor) -> Tensor:
        """The points (N, 68, 2), x then y, 0..1 from the given images' left and upper edge."""
        return self.net((resize(images, self.native) + 1) * 127.5).view(-1, 68, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points = self.points(images)
        opening = torch.linalg.vector_norm(points[:, 62] - points[:, 66], dim=1)
        height = torch.linalg.vector_norm(points[:, 27] - points[:, 8], dim=1)
        return {"mouth_open": opening / height}


class Expressions(nn.Module):
    """face-api's seven expressions: log-odds of happy and of surprised against the other six.

    The log-odds of the softmax do not saturate, as probabilities do on most images.
    """

    native = 112

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(load_weights("face_expression"))

    def logits(self, images: Tensor) -> Tensor:
        """(N, 7), in the order of EXPRESSIONS."""
        return self.net((resize(images, self.native) + 1) * 127.5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.logits(images)
        return {
            "smile": log_odds(logits, EXPRESSIONS.index("happy")),
            "surprise": log_odds(logits, EXPRESSIONS.index("surprised")),
        }


def log_odds(logits: Tensor, index: int) -> Tensor:
    """Of one class against the others: logits (N, C) → (N,)."""
    others = torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
    return logits[:, index] - others.logsumexp(1)


class _MobileNet(nn.Module):
    """HSE's net itself: pixels (N, 3, 224, 224) → embedding, gender logit, probabilities of ages.

    The feature maps of its first eight layers are twenty times as large as those of the others.
    They are made for a few images at a time, so that they stay in the core's own cache, which
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
        pixels = (resize(images, self.native).flip(1) + 1) * 127.5 - self._mean
        embedding, gender, age = self.net(pixels.contiguous(memory_format=torch.channels_last))
        return embedding, gender.flatten(), age @ self._years


class Probes(nn.Module):
    """Logistic probes on an embedding: forward (N, d) → log-odds (N,) by name.

    A probe is one affine map (train_probes.py).

    Args:
        path: a file that train_probes.py wrote.
        embedding: the embedding whose probes to take, where the file has those of several.
    """

    def __init__(self, path: Path, embedding: str = "") -> None:
        super().__init__()
        prefix = f"{embedding}/" if embedding else ""
        with safe_open(path, "pt") as file:
            keys = sorted(key for key in file.keys() if key.startswith(prefix))
            weights = {key: file.get_tensor(key) for key in keys}
        self.names = tuple(k[len(prefix) : -len("/bias")] for k in keys if k.endswith("/bias"))
        rows = [(weights[f"{prefix}{n}/weight"], weights[f"{prefix}{n}/bias"]) for n in self.names]
        self.register_buffer("_weight", torch.stack([weight for weight, _ in rows]))
        self.register_buffer("_bias", torch.stack([bias for _, bias in rows]))

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        logits = F.linear(embedding, self._weight, self._bias)
        return dict(zip(self.names, logits.unbind(1), strict=True))


class Faceres(nn.Module):
    """Gender and age from the MobileNet, and what our probes read from its embedding."""

    native = FaceEmbedding.native

    def __init__(self, probes: Probes) -> None:
        super().__init__()
        self.embed, self.probes = FaceEmbedding(), probes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        embedding, gender, age = self.embed(images)
        return {"gender": gender, "age": age, **self.probes(embedding)}
