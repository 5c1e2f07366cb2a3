"""The auxiliary mapping F(z, c) ≈ z of the surrogate gradient field (Li et al., 2021, §3.2).

n blocks of AdaIN → LeakyReLU(0.2) → spectrally normalised linear, as wide as the latents
(appendix B). The paper gives n in words lost to us; both public re-implementations take 15 blocks
in W and 6 in Z.

What the text leaves open, and what is done here:

* AdaIN normalises each sample alone, over its features. One re-implementation normalises over the
  whole batch, so that a sample's edit depends on its neighbours.
* Its scale and shift are one pair *a feature* ("feature"), as in the AdaIN that the paper cites,
  which has one pair a channel. Both re-implementations have one pair a block ("scalar"): 2n
  numbers carry the whole condition, too few for a dozen of them (notebook 07 measures it).
* Every linear layer is spectrally normalised, the ones that read the condition too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.seeds import seeded

MODULATIONS = ("feature", "scalar")
_SLOPE = 0.2
_EPSILON = 1e-5


class SpectralStack(nn.Module):
    """The weights of L linear layers of one shape, each divided by its largest singular value.

    In training that value comes from one power iteration a step (Miyato et al., 2018), for all
    layers at once; in evaluation mode it is exact, so that no layer stretches anything.

    Args:
        layers, outputs, inputs: L and the shape of each weight.
        coefficient: the norm that each weight is brought to (1 in the paper).
    """

    def __init__(
        self, layers: int, outputs: int, inputs: int, random: torch.Generator, coefficient=1.0
    ) -> None:
        super().__init__()
        self.coefficient = float(coefficient)
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(_uniform((layers, outputs, inputs), bound, random))
        self.bias = nn.Parameter(torch.zeros(layers, outputs))
        start = torch.randn(layers, outputs, 1, generator=random)
        self.register_buffer("left", F.normalize(start, dim=1))

    def forward(self) -> Tensor:
        """The normalised weights (L, outputs, inputs)."""
        if not self.training:
            # on the CPU: Apple's GPUs have no float64
            exact = torch.linalg.matrix_norm(self.weight.cpu().to(torch.float64), 2)
            exact = exact.to(self.weight)
            return self.weight * (self.coefficient / exact)[:, None, None]
        with torch.no_grad():
            right = F.normalize(self.weight.mT @ self.left, dim=1)
            self.left = F.normalize(self.weight @ right, dim=1)
        size = self.left.mT @ self.weight @ right
        return self.weight * (self.coefficient / size)


class AuxiliaryMapping(nn.Module):
    """F(z, c) of Eq. 1, on standardised conditions.

    forward: z (N, d), c (N, C) → (N, d).

    Args:
        dimension: d, of the latents and of every hidden layer.
        conditions: C.
        layers: n.
        modulation: "feature" or "scalar", see above.
        coefficient: the spectral norm of the blocks' linear layers.
        seed: of the weights.
    """

    def __init__(
        self,
        dimension: int,
        conditions: int,
        layers: int = 6,
        modulation: str = "feature",
        coefficient: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(dimension, conditions, layers) < 1:
            raise ValueError(
                "AuxiliaryMapping: expected dimension, conditions and layers of at least 1, "
                f"given {dimension}, {conditions} and {layers}."
            )
        if modulation not in MODULATIONS:
            raise ValueError(
                f"AuxiliaryMapping: expected modulation 'feature' or 'scalar', given "
                f"{modulation!r}."
            )
        if not coefficient > 0:
            raise ValueError(f"AuxiliaryMapping: expected coefficient > 0, given {coefficient}.")
        random = seeded(seed)
        self.dimension, self.conditions, self.layers = dimension, conditions, layers
        self.linear = SpectralStack(layers, dimension, dimension, random, coefficient)
        if modulation == "scalar":  # c → d → 2: scale and shift of the block
            self.reader = SpectralStack(layers, dimension, conditions, random)
            self.affine = SpectralStack(layers, 2, dimension, random)
        else:  # c → 2d: scale and shift of every feature
            self.reader = None
            self.affine = SpectralStack(layers, 2 * dimension, conditions, random)
        self._settled: tuple[Tensor, ...] | None = None

    def _apply(self, *args: object, **options: object) -> AuxiliaryMapping:
        """`to`, `double`, …: what evaluation mode has frozen follows."""
        return super()._apply(*args, **options).train(self.training)

    def load_state_dict(self, *args: object, **options: object) -> object:
        """As of every module; what evaluation mode has frozen follows."""
        found = super().load_state_dict(*args, **options)
        self.train(self.training)
        return found

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """F(z, c), (N, d)."""
        linear, affine, *reader = self._weights()
        linear, bias, x = linear.unbind(), self.linear.bias.unbind(), z
        for i, (scale, shift) in enumerate(self._modulations(c, affine, *reader)):
            x = normalise(x)
            x = F.leaky_relu(torch.addcmul(x + shift, x, scale), _SLOPE)
            x = F.linear(x, linear[i], bias[i])
        return x

    def _modulations(
        self, c: Tensor, affine: Tensor, reader: Tensor | None = None
    ) -> list[tuple[Tensor, ...]]:
        """What each block adds to a scale of 1, and its shift: (N, d), or (N, 1) if "scalar"."""
        if reader is None:  # all blocks read the same c: one matrix product
            found = F.linear(c, affine.flatten(0, 1), self.affine.bias.flatten())
        else:
            signal = torch.einsum("nc,ldc->nld", c, reader) + self.reader.bias
            found = (torch.einsum("nld,lod->nlo", signal, affine) + self.affine.bias).flatten(1)
        return [part.chunk(2, dim=1) for part in found.chunk(self.layers, dim=1)]

    def train(self, mode: bool = True) -> AuxiliaryMapping:
        """Evaluation mode freezes the exactly normalised weights; training mode forgets them."""
        super().train(mode)
        self._settled = None
        if not mode:
            with torch.no_grad():
                self._settled = self._stacks()
        return self

    def _weights(self) -> tuple[Tensor, ...]:
        return self._stacks() if self._settled is None else self._settled

    def _stacks(self) -> tuple[Tensor, ...]:
        stacks = (self.linear, self.affine) + ((self.reader,) if self.reader else ())
        return tuple(stack() for stack in stacks)


def normalise(x: Tensor) -> Tensor:
    """Each row of (N, d) at mean 0 and variance 1 over its own features."""
    return F.layer_norm(x, x.shape[-1:], eps=_EPSILON)


def _uniform(shape: tuple[int, ...], bound: float, random: torch.Generator) -> Tensor:
    return (2 * torch.rand(shape, generator=random) - 1) * bound
