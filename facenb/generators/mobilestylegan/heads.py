"""Small images from a style-based generator's inner feature maps, by learned networks.

MobileStyleGAN spends most of its time on maps of 256 and 512 pixels. An image of 256 pixels needs
little of what they add: one head makes it from the feature maps of 128 × 128, another makes 64
pixels from those of 32 × 32. A third makes previews of 256 pixels from the maps of 64 × 64, less
exact and in half the time: they are shown while a slider moves, and nothing is measured on them.
Each was trained on the generator's own images (scripts/train_heads.py); their errors stand in
docs/model_cards.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from facenb.data import data_path

_SLOPE = 0.2
_W = 512


@dataclass(frozen=True)
class HeadLayout:
    """A head's shape.

    Attributes:
        side, channels: of the feature maps that it reads.
        components: how many principal components of the channels it keeps.
        width: of its own feature maps.
        rank: of the maps from w to the factors of channels.
        scale: the image's side in sides of the maps.
        codes: which of the 23 latents of w+ drive its layers: first, two residual, skip, paint.
        noise: which of the network's noise maps it is given, those of the image's side.
    """

    side: int
    channels: int
    components: int
    width: int
    rank: int
    scale: int
    codes: tuple[int, ...]
    noise: tuple[int, int]

    @property
    def size(self) -> int:
        """The image's side."""
        return self.scale * self.side


# Latents and noise are those of the network's layers that a head stands for. All of them are kept
# under 4 MB, which is why the preview's are of low rank.
LAYOUTS = {
    "64": HeadLayout(32, 512, 512, 128, 128, 2, codes=(10, 11, 12, 22, 17), noise=(7, 8)),
    "256": HeadLayout(128, 256, 256, 48, 128, 2, codes=(16, 17, 18, 22, 20), noise=(11, 12)),
    "preview": HeadLayout(64, 512, 184, 48, 32, 4, codes=(13, 14, 16, 22, 18), noise=(11, 12)),
}


class Head(nn.Module):
    """Feature maps (N, C, S, S) and latents (N, 23, 512) → images (N, 3, size, size).

    The maps are whitened (a fixed rotation and scale, without which training crawls), then
    modulated by w and mixed: to the head's own maps, and to the pixels of the image, scale² at each
    place. Two residual layers, modulated too, add what is missing. The network's noise maps go into
    the second: with one fixed noise, much of the fine texture is where they put it.
    """

    def __init__(self, layout: HeadLayout) -> None:
        super().__init__()
        self.layout, kept, width = layout, layout.components, layout.width
        cells = layout.scale**2
        self.register_buffer("whiten", torch.eye(layout.channels)[:kept])
        self.register_buffer("w_avg", torch.zeros(_W))
        self.first = nn.Conv2d(kept, width, 1)
        self.skip = nn.Conv2d(kept, 3 * cells, 1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.grain = nn.Conv2d(cells * len(layout.noise), width, 3, padding=1, bias=False)
        self.paint = nn.Conv2d(width, 3 * cells, 3, padding=1)
        self.styles = nn.ModuleList(
            _style(layout.rank, channels) for channels in (kept, width, width, kept, width)
        )
        with torch.no_grad():
            self.paint.weight.mul_(0.1)

    def forward(self, x: Tensor, codes: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Float32 images, about [−1, 1] but not bounded.

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
        width, scale = self.layout.width, self.layout.scale
        h = F.leaky_relu(mixed[:, :width], _SLOPE)
        h = F.leaky_relu(h + _convolved(self.body[0], _styled(h, styles[1])), _SLOPE)
        h = h + _convolved(self.body[1], _styled(h, styles[2])) + self._grain(noise).to(h.dtype)
        pixels = _convolved(self.paint, _styled(F.leaky_relu(h, _SLOPE), styles[4])).float()
        return F.pixel_shuffle(mixed[:, width:].float() + pixels, scale)

    def _grain(self, noise: Sequence[Tensor | None]) -> Tensor:
        """What the noise maps add to the second residual layer, (1, width, S, S)."""
        size, scale = self.layout.size, self.layout.scale
        empty = self.w_avg.new_zeros(1, 1, size, size)
        given = [empty if noise[i] is None else noise[i] for i in self.layout.noise]
        return self.grain(F.pixel_unshuffle(torch.cat(given, 1), scale))

    def _mix(self, x: Tensor, style: Tensor, skip_style: Tensor) -> Tensor:
        """First layer and skip, one product an image: (N, width + 3·scale², side, side)."""
        weight = torch.cat(
            [
                self.first.weight.flatten(1) * style[:, None],
                self.skip.weight.flatten(1) * skip_style[:, None],
            ],
            dim=1,
        )
        weight = (weight @ self.whiten).to(x.dtype)  # (N, width + 3·scale², C)
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


def _style(rank: int, channels: int) -> nn.Sequential:
    """w (N, 512) → factors (N, channels), of a rank that keeps the file small; 1 at the start."""
    style = nn.Sequential(nn.Linear(_W, rank, bias=False), nn.Linear(rank, channels))
    nn.init.zeros_(style[1].weight)
    nn.init.ones_(style[1].bias)
    return style


class Heads(nn.Module):
    """The heads of a generator: images of 64, 128 and 256 pixels, and previews of 256.

    128 pixels are the 256 of the exact head, averaged.
    """

    sizes = (64, 128, 256)

    def __init__(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for name, state in states.items():
            self.heads[name] = Head(LAYOUTS[name])
            self.heads[name].load_state_dict(state)
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    @property
    def preview(self) -> Head | None:
        """The head of previews, where there is one."""
        return self.heads["preview"] if "preview" in self.heads else None

    def head_for(self, size: int) -> Head:
        """The head that makes images of `size`; its layout says which maps it reads."""
        return self.heads["64" if size == 64 else "256"]


def load_heads(name: str) -> Heads:
    """The heads that ship for the generator of that name, stored in half precision.

    Raises:
        UnknownNameError: there are none for it.
    """
    states = _read(heads_file(name))
    if preview_file(name).exists():
        states |= _read(preview_file(name))
    return Heads(states)


def heads_file(name: str) -> Path:
    """Where the heads of 64 and 256 pixels lie, on whose images everything is measured."""
    return data_path(f"heads_{name}.safetensors")


def preview_file(name: str) -> Path:
    """Where the preview's head lies: a file of its own, so that no measurement depends on it."""
    return heads_file(name).with_name(f"preview_{name}.safetensors")


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    states: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():
            head, _, parameter = key.partition("/")
            states.setdefault(head, {})[parameter] = file.get_tensor(key).float()
    return states
