"""Plain latent optimisation (Li et al., 2021, appendix A): the baseline without a field.

The error between the conditions and their target is propagated back through scorers and generator
to the latents, and Adam follows it. The walk is stopped by the rule of
Algorithm 1 (`facenb.methods.sgf.search`) and has its budget of steps, so that both can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.editors import Context, Editors, Strength, per_code, savable
from facenb.errors import check_finite, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.base import Method, require
from facenb.methods.observation import reloaded, scorers_for
from facenb.methods.sgf import Manipulation, walk
from facenb.sampling import ScoredSamples
from facenb.scorers.conditions import Condition

LEARNING_RATE = 0.1  # the paper's is lost
MAX_STEPS = 20
TOLERANCE = 0.1
_CHUNK = 16  # images whose graph is alive at a time: the scorers keep 60 MB each


class LatentOptimisation(Method):
    """An optimisation for each score; nothing is learned but the scores' mean and scale.

    Args:
        learning_rate: of Adam.
        max_steps, tolerance: of a walk, see `facenb.methods.sgf.search.walk`.
        scorers: differentiable; by default the scorers of the samples' names.

    Attributes:
        names_: of the C scores, all of which take part in every edit: one moves, the others stay.
        mean_, scale_: (C,) mean and standard deviation over the samples.
    """

    def __init__(
        self,
        learning_rate: float = LEARNING_RATE,
        max_steps: int = MAX_STEPS,
        tolerance: float = TOLERANCE,
        scorers: Condition | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_steps = max_steps
        self.tolerance = tolerance
        self.scorers = scorers

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> LatentOptimisation:
        """The mean and the standard deviation of each score."""
        samples = require(samples, self)
        self.names_, self.space_ = samples.names, samples.latents.space
        self.mean_, self.scale_ = samples.scores.mean(dim=0), samples.scores.std(dim=0)
        self._generator = generator
        return self._fitted_to(generator)

    def editors(self) -> Editors:
        """An editor for each score, counted in its standard deviations."""
        scorers = self.scorers or scorers_for(self._generator, self.names_)
        settings = {"names": self.names_, "mean": self.mean_, "scale": self.scale_}
        settings |= {key: getattr(self, key) for key in ("learning_rate", "max_steps", "tolerance")}
        settings |= {"generator": self._generator, "scorers": scorers, "space": self.space_}
        return self._named({name: OptimisationEditor(name, **settings) for name in self.names_})


@savable("optimisation")
@dataclass(frozen=True)
class OptimisationEditor:
    """One score moved by optimisation, and the others asked to stay: `optimise_latents`.

    The strength is how many standard deviations the score is asked to move by; one of `tolerance`
    or less is met already and changes nothing. Every strength is a walk of its own through
    generator and scorers, and takes seconds.

    Args:
        name: of the score, among the C `names` that the scorers have.
        mean, scale: (C,) of the scores over many samples.
        generator, scorers: make and observe the images; a file of editors does not have them.
    """

    name: str
    names: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    learning_rate: float
    max_steps: int
    tolerance: float
    generator: Generator
    scorers: Condition
    space: str = "z"

    def __post_init__(self) -> None:
        if self.name not in self.names:
            raise unknown("score", self.name, self.names)

    @property
    def dim(self) -> int:
        """d."""
        return self.generator.dim(self.space)

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        """The latents walked to `strength`, a number or one for each of the N latents."""
        with torch.inference_mode(False):  # whose tensors have no gradients
            values = latents.require(self.space).detach().clone()
            asked = per_code(strength, values).flatten().clone().expand(len(values))
            rows = asked.nonzero().flatten()
            if len(rows):
                values[rows] = self._optimised(values[rows], asked[rows])
        return latents.with_values(values)

    def _optimised(self, values: Tensor, asked: Tensor) -> Tensor:
        with torch.no_grad():
            before = torch.cat([self._observe(part) for part in values.split(_CHUNK)])
        target = before.clone()
        mean, scale = self.mean.to(before), self.scale.to(before)
        target[:, self.names.index(self.name)] += asked * scale[self.names.index(self.name)]
        settings = self.learning_rate, self.max_steps, self.tolerance
        found = optimise_latents(values, before, target, self._observe, mean, scale, *settings)
        return found.latents

    def _observe(self, values: Tensor) -> Tensor:
        images = self.generator.synthesize(Latents(values, self.space), self.generator.scoring_size)
        return self.scorers(images)

    def to_fields(self) -> dict[str, object]:
        """What a file has: all but the generator and the scorers."""
        kept = ("name", "names", "mean", "scale", "learning_rate", "max_steps", "tolerance")
        values = {key: getattr(self, key) for key in (*kept, "space")}
        return values | {"fingerprint": self.scorers.fingerprint}

    @classmethod
    def from_fields(cls, values: dict[str, object], context: Context) -> OptimisationEditor:
        """With the generator and the scorers of `context`."""
        what = f"the optimisation of {values['name']!r}"
        fingerprint = values.pop("fingerprint")
        generator, scorers = reloaded(context, what, values["names"], fingerprint)
        return cls(**values, generator=generator, scorers=scorers)


def optimise_latents(
    values: Tensor,
    conditions: Tensor,
    target: Tensor,
    observe: Callable[[Tensor], Tensor],
    mean: Tensor,
    scale: Tensor,
    learning_rate: float = LEARNING_RATE,
    max_steps: int = MAX_STEPS,
    tolerance: float = TOLERANCE,
    limit: float = float("inf"),
) -> Manipulation:
    """Latents (N, d) moved by Adam until their conditions (N, C) are the target (N, C).

    The loss of a latent is the mean square of its C errors, in standard deviations; latents do not
    influence each other.

    Args:
        observe: latents (K, d) → conditions (K, C), differentiable: no captioner will do.
        mean, scale: (C,) of the conditions over many samples.
        learning_rate: of Adam (betas 0.9 and 0.999).
        tolerance, limit: see `facenb.methods.sgf.search.walk`.

    Returns:
        What `SurrogateGradientField.manipulate` returns; `out_of_range` is not looked at here.

    Raises:
        ValueError: shapes that do not fit, NaN, or conditions that have no gradient.
    """
    if values.ndim != 2 or conditions.ndim != 2 or conditions.shape != target.shape:
        raise ValueError(
            "optimise_latents: expected latents (N, d), conditions (N, C) and a target (N, C), "
            f"given {tuple(values.shape)}, {tuple(conditions.shape)} and {tuple(target.shape)}."
        )
    if len(values) != len(conditions) or conditions.shape[1:] != mean.shape != scale.shape:
        raise ValueError(
            f"optimise_latents: expected {len(values)} conditions of {mean.numel()} entries, "
            f"given {tuple(conditions.shape)}."
        )
    for tensor, name in ((values, "latents"), (conditions, "conditions"), (target, "target")):
        check_finite(tensor, name)
    goal = (target - mean) / scale
    adam = _Adam(values, learning_rate)

    def look(z: Tensor, _before: Tensor, rows: Tensor) -> Tensor:
        """The conditions, and on the way the gradient that the next step needs."""
        found = []
        for part, index in zip(z.split(_CHUNK), rows.split(_CHUNK), strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                c = (observe(part) - mean) / scale
                if not c.requires_grad:
                    raise ValueError("optimise_latents: the conditions have no gradient.")
                loss = (c - goal[index]).square().mean(dim=1).sum()
                adam.gradient[index] = torch.autograd.grad(loss, part)[0]
            found.append(c.detach())
        return torch.cat(found)

    start = (conditions - mean) / scale
    with torch.no_grad():
        walking = ((goal - start).abs().amax(dim=1) > tolerance).nonzero().flatten()
        if len(walking) and max_steps:
            look(values[walking], start, walking)
    path, along, steps, status = walk(
        values, start, goal, adam.step, look, max_steps, tolerance, limit, "optimising"
    )
    unknown_range = torch.zeros(len(values), dtype=torch.bool)
    return Manipulation(path[-1], path, along * scale + mean, target, steps, status, unknown_range)


class _Adam:
    """Adam (Kingma and Ba, 2015) on the rows that are still walking."""

    def __init__(self, values: Tensor, learning_rate: float) -> None:
        self.learning_rate, self.count = learning_rate, 0
        self.gradient = torch.zeros_like(values)
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, z: Tensor, _conditions: Tensor, rows: Tensor) -> Tensor:
        self.count += 1
        gradient = self.gradient[rows]
        self.first[rows] = self.first[rows].lerp(gradient, 0.1)
        self.second[rows] = self.second[rows].lerp(gradient.square(), 0.001)
        mean = self.first[rows] / (1 - 0.9**self.count)
        size = (self.second[rows] / (1 - 0.999**self.count)).sqrt() + 1e-8
        return z - self.learning_rate * mean / size
