"""Images of latents, a few at a time on every core."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tqdm.auto import tqdm

from facenb.generators import Generator
from facenb.latents import Latents
from facenb.parallel import on_all_cores
from facenb.storage import cache
from facenb.storage.files import sha256_tensor

LOOKED_AT = 256  # pixels a side of images to look at
_DRAWN = 4  # of them at a time on a core
_VERSION = 1  # raise when a change here or in a generator alters the images
# Pixels to a pass of the generator on a core: two images of 256 px. Of more, the feature maps are
# far from the core, and an image takes longer.
_PIXELS = 2 * 256**2


def images_of(generator: Generator, latents: Latents, size: int | None = None) -> Tensor:
    """Images (N, 3, size, size) in [−1, 1] on the CPU, with 8 bits a colour, from disk when known.

    Args:
        size: one of `generator.sizes`. By default these are images to look at: of
            `generator.exact_size`, averaged down to 256 pixels where that is larger.
    """
    latents = latents.to("cpu")
    inputs = {
        "version": _VERSION,
        "generator": generator.fingerprint,
        "device": generator.device.type,
        "size": size,
        "space": latents.space,
        "latents": sha256_tensor(latents.values),
    }
    drawn = generator.exact_size if size is None else size
    fewer = drawn // LOOKED_AT if size is None else 1

    @torch.inference_mode()
    def of(batch: Latents) -> Tensor:
        pixels = draw(generator, batch.to(generator.device), drawn)
        if fewer > 1:
            pixels = avg_pool2d(pixels, fewer)
        return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

    def compute() -> dict[str, Tensor]:
        batches = [latents[i : i + _DRAWN] for i in range(0, len(latents), _DRAWN)]
        found = on_all_cores(of, batches) if generator.device.type == "cpu" else map(of, batches)
        bar = tqdm(found, "images", len(batches), leave=False, disable=len(batches) < _DRAWN)
        return {"images": torch.cat(list(bar)).clone()}

    return cache.cached("images", inputs, compute)["images"].float() / 127.5 - 1


def draw(generator: Generator, latents: Latents, size: int) -> Tensor:
    """Images (N, 3, size, size) of a batch; on the CPU a few at a time where they are large."""
    if generator.device.type != "cpu":
        return generator.synthesize(latents, size)
    few = max(_PIXELS // max(size, 1) ** 2, 1)
    parts = [latents[i : i + few] for i in range(0, len(latents), few)]
    return torch.cat([generator.synthesize(part, size) for part in parts])
