"""Training pictures: samples of the DigiFace DCGAN that pass its quality gate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.errors import FacenbError
from facenb.generators.base import Generator
from facenb.sampling import sample_scored
from facenb.scorers import QUALITY_GATE, ScorerSuite

_BATCH = 64


@torch.no_grad()
def make_pool(
    generator: Generator, scorers: ScorerSuite, samples: int, resolution: int, seed: int = 0
) -> Tensor:
    """uint8 (P, 3, resolution, resolution) on the CPU, P ≤ `samples` in the order of the samples.

    Left out are those whose quality score is not above `QUALITY_GATE`. Smaller resolutions than
    the generator's are means over squares of pixels.

    Args:
        scorers: with "quality" among them.

    Raises:
        ValueError: a resolution that does not divide the generator's.
        FacenbError: no sample passes.
    """
    if resolution < 1 or generator.resolution % resolution:
        raise ValueError(
            f"pool: expected a resolution that divides {generator.resolution}, given {resolution}."
        )
    scored = sample_scored(generator, scorers, samples, seed)
    passed = scored["quality"] > QUALITY_GATE
    if not passed.any():
        raise FacenbError(
            f"pool: none of {samples} samples of {generator.name} has a quality score above "
            f"{QUALITY_GATE}, the highest is {float(scored['quality'].max()):.3g}."
        )
    latents, parts = scored.select(passed).latents.to(generator.device), []
    for start in range(0, len(latents), _BATCH):
        images = generator.synthesize(latents[start : start + _BATCH])
        images = F.avg_pool2d(images, generator.resolution // resolution)
        parts.append(((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(parts)


def as_images(pixels: Tensor, device: torch.device) -> Tensor:
    """uint8 (N, 3, R, R) → float32 in [−1, 1] on `device`."""
    return pixels.to(device).float() / 127.5 - 1
