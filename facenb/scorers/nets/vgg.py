"""VGG distance (HED): how different two images look to a VGG16.

The convolutions are those of a VGG16 (Simonyan and Zisserman, 2015) that was trained on ImageNet
and then, inside HED (Xie and Tu, 2015), for edges. The distance is built as in Zhang et al. (2018),
equation 1, with all weights one: the learned weights of LPIPS belong to another VGG16, and this is
not LPIPS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import load_net
from facenb.errors import check_images
from facenb.scorers.nets.folded import Folded, channels_last

_BLOCKS = (2, 2, 3, 3, 3)  # convolutions
_MEAN = (104.00699, 116.66877, 122.67892)  # blue, green, red, as HED subtracts them


class VGGDistance(nn.Module):
    """forward: images a, b (N, 3, H, W) in [−1, 1] → (N,), 0 for equal ones; differentiable.

    Five maps, after the last convolution of each block (conv1_2 … conv5_3), each position's
    channels brought to length one; the squared differences are summed over channels, averaged over
    positions, and summed over the maps. Sides of 32 and more.

    `VGGDistance().bfloat16()` convolves in that precision, several times faster on processors that
    have it; the distance changes by a thousandth of itself, and of nearly equal images by .0005.
    """

    def __init__(self) -> None:
        super().__init__()
        tensors, _ = load_net("vgg16-hed")
        self.blocks = nn.ModuleList(
            nn.ModuleList(Folded(tensors, f"conv{block}_{i + 1}", 1, 1) for i in range(count))
            for block, count in enumerate(_BLOCKS, start=1)
        )
        self.eval()

    def maps(self, images: Tensor) -> list[Tensor]:
        """The five maps of images in [−1, 1] as the net has them, (N, C, h, w), at least 0."""
        check_images(images)
        if min(images.shape[2:]) < 32:
            raise ValueError(
                f"images: expected sides of 32 and more, given {tuple(images.shape[2:])}."
            )
        mean = torch.tensor(_MEAN, device=images.device).view(1, 3, 1, 1)
        x = channels_last((images.float().flip(1) + 1) * 127.5 - mean)
        x = x.to(self.blocks[0][0].weight.dtype)
        maps = []
        for block in self.blocks:
            if maps:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for layer in block:
                x = F.relu_(layer(x))
            maps.append(x)
        return maps

    def features(self, images: Tensor) -> list[Tensor]:
        """The five maps with channels of length one at each position.

        Where one image is compared many times, keep its features and call `distance`.
        """
        return [F.normalize(x.float(), dim=1) for x in self.maps(images)]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """The distance (N,) between two results of `features`."""
        return torch.stack(
            [(p - q).square().sum(1).mean((1, 2)) for p, q in zip(a, b, strict=True)]
        ).sum(0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distance(self.features(a), self.features(b))
