"""What editors that observe images have in common: the scores of latents, remembered, reloaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from facenb.editors import Context
from facenb.errors import FacenbError
from facenb.generators import Generator
from facenb.sampling import observe
from facenb.scorers import load_scorers
from facenb.scorers.conditions import Condition

Observe = Callable[[Tensor], Tensor]
"""Latents (N, d) → their conditions (N, C), such as scores of the images that they make."""

_REMEMBERED = 4096  # latents whose conditions are kept: a slider asks for the same face each time


class Remembered:
    """An `Observe` that observes each latent once.

    Args:
        observe: latents (N, d) → conditions (N, C).
    """

    def __init__(self, observe: Observe) -> None:
        self.observe = observe
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, values: Tensor) -> Tensor:
        keys = [row.numpy().tobytes() for row in values.cpu()]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            found = self.observe(values[list(new.values())])
            self._known.update(zip(new, found.to(values), strict=True))
        conditions = torch.stack([self._known[key] for key in keys])
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return conditions


def scorers_for(generator: Generator, names: Sequence[str]) -> Condition:
    """The scorers of these scores, for the generator's images."""
    return load_scorers(list(names), generator.framing, generator.device)


def observer_of(generator: Generator, scorers: Condition, space: str) -> Remembered:
    """The conditions of a generator's latents, each latent observed once."""
    return Remembered(observe(generator, scorers, space))


def reloaded(
    context: Context, what: str, names: Sequence[str], fingerprint: str | None
) -> tuple[Generator, Condition]:
    """Generator and scorers for editors from a file, which has the scorers' fingerprint alone.

    Raises:
        FacenbError: no generator was given, or the scorers are others than those of the file.
    """
    if context.generator is None:
        raise FacenbError(
            f"{context.source}: {what} observes images and needs the generator that makes them: "
            "Editors.load(path, generator)."
        )
    key = "scorers", tuple(names)
    if key not in context.shared:
        given = context.scorers or scorers_for(context.generator, names)
        context.shared[key] = given
    scorers = context.shared[key]
    if tuple(scorers.names) != tuple(names) or fingerprint not in (None, scorers.fingerprint):
        raise FacenbError(
            f"{context.source}: {what} was fitted to {', '.join(names)} by other scorers than "
            f"those here ({', '.join(scorers.names)}). Give Editors.load(path, generator, scorers) "
            "its own, or fit it again."
        )
    return context.generator, scorers
