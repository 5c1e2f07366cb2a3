"""MobileStyleGAN's blocks on a CPU: a strip of rows at a time, forward and backward.

`layers` defines the layers over whole maps, and half of their time or more goes into
moving memory. Here, with the same numbers up to rounding:

- Maps are (N, rows, columns, channels). A pointwise convolution is then one matrix product, written
  where the next layer reads it; noise, bias and leaky ReLU need no memory of their own.
- The styles of `up` and of the first convolution multiply the four bands at once, with the ½ of the
  Haar transform. The style of the second convolution multiplies what its depthwise part gives.
- A block that another follows gives its channels in the order of that block's bands: (horizontal,
  vertical, map). The transform then adds contiguous runs of channels.
- A strip of the output needs two more rows of the block's input on each side. A strip goes through
  several blocks without the maps between them ever existing as a whole.
- The gradient goes the same way back. It needs three maps of each block (the input, and the outputs
  of both convolutions, whose signs are the leaky ReLU's) and none of those between.

Where a strip is the whole map there may be several images in it, N > 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.generators.mobilestylegan.layers import SLOPE


class Rows(NamedTuple):
    """The rows from `start` up to, not including, `stop` of a map."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start

    def reach(self, side: int) -> Rows:
        """The rows of a map of that side that a 3 × 3 convolution reads to give these."""
        return Rows(max(self.start - 1, 0), min(self.stop + 1, side))

    def half(self) -> Rows:
        """The rows of the map of half the side that these come from."""
        return Rows(self.start // 2, -(-self.stop // 2))

    def zeros(self, side: int) -> tuple[int, int]:
        """How many rows of zeros a window for these rows has above and below, at a map's edges.

        For a whole map there are none: the convolution itself pads it.
        """
        part = self != (0, side)
        return int(part and self.start == 0), int(part and self.stop == side)


class Separable(NamedTuple):
    """A depthwise (C, 1, 3, 3) and a pointwise (O, C) convolution with bias (O,)."""

    depthwise: Tensor
    pointwise: Tensor
    bias: Tensor

    def forward(
        self, window: Tensor, style: Tensor | None, noise: Tensor | None, out: Tensor
    ) -> None:
        """Write to `out` (N, R, W, O) what `window` gives.

        Args:
            window: (N, R + 2, W, C), the rows of `out` and one more on each side, or (N, R, W, C).
            style: (N, C) or None for ones.
            noise: (R, W) or None.
        """
        channels = len(self.depthwise)
        pad = 1 - (window.shape[1] - out.shape[1]) // 2
        x = window.permute(0, 3, 1, 2)  # channels-last
        x = F.conv2d(x, self.depthwise, padding=(pad, 1), groups=channels).permute(0, 2, 3, 1)
        x = x if style is None else x.mul_(style[:, None, None])
        x, flat = x.reshape(-1, channels), out.view(-1, len(self.bias))
        if noise is None:
            torch.addmm(self.bias, x, self.pointwise.T, out=flat)
        else:
            torch.add(noise[:, :, None].expand(len(out), -1, -1, -1), self.bias, out=out)
            flat.addmm_(x, self.pointwise.T)
        F.leaky_relu_(out, SLOPE)

    def backward(self, grad: Tensor, out: Tensor, whole: bool) -> Tensor:
        """The gradient of `window`, but for the style, from that of `out`, which is overwritten.

        `whole`: the window had no rows more than `out`.
        """
        slope = torch.ops.aten.leaky_relu_backward.grad_input
        slope(grad, out, SLOPE, True, grad_input=grad)
        channels = len(self.depthwise)
        x = (grad.view(-1, len(self.bias)) @ self.pointwise).view(*grad.shape[:3], channels)
        x = x.permute(0, 3, 1, 2)
        flipped = self.depthwise.flip(2, 3)
        x = F.conv2d(x, flipped, padding=(1 if whole else 2, 1), groups=channels)
        return x.permute(0, 2, 3, 1)


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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(rows, columns, channels)."""
        return self.side // 2, self.side // 2, 4 * len(self.first.depthwise)

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
            x: (N, R, side / 2, 4C), the rows `source(rows)` of the input, channels by bands.
            bands: (N, 4C), the styles of `up` and of the first convolution, multiplied, and ½.
            style: (N, O) of the second convolution.
            noise: (side, side) or None for both convolutions.
        """
        middle_rows = rows.reach(self.side)
        up_rows, source = middle_rows.reach(self.side), self.source(rows)
        above, below = middle_rows.zeros(self.side)
        window, inside = self._window(self.first, 2 * source.count, (above, below), x)
        inverse_haar(x, bands, out=inside)
        skipped = up_rows.start - 2 * source.start  # rows come in pairs, one may be too much
        window = window[:, skipped : skipped + above + up_rows.count + below]
        edges = rows.zeros(self.side)
        second_window, middle = self._window(self.second, middle_rows.count, edges, x)
        self.first.forward(window, None, _cut(noise[0], middle_rows), out=middle)
        y = x.new_empty(len(x), rows.count, self.side, len(self.second.bias))
        self.second.forward(second_window, style, _cut(noise[1], rows), out=y)
        return Kept(x, middle, y)

    def backward(
        self, grad: Tensor, kept: Kept, rows: Rows, bands: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of `x`, `bands` and `style` from that of `kept.y`, which is overwritten."""
        middle_rows, source = rows.reach(self.side), self.source(rows)
        whole = rows == (0, self.side)
        grad = self.second.backward(grad, kept.y, whole)
        above, below = rows.zeros(self.side)
        grad = grad[:, above : grad.shape[1] - below]  # of middle_rows
        of_style = (grad * kept.middle).sum((1, 2))
        grad = self.first.backward(grad.mul_(style[:, None, None]), kept.middle, whole)
        above, below = middle_rows.zeros(self.side)
        grad = grad[:, above : grad.shape[1] - below]
        up_rows = middle_rows.reach(self.side)
        above, below = up_rows.start - 2 * source.start, 2 * source.stop - up_rows.stop
        if above or below:  # of a pair of rows only one was needed
            grad = F.pad(grad, (0, 0, 0, 0, above, below))
        grad = haar(grad)
        of_bands = (grad * kept.x).sum((1, 2))
        return grad.mul_(bands[:, None, None]), of_bands, of_style

    def _window(
        self, conv: Separable, count: int, zeros: tuple[int, int], like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Room for `count` rows of the input of `conv` and rows of zeros around; the former."""
        above, below = zeros
        shape = (len(like), above + count + below, self.side, len(conv.depthwise))
        window = like.new_empty(shape)
        window[:, :above] = 0
        window[:, above + count :] = 0
        return window, window[:, above : above + count]


def inverse_haar(x: Tensor, bands: Tensor, out: Tensor) -> None:
    """Write twice the inverse Haar transform of x·bands to `out`.

    Args:
        x: (N, R, W, 4C), the channels (horizontal, vertical, map): LL, LH, HL, HH.
        bands: (N, 4C).
        out: (N, 2R, 2W, C).
    """
    n, rows, columns, channels = out.shape
    rows, columns = rows // 2, columns // 2
    low, high = x.view(n, rows, columns, 2, 2, channels).unbind(3)
    of_low, of_high = bands.view(n, 1, 1, 2, 2, channels).unbind(3)
    low = low * of_low
    t = x.new_empty(n, rows, columns, 2, 2, channels)  # the fourth is the column's parity
    torch.addcmul(low, high, of_high, out=t[:, :, :, 0])
    torch.addcmul(low, high, of_high, value=-1, out=t[:, :, :, 1])
    above, below = out.view(n, rows, 2, columns, 2, channels).unbind(2)
    torch.add(t[..., 0, :], t[..., 1, :], out=above)
    torch.sub(t[..., 0, :], t[..., 1, :], out=below)


def haar(grad: Tensor) -> Tensor:
    """(N, 2R, 2W, C) → (N, R, W, 4C): the transpose of `inverse_haar` for bands of 1."""
    n, rows, columns, channels = grad.shape
    rows, columns = rows // 2, columns // 2
    above, below = grad.view(n, rows, 2, columns, 2, channels).unbind(2)
    t = grad.new_empty(n, rows, columns, 2, 2, channels)
    torch.add(above, below, out=t[..., 0, :])
    torch.sub(above, below, out=t[..., 1, :])
    out = torch.empty_like(t)
    torch.add(t[:, :, :, 0], t[:, :, :, 1], out=out[:, :, :, 0])
    torch.sub(t[:, :, :, 0], t[:, :, :, 1], out=out[:, :, :, 1])
    return out.view(n, rows, columns, 4 * channels)


def by_bands(values: Tensor) -> Tensor:
    """(…, 4C): an `Up`'s channels in the order of `inverse_haar`, from that of the network.

    There LL of all maps comes first, then (LH, HL, HH) of the first map, and so on.
    """
    maps = values.shape[-1] // 4
    others = values[..., maps:].unflatten(-1, (maps, 3)).transpose(-1, -2)
    return torch.cat([values[..., :maps], others.flatten(-2)], -1)


def _cut(noise: Tensor | None, rows: Rows) -> Tensor | None:
    return None if noise is None else noise[slice(*rows)]
