"""Algorithm 1 of Li et al. (2021) for a batch: walk along a field until the target is met.

The walk and its stopping rule know nothing of how a step is made, so that plain latent-code
optimisation (appendix A) is measured by the same rule and on the same budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

REACHED = "reached"
ALREADY_MET = "already met"
OUT_OF_STEPS = "out of steps"
DIVERGED = "diverged"


@dataclass(frozen=True)
class Manipulation:
    """What became of N latents.

    Attributes:
        latents: (N, d), the last good one of each.
        path: (S + 1, N, d) from the start; a latent that has stopped stays where it is.
        conditions: (S + 1, N, C) along the path, in the conditions' own units.
        target: (N, C).
        steps: (N,) taken by each, at most S.
        status: N of "reached", "already met" (returned unchanged), "out of steps", "diverged"
            (stopped; the last good latent kept).
        out_of_range: (N,) True where the target lies outside what the field was trained on.
    """

    latents: Tensor
    path: Tensor
    conditions: Tensor
    target: Tensor
    steps: Tensor
    status: tuple[str, ...]
    out_of_range: Tensor

    def counts(self) -> dict[str, int]:
        """How many latents have each status."""
        found = Counter(self.status)
        return {s: found[s] for s in (REACHED, ALREADY_MET, OUT_OF_STEPS, DIVERGED) if found[s]}

    def progress(self) -> Tensor:
        """Share (S + 1, N) of the way to the target along the change that was asked for.

        NaN where nothing was asked.
        """
        return progress(self.conditions, self.conditions[0], self.target)


def progress(conditions: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """⟨c − c₀, c₁ − c₀⟩ / ‖c₁ − c₀‖²: 0 at the start, 1 when the asked change is complete."""
    asked = target - start
    return ((conditions - start) * asked).sum(dim=-1) / asked.square().sum(dim=-1)


Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""latents (K, d), their conditions (K, C), their rows (K,) of the batch → latents (K, d)."""


@torch.no_grad()
def walk(
    start: Tensor,
    conditions: Tensor,
    target: Tensor,
    step: Step,
    observe: Callable[[Tensor, Tensor, Tensor], Tensor],
    max_steps: int,
    tolerance: float,
    limit: float,
    what: str,
) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """The loop of Algorithm 1; each latent by itself, stopped for itself.

    A latent arrives when the asked change is complete but for the share `tolerance` of it (or is
    exceeded). The distance ‖c − c₁‖ would be no rule: it stays large where any other condition has
    drifted. Nothing is done for a latent none of whose conditions is further than `tolerance` from
    its target.

    Args:
        start: (N, d). conditions, target: (N, C), all in standard deviations.
        step: makes the next latents of those that are still walking.
        observe: latents (K, d), conditions before the step (K, C), rows (K,) → conditions (K, C).
        limit: length of a latent beyond which it has left the data: diverged.

    Returns:
        path (S + 1, N, d), conditions (S + 1, N, C), steps (N,), status.
    """
    asked = target - conditions
    met = asked.abs().amax(dim=1) <= tolerance
    status = [ALREADY_MET if m else OUT_OF_STEPS for m in met.tolist()]
    active = ~met
    steps = torch.zeros(len(start), dtype=torch.long, device=start.device)
    z, c = start, conditions
    path, along = [z], [c]
    least = 1 - tolerance - 1e-6  # rounding may leave a walk of exactly the way a hair short
    for _ in tqdm(range(max_steps), desc=what, unit="step", leave=False):
        rows = active.nonzero().flatten()
        if len(rows):
            moved = step(z[rows], c[rows], rows)
            good = torch.isfinite(moved).all(dim=1) & (moved.norm(dim=1) <= limit)
            seen = c[rows].clone()
            if good.any():
                seen[good] = observe(moved[good], c[rows[good]], rows[good])
            good &= torch.isfinite(seen).all(dim=1)
            for row in rows[~good].tolist():
                status[row] = DIVERGED
            active[rows[~good]] = False
            kept = rows[good]
            z, c = z.index_copy(0, kept, moved[good]), c.index_copy(0, kept, seen[good])
            steps[kept] += 1
            arrived = kept[progress(c[kept], conditions[kept], target[kept]) >= least]
            for row in arrived.tolist():
                status[row] = REACHED
            active[arrived] = False
        path.append(z)
        along.append(c)
    return torch.stack(path), torch.stack(along), steps, tuple(status)
