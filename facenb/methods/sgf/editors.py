"""The surrogate gradient field as an editor: strength in, latents out, beside the linear ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from facenb.editors import Strength, per_code
from facenb.errors import unknown
from facenb.latents import Latents
from facenb.methods.sgf.estimator import ORDER, Observe, SurrogateGradientField
from facenb.methods.sgf.field import Order, surrogate_field

_STEP = 0.5  # standard deviations of the attribute to a step of the ODE
_REMEMBERED = 4096  # codes whose conditions are kept: a slider asks for the same face each time


@dataclass(frozen=True)
class SGFEditor:
    """One attribute by the fast version of Algorithm 1 (appendix J), to any strength.

    The strength is how many standard deviations the attribute is asked to move by; the other
    conditions are asked to stay. The walk to a strength passes through all smaller ones, so that
    strips are one path, and a strength of 0 changes nothing.

    Args:
        name: of the attribute, one of the field's conditions.
        surrogate: the fitted field.
        observe: codes (N, d) → conditions (N, C) at the start of the walk. Asked once for each
            different code.
        order: of the Neumann series.
        space: of the latents that the field was fitted on.
    """

    name: str
    surrogate: SurrogateGradientField
    observe: Observe
    order: Order = ORDER
    space: str = "z"
    _known: OrderedDict[bytes, Tensor] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        if self.name not in self.surrogate.names_:
            raise unknown("condition", self.name, self.surrogate.names_)

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        """The codes walked to `strength`, a number or one for each of the N codes."""
        with torch.inference_mode(False), torch.no_grad():  # inference mode has no forward AD
            values = latents.require(self.space).clone()
            asked = per_code(strength, values).flatten().clone().expand(len(values))
            rows = asked.nonzero().flatten()
            if len(rows):
                values[rows] = self._walk(values[rows], asked[rows])
        return latents.with_values(values)

    def _walk(self, z: Tensor, asked: Tensor) -> Tensor:
        """Explicit Euler on Eq. 7, all codes side by side, each to its own end."""
        surrogate = self.surrogate
        c = (self._conditions(z) - surrogate.mean_) / surrogate.scale_
        column = surrogate.names_.index(self.name)
        left = asked.abs()
        while len(rows := left.nonzero().flatten()):
            length = left[rows].clamp(max=_STEP)
            change = torch.zeros_like(c[rows])
            change[:, column] = length * asked[rows].sign()
            z[rows] += surrogate_field(surrogate.mapping_, z[rows], c[rows], change, self.order)
            c[rows] += change
            left[rows] -= length
        return z

    def _conditions(self, z: Tensor) -> Tensor:
        keys = [row.numpy().tobytes() for row in z.cpu()]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            found = self.observe(z[list(new.values())])
            self._known.update(zip(new, found.to(z), strict=True))
        conditions = torch.stack([self._known[key] for key in keys])
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return conditions


def sgf_editors(
    surrogate: SurrogateGradientField,
    observe: Observe,
    names: Sequence[str] | None = None,
    space: str = "z",
) -> Mapping[str, SGFEditor]:
    """An editor for each of these conditions, or for all, sharing what they know of the codes."""
    known: OrderedDict[bytes, Tensor] = OrderedDict()
    names = surrogate.names_ if names is None else names
    return {n: SGFEditor(n, surrogate, observe, space=space, _known=known) for n in names}
