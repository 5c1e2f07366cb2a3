"""EfficientNet-Lite0: what is in an image, as a vector of 1,280 numbers that knows no faces.

Trained on ImageNet (Tan and Le, 2019; the Lite variant, Apache-2.0). Here it serves where a second
opinion is needed: Fréchet distances, and probes that nothing was learned with.
"""

from __future__ import annotations

from torch import Tensor, nn

from facenb.assets.converted import load_net
from facenb.errors import check_images
from facenb.scorers.nets.human import check_square
from facenb.scorers.nets.layers import Conv, resize


class EfficientNetLite0(nn.Module):
    """forward: images (N, 3, S, S) in [−1, 1] → (N, 1280), the mean over the last feature map.

    Pixels in 0..255 are brought to 224 × 224 and to (x − 127) / 128, as in training.
    """

    native = 224

    def __init__(self) -> None:
        super().__init__()
        tensors, graph = load_net("efficientnet-lite0")

        def conv(name: str, stride: int = 1, activation: str | None = "relu6") -> Conv:
            weight, depthwise = tensors[f"{name}.weight"], name.endswith("depthwise")
            kernel = weight.permute((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            bias = tensors[f"{name}.bias"]
            return Conv(kernel, bias, stride=stride, activation=activation, depthwise=depthwise)

        self.stem, self.head = conv("stem", stride=2), conv("head")
        self.blocks = nn.ModuleList()
        for index, stride in enumerate(graph["strides"]):
            expand = [conv(f"{index}.expand")] if f"{index}.expand.weight" in tensors else []
            spread, project = conv(f"{index}.depthwise", stride), conv(f"{index}.project", 1, None)
            self.blocks.append(nn.Sequential(*expand, spread, project))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images)[-1]).mean((2, 3))

    def maps(self, images: Tensor) -> list[Tensor]:
        """The outputs of the 16 blocks, from (N, 16, 112, 112) to (N, 320, 7, 7)."""
        check_images(images)
        check_square(images)
        pixels = resize((images.float() + 1) * 127.5, self.native)
        x = self.stem((pixels - 127) / 128)
        maps = []
        for block in self.blocks:
            y = block(x)
            x = y + x if y.shape == x.shape else y
            maps.append(x)
        return maps
