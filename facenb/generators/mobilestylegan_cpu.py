"""MobileStyleGAN's blocks on a CPU, and the gradient of their images with respect to the codes.

Blocks are taken in stages: those of 8 to 64 pixels with the image as one strip, the larger ones in
four strips, so that their maps stay small (`mobilestylegan_strips`). One image goes through the
stages at a time, with all cores at work in every step; of several images each has a core of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.generators.mobilestylegan_strips import Block, Kept, Rows, Separable, by_bands
from facenb.threads import on_all_cores

if TYPE_CHECKING:
    from facenb.generators.mobilestylegan_layers import Conv
    from facenb.generators.mobilestylegan_network import MobileStyleGANNetwork

# The side of a stage's last block, and how many strips an image has there. Strips have rows in
# common: four of these compute 5 % more than one, eight 11 %.
_STAGES = ((64, 1), (512, 4))
_KEPT = len(Kept._fields)


class Blocks:
    """What a frozen network's blocks compute with, in its precision.

    Attributes:
        last: every block, its output as the network has it.
        inner: every block, its output in the order of the next one's bands.
    """

    def __init__(self, network: MobileStyleGANNetwork) -> None:
        self.last, self.inner = [], []
        for first, second in zip(network.convs[1::2], network.convs[2::2], strict=True):
            block = Block(len(second.noise), _separable(first), _separable(second))
            depthwise, pointwise, bias = block.second
            pointwise = by_bands(pointwise.T).T.contiguous()
            self.last.append(block)
            sorted_second = Separable(depthwise, pointwise, by_bands(bias))
            self.inner.append(block._replace(second=sorted_second))


class Stage(NamedTuple):
    """Some blocks, after `first` others, and the rows of their output that are computed at once."""

    first: int
    blocks: Sequence[Block]
    strips: Sequence[Rows]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(rows, columns, channels)."""
        half = self.blocks[0].side // 2
        return half, half, 4 * len(self.blocks[0].first.depthwise)

    def spans(self, rows: Rows) -> list[Rows]:
        """The rows of the input, and of every block's output, that `rows` of the last one need."""
        spans = [rows]
        for block in reversed(self.blocks):
            spans.insert(0, block.source(spans[0]))
        return spans

    def forward(
        self,
        x: Tensor,
        rows: Rows,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor | None],
        keep: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows of the output from the whole input, and what `backward` needs of them.

        Args:
            styles, noise: two of each for every block of the network, as `Block.forward` has them.
        """
        source, *spans = self.spans(rows)
        x, kept = x[slice(*source)], []
        for i, (block, span) in enumerate(zip(self.blocks, spans, strict=True), self.first):
            two = slice(2 * i, 2 * i + 2)
            step = block.forward(x, span, *styles[two], noise[two])
            kept += step if keep else ()
            x = step.y
        return x, kept

    def backward(
        self, grad: Tensor, kept: Sequence[Tensor], rows: Rows, styles: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The gradient of the input's rows and of this stage's styles from that of the output's."""
        spans, of_styles = self.spans(rows)[1:], []
        for i in reversed(range(len(self.blocks))):
            step = Kept(*kept[_KEPT * i : _KEPT * (i + 1)])
            own = styles[2 * (self.first + i) :][:2]
            grad, *of_own = self.blocks[i].backward(grad, step, spans[i], *own)
            of_styles = of_own + of_styles
        return grad, of_styles


class Pass:
    """Codes on their way through the blocks, and their gradient on the way back.

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
            self.start = by_bands(network.first_maps(self.codes, noise[0]).permute(0, 2, 3, 1))
            self.styles = list(network.block_styles(self.codes, count))
            if size is not None:
                matrix, self.bias = network.rgb.pixels(size // side)
                style = network.rgb.style(self.codes[:, -1]) * network.rgb.scale
                self.styles.append(matrix * style[:, None])
        self.rounded = [style.detach().to(precision) for style in self.styles]
        self.noise = [n if n is None else n[0, 0].to(precision) for n in noise[1 : 2 * count + 1]]
        blocks = [*network.blocks.inner[: count - 1], network.blocks.last[count - 1]]
        self.stages = list(_stages(blocks))

    def forward(self) -> tuple[Tensor, list[Tensor]]:
        """The maps or images, and what `backward` needs."""
        found = list(on_all_cores(self._forward, range(len(self.codes))))
        results = [result for result, _ in found]
        result = results[0][None] if len(results) == 1 else torch.stack(results)
        result = result.permute(0, 3, 1, 2) if self.size is None else result
        return result, [tensor for _, kept in found for tensor in kept]

    def backward(self, grad: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """The gradient of `codes` from that of the maps or images."""
        each = len(kept) // len(grad)
        parts = [(i, grad[i], kept[each * i : each * (i + 1)]) for i in range(len(grad))]
        of_start, *of_styles = zip(*on_all_cores(self._backward, parts), strict=True)
        of_styles = [torch.stack(of_style) for of_style in of_styles]
        outputs, grads = [self.start, *self.styles], [torch.stack(of_start), *of_styles]
        return torch.autograd.grad(outputs, self.codes, grads)[0]

    @torch.no_grad()  # of this thread
    def _forward(self, index: int) -> tuple[Tensor, list[Tensor]]:
        """Maps (side, side, C) or an image (3, size, size), and what is kept."""
        x, styles, kept = self.start[index], [style[index] for style in self.rounded], []
        for stage in self.stages:
            strips = []
            for rows in stage.strips:
                y, own = stage.forward(x, rows, styles, self.noise, self.keep)
                strips.append(self._painted(y, styles[-1]) if self._paints(stage) else y)
                kept += own
            x = torch.cat(strips, 1 if self._paints(stage) else 0) if strips[1:] else strips[0]
        return x, kept

    @torch.no_grad()  # of this thread
    def _backward(self, part: tuple[int, Tensor, Sequence[Tensor]]) -> tuple[Tensor, ...]:
        """The gradient of `start` and of all styles of one image."""
        index, grad, kept = part
        styles = [style[index] for style in self.rounded]
        of_styles = [torch.zeros_like(style[index]) for style in self.styles]
        grad = grad if self.size is not None else grad.permute(1, 2, 0)
        for stage in reversed(self.stages):
            of_input = self.rounded[0].new_zeros(stage.input_shape)
            each = _KEPT * len(stage.blocks)
            for rows in reversed(stage.strips):
                kept, own = kept[:-each], kept[-each:]
                y = own[-1]
                if self._paints(stage):
                    of_y, of_matrix = self._of_painted(grad, rows, y, styles[-1])
                    of_styles[-1] += of_matrix
                else:
                    of_y = grad[slice(*rows)].to(y.dtype, copy=True).contiguous()
                of_x, of_own = stage.backward(of_y, own, rows, styles)
                of_input[slice(*stage.spans(rows)[0])] += of_x
                for total, of_style in zip(of_styles[2 * stage.first :], of_own, strict=False):
                    total += of_style
            grad = of_input
        return grad.to(self.start.dtype), *of_styles

    def _paints(self, stage: Stage) -> bool:
        return self.size is not None and stage is self.stages[-1]

    def _painted(self, y: Tensor, matrix: Tensor) -> Tensor:
        """The image's rows (3, k·R, k·W) of maps (R, W, C)."""
        pixels = (matrix @ y.flatten(0, 1).T).to(self.bias.dtype).add_(self.bias)
        return F.pixel_shuffle(pixels.view(-1, *y.shape[:2]), self.size // y.shape[1])

    def _of_painted(
        self, grad: Tensor, rows: Rows, y: Tensor, matrix: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients of y (R, W, C) and of `matrix` from that of the whole image."""
        k = self.size // y.shape[1]
        pixels = F.pixel_unshuffle(grad[:, k * rows.start : k * rows.stop], k)
        pixels = pixels.flatten(1).to(y.dtype)  # (3k², R·W)
        return (pixels.T @ matrix).view_as(y), pixels @ y.flatten(0, 1)


class Synthesis(torch.autograd.Function):
    """`Pass` for autograd: codes (N, 23, 512) → maps or images."""

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


def _stages(blocks: Sequence[Block]) -> Iterator[Stage]:
    """The stages that these blocks make up."""
    first = 0
    for last_side, strips in _STAGES:
        own = [block for block in blocks[first:] if block.side <= last_side]
        if own:
            edges = [own[-1].side * i // strips for i in range(strips + 1)]
            yield Stage(first, own, [Rows(*pair) for pair in pairwise(edges)])
            first += len(own)


def _separable(conv: Conv) -> Separable:
    return Separable(conv.depthwise, conv.weight.flatten(1), conv.bias.to(conv.weight.dtype))
