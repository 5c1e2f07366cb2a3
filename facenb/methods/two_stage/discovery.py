"""Voynov's discovery (Voynov & Babenko, 2020): directions that a second network can tell apart.

Draw a latent z, one of m directions and a shift; show a reconstructor the images of z and of the
shifted latent; it has to say which direction it was and how far. Directions whose changes are alike
cannot be told apart, so that A learns changes that differ, and reconstructor and A are trained
together (Niu 2023, §3.2, Eq. 1). Here are the task and its losses; `training` has the training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.two_stage.reconstructors import Reconstructor
from facenb.seeds import random_for


@dataclass(frozen=True)
class Pairs:
    """N questions: a latent, which direction it is moved along, and how far.

    Args:
        latents: N codes.
        index: (N,) int64, the direction k.
        shift: (N,) the signed length of the move.
    """

    latents: Latents
    index: Tensor
    shift: Tensor

    def coefficients(self, count: int) -> Tensor:
        """shift·e_k, (N, m): what A is multiplied with."""
        return self.shift[:, None] * F.one_hot(self.index, count).to(self.shift)


@dataclass(frozen=True)
class Task:
    """Which questions are asked.

    Args:
        count: m directions, each as likely as any other.
        space: the latent space that is moved in; latents are N(0, I) in Z, mapped there.
        scale: shifts are uniform in [−scale, scale] (6 in both papers).
        minimum: smaller shifts are pushed out to ±minimum (0.5 in both papers' code): a pair that
            hardly differs has no answer.

    Raises:
        ValueError: fewer than two directions, a space whose codes are not vectors, or not
            0 ≤ minimum ≤ scale with scale > 0.
    """

    count: int
    space: str = "z"
    scale: float = 6.0
    minimum: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"discovery: expected at least 2 directions, given {self.count}.")
        if self.space not in ("z", "w"):
            raise ValueError(f"discovery: expected space 'z' or 'w', given {self.space!r}.")
        if not 0 <= self.minimum <= self.scale or not self.scale > 0:
            raise ValueError(
                "discovery: expected 0 ≤ minimum ≤ scale and scale > 0, "
                f"given minimum {self.minimum} and scale {self.scale}."
            )

    def draw(self, generator: Generator, n: int, random: torch.Generator) -> Pairs:
        """`n` questions, the same on every device for the same state of `random`."""
        z = torch.randn(n, generator.latent_dim, generator=random)
        index = torch.randint(self.count, (n,), generator=random)
        shift = (2 * torch.rand(n, generator=random) - 1) * self.scale
        least = torch.where(shift < 0, -self.minimum, self.minimum)
        shift = torch.where(shift.abs() < self.minimum, least, shift)
        device = generator.device
        latents = generator.map(Latents(z.to(device), "z"), self.space)
        return Pairs(latents, index.to(device), shift.to(device))


@dataclass(frozen=True)
class Answers:
    """What the reconstructor says of N pairs: logits (N, m), shifts (N,), and what was asked."""

    logits: Tensor
    shift: Tensor
    pairs: Pairs

    def classification(self) -> Tensor:
        """Cross-entropy of the direction: the first term of Eq. 1."""
        return F.cross_entropy(self.logits, self.pairs.index)

    def regression(self) -> Tensor:
        """Mean absolute error of the shift, in units of latent space: the second term of Eq. 1."""
        return F.l1_loss(self.shift, self.pairs.shift)

    def accuracy(self) -> Tensor:
        """Share of the directions named rightly; 1/m is chance."""
        return (self.logits.argmax(dim=1) == self.pairs.index).float().mean()


def ask(
    generator: Generator,
    reconstructor: Reconstructor,
    matrix: Tensor,
    pairs: Pairs,
    size: int | None = None,
) -> Answers:
    """Make both images of every pair and let the reconstructor answer.

    The gradient goes to the reconstructor and, through the generator, to `matrix` A (d, m). The
    image that is not moved does not depend on A and is made without a graph: half of a joint
    batch's backward pass through the generator would be for nothing.
    """
    with torch.no_grad():
        before = generator.synthesize(pairs.latents, size)
    moved = pairs.latents + pairs.coefficients(matrix.shape[1]) @ matrix.T
    after = generator.synthesize(moved, size)
    return Answers(*reconstructor(before, after), pairs)


@dataclass(frozen=True)
class HeldOut:
    """A reconstructor's answers on pairs that were never trained on.

    Args:
        accuracy: share of directions named rightly (Voynov's RCA).
        shift_error: mean absolute error of the shift.
        pairs: how many were asked.
        chance: 1/m.
    """

    accuracy: float
    shift_error: float
    pairs: int
    chance: float


@torch.no_grad()
def held_out(
    generator: Generator,
    reconstructor: Reconstructor,
    vectors: Tensor,
    task: Task,
    batches: int = 100,
    batch: int = 32,
    seed: int = 0,
    size: int | None = None,
) -> HeldOut:
    """Accuracy on fresh pairs along directions (m, d), the reconstructor in evaluation mode.

    Voynov's code also takes 100 batches. The pairs come from a stream of random numbers of their
    own, so that the same seed as in training gives other pairs than it did there.
    """
    matrix = vectors.T.to(generator.device)
    training = reconstructor.training
    reconstructor.eval()
    found = []
    try:
        for i in range(batches):
            pairs = task.draw(generator, batch, random_for(seed, "held out", i))
            answers = ask(generator, reconstructor, matrix, pairs, size)
            found.append(torch.stack([answers.accuracy(), answers.regression()]))
    finally:
        reconstructor.train(training)
    accuracy, error = torch.stack(found).cpu().to(torch.float64).mean(dim=0).tolist()
    return HeldOut(accuracy, error, batches * batch, 1 / task.count)
