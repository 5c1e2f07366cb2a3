"""Discovery: steps per second with either reconstructor, and where a step's time goes.

A step is the laptop profile's: 32 directions, batch 32, shifts up to ±6 on the embedded DCGAN. The
generator's two forward passes with the way back to A, and the reconstructor, should be all of it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb import load_generator
from facenb.generators import Generator
from facenb.methods.two_stage import (
    Config,
    DirectionMatrix,
    Training,
    load_config,
    make_reconstructor,
)
from facenb.methods.two_stage.discovery import Pairs
from facenb.seeds import random_for

KINDS = {"resnet18, a quarter wide": ("resnet18", 0.25), "lenet": ("lenet", 1.0)}
PARTS = ("generator", "reconstructor", "rest")


class Stopwatch:
    """Seconds by part: `lap` books the time since the last lap."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.spent[part] += now - self.last
        self.last = now


class Timed(Training):
    """A training whose every moment is booked as the generator's, the reconstructor's or the rest.

    On a CPU everything happens in the order of the calls, and a backward pass goes through the
    reconstructor first and then, from the gradient of the second image on, through the generator.
    """

    def __init__(self, config: Config, generator: Generator) -> None:
        super().__init__(config, generator, None, None)
        self.watch = watch = Stopwatch()
        synthesize = generator.synthesize

        def timed_synthesize(latents, size=None):
            watch.lap("rest")
            images = synthesize(latents, size)
            watch.lap("generator")
            if images.requires_grad:
                images.register_hook(lambda _: watch.lap("reconstructor"))
            return images

        generator.synthesize = timed_synthesize
        self.reconstructor.register_forward_pre_hook(lambda *_: watch.lap("rest"))
        self.reconstructor.register_forward_hook(lambda *_: watch.lap("reconstructor"))
        self.optimiser.register_step_pre_hook(lambda *_: watch.lap("generator"))

    def _terms(self, pairs: Pairs, random: torch.Generator, check: bool) -> dict[str, Tensor]:
        terms = super()._terms(pairs, random, check)
        terms["loss"].register_hook(lambda _: self.watch.lap("rest"))
        return terms

    def seconds(self) -> dict[str, float]:
        """One more step, by part."""
        self.watch.spent.clear()
        self.watch.lap("before")
        self._advance(check=False)
        self.watch.lap("rest")
        return {part: self.watch.spent[part] for part in PARTS}


def bench_discovery(rounds: int = 25) -> dict[str, str]:
    """Steps per second and shares of the time, for each reconstructor; and the ratio to
    `common_step`, the two taking turns."""
    rows = {}
    for label, (name, width) in KINDS.items():
        config = load_config("SDD", reconstructor=name, reconstructor_width=width)
        training, common = Timed(config, load_generator("digiface-dcgan-64")), common_step(config)
        steps, commons = [], []
        for turn in range(rounds + 2):
            parts = training.seconds()
            start = time.perf_counter()
            common()
            if turn >= 2:  # the first ones choose algorithms and allocate
                steps.append(parts)
                commons.append(time.perf_counter() - start)
        whole = median(sum(step.values()) for step in steps)
        shares = {part: median(step[part] / sum(step.values()) for step in steps) for part in PARTS}
        rows[f"discovery, {label}"] = (
            f"{1 / whole:.1f} steps/s ("
            + ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
            + ")"
        )
        ratio = median(commons) / whole
        rows[f"discovery, {label}, against the common way"] = f"{ratio:.2f} × faster"
    return rows


def common_step(config: Config) -> Callable[[], None]:
    """The same step as it is commonly written: the published network with its parameters not
    frozen, a graph through both images, default memory layout, Adam's plain loop."""
    from benchmarks import plain_dcgan

    plain, generator, task = plain_dcgan(), load_generator("digiface-dcgan-64"), config.task()
    matrix = DirectionMatrix(generator.latent_dim, config.count)
    reconstructor = make_reconstructor(
        config.reconstructor, config.count, config.reconstructor_width
    ).to(memory_format=torch.contiguous_format)
    parameters = [*matrix.parameters(), *reconstructor.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, foreach=False)

    def step() -> None:
        pairs = task.draw(generator, config.batch, random_for(0, "bench", 0))
        z, moves = pairs.latents.values, pairs.coefficients(config.count) @ matrix().T
        before, after = (plain(codes[:, :, None, None]) for codes in (z, z + moves))
        features = reconstructor.trunk(torch.cat([before, after], dim=1)).mean(dim=(2, 3))
        shift = reconstructor.shift(features).squeeze(1)
        loss = F.cross_entropy(reconstructor.direction(features), pairs.index)
        optimiser.zero_grad()
        (loss + 0.25 * F.l1_loss(shift, pairs.shift)).backward()
        optimiser.step()
        matrix.restore()

    return step


if __name__ == "__main__":
    for what, measured in bench_discovery().items():
        print(f"{what:60} {measured}")
