"""Measure how exact the heads' small images are: PSNR, and every score against the full image's.

    python -m scripts.measure_heads [--faces 200]        # two cores: some three minutes

Writes the table of the heads in docs/model_cards.md, between its two markers. The faces are none of
those that the heads were trained on.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import facenb
from facenb.generators import Generator
from facenb.scorers import ScorerSuite
from facenb.storage.files import atomic_write

CARDS = Path(__file__).resolve().parent.parent / "docs" / "model_cards.md"
BEGIN, END = "<!-- heads: begin -->", "<!-- heads: end -->"
SEED = 77_000_000


@torch.no_grad()
def measure(
    generator: Generator, scorers: ScorerSuite, faces: int, size: int
) -> tuple[dict[str, float], Tensor, Tensor]:
    """PSNR in dB of each small size; scores (N, A) of images of `size` and of the full images."""
    ways = {f"{s} px": partial(generator.synthesize, size=s) for s in generator.sizes if s < 512}
    ways[f"{generator.preview_size} px, preview"] = generator.preview
    errors: dict[str, list[float]] = {name: [] for name in ways}
    small, full = [], []
    for latents in tqdm(generator.sample(faces, seed=SEED), "faces", mininterval=10):
        image = generator.synthesize(latents)
        for name, way in ways.items():
            found = way(latents)
            target = F.avg_pool2d(image, generator.resolution // found.shape[-1])
            errors[name].append(float(F.mse_loss(found, target)))
        small.append(scorers(generator.synthesize(latents, size)))
        full.append(scorers(image))
    psnr = {name: 10 * math.log10(4 / np.mean(e)) for name, e in errors.items()}
    return psnr, torch.cat(small), torch.cat(full)


def correlations(a: Tensor, b: Tensor) -> list[float]:
    """Pearson's r of each column."""
    return [float(np.corrcoef(x, y)[0, 1]) for x, y in zip(a.T.numpy(), b.T.numpy(), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=200)
    args = parser.parse_args()
    generator = facenb.load_generator()
    scorers = facenb.load_scorers(framing=generator.framing)
    size = generator.scoring_size
    psnr, rows = {}, {}
    for psi in (0.7, 1.0):
        variant = generator.variant(truncation=psi)
        psnr[psi], small, full = measure(variant, scorers, args.faces, size)
        rows[psi] = correlations(small, full)
    lines = [f"{args.faces} faces each; an image's target is the full image averaged down.", ""]
    lines += ["| image | PSNR at ψ = 0.7 | at ψ = 1 |", "|---|---|---|"]
    lines += [f"| {s} | {psnr[0.7][s]:.1f} dB | {psnr[1.0][s]:.1f} dB |" for s in psnr[1.0]]
    lines += ["", f"Pearson's r of a score of the {size}-px image with that of the full image:", ""]
    lines += ["| score | ψ = 0.7 | ψ = 1 |", "|---|---|---|"]
    names = zip(scorers.names, rows[0.7], rows[1.0], strict=True)
    lines += [f"| {name} | {low:.3f} | {high:.3f} |" for name, low, high in names]
    print("\n".join(lines))
    before, rest = CARDS.read_text().split(BEGIN)
    table = "\n".join(lines)
    atomic_write(CARDS, f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
