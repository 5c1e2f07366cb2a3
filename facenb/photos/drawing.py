"""Many small images of a generator to learn from, drawn once."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor

_CHUNK = 4


def images_of(generator: Generator, latents: Latents, side: int) -> Tensor:
    """Images (N, 3, side, side) in [−1, 1] of latents, kept in the cache with 8 bits a colour."""
    inputs = {"generator": generator.fingerprint, "side": side, "space": latents.space}
    inputs |= {"latents": sha256_tensor(latents.values)}

    def compute() -> dict[str, Tensor]:
        parts = [latents[i : i + _CHUNK] for i in range(0, len(latents), _CHUNK)]
        drawn = []
        with torch.inference_mode():
            for part in tqdm(parts, "images", leave=False):
                pixels = (generator.synthesize(part, side).float().clamp(-1, 1) + 1) * 127.5
                drawn.append(pixels.round().to(torch.uint8))
        return {"images": torch.cat(drawn).clone()}

    return cached("images", inputs, compute)["images"].float() / 127.5 - 1
