"""SFace: whose face is it? 128 numbers from an aligned face.

Zhong et al., SFace: Sigmoid-Constrained Hypersphere Loss (2021); a MobileNet, from OpenCV's zoo
(Apache-2.0), with weights in int8 that are expanded at set-up. Recognition nets were trained on
photographs of people who were not asked: for research and teaching.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import load_net
from facenb.scorers.nets.folded import Folded, channels_last, check_native


class SFace(nn.Module):
    """forward: pixels (N, 3, 112, 112), red-green-blue in 0..255 → (N, 128), not normalised.

    The face has to be aligned (facenb.scorers.alignment.align_faces). The cosine of two outputs
    says whether the persons are the same; OpenCV takes .363 and more for "yes".
    """

    native = 112

    def __init__(self) -> None:
        super().__init__()
        tensors, graph = load_net("sface")
        self.layers = nn.ModuleList()
        for name, stride in graph["layers"]:
            padding = tensors[f"{name}.weight"].shape[-1] // 2
            self.layers.append(Folded(tensors, name, stride, padding))
            self.layers[-1].register_buffer("slope", tensors[f"{name}.slope"].clone())
        self.register_buffer("head", tensors["fc.weight"])
        self.register_buffer("bias", tensors["fc.bias"])
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        check_native(pixels, self.native, "pixels")
        x = channels_last((pixels - 127.5) / 128)
        for layer in self.layers:
            x = F.prelu(layer(x), layer.slope)
        return F.linear(x.flatten(1), self.head, self.bias)
