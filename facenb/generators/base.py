"""The interface that every generator shares, whatever its architecture."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from facenb.errors import SpaceError, unknown
from facenb.latents import Latents
from facenb.seeds import check_seed

# Rows are drawn in multiples of this, so that the first latents do not depend on how many are asked
# for: torch fills normals in blocks of 16 numbers and treats the tail of a tensor differently.
_ROWS = 16


class Generator(nn.Module):
    """A frozen GAN generator: latents in, images out.

    Sub-classes set `name`, `resolution` (pixels a side), `latent_dim`, `spaces` and `fingerprint`
    (a hash of the weights, for cache keys), and implement `_synthesize` and `layers`; those with a
    mapping network also implement `_map`.

    Images are (N, 3, resolution, resolution) float tensors in [−1, 1], differentiable with respect
    to the latents. Parameters are frozen and the module stays in evaluation mode.

    Attributes:
        framing: how its images are cut around the face, for `load_scorers`: "ffhq" (aligned by eyes
            and mouth, with hair and shoulders) or "digiface" (the face fills the image).
        w_layers: L, the number of latents in w+; None without that space.
    """

    name: str
    resolution: int
    latent_dim: int
    spaces: tuple[str, ...]
    fingerprint: str
    framing: str = "ffhq"
    w_layers: int | None = None

    def sample(self, n: int, seed: int = 0, space: str = "z") -> Latents:
        """`n` latents drawn with `seed`: z ~ N(0, I), mapped to `space` when that is not "z".

        The same seed gives the same latents on every device, and `sample(10, s)` is the beginning
        of `sample(1000, s)`.
        """
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
            raise ValueError(f"sample: expected a whole number n ≥ 1, given {n!r}.")
        rows = -(-n // _ROWS) * _ROWS
        z = _normals(rows, self.latent_dim, seed)[:n]
        return self.map(Latents(z.to(self.device), "z"), space)

    def map(self, latents: Latents, space: str) -> Latents:
        """The latents taken to `space`; SpaceError when there is no such way."""
        self._check_space(space)
        if latents.space == space:
            return latents
        return self._map(latents, space)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides in pixels that `synthesize` can give, in increasing order."""
        return (self.resolution,)

    @property
    def scoring_size(self) -> int:
        """The side in pixels of the images that are scored where no other size is given."""
        return self.resolution

    @property
    def exact_size(self) -> int:
        """The first of `sizes` from 512 on, or `resolution`: figures and identities need no more.

        Smaller images of a large generator may be approximations.
        """
        return self.size_for(512)

    @property
    def preview_size(self) -> int:
        """The side in pixels of the images of `preview`: 256, the next size, or `resolution`."""
        return self.size_for(256)

    def size_for(self, pixels: int) -> int:
        """The first of `sizes` with at least so many pixels a side, or `resolution`."""
        return next((size for size in self.sizes if size >= pixels), self.resolution)

    def preview(self, latents: Latents) -> Tensor:
        """Images (N, 3, preview_size, preview_size) to look at while a slider moves.

        They are the quickest that are good enough for that; nothing should be measured on them.
        """
        return self.synthesize(latents, self.preview_size)

    def synthesize(self, latents: Latents, size: int | None = None) -> Tensor:
        """Images (N, 3, size, size) in [−1, 1].

        Args:
            size: one of `sizes`, by default the largest, which is `resolution`.

        Raises:
            TypeError: not a `Latents`.
            SpaceError: a space that this generator does not have.
            ValueError: latents of another dimension, or a size that is not among `sizes`.
        """
        size = self.resolution if size is None else size
        if size not in self.sizes:
            raise ValueError(
                f"{self.name}: expected a size among {', '.join(map(str, self.sizes))}, "
                f"given {size!r}."
            )
        self._check_latents(latents)
        if size == self.resolution:
            return self._synthesize(latents)
        return self._synthesize_at(latents, size)

    def layers(self) -> dict[str, nn.Module]:
        """The named layers, first to last, for hooks and for weights in closed form (SeFa)."""
        raise NotImplementedError

    def dim(self, space: str) -> int:
        """The size of a latent in `space`: `latent_dim` in z, and elsewhere by default."""
        self._check_space(space)
        return self.latent_dim

    @property
    def space_fingerprint(self) -> str:
        """Of the latent spaces: one for all settings of a generator that change images alone."""
        return self.fingerprint

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

    def _check_latents(self, latents: Latents) -> None:
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

    def _synthesize_at(self, latents: Latents, size: int) -> Tensor:
        """Of a generator with several sizes: images of a side below `resolution`."""
        raise NotImplementedError


def _normals(rows: int, columns: int, seed: int) -> Tensor:
    """(rows, columns) draws of N(0, 1); every seed from 0 to 2⁶³ − 1 has its own.

    torch's CPU generator looks at the lowest 32 bits of a seed alone.
    """
    seed = check_seed(seed)
    if seed < 2**32:
        return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    draws = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    return torch.from_numpy(draws)
