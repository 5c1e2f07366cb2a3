"""Plain latent-code optimisation (Li et al., 2021, appendix A): the baseline without a field.

The error between the conditions and their target is propagated back through scorers and generator
to the code, and Adam follows it. The walk is stopped by the rule of
Algorithm 1 (`facenb.methods.sgf.search`) and has its budget of steps, so that both can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facenb.errors import check_finite
from facenb.methods.sgf import Manipulation, walk

RATE = 0.1  # the paper's rate is lost
MAX_STEPS = 20
TOLERANCE = 0.1
_CHUNK = 16  # pictures whose graph is alive at a time: the scorers keep 60 MB each


def optimise_latents(
    values: Tensor,
    conditions: Tensor,
    target: Tensor,
    observe: Callable[[Tensor], Tensor],
    mean: Tensor,
    scale: Tensor,
    rate: float = RATE,
    max_steps: int = MAX_STEPS,
    tolerance: float = TOLERANCE,
    limit: float = float("inf"),
) -> Manipulation:
    """Codes (N, d) moved by Adam until their conditions (N, C) are the target (N, C).

    The loss of a code is the mean square of its C errors, in standard deviations; codes do not
    influence each other.

    Args:
        observe: codes (K, d) → conditions (K, C), differentiable: no captioner will do.
        mean, scale: (C,) of the conditions over many samples.
        rate: of Adam (betas 0.9 and 0.999).
        tolerance, limit: see `sgf_search.walk`.

    Returns:
        What `SurrogateGradientField.manipulate` returns; `out_of_range` is not looked at here.

    Raises:
        ValueError: shapes that do not fit, NaN, or conditions that have no gradient.
    """
    if values.ndim != 2 or conditions.ndim != 2 or conditions.shape != target.shape:
        raise ValueError(
            "optimise_latents: expected codes (N, d), conditions (N, C) and a target (N, C), "
            f"given {tuple(values.shape)}, {tuple(conditions.shape)} and {tuple(target.shape)}."
        )
    if len(values) != len(conditions) or conditions.shape[1:] != mean.shape != scale.shape:
        raise ValueError(
            f"optimise_latents: expected {len(values)} conditions of {mean.numel()} entries, "
            f"given {tuple(conditions.shape)}."
        )
    for tensor, name in ((values, "codes"), (conditions, "conditions"), (target, "target")):
        check_finite(tensor, name)
    goal = (target - mean) / scale
    adam = _Adam(values, rate)

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

    def __init__(self, values: Tensor, rate: float) -> None:
        self.rate, self.count = rate, 0
        self.gradient = torch.zeros_like(values)
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, z: Tensor, _conditions: Tensor, rows: Tensor) -> Tensor:
        self.count += 1
        gradient = self.gradient[rows]
        self.first[rows] = self.first[rows].lerp(gradient, 0.1)
        self.second[rows] = self.second[rows].lerp(gradient.square(), 0.001)
        mean = self.first[rows] / (1 - 0.9**self.count)
        size = (self.second[rows] / (1 - 0.999**self.count)).sqrt() + 1e-8
        return z - self.rate * mean / size
