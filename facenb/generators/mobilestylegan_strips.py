"""MobileStyleGAN's blocks on a CPU: a strip of rows at a time, forward and backward.

`mobilestylegan_network` defines the layers over whole maps; two thirds of their time go into moving
memory. Here, with the same numbers up to rounding:

- Maps are (rows, columns, channels). A pointwise convolution is then one matrix product, written
  where the next layer reads it; noise, bias and leaky ReLU need no memory of their own.
- The styles of `up` and of the first convolution multiply the four bands at once, the style of the
  second convolution multiplies its depthwise kernel. The ½ of the Haar transform is in there too.
- A block that another follows gives its channels in the order of that block's bands: (horizontal,
  vertical, map). The transform then adds contiguous runs of channels.
- A strip of the output needs two more rows of the block's input on each side. A strip goes through
  several blocks without the maps between them ever existing as a whole, and strips are independent:
  each core works on its own.
- The gradient goes the same way back. It needs three maps of each block (the input, and the outputs
  of both convolutions, whose signs are the leaky ReLU's) and none of those between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.generators.mobilestylegan_layers import SLOPE


class Rows(NamedTuple):
    """The rows from `start` up to, not including, `stop` of a map."""

    start: int
    stop: int

    def reach(self, side: int) -> Rows:
        """The rows of a map of that side that a 3 × 3 convolution reads to give these."""
        return Rows(max(self.start - 1, 0), min(self.stop + 1, side))

    def half(self) -> Rows:
        """The rows of the map of half the side that these come from."""
        return Rows(self.start // 2, -(-self.stop // 2))

    def within(self, other: Rows) -> slice:
        """Where these rows stand in a map that begins with row `other.start`."""
        return slice(self.start - other.start, self.stop - other.start)


class Separable(NamedTuple):
    """A depthwise (C, 1, 3, 3) and a pointwise (O, C) convolution with bias (O,)."""

    depthwise: Tensor
    pointwise: Tensor
    bias: Tensor

    def forward(self, window: Tensor, kernel: Tensor, noise: Tensor | None, out: Tensor) -> None:
        """Write the rows that `window`, with one row more on each side, gives to `out`.

        Args:
            window: (R + 2, W, C).
            kernel: `depthwise`, or that times the style of every channel.
            noise: (R, W) or None.
            out: (R, W, O).
        """
        x = F.conv2d(_channels_first(window), kernel, padding=(0, 1), groups=len(kernel))
        x = _channels_last(x).reshape(-1, len(kernel))
        flat = out.view(-1, len(self.bias))
        if noise is None:
            torch.addmm(self.bias, x, self.pointwise.T, out=flat)
        else:
            torch.add(noise[:, :, None], self.bias, out=out)
            flat.addmm_(x, self.pointwise.T)
        F.leaky_relu_(out, SLOPE)

    def backward(self, grad: Tensor, out: Tensor) -> Tensor:
        """The gradient (R + 2, W, C) of `window`, from that of `out`, which is overwritten.

        It is without the style: for `kernel` equal to `depthwise`.
        """
        slope = torch.ops.aten.leaky_relu_backward.grad_input
        slope(grad, out, SLOPE, True, grad_input=grad)
        x = grad.view(-1, len(self.bias)) @ self.pointwise
        x = x.view(*grad.shape[:2], len(self.depthwise))
        flipped = self.depthwise.flip(2, 3)
        x = F.conv2d(_channels_first(x), flipped, padding=(2, 1), groups=len(flipped))
        return _channels_last(x)


class Kept(NamedTuple):
    """What the gradient of a block needs: its input and the outputs of its two convolutions."""

    x: Tensor
    middle: Tensor
    y: Tensor


class Block(NamedTuple):
    """Inverse Haar transform to `side` pixels, and two separable convolutions."""

    side: int
    first: Separable
    second: Separable

    def source(self, rows: Rows) -> Rows:
        """The rows of the input that those rows of the output need."""
        return rows.reach(self.side).reach(self.side).half()

    def forward(
        self,
        x: Tensor,
        rows: Rows,
        bands: Tensor,
        style: Tensor,
        noise: Sequence[Tensor | None],
    ) -> Kept:
        """The maps of the block on the way to `rows` of its output.

        Args:
            x: (R, side / 2, 4C), the rows `source(rows)` of the input, channels by bands.
            bands: (4C,), the styles of `up` and of the first convolution, multiplied, and ½.
            style: (O,) of the second convolution.
            noise: (side, side) or None for both convolutions.
        """
        middle_rows, source = rows.reach(self.side), self.source(rows)
        edges = middle_rows.start == 0, middle_rows.stop == self.side
        window, inside = self._window(2 * len(x), self.first, edges, x)
        inverse_haar(x, bands, out=inside)
        skipped = middle_rows.start - 1 - (2 * source.start - edges[0])
        window = window[skipped : skipped + middle_rows.stop - middle_rows.start + 2]
        edges = rows.start == 0, rows.stop == self.side
        count = middle_rows.stop - middle_rows.start
        second_window, middle = self._window(count, self.second, edges, x)
        crop = slice(*middle_rows)
        self.first.forward(window, self.first.depthwise, _rows(noise[0], crop), out=middle)
        y = x.new_empty(rows.stop - rows.start, self.side, len(self.second.bias))
        kernel = self.second.depthwise * style[:, None, None, None]
        self.second.forward(second_window, kernel, _rows(noise[1], slice(*rows)), out=y)
        return Kept(x, middle, y)

    def backward(
        self, grad: Tensor, kept: Kept, rows: Rows, bands: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of `x`, `bands` and `style` from that of `kept.y`, which is overwritten."""
        middle_rows, source = rows.reach(self.side), self.source(rows)
        grad = self.second.backward(grad, kept.y)
        grad = _without_edges(grad, rows, self.side)  # now of middle_rows
        of_style = (grad * kept.middle).sum((0, 1))
        grad = self.first.backward(grad.mul_(style), kept.middle)
        grad = _without_edges(grad, middle_rows, self.side)
        above = middle_rows.reach(self.side).start - 2 * source.start
        below = 2 * source.stop - middle_rows.reach(self.side).stop
        if above or below:  # the transform makes rows in pairs, and only one of a pair was needed
            grad = F.pad(grad, (0, 0, 0, 0, above, below))
        grad = haar(grad)
        of_bands = (grad * kept.x).sum((0, 1))
        return grad.mul_(bands), of_bands, of_style

    def _window(
        self, count: int, conv: Separable, edges: tuple[bool, bool], like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Room for `count` rows of the input of `conv`, with a zero row at an edge of the map."""
        above, below = edges
        window = like.new_empty(above + count + below, self.side, len(conv.depthwise))
        window[:above] = 0
        window[above + count :] = 0
        return window, window[above : above + count]


def inverse_haar(x: Tensor, bands: Tensor, out: Tensor) -> None:
    """Write twice the inverse Haar transform of x·bands to `out`.

    Args:
        x: (R, W, 4C), the channels (horizontal, vertical, map): LL, LH, HL, HH.
        bands: (4C,)
        out: (2R, 2W, C)
    """
    rows, columns, channels = x.shape[0], x.shape[1], x.shape[2] // 4
    low, high = x.view(rows, columns, 2, 2, channels).unbind(2)
    factor = bands.view(2, 2, channels)
    low = low * factor[0]
    t = x.new_empty(rows, columns, 2, 2, channels)  # the third is the column's parity
    torch.addcmul(low, high, factor[1], out=t[:, :, 0])
    torch.addcmul(low, high, factor[1], value=-1, out=t[:, :, 1])
    above, below = out.view(rows, 2, columns, 2, channels).unbind(1)
    torch.add(t[:, :, :, 0], t[:, :, :, 1], out=above)
    torch.sub(t[:, :, :, 0], t[:, :, :, 1], out=below)


def haar(grad: Tensor) -> Tensor:
    """(2R, 2W, C) → (R, W, 4C): the transpose of `inverse_haar` without its factors."""
    rows, columns, channels = grad.shape[0] // 2, grad.shape[1] // 2, grad.shape[2]
    above, below = grad.view(rows, 2, columns, 2, channels).unbind(1)
    t = grad.new_empty(rows, columns, 2, 2, channels)
    torch.add(above, below, out=t[:, :, :, 0])
    torch.sub(above, below, out=t[:, :, :, 1])
    out = torch.empty_like(t)
    torch.add(t[:, :, 0], t[:, :, 1], out=out[:, :, 0])
    torch.sub(t[:, :, 0], t[:, :, 1], out=out[:, :, 1])
    return out.view(rows, columns, 4 * channels)


def by_bands(values: Tensor) -> Tensor:
    """(…, 4C): an `Up`'s channels in the order of `inverse_haar`, from that of the network.

    There LL of all maps comes first, then (LH, HL, HH) of the first map, and so on.
    """
    maps = values.shape[-1] // 4
    others = values[..., maps:].unflatten(-1, (maps, 3)).transpose(-1, -2)
    return torch.cat([values[..., :maps], others.flatten(-2)], -1)


def _without_edges(grad: Tensor, rows: Rows, side: int) -> Tensor:
    """The gradient of a window for these rows without its zero rows: of `rows.reach(side)`."""
    return grad[rows.start == 0 : len(grad) - (rows.stop == side)]


def _rows(noise: Tensor | None, rows: slice) -> Tensor | None:
    return None if noise is None else noise[rows]


def _channels_first(x: Tensor) -> Tensor:
    """(R, W, C) as (1, C, R, W), channels-last in memory."""
    return x[None].permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)[0]
