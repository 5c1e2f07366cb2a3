"""MobileStyleGAN's blocks on a CPU, and the gradient of their images with respect to the latents.

A single image has all cores at work in every step. Of several, each core has a share, a few images
at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.generators.mobilestylegan.layers import SLOPE
from facenb.generators.mobilestylegan.stages import KEPT, Stage, stages_of
from facenb.generators.mobilestylegan.strips import Rows, by_bands
from facenb.parallel import on_all_cores

if TYPE_CHECKING:
    from facenb.generators.mobilestylegan.network import MobileStyleGANNetwork

_SHARE = 4  # images to a core at a time, at most


class Pass:
    """Latents on their way through the blocks, and their gradient on the way back.

    Args:
        network: frozen.
        codes: (N, 23, 512).
        noise: (1, 1, S, S) or None for each of the network's convolutions.
        side: of the maps to compute, (N, C, side, side), from 8.
        size: of the images to compute from the largest maps, (N, 3, size, size); None for the maps.
        keep: whether `backward` will be called.
    """

    def __init__(
        self,
        network: MobileStyleGANNetwork,
        codes: Tensor,
        noise: Sequence[Tensor | None],
        side: int,
        size: int | None,
        keep: bool,
    ) -> None:
        count, precision = side.bit_length() - 3, network.precision
        self.size, self.keep, self.codes = size, keep, codes.detach().requires_grad_(keep)
        with torch.set_grad_enabled(keep):  # small steps for all images at once, left to autograd
            self.start = _first_maps(network, self.codes[:, 0], noise[0])
            self.styles = list(network.block_styles(self.codes, count))
            if size is not None:
                matrix, self.bias = network.rgb.pixels(size // side)
                style = network.rgb.style(self.codes[:, -1]) * network.rgb.scale
                self.styles.append(matrix * style[:, None])
        self.rounded = [style.detach().to(precision) for style in self.styles]
        self.noise = [n if n is None else n[0, 0].to(precision) for n in noise[1 : 2 * count + 1]]
        blocks = [*network.blocks.inner[: count - 1], network.blocks.last[count - 1]]
        self.stages = list(stages_of(blocks))
        few = min(-(-len(codes) // torch.get_num_threads()), _SHARE)
        self.shares = [slice(i, i + few) for i in range(0, len(codes), few)]

    def forward(self) -> tuple[Tensor, list[Tensor]]:
        """The maps or images, and what `backward` needs."""
        found = list(on_all_cores(self._forward, self.shares))
        self.counts = [len(kept) for _, kept in found]
        result = _joined([group for groups, _ in found for group in groups], 0)
        result = result.permute(0, 3, 1, 2) if self.size is None else result
        return result, [tensor for _, kept in found for tensor in kept]

    def backward(self, grad: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """The gradient of `codes` from that of the maps or images."""
        rest = iter(kept)
        kept = [[next(rest) for _ in range(count)] for count in self.counts]
        grads = [grad[share] for share in self.shares]
        parts = list(zip(self.shares, grads, kept, strict=True))
        found = [_joined(of, 0) for of in zip(*on_all_cores(self._backward, parts), strict=True)]
        return torch.autograd.grad([self.start, *self.styles], self.codes, found)[0]

    @torch.no_grad()  # of this thread
    def _forward(self, share: slice) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (n, side, side, C) or images (n, 3, size, size) in groups, and what is kept."""
        groups, kept = [self.start[share]], []
        for stage in self.stages:
            done, paints = [], self._paints(stage)
            for images, x in _groups(stage, groups):
                styles = [style[share][images] for style in self.rounded]
                strips = []
                for rows in stage.strips:
                    y, own = stage.forward(x, rows, styles, self.noise, self.keep)
                    strips.append(self._painted(y, styles[-1]) if paints else y)
                    kept += own
                done.append(_joined(strips, 2 if paints else 1))
            groups = done
        return groups, kept

    @torch.no_grad()  # of this thread
    def _backward(self, part: tuple[slice, Tensor, list[Tensor]]) -> list[Tensor]:
        """The gradients of `start` and of all styles, for a share."""
        share, grad, kept = part
        totals = [torch.zeros_like(style[share]) for style in self.styles]
        groups = [grad if self.size is not None else grad.permute(0, 2, 3, 1)]
        for stage in reversed(self.stages):
            done, each = [], KEPT * len(stage.blocks)
            for images, of_group in reversed(list(_groups(stage, groups))):
                styles = [style[share][images] for style in self.rounded]
                of_x = styles[0].new_zeros(len(of_group), *stage.blocks[0].input_shape)
                for rows in reversed(stage.strips):
                    kept, own = kept[:-each], kept[-each:]
                    if self._paints(stage):
                        of_y, of_matrix = self._of_painted(of_group, rows, own[-1], styles[-1])
                        totals[-1][images] += of_matrix
                    else:  # a copy: it is overwritten
                        of_y = of_group[:, slice(*rows)].to(styles[0].dtype, copy=True).contiguous()
                    of_source, of_styles = stage.backward(of_y, own, rows, styles)
                    of_x[:, slice(*stage.spans(rows)[0])] += of_source
                    for total, of_style in zip(totals[2 * stage.first :], of_styles, strict=False):
                        total[images] += of_style
                done.insert(0, of_x)
            groups = done
        return [_joined(groups, 0).to(self.start.dtype), *totals]

    def _paints(self, stage: Stage) -> bool:
        return self.size is not None and stage is self.stages[-1]

    def _painted(self, y: Tensor, matrix: Tensor) -> Tensor:
        """Rows of the image (1, 3, k·R, k·W) of maps (1, R, W, C), by the matrix (1, 3k², C)."""
        pixels = (matrix[0] @ y.flatten(0, 2).T).to(self.bias.dtype).add_(self.bias)
        return F.pixel_shuffle(pixels.view(1, -1, *y.shape[1:3]), self.size // y.shape[2])

    def _of_painted(
        self, grad: Tensor, rows: Rows, y: Tensor, matrix: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients of maps y (1, R, W, C) and of `matrix` from that of the image."""
        k = self.size // y.shape[2]
        pixels = F.pixel_unshuffle(grad[:, :, k * rows.start : k * rows.stop], k)
        pixels = pixels.view(matrix.shape[1], -1).to(y.dtype)  # (3k², R·W)
        return (pixels.T @ matrix[0]).view_as(y), pixels @ y.flatten(0, 2)


class Synthesis(torch.autograd.Function):
    """`Pass` for autograd: latents (N, 23, 512) → maps or images."""

    @staticmethod
    def forward(ctx, codes: Tensor, network: MobileStyleGANNetwork, *args) -> Tensor:
        """args: noise, side, size and keep, as of `Pass`."""
        ctx.way, ctx.network, ctx.args = Pass(network, codes, *args), network, args[:-1]
        result, kept = ctx.way.forward()
        ctx.save_for_backward(codes, *kept)
        return result

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        codes, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # this gradient shall have a gradient itself
            whole = ctx.network.whole(codes, *ctx.args)
            (of_codes,) = torch.autograd.grad(whole, codes, grad, create_graph=True)
        else:
            of_codes = ctx.way.backward(grad, kept)
        return of_codes, *[None] * (len(ctx.args) + 2)


def _first_maps(network: MobileStyleGANNetwork, codes: Tensor, noise: Tensor | None) -> Tensor:
    """The maps (N, 4, 4, C) that the first block takes, of latents (N, 512)."""
    conv, matrix = network.convs[0], network.blocks.first
    x = (conv.style(codes) * conv.scale).to(matrix.dtype) @ matrix.T
    x = x.view(len(codes), *conv.noise.shape, -1) + by_bands(conv.bias).to(x.dtype)
    if noise is not None:
        x = x + noise[0, 0, :, :, None].to(x.dtype)
    return F.leaky_relu(x, SLOPE)


def _groups(stage: Stage, groups: Sequence[Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """A share's images as the stage takes them: which of the share, and those."""
    size = sum(map(len, groups)) if stage.together else 1
    groups = [_joined(groups, 0)] if stage.together else [x for g in groups for x in g.split(1)]
    for i, group in enumerate(groups):
        yield slice(i * size, (i + 1) * size), group


def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)
