"""Inversion of the astronaut: seconds, nearness, memory. The goals stand beside the numbers."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import torch

from benchmarks import peak_mebibytes, seconds
from facenb import load_generator, load_identity
from facenb.assets import asset_path
from facenb.photos import PLAIN, Inversion, Photograph, load_encoder
from facenb.photos.measure import Reconstruction


def bench_photos() -> dict[str, str]:
    """`measure` in a process of its own, for its peak memory."""
    program = [sys.executable, "-m", "benchmarks.photos"]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(budget: float = 60, plain_steps: int = 140, tuning: float = 90) -> dict[str, str]:
    """The encoder; with optimisation for a minute; pixels alone from the mean of W; tuning.

    Args:
        budget, tuning: seconds of the optimisation and of tuning.
        plain_steps: of the optimisation that the others are compared with.
    """
    generator = load_generator()
    photograph = Photograph(generator, asset_path("astronaut/astronaut.png"))
    image, encoder = photograph.aligned.image, load_encoder()
    measured = Reconstruction(image, load_identity())

    def near(codes, network=generator) -> str:
        found = {name: float(value) for name, value in measured(network, codes).items()}
        return (
            f"VGG distance {found['VGG distance (HED)']:.2f}, "
            f"SFace cosine {found['SFace cosine']:.2f}, {found['PSNR']:.1f} dB"
        )

    with torch.no_grad():
        (spent,) = seconds(lambda: encoder(image), rounds=5)
    rows = {"photograph, encoder alone": f"{spent:.2f} s (goal 1), {near(photograph.encoded)}"}
    photograph.invert(seconds=budget, quiet=True)
    rows["photograph, encoder and optimisation"] = (
        f"{photograph.inversion.spent:.0f} s (goal 60), {photograph.inversion.step} steps, "
        + near(photograph.latents)
    )
    plain = Inversion(generator.variant(precision=torch.bfloat16), image, weights=PLAIN)
    plain.run(steps=plain_steps, quiet=True)
    rows[f"photograph, {plain_steps} steps of pixels alone from the mean"] = (
        f"{plain.spent:.0f} s, {near(plain.latents)}"
    )
    start = time.perf_counter()
    photograph.tune(seconds=tuning)
    spent = time.perf_counter() - start
    rows["photograph, tuning"] = (
        f"{spent:.0f} s (goal 90), {near(photograph.latents, photograph.generator)}"
    )
    rows["photograph, peak memory"] = f"{peak_mebibytes() / 1024:.2f} GiB (goal 4)"
    return rows


if __name__ == "__main__":
    print(json.dumps(measure()))
