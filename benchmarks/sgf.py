"""Surrogate gradient field: editing 64 samples, what looking at the pictures costs, training F."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks import seconds
from facenb.generators import load_generator
from facenb.methods.sgf import MappingConfig, SurrogateGradientField, load_config
from facenb.sampling import observe
from facenb.scorers import load_scorers

PAIRS = 20_000
EDITED = 64
STEPS = 20
LOOKED_AT = 8  # looking is slow: fewer faces and steps say as much about its share
LOOKS = 3


def bench_sgf() -> dict[str, str]:
    """Order 1, 20 steps, all thirteen scores as the condition.

    Speed does not depend on what F has learned: the pairs are random, and the mapping of the edits
    is hardly trained.
    """
    generator, scorers = load_generator("digiface-dcgan-64"), load_scorers(framing="digiface")
    names = scorers.names
    codes = generator.sample(PAIRS).values
    conditions = torch.randn(PAIRS, len(names), generator=torch.Generator().manual_seed(0))
    field = SurrogateGradientField(MappingConfig(steps=1)).fit_latents(codes, conditions, names)
    goal = conditions[:EDITED].flip(0)

    def walk(count: int, steps: int, look: object = None) -> Tensor:
        given = codes[:count], conditions[:count], goal[:count]
        # steps so short that nobody arrives early
        return field.manipulate(*given, look, step=0.5 / steps, max_steps=steps).latents

    (fast,) = seconds(lambda: walk(EDITED, STEPS), rounds=5)
    unseen, seen = seconds(
        lambda: walk(LOOKED_AT, LOOKS),
        lambda: walk(LOOKED_AT, LOOKS, observe(generator, scorers)),
        rounds=3,
    )
    start = time.perf_counter()
    SurrogateGradientField(load_config("laptop")).fit_latents(codes, conditions, names)
    trained = time.perf_counter() - start
    each = seen / LOOKED_AT / LOOKS
    return {
        f"SGF, {EDITED} codes, {STEPS} steps, without looking": f"{fast:.2f} s",
        "SGF with scores at each step": f"{each * 1e3:.0f} ms a code and step, "
        f"{1 - unseen / seen:.0%} of it for pictures and scores",
        f"training F on {PAIRS:,} pairs (laptop profile)": f"{trained:.0f} s",
    }


if __name__ == "__main__":
    for name, value in bench_sgf().items():
        print(f"{name}: {value}")
