"""The interface that every generator shares, whatever its architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facenb.errors import SpaceError, unknown
from facenb.latents import Latents

# Rows are drawn in multiples of this, so that the first codes do not depend on how many are asked
# for: torch fills normals in blocks of 16 numbers and treats the tail of a tensor differently.
_ROWS = 16


class Generator(nn.Module):
    """A frozen GAN generator: latents in, images out.

    Sub-classes set `name`, `resolution` (pixels a side), `latent_dim`, `spaces` and `fingerprint`
    (a hash of the weights, for cache keys), and implement `_synthesize` and `layers`; those with a
    mapping network also implement `_map`.

    Images are (N, 3, resolution, resolution) float tensors in [−1, 1], differentiable with respect
    to the latents. Parameters are frozen and the module stays in evaluation mode.
    """

    name: str
    resolution: int
    latent_dim: int
    spaces: tuple[str, ...]
    fingerprint: str

    def sample(self, n: int, seed: int = 0, space: str = "z") -> Latents:
        """`n` latents drawn with `seed`: z ~ N(0, I), mapped to `space` when that is not "z".

        The same seed gives the same codes on every device, and `sample(10, s)` is the beginning of
        `sample(1000, s)`.
        """
        if n < 1:
            raise ValueError(f"sample: expected n ≥ 1, given {n}.")
        rows = -(-n // _ROWS) * _ROWS
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(rows, self.latent_dim, generator=random)[:n]
        return self.map(Latents(z.to(self.device), "z"), space)

    def map(self, latents: Latents, space: str) -> Latents:
        """The latents taken to `space`; SpaceError when there is no such way."""
        self._check_space(space)
        if latents.space == space:
            return latents
        return self._map(latents, space)

    def synthesize(self, latents: Latents) -> Tensor:
        """Images (N, 3, R, R) in [−1, 1].

        Raises:
            TypeError: not a `Latents`.
            SpaceError: a space that this generator does not have.
            ValueError: codes of another dimension.
        """
        if not isinstance(latents, Latents):
            raise TypeError(
                f"{self.name}: expected facenb.Latents, given {type(latents).__name__}. "
                "Wrap a tensor as Latents(tensor, 'z')."
            )
        self._check_space(latents.space)
        if latents.values.shape[-1] != self.dim(latents.space):
            raise ValueError(
                f"{self.name}: expected latents of dimension {self.dim(latents.space)}, "
                f"given shape {tuple(latents.values.shape)}."
            )
        return self._synthesize(latents)

    def layers(self) -> dict[str, nn.Module]:
        """The named layers, first to last, for hooks and for weights in closed form (SeFa)."""
        raise NotImplementedError

    def dim(self, space: str) -> int:
        """The size of a code in `space`: `latent_dim` in z, and elsewhere where nothing else is."""
        self._check_space(space)
        return self.latent_dim

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def freeze(self) -> Generator:
        """Evaluation mode, no gradients for parameters: edits need them for latents alone."""
        return self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Generator:
        if mode:
            raise RuntimeError(f"{self.name} is a frozen generator: it stays in evaluation mode.")
        return super().train(False)

    def _check_space(self, space: str) -> None:
        if space in self.spaces:
            return
        if space not in ("z", "w", "w+"):
            raise unknown("latent space", space, self.spaces)
        raise SpaceError(
            f"{self.name} has the spaces {', '.join(map(repr, self.spaces))}; given {space!r}."
        )

    def _map(self, latents: Latents, space: str) -> Latents:
        raise SpaceError(
            f"{self.name} has no mapping from space {latents.space!r} to space {space!r}."
        )

    def _synthesize(self, latents: Latents) -> Tensor:
        raise NotImplementedError
