"""Looking at a generator while it trains: grids of samples, a Fréchet distance."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from facenb.generators.stylegan2_network import StyleGAN2Network
from facenb.scorers.identity import IdentityScorer
from facenb.storage.files import atomic_write
from facenb.training.frechet import frechet_distance, recognition_features
from facenb.training.pool import as_images

_BATCH = 32
_COLUMNS = 12


class Watch:
    """Grids and distances of a generator, from the same codes every time.

    Args:
        pool: uint8 (P, 3, R, R), what it is to look like.
        identity: the recognition net that the distance is measured with.
        folder: where the grids go, grid_<step>.png.
        samples: pictures on either side of the distance, `pool` permitting.
    """

    def __init__(
        self, pool: Tensor, identity: IdentityScorer, folder: Path, samples: int, seed: int = 0
    ) -> None:
        self.pool, self.identity, self.folder = pool, identity, Path(folder)
        self.samples, self.seed = min(samples, len(pool)), seed
        self.device = identity.mean.device
        self._real = recognition_features(identity, self._batches(pool[: self.samples]))

    def distance(self, network: StyleGAN2Network) -> float:
        """From the pool's first pictures to as many samples."""
        return frechet_distance(self._real, self.features(network))

    def floor(self) -> float:
        """The same distance to the next pictures of the pool: what a perfect generator gets."""
        others = self.pool[self.samples : 2 * self.samples]
        return frechet_distance(
            self._real, recognition_features(self.identity, self._batches(others))
        )

    def features(self, network: StyleGAN2Network) -> Tensor:
        """Recognition features (samples, 128) of samples."""
        z = self._codes(self.samples, network)
        pictures = (sample(network, part) for part in z.split(_BATCH))
        return recognition_features(self.identity, pictures)

    def grid(self, network: StyleGAN2Network, step: int) -> Path:
        """A picture of 8 × 12 samples at twice their size."""
        z = self._codes(8 * _COLUMNS, network)
        path = self.folder / f"grid_{step:06d}.png"
        save_grid(torch.cat([sample(network, part) for part in z.split(_BATCH)]), path)
        return path

    def _codes(self, n: int, network: StyleGAN2Network) -> Tensor:
        random = torch.Generator().manual_seed(self.seed)
        return torch.randn(n, network.layout.z_dim, generator=random).to(self.device)

    def _batches(self, pixels: Tensor) -> Iterator[Tensor]:
        return (as_images(part, self.device) for part in pixels.split(_BATCH))


@torch.no_grad()
def sample(network: StyleGAN2Network, z: Tensor) -> Tensor:
    """Pictures (N, 3, R, R) in [−1, 1] of z, without truncation."""
    return network.synthesize(network.map(z)).clamp(-1, 1)


def save_grid(images: Tensor, path: Path, columns: int = _COLUMNS, scale: int = 2) -> None:
    """Write (N, 3, R, R) in [−1, 1] as a PNG, N a multiple of `columns`, pixels enlarged."""
    n, _, side, _ = images.shape
    rows = images.unflatten(0, (n // columns, columns)).permute(0, 3, 1, 4, 2)
    pixels = ((rows.reshape(-1, columns * side, 3).cpu() + 1) * 127.5).round().to(torch.uint8)
    picture = Image.fromarray(pixels.numpy())
    buffer = io.BytesIO()
    picture.resize((picture.width * scale, picture.height * scale), 0).save(buffer, "png")
    atomic_write(path, buffer.getvalue())
