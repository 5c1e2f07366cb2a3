"""MobileStyleGAN's blocks in stages, and what they compute with.

A strip of rows goes through all blocks of a stage (`strips`). The blocks of 8 to 32
pixels take a few images at once, that of 64 one, the larger ones a strip of one, so that maps are
neither tiny nor far from the core.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from facenb.generators.mobilestylegan.strips import Block, Kept, Rows, Separable, by_bands

if TYPE_CHECKING:
    from facenb.generators.mobilestylegan.layers import Conv
    from facenb.generators.mobilestylegan.network import MobileStyleGANNetwork

# The side of a stage's last block, whether it takes all images of a share at once, and its strips.
# Strips have rows in common: four of these compute 5 % more than one, eight 11 %.
_STAGES = ((32, True, 1), (64, False, 1), (512, False, 4))
KEPT = len(Kept._fields)


class Blocks:
    """What a frozen network's blocks compute with, in its precision.

    Attributes:
        last: every block, its output as the network has it.
        inner: every block, its output in the order of the next one's bands.
        first: (16·C, C), the matrix from the style of the first convolution to its output without
            the bias, 4 × 4 pixels in the order of bands. All images have the same input there.
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
        weight = network.convs[0].weight.to(network.constant.dtype).transpose(0, 1)
        kernels = weight.flatten(0, 1)[:, None]  # (in · out, 1, 3, 3)
        alone = F.conv2d(network.constant, kernels, padding=1, groups=len(weight))
        alone = alone.unflatten(1, weight.shape[:2])[0]  # (in, out, 4, 4), of each channel
        first = by_bands(alone.permute(2, 3, 0, 1)).transpose(2, 3).flatten(0, 2)
        self.first = first.detach().to(network.precision).contiguous()


class Stage(NamedTuple):
    """Some blocks, which `first` others come before, and what goes through them at once.

    Attributes:
        together: whether all images of a share do, or one.
        strips: the rows of the output that do.
    """

    first: int
    blocks: Sequence[Block]
    together: bool
    strips: Sequence[Rows]

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
        x, kept = x[:, slice(*source)], []
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
            step = Kept(*kept[KEPT * i : KEPT * (i + 1)])
            own = styles[2 * (self.first + i) :][:2]
            grad, *of_own = self.blocks[i].backward(grad, step, spans[i], *own)
            of_styles = of_own + of_styles
        return grad, of_styles


def stages_of(blocks: Sequence[Block]) -> Iterator[Stage]:
    """The stages that these blocks make up."""
    first = 0
    for last_side, together, strips in _STAGES:
        own = [block for block in blocks[first:] if block.side <= last_side]
        if own:
            edges = [own[-1].side * i // strips for i in range(strips + 1)]
            yield Stage(first, own, together, [Rows(*pair) for pair in pairwise(edges)])
            first += len(own)


def _separable(conv: Conv) -> Separable:
    return Separable(conv.depthwise, conv.weight.flatten(1), conv.bias.to(conv.weight.dtype))
