"""The surrogate gradient field (Li et al., 2021): walk latents to a target condition of any size.

    field = SurrogateGradientField(load_config("laptop")).fit(generator, samples)
    field.editors()["smile"].edit(latents, 2.0)

    field = SurrogateGradientField().fit_latents(latents, conditions, names)   # of any kind
    target = field.shifted(conditions[:8], {"smile": +2})
    found = field.manipulate(latents[:8], conditions[:8], target, observe)
    found.latents, found.status

A condition is any vector that can be read off an image: attribute scores, landmarks, the embedding
of a caption. `mapping` is F, `field` Eq. 6, `search` Algorithm 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping as Named
from collections.abc import Sequence
from functools import cached_property
from os import PathLike

from torch import Tensor

from facenb.editors import Editors, savable
from facenb.errors import FacenbError, check_finite, unknown
from facenb.generators import Generator
from facenb.methods.base import Method, require
from facenb.methods.observation import Observe, observer_of, scorers_for
from facenb.methods.sgf.editors import sgf_editors
from facenb.methods.sgf.field import ORDER, Order, spectral_radius, surrogate_field
from facenb.methods.sgf.search import Manipulation, walk
from facenb.methods.sgf.state import StoredField, principal_axes
from facenb.methods.sgf.training import MappingConfig, checkpoint_of, train_mapping
from facenb.sampling import ScoredSamples
from facenb.scorers.conditions import Condition, ConditionRange

STEP = 0.2  # λ: the share of the way in a step (reimplementation consensus, as ORDER)
MAX_STEPS = 20
TOLERANCE = 0.1
_MEASURED = 32  # training pairs that the spectral radius is measured on


@savable("sgf field")
class SurrogateGradientField(StoredField, Method):
    """The field of one generator and one kind of condition.

    Args:
        config: of the mapping F; `load_config(profile)` has one for every profile.
        scorers: what editors observe images with; by default the scorers of the samples' names.

    Attributes:
        names_: names of the C conditions.
        mapping_: F on standardised conditions, frozen.
        centre_, axes_: mean latent (d,) and the principal axes (k, d) in whose coordinates F works;
            None where it takes the latents themselves.
        mean_, scale_: (C,) mean and standard deviation of the training conditions.
        range_: their ranges and combinations: `range_.check(target)` says what is unlike them.
        limit_: length of a latent beyond which a walk counts as diverged: 1.5 times the longest.
        loss_: (steps,) reconstruction error in training, mean square a dimension.
        radius_: (32,) spectral radius of ∂F/∂z on training pairs; computed when it is first asked
            for.
    """

    def __init__(
        self, config: MappingConfig | None = None, scorers: Condition | None = None
    ) -> None:
        self.config = config
        self.scorers = scorers

    def fit(
        self, generator: Generator, samples: ScoredSamples | None = None
    ) -> SurrogateGradientField:
        """Train F on latents and scores of samples, or go on where the cache has it.

        Raises:
            ValueError: no samples, NaN, or a score that never varies.
        """
        samples = require(samples, self)
        values, conditions, config = samples.latents.values, samples.scores, self.config
        checkpoint = checkpoint_of(config or MappingConfig(), values, conditions)
        self.fit_latents(values, conditions, samples.names, checkpoint)
        self._generator, self._space = generator, samples.latents.space
        return self._fitted_to(generator)

    def editors(self, look: bool = False) -> Editors:
        """An editor for each score, counted in its standard deviations.

        Args:
            look: observe at every step, Algorithm 1, in place of its fast version (`SGFEditor`).

        Raises FacenbError after `fit_latents`, which knows no generator: see `sgf_editors`.
        """
        if not hasattr(self, "_generator"):
            raise FacenbError("SGF: fitted to tensors, it needs sgf_editors(field, observe).")
        scorers = self.scorers or scorers_for(self._generator, self.names_)
        observe = observer_of(self._generator, scorers, self._space)
        return sgf_editors(self, observe, None, self._space, look, scorers.fingerprint)

    def fit_latents(
        self,
        values: Tensor,
        conditions: Tensor,
        names: Sequence[str] | None = None,
        checkpoint: str | PathLike[str] | None = None,
    ) -> SurrogateGradientField:
        """Train F on latents (N, d) and their conditions (N, C).

        Args:
            checkpoint: see `train_mapping`: resumes, or reads a finished training back.

        Raises:
            ValueError: shapes that do not fit, NaN, or a condition that never varies.
        """
        if values.ndim != 2 or conditions.ndim != 2 or len(values) != len(conditions):
            raise ValueError(
                "SGF: expected latents (N, d) and conditions (N, C), "
                f"given {tuple(values.shape)} and {tuple(conditions.shape)}."
            )
        check_finite(values, "latents")
        check_finite(conditions, "conditions")
        self.names_ = tuple(map(str, range(conditions.shape[1])) if names is None else names)
        self.range_ = ConditionRange().fit(conditions, self.names_)
        self.mean_, self.scale_ = conditions.mean(dim=0), conditions.std(dim=0)
        self.limit_ = 1.5 * float(values.norm(dim=1).max())
        standard, config = self._standard(conditions), self.config or MappingConfig()
        self.centre_, self.axes_ = principal_axes(values, config.components)
        coordinates = self.coordinates(values)
        self.mapping_, self.loss_ = train_mapping(config, coordinates, standard, checkpoint)
        self._few = coordinates[:_MEASURED], standard[:_MEASURED]
        for name in ("radius_", "_generator"):  # of the fit before
            self.__dict__.pop(name, None)
        return self._fitted_to(None)

    @cached_property
    def radius_(self) -> Tensor:
        return spectral_radius(self.mapping_, *self._few)

    def step(
        self,
        values: Tensor,
        standard: Tensor,
        change: Tensor,
        order: Order = ORDER,
        difference: float | None = None,
    ) -> Tensor:
        """δz (N, d) at standardised conditions (N, C) for a change of them (N, C): Eq. 6."""
        moved = surrogate_field(
            self.mapping_, self.coordinates(values), standard, change, order, difference
        )
        return moved if self.axes_ is None else moved @ self.axes_

    def field(
        self,
        values: Tensor,
        conditions: Tensor,
        change: Tensor,
        order: Order = ORDER,
        difference: float | None = None,
    ) -> Tensor:
        """δz (N, d) for a change of the conditions (N, C) or (C,), in their own units: Eq. 6."""
        self._check(values, conditions)
        change = self._wide(change, values, "change") / self.scale_
        return self.step(values, self._standard(conditions), change, order, difference)

    def spectral_radius(self, values: Tensor, conditions: Tensor) -> Tensor:
        """(N,) of ∂F/∂z; the Neumann series converges where it is below 1."""
        self._check(values, conditions)
        return spectral_radius(self.mapping_, self.coordinates(values), self._standard(conditions))

    def shifted(self, conditions: Tensor, changes: Named[str, float]) -> Tensor:
        """The target (N, C) where the named conditions move by so many standard deviations."""
        target = conditions.clone()
        for name, change in changes.items():
            column = self._column(name)
            target[:, column] += change * self.scale_[column]
        return target

    def manipulate(
        self,
        values: Tensor,
        conditions: Tensor,
        target: Tensor,
        observe: Observe | None = None,
        order: Order = ORDER,
        step: float = STEP,
        max_steps: int = MAX_STEPS,
        tolerance: float = TOLERANCE,
        difference: float | None = None,
    ) -> Manipulation:
        """Algorithm 1: walk latents (N, d) with conditions (N, C) to the target (N, C) or (C,).

        Each latent is stopped for itself, and its walk does not depend on the rest of the batch.

        Args:
            observe: the conditions of new latents. None is the fast version (appendix J): they are
                taken to change as asked.
            step: λ; the field is asked for λ(c₁ − c₀) each time.
            tolerance: share of the asked change that may be missing at the end.

        Raises:
            ValueError: conditions or a target of another length than was trained on, NaN.
        """
        self._check(values, conditions)
        target = self._wide(target, values, "target")
        if not 0 < step <= 1 or max_steps < 0 or not 0 <= tolerance < 1:
            raise ValueError(
                "SGF: expected 0 < step ≤ 1, max_steps ≥ 0 and 0 ≤ tolerance < 1, "
                f"given {step}, {max_steps} and {tolerance}."
            )
        if order == "exact" or order > 1:
            self._warn_of_divergence()
        c0, c1 = self._standard(conditions), self._standard(target)
        change = step * (c1 - c0)

        def advance(z: Tensor, c: Tensor, rows: Tensor) -> Tensor:
            return z + self.step(z, c, change[rows], order, difference)

        def look(z: Tensor, c: Tensor, rows: Tensor) -> Tensor:
            return c + change[rows] if observe is None else self._standard(observe(z))

        path, along, steps, status = walk(
            values, c0, c1, advance, look, max_steps, tolerance, self.limit_, "SGF"
        )
        along = along * self.scale_ + self.mean_
        outside = self.range_.check(target).outside
        return Manipulation(path[-1], path, along, target, steps, status, outside)

    def _column(self, name: str) -> int:
        if name not in self.names_:
            raise unknown("condition", name, self.names_)
        return self.names_.index(name)

    def _standard(self, conditions: Tensor) -> Tensor:
        return (conditions - self.mean_) / self.scale_

    def _check(self, values: Tensor, conditions: Tensor) -> None:
        dimension = self.dimension
        if values.ndim != 2 or values.shape[1] != dimension:
            given = tuple(values.shape)
            raise ValueError(f"SGF: expected latents (N, {dimension}), given {given}.")
        check_finite(values, "latents")
        if conditions.shape != (len(values), len(self.names_)):
            raise ValueError(
                f"SGF: expected conditions ({len(values)}, {len(self.names_)}), "
                f"given {tuple(conditions.shape)}."
            )
        check_finite(conditions, "conditions")

    def _wide(self, given: Tensor, values: Tensor, what: str) -> Tensor:
        """`given` (C,) or (N, C) as (N, C)."""
        if given.shape[-1:] != (len(self.names_),) or given.ndim > 2:
            raise ValueError(
                f"{what}: expected {len(self.names_)} numbers a latent ({self._list()}), "
                f"given shape {tuple(given.shape)}."
            )
        if given.ndim == 2 and len(given) not in (1, len(values)):
            raise ValueError(f"{what}: expected {len(values)} rows, given {len(given)}.")
        check_finite(given, what)
        return given.to(values).expand(len(values), -1)

    def _list(self) -> str:
        shown = ", ".join(self.names_[:6])
        return shown if len(self.names_) <= 6 else f"{shown}, …"

    def _warn_of_divergence(self) -> None:
        share = float((self.radius_ >= 1).float().mean())
        if share:
            warnings.warn(
                f"SGF: on {share:.0%} of the samples measured the spectral radius of ∂F/∂z is 1 or "
                f"more (up to {float(self.radius_.max()):.2f}), so that the Neumann series does "
                "not converge there: a higher order is no better approximation, and the exact "
                "solve answers another question. Order 1 is the published default.",
                stacklevel=3,
            )
