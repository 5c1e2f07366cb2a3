"""The contract that every method follows: fit to a generator and its samples, hand out editors.

    class Yours(Method):
        def __init__(self, strength: float = 1.0) -> None:      # hyper-parameters alone
            self.strength = strength

        def fit(self, generator, samples=None) -> Yours:
            self.directions_ = …                                # what is learned ends in "_"
            return self._fitted_to(generator)

        def editors(self) -> Editors:
            return self._named({"smile": LinearEditor("smile", self.directions_[0])})

Strips, the Explorer, saving and the comparison then work with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Self

from sklearn.base import BaseEstimator

from facenb.editors import Editor, Editors
from facenb.errors import SpaceError
from facenb.generators import Generator
from facenb.sampling import ScoredSamples


class Method(BaseEstimator, ABC):
    """An estimator whose result is `Editors`.

    The constructor takes hyper-parameters and stores them under their names, as scikit-learn's
    do: `get_params` and `clone` work, and what plain JSON can say of them is in the provenance.
    """

    @abstractmethod
    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> Self:
        """Learn from a generator and, where the method is supervised, its scored samples.

        The editors are of the samples' latent space; a method without labels has a `space`.
        """

    @abstractmethod
    def editors(self) -> Editors:
        """What was learned, by the names of scores or of directions."""

    def _fitted_to(self, generator: Generator | None) -> Self:
        """Remember whose latent space it is; None after a fit to tensors, which do not say."""
        known = {}
        if generator is not None:
            known = {"generator": generator.name, "fingerprint": generator.space_fingerprint}
        self.generator_ = known
        return self

    def _named(self, editors: Mapping[str, Editor], **facts: object) -> Editors:
        """A set of these editors, with method, generator, hyper-parameters and `facts`."""
        known = {key: _plain(value) for key, value in self.get_params(deep=False).items()}
        known = {key: value for key, value in known.items() if value is not _OTHER}
        about = {"method": type(self).__name__} | getattr(self, "generator_", {})
        return Editors(editors, about | known | facts)


def require(samples: ScoredSamples | None, method: Method) -> ScoredSamples:
    """The samples; an error with the way out where a method was given none, or none of its kind."""
    name = type(method).__name__
    if samples is None:
        raise ValueError(
            f"{name}: expected scored samples, given none: fit(generator, samples)"
            " with sample_scored(generator, scorers, n)."
        )
    if not isinstance(samples, ScoredSamples):
        raise TypeError(
            f"{name}: expected fit(generator, samples), given {type(samples).__name__} for the "
            "samples. Latents and scores of your own: ScoredSamples(Latents(latents, 'w'), scores, "
            "names), with scores (N, K)."
        )
    if samples.latents.space == "w+":
        raise SpaceError(
            f"{name}: expected samples of 'z' or 'w', given 'w+' (N, L, d). Learn in 'w', such as "
            "sample_scored(generator, scorers, n, space='w'), and restrict the editors with "
            ".in_layers(first, last); or learn from one layer: Latents(latents[:, layer], 'w')."
        )
    return samples


_OTHER = object()


def _plain(value: object) -> object:
    """A hyper-parameter as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple | list):
        return list(value)
    return value if value is None or isinstance(value, bool | int | float | str) else _OTHER
