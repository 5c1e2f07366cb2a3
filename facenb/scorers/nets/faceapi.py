"""The nets of @vladmandic/face-api that facenb uses, as torch modules.

Two small densely connected nets on 112 × 112 crops (68 landmarks; seven expressions) and a
ResNet-34-like net on 150 × 150 crops whose 128 numbers tell people apart (dlib's, converted). Each
takes pixels in 0..255, as (N, 3, H, W), at its native size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets import asset_path
from facenb.scorers.nets.layers import Conv, Dense
from facenb.scorers.nets.tfjs import read_weights

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")

# Mean colour that was subtracted in training, in 0..255.
_MEAN = (122.782, 117.001, 104.298)


def load_weights(net: str) -> dict[str, Tensor]:
    """The dequantised weights of a face-api net, e.g. "face_landmark_68"."""
    manifest = json.loads(asset_path(f"face-api/{net}_model-weights_manifest.json").read_text())
    path = asset_path(f"face-api/{net}_model.bin")
    return read_weights(manifest, path.read_bytes(), str(path))


def _centre(pixels: Tensor) -> Tensor:
    mean = torch.tensor(_MEAN, dtype=pixels.dtype, device=pixels.device)
    return (pixels - mean.view(1, 3, 1, 1)) / 255


class DenseNet(nn.Module):
    """Landmarks and expressions: four blocks, each halving the side and doubling the channels.

    Within a block every layer sees the sum of all layers before it. forward: pixels
    (N, 3, 112, 112) in 0..255 → (N, outputs), linear.
    """

    native = 112

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                _separable(weights, f"dense{block}/conv{i}", stride=2 if i == 0 else 1)
                for i in range(4)
            )
            for block in range(4)
        )
        self.head = Dense(weights["fc/weights"], weights["fc/bias"])
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = _centre(pixels)
        for first, *others in self.blocks:
            total = x = F.relu_(first(x))
            for layer in others:
                total = layer(x).add_(total)  # in place: nothing but this line has seen layer(x)
                x = F.relu(total)
        # 7 × 7 by now: face-api's 7-wide average pooling is the mean
        return self.head(x.mean((2, 3)))


def _separable(weights: Mapping[str, Tensor], name: str, stride: int) -> nn.Module:
    """A depthwise and a pointwise convolution; the very first layer is an ordinary one."""
    bias = weights[f"{name}/bias"]
    if f"{name}/filters" in weights:
        return Conv(weights[f"{name}/filters"], bias, stride=stride)
    return nn.Sequential(
        Conv(weights[f"{name}/depthwise_filter"], stride=stride, depthwise=True),
        Conv(weights[f"{name}/pointwise_filter"], bias),
    )


class Recognition(nn.Module):
    """Identity: pixels (N, 3, 150, 150) in 0..255 → (N, 128), not normalised.

    face-api divides by 255 where dlib divided by 256; this follows face-api.
    """

    native = 150

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _scaled(weights, "conv32_down", stride=2, padding="valid", relu=True)
        # the manifest lists the blocks in the order in which they run
        names = dict.fromkeys(k.split("/")[0] for k in weights if "/conv1/" in k)
        self.blocks = nn.ModuleList(_Residual(weights, name) for name in names)
        self.register_buffer("head", weights["fc"].clone())
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(_centre(pixels)), 3, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3)) @ self.head


class _Residual(nn.Module):
    """Two 3 × 3 convolutions beside the identity; a "down" block halves the side.

    Its shortcut is an average pooling, zero-padded in channels; where the convolutions give a map
    one smaller than the shortcut, they are zero-padded at the bottom and the right.
    """

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.down = "down" in name
        stride, padding = (2, "valid") if self.down else (1, "same")
        self.conv1 = _scaled(weights, f"{name}/conv1", stride=stride, padding=padding, relu=True)
        self.conv2 = _scaled(weights, f"{name}/conv2", stride=1, padding="same", relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        if self.down:
            x = F.avg_pool2d(x, 2)
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)


def _scaled(
    weights: Mapping[str, Tensor], name: str, *, stride: int, padding: str, relu: bool
) -> Conv:
    """A convolution with the per-channel scale and offset that follow it folded in."""
    conv = Conv(
        weights[f"{name}/conv/filters"],
        weights[f"{name}/conv/bias"],
        stride=stride,
        padding=padding,
        activation="relu" if relu else None,
    )
    conv.scale_(weights[f"{name}/scale/weights"])
    conv.shift_(weights[f"{name}/scale/biases"])
    return conv
