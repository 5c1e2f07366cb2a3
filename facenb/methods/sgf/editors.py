"""The surrogate gradient field as an editor: strength in, latents out, beside the linear ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facenb.editors import Context, Editors, Strength, per_code, savable
from facenb.errors import unknown
from facenb.latents import Latents
from facenb.methods.observation import Observe, Remembered, observer_of, reloaded

if TYPE_CHECKING:
    from facenb.methods.sgf.estimator import SurrogateGradientField

_STEP = 0.5  # standard deviations of the attribute to a step of the ODE


@savable("sgf")
@dataclass(frozen=True)
class SGFEditor:
    """One attribute, to any strength.

    The strength is how many standard deviations the attribute is asked to move by; the other
    conditions are asked to stay. A strength of 0 changes nothing.

    Args:
        name: of the attribute, one of the field's conditions.
        surrogate: the fitted field.
        observe: latents (N, d) → conditions (N, C).
        space: of the latents that the field was fitted on.
        look: False is the fast version of Algorithm 1 (appendix J), which observes the start of a
            walk alone, and each different latent once; the walk to a strength passes through all
            smaller ones, so that a traversal is one path. True is Algorithm 1 itself, which
            observes after every step and stops where the attribute has arrived (`manipulate`).
        fingerprint: of the scorers that observe, for files; None where it is not known.
    """

    name: str
    surrogate: SurrogateGradientField
    observe: Observe
    space: str = "z"
    look: bool = False
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        if self.name not in self.surrogate.names_:
            raise unknown("condition", self.name, self.surrogate.names_)
        if not isinstance(self.observe, Remembered):
            object.__setattr__(self, "observe", Remembered(self.observe))

    @property
    def dim(self) -> int:
        """d."""
        return self.surrogate.dimension

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        """The latents walked to `strength`, a number or one for each of the N latents."""
        with torch.inference_mode(False), torch.no_grad():  # inference mode has no forward AD
            values = latents.require(self.space).clone()
            asked = per_code(strength, values).flatten().clone().expand(len(values))
            rows = asked.nonzero().flatten()
            if len(rows):
                walk = self._walk_observed if self.look else self._walk
                values[rows] = walk(values[rows], asked[rows])
        return latents.with_values(values)

    def _walk(self, z: Tensor, asked: Tensor) -> Tensor:
        """Explicit Euler on Eq. 7, all latents side by side, each to its own end."""
        surrogate = self.surrogate
        c = (self.observe(z) - surrogate.mean_) / surrogate.scale_
        column = surrogate.names_.index(self.name)
        left = asked.abs()
        while len(rows := left.nonzero().flatten()):
            length = left[rows].clamp(max=_STEP)
            change = torch.zeros_like(c[rows])
            change[:, column] = length * asked[rows].sign()
            z[rows] += surrogate.step(z[rows], c[rows], change)
            c[rows] += change
            left[rows] -= length
        return z

    def _walk_observed(self, z: Tensor, asked: Tensor) -> Tensor:
        """Algorithm 1."""
        surrogate, before = self.surrogate, self.observe(z)
        column = surrogate.names_.index(self.name)
        target = before.clone()
        target[:, column] += asked * surrogate.scale_[column]
        return surrogate.manipulate(z, before, target, self.observe.observe).latents

    def to_fields(self) -> dict[str, object]:
        """What a file has: the field, not what observes."""
        return {
            "name": self.name,
            "surrogate": self.surrogate,
            "space": self.space,
            "look": self.look,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_fields(cls, values: dict[str, object], context: Context) -> SGFEditor:
        """With images observed by the generator and the scorers of `context`."""
        names, what = values["surrogate"].names_, f"the SGF editor of {values['name']!r}"
        generator, scorers = reloaded(context, what, names, values["fingerprint"])
        key = "observer", names, values["space"]
        if key not in context.shared:
            context.shared[key] = observer_of(generator, scorers, values["space"])
        return cls(**values, observe=context.shared[key])


def sgf_editors(
    surrogate: SurrogateGradientField,
    observe: Observe,
    names: Sequence[str] | None = None,
    space: str = "z",
    look: bool = False,
    fingerprint: str | None = None,
) -> Editors:
    """An editor for each of these conditions, or for all, sharing what they know of the latents.

    `SurrogateGradientField.editors` calls it with the scorers of the samples; give `observe` where
    conditions come from elsewhere.
    """
    shared = observe if isinstance(observe, Remembered) else Remembered(observe)
    return surrogate._named(
        {
            name: SGFEditor(name, surrogate, shared, space, look, fingerprint)
            for name in (surrogate.names_ if names is None else names)
        },
        look=look,
    )
