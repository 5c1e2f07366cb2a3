"""Small pictures from a style-based generator's inner feature maps, by learned networks.

MobileStyleGAN spends most of its time on maps of 256 and 512 pixels. A picture of 256 pixels needs
little of what they add: a head takes the feature maps of 128 × 128 and paints it; another paints 64
pixels from those of 32 × 32. Each was trained on the generator's own pictures
(scripts/train_heads.py); their errors stand in docs/model_cards.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from facenb.data import data_path

_SLOPE = 0.2
_W = 512
_RANK = 128


@dataclass(frozen=True)
class HeadLayout:
    """A head's shape. Its picture has twice the side of the maps that it reads.

    Attributes:
        side, channels: of the feature maps that it reads.
        width: of its own feature maps.
        codes: which of the 23 codes of w+ drive its layers: first, two residual ones, skip, paint.
        noise: which of the network's noise maps it is given, those of 2·side pixels.
    """

    side: int
    channels: int
    width: int
    codes: tuple[int, ...]
    noise: tuple[int, int]


# Codes and noise are those of the network's layers that a head stands for.
LAYOUTS = {
    64: HeadLayout(side=32, channels=512, width=128, codes=(10, 11, 12, 22, 17), noise=(7, 8)),
    256: HeadLayout(side=128, channels=256, width=48, codes=(16, 17, 18, 22, 20), noise=(11, 12)),
}


class Head(nn.Module):
    """Feature maps (N, C, S, S) and codes (N, 23, 512) → pictures (N, 3, 2S, 2S).

    The maps are whitened (a fixed rotation and scale, without which training crawls), then
    modulated by w and mixed: to the head's own maps, and to the four pixels of the picture. Two
    residual layers, modulated too, add what is missing. The network's noise maps go into the
    second: with one fixed noise, much of the fine texture is where they put it.
    """

    def __init__(self, layout: HeadLayout) -> None:
        super().__init__()
        self.layout, channels, width = layout, layout.channels, layout.width
        self.register_buffer("whiten", torch.eye(channels))
        self.register_buffer("w_avg", torch.zeros(_W))
        self.first = nn.Conv2d(channels, width, 1)
        self.skip = nn.Conv2d(channels, 12, 1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.grain = nn.Conv2d(4 * len(layout.noise), width, 3, padding=1, bias=False)
        self.paint = nn.Conv2d(width, 12, 3, padding=1)
        self.styles = nn.ModuleList(map(_style, (channels, width, width, channels, width)))
        with torch.no_grad():
            self.paint.weight.mul_(0.1)

    def forward(self, x: Tensor, codes: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Float32 pictures, about [−1, 1] but not bounded.

        Args:
            x: (N, C, S, S), channels-last.
            codes: (N, 512) or (N, 23, 512).
            noise: the network's noise maps, (1, 1, S, S) or None for none.
        """
        codes = codes[:, None] if codes.ndim == 2 else codes
        styles = [
            style(codes[:, min(code, codes.shape[1] - 1)] - self.w_avg)
            for style, code in zip(self.styles, self.layout.codes, strict=True)
        ]
        mixed = self._mix(x, styles[0], styles[3])
        h = F.leaky_relu(mixed[:, :-12], _SLOPE)
        h = F.leaky_relu(h + _convolved(self.body[0], _styled(h, styles[1])), _SLOPE)
        h = h + _convolved(self.body[1], _styled(h, styles[2])) + self._grain(noise).to(h.dtype)
        pixels = _convolved(self.paint, _styled(F.leaky_relu(h, _SLOPE), styles[4])).float()
        return F.pixel_shuffle(mixed[:, -12:].float() + pixels, 2)

    def _grain(self, noise: Sequence[Tensor | None]) -> Tensor:
        """What the noise maps add to the second residual layer, (1, width, S, S)."""
        size = 2 * self.layout.side
        empty = self.w_avg.new_zeros(1, 1, size, size)
        given = [empty if noise[i] is None else noise[i] for i in self.layout.noise]
        return self.grain(F.pixel_unshuffle(torch.cat(given, 1), 2))

    def _mix(self, x: Tensor, style: Tensor, skip_style: Tensor) -> Tensor:
        """The first layer and the skip (N, width + 12, side, side), in one product a picture."""
        weight = torch.cat(
            [
                self.first.weight.flatten(1) * style[:, None],
                self.skip.weight.flatten(1) * skip_style[:, None],
            ],
            dim=1,
        )
        weight = (weight @ self.whiten).to(x.dtype)  # (N, width + 12, 512)
        bias = torch.cat([self.first.bias, self.skip.bias]).to(x.dtype)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view of channels-last maps
        y = torch.baddbmm(bias, pixels, weight.transpose(1, 2))
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def _styled(x: Tensor, style: Tensor) -> Tensor:
    """x (N, C, S, S) times the factor of every channel (N, C)."""
    return x * style.to(x.dtype)[:, :, None, None]


def _convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution in the precision of x, which may be bfloat16."""
    return F.conv2d(x, conv.weight.to(x.dtype), conv.bias.to(x.dtype), padding=conv.padding)


def _style(channels: int) -> nn.Sequential:
    """w (N, 512) → factors (N, channels), of a rank that keeps the file small; 1 at the start."""
    style = nn.Sequential(nn.Linear(_W, _RANK, bias=False), nn.Linear(_RANK, channels))
    nn.init.zeros_(style[1].weight)
    nn.init.ones_(style[1].bias)
    return style


class Heads(nn.Module):
    """The heads of a generator: pictures of 64, 128 and 256 pixels; 128 is 256 averaged."""

    sizes = (64, 128, 256)

    def __init__(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for size, layout in LAYOUTS.items():
            self.heads[str(size)] = Head(layout)
            self.heads[str(size)].load_state_dict(states[str(size)])
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def side_for(self, size: int) -> int:
        """The side of the feature maps that a picture of `size` is made from."""
        return self._head(size).layout.side

    def forward(
        self, features: Tensor, codes: Tensor, noise: Sequence[Tensor | None], size: int
    ) -> Tensor:
        """Pictures (N, 3, size, size) from maps (N, 512, side, side), codes of w or w+, noise."""
        images = self._head(size)(features, codes, noise)
        return images if images.shape[-1] == size else F.avg_pool2d(images, 2)

    def _head(self, size: int) -> Head:
        return self.heads["64" if size == 64 else "256"]


def load_heads(name: str) -> Heads:
    """The heads that ship for the generator of that name, stored in half precision."""
    with safe_open(data_path(f"heads_{name}.safetensors"), "pt") as file:
        states: dict[str, dict[str, Tensor]] = {str(size): {} for size in LAYOUTS}
        for key in file.keys():
            head, _, parameter = key.partition("/")
            states[head][parameter] = file.get_tensor(key).float()
    return Heads(states)


def heads_provenance(name: str) -> dict[str, object]:
    """How the shipped heads were made, and their errors on held-out pictures."""
    with safe_open(data_path(f"heads_{name}.safetensors"), "pt") as file:
        return json.loads(file.metadata()["provenance"])
