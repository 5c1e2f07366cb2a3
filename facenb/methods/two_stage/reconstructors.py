"""Reconstructors: two images in, which direction lies between them and how far (Voynov §3).

The two images are stacked into 6 channels; a convolutional trunk sees both, and two heads give the
logits of the m directions and the shift along the direction.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.errors import unknown
from facenb.seeds import seeded

_LENET_WIDTH = 2  # the published code's multiple of LeNet's own channels


class Reconstructor(nn.Module):
    """images before and after, (N, 3, H, W) each → logits (N, m), shifts (N,).

    `trunk` takes (N, 6, H, W) to features (N, F, h, w), which are averaged over the image, so
    that any size will do from `smallest` pixels a side on; `direction` and `shift` are the heads.
    With `normalise`, each channel of each image has mean 0 and standard deviation 1 first.
    """

    name: str
    smallest: int
    normalise: bool = False

    def __init__(self, trunk: nn.Module, direction: nn.Module, shift: nn.Module) -> None:
        super().__init__()
        self.trunk, self.direction, self.shift = trunk, direction, shift

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        if before.shape != after.shape or before.ndim != 4 or before.shape[1] != 3:
            raise ValueError(
                f"{self.name}: expected two batches of images (N, 3, H, W) alike, "
                f"given {tuple(before.shape)} and {tuple(after.shape)}."
            )
        if min(before.shape[2:]) < self.smallest:
            raise ValueError(
                f"{self.name}: expected images of at least {self.smallest} pixels a side, "
                f"given {tuple(before.shape[2:])}."
            )
        if self.normalise:
            before, after = F.instance_norm(before), F.instance_norm(after)
        pair = torch.cat([before, after], dim=1).contiguous(memory_format=torch.channels_last)
        features = self.trunk(pair).mean(dim=(2, 3))
        return self.direction(features), self.shift(features).squeeze(1)


class ResNet18(Reconstructor):
    """ResNet-18 (He et al., 2016) on 6 channels, from random weights.

    Args:
        count: m directions to tell apart.
        width: multiple of its 64 to 512 channels; 0.25 for a laptop.
    """

    name, smallest = "resnet18", 1

    def __init__(self, count: int, width: float = 1.0) -> None:
        first, *_, last = channels = [max(1, round(c * width)) for c in (64, 64, 128, 256, 512)]
        trunk = nn.Sequential(
            nn.Conv2d(6, first, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            *(
                _Residual(channels[i + (j > 0)], channels[i + 1], 2 if i and not j else 1)
                for i in range(4)
                for j in range(2)
            ),
        )
        super().__init__(trunk, nn.Linear(last, count), nn.Linear(last, 1))


class LeNet(Reconstructor):
    """LeNet (LeCun et al., 1998) at twice its channels, on 6: the published code's small option.

    Some 70,000 parameters, where ResNet-18 has 11 million.
    """

    name, smallest = "lenet", 32

    def __init__(self, count: int, width: float = 1.0) -> None:
        a, b, c, hidden = (round(n * _LENET_WIDTH * width) for n in (3, 8, 60, 42))
        trunk = nn.Sequential(
            *_stage(6, a), nn.MaxPool2d(2), *_stage(a, b), nn.MaxPool2d(2), *_stage(b, c)
        )
        super().__init__(trunk, _two_layers(c, hidden, count), _two_layers(c, hidden, 1))


RECONSTRUCTORS = {net.name: net for net in (ResNet18, LeNet)}


def make_reconstructor(
    name: str, count: int, width: float = 1.0, seed: int = 0, normalise: bool = False
) -> Reconstructor:
    """A reconstructor in channels-last layout, its weights drawn with `seed` and with nothing else.

    torch's own random state is neither used nor changed. UnknownNameError for another name.
    """
    if name not in RECONSTRUCTORS:
        raise unknown("reconstructor", name, RECONSTRUCTORS)
    if not width > 0:
        raise ValueError(f"reconstructor {name!r}: expected width > 0, given {width}.")
    with torch.device("meta"):  # no memory yet, and so no random numbers
        network = RECONSTRUCTORS[name](count, width)
    network.normalise = normalise
    network.to_empty(device="cpu")
    random = seeded(seed)
    for module in network.modules():
        _initialise(module, random)
    return network.to(memory_format=torch.channels_last)


class _Residual(nn.Module):
    """Two 3 × 3 convolutions and a way around them: ResNet's basic block."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.around = nn.Identity()
        if stride > 1 or n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.around = nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu_()
        y = self.norm2(self.conv2(y))
        return (y + self.around(x)).relu_()


def _stage(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, 5), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)


def _two_layers(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, n_out)
    )


@torch.no_grad()
def _initialise(module: nn.Module, random: torch.Generator) -> None:
    """He's initialisation for convolutions; the usual ±1/√fan-in for everything else."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.reset_parameters()
        return
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    bound = 1 / math.sqrt(module.weight[0].numel())
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=random)
    else:
        module.weight.uniform_(-bound, bound, generator=random)
    if module.bias is not None:
        module.bias.uniform_(-bound, bound, generator=random)
