"""Small pictures from a style-based generator's inner feature maps, by learned networks.

MobileStyleGAN makes most of its picture's detail, and spends most of its time, at 128 to 512
pixels. A picture of 256 pixels needs little of it: a head takes the feature maps of 64 × 64 and
paints it in a seventh of the time. Each was trained on the generator's own pictures
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
_CHANNELS = 512
_W = 512
_RANK = 64


@dataclass(frozen=True)
class HeadLayout:
    """A head's shape.

    Attributes:
        side: of the feature maps that it reads.
        size: of the picture that it paints, 2·side or 4·side.
        width: of its own feature maps.
        codes: which of the 23 codes of w+ drive its layers: first, two residual ones, skip, paint,
            and fine where there is one.
        noise: which of the network's noise maps it is given, those of 2·side or more pixels.
    """

    side: int
    size: int
    width: int
    codes: tuple[int, ...]
    noise: tuple[int, ...]


# Codes and noise are those of the network's layers that a head stands for.
LAYOUTS = {
    "64": HeadLayout(side=32, size=64, width=96, codes=(10, 11, 12, 22, 17), noise=(7, 8)),
    "256": HeadLayout(
        side=64, size=256, width=128, codes=(13, 14, 17, 22, 20, 18), noise=(9, 10, 11, 12)
    ),
}


class Head(nn.Module):
    """Feature maps (N, 512, side, side) and codes (N, 23, 512) → pictures (N, 3, size, size).

    The maps are whitened (a fixed rotation and scale, without which training crawls), then
    modulated by w and mixed: to the head's own maps, and to the four pixels of the picture at twice
    the side. Two residual layers, modulated too, add what is missing. For 4·side a last stage works
    at twice the side. The network's noise maps go into the last stage: with one fixed noise, much
    of the fine texture is where they put it.
    """

    def __init__(self, layout: HeadLayout) -> None:
        super().__init__()
        self.layout, width = layout, layout.width
        self.double = layout.size == 4 * layout.side
        self.register_buffer("whiten", torch.eye(_CHANNELS))
        self.register_buffer("w_avg", torch.zeros(_W))
        self.first = nn.Conv2d(_CHANNELS, width, 1)
        self.skip = nn.Conv2d(_CHANNELS, 12, 1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        last = width // 4 if self.double else width
        self.fine = nn.Conv2d(last, 48, 3, padding=1) if self.double else None
        grains = 10 if self.double else 8  # noise maps, folded to the last stage's side
        self.grain = nn.Conv2d(grains, 48 if self.double else width, 3, padding=1, bias=False)
        self.paint = nn.Conv2d(48 if self.double else width, 12, 3, padding=1)
        widths = (_CHANNELS, width, width, _CHANNELS, *((48, last) if self.double else (width,)))
        self.styles = nn.ModuleList(_style(channels) for channels in widths)
        with torch.no_grad():
            self.paint.weight.mul_(0.1)

    def forward(self, x: Tensor, codes: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Float32 pictures, about [−1, 1] but not bounded.

        Args:
            x: (N, 512, side, side), channels-last.
            codes: (N, 512) or (N, 23, 512).
            noise: the network's noise maps, (1, 1, S, S) or None for none.
        """
        codes = codes[:, None] if codes.ndim == 2 else codes
        styles = [
            style(codes[:, min(code, codes.shape[1] - 1)] - self.w_avg)
            for style, code in zip(self.styles, self.layout.codes, strict=True)
        ]
        mixed = self._mix(x, styles[0], styles[3])
        h, low = F.leaky_relu(mixed[:, :-12], _SLOPE), F.pixel_shuffle(mixed[:, -12:].float(), 2)
        grain = self._grain(noise).to(h.dtype)
        for i, (conv, style) in enumerate(zip(self.body, styles[1:3], strict=True)):
            h = h + _convolved(conv, _styled(h, style))
            h = F.leaky_relu(h + grain if i and not self.double else h, _SLOPE)
        if self.fine is None:
            return low + F.pixel_shuffle(self._painted(h, styles[4]), 2)
        h = _convolved(self.fine, _styled(F.pixel_shuffle(h, 2), styles[5]))
        h = F.leaky_relu(h + grain, _SLOPE)
        low = F.interpolate(low, scale_factor=2, mode="bilinear")
        return low + F.pixel_shuffle(self._painted(h, styles[4]), 2)

    def _painted(self, h: Tensor, style: Tensor) -> Tensor:
        return _convolved(self.paint, _styled(h, style)).float()

    def _grain(self, noise: Sequence[Tensor | None]) -> Tensor:
        """What the noise maps add to the last stage, (1, C, S, S)."""
        side = self.layout.side * (2 if self.double else 1)
        maps = []
        for index in self.layout.noise:
            unfolded = 2 * side if index in self.layout.noise[-2:] else side
            given = noise[index]
            empty = self.w_avg.new_zeros(1, 1, unfolded, unfolded)
            maps.append(F.pixel_unshuffle(empty if given is None else given, unfolded // side))
        return self.grain(torch.cat(maps, 1))

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
        for name, layout in LAYOUTS.items():
            self.heads[name] = Head(layout)
            self.heads[name].load_state_dict(states[name])
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def side_for(self, size: int) -> int:
        """The side of the feature maps that a picture of `size` is made from."""
        return self._head(size).layout.side

    def forward(
        self, features: Tensor, codes: Tensor, noise: Sequence[Tensor | None], size: int
    ) -> Tensor:
        """Pictures (N, 3, size, size) from maps (N, 512, side, side), codes of w or w+, noise."""
        head = self._head(size)
        images = head(features, codes, noise)
        return images if head.layout.size == size else F.avg_pool2d(images, 2)

    def _head(self, size: int) -> Head:
        return self.heads["64" if size == 64 else "256"]


def load_heads(name: str) -> Heads:
    """The heads that ship for the generator of that name, stored in half precision."""
    with safe_open(data_path(f"heads_{name}.safetensors"), "pt") as file:
        states: dict[str, dict[str, Tensor]] = {head: {} for head in LAYOUTS}
        for key in file.keys():
            head, _, parameter = key.partition("/")
            states[head][parameter] = file.get_tensor(key).float()
    return Heads(states)


def heads_provenance(name: str) -> dict[str, object]:
    """How the shipped heads were made, and their errors on held-out pictures."""
    with safe_open(data_path(f"heads_{name}.safetensors"), "pt") as file:
        return json.loads(file.metadata()["provenance"])
