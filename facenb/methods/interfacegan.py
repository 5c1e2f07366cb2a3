"""InterFaceGAN (Shen et al., 2020): a linear SVM in latent space gives a semantic boundary.

Take the samples that a scorer is surest of, separate them by a hyperplane in latent space, and move
latents along its unit normal (§2.1, §2.2). `Editors.condition` is the conditional projection.
"""

from __future__ import annotations

import torch
from sklearn.base import BaseEstimator
from sklearn.svm import SVC
from torch import Tensor

from facenb.editors import Editors, LinearEditor, load_editors
from facenb.errors import UnknownNameError, check_finite, floats_of
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.base import Method, require
from facenb.samples import load_samples
from facenb.sampling import ScoredSamples
from facenb.scorers import ScorerSuite
from facenb.seeds import seeded

MIN_PER_CLASS = 10  # fewer confident samples than this on a side do not make a boundary


class Boundary(BaseEstimator):
    """The boundary of one attribute, from latents and scores.

    Args:
        confident: share of the samples taken from each end of the scores (0.02 in the published
            code: 10,000 a side of 500,000).
        train_share: share of those that the SVM learns from; the rest validate it (0.7).
        C: the SVM's penalty.
        keep_intercept: keep b of n·z + b = 0. The published code drops it, as the paper's
            derivation has none; the distances then count from the origin.
        seed: of the split.

    Attributes:
        normal_: (d,) unit normal, towards higher scores, float64.
        intercept_: b in units of distance; 0.0 unless `keep_intercept`.
        accuracy_: "train", "validation" (confident samples), "remaining" (all others, labelled by
            the middle of the score range, as in the published code) and "all" (every sample against
            the median score: chance is 0.5 for any attribute).
        support_: (P,), (M,) indices of the confident positives and negatives.
    """

    def __init__(
        self,
        confident: float = 0.02,
        train_share: float = 0.7,
        C: float = 1.0,
        keep_intercept: bool = False,
        seed: int = 0,
    ) -> None:
        self.confident = confident
        self.train_share = train_share
        self.C = C
        self.keep_intercept = keep_intercept
        self.seed = seed

    def fit(self, latents: Tensor, scores: Tensor) -> Boundary:
        """Learn the boundary from latents (N, d) and one score for each, (N,).

        Raises:
            ValueError: shapes that do not fit, NaN, a share outside its range, or too few
                confident samples of a class.
        """
        codes, scores = _checked(latents, scores, self.confident, self.train_share)
        negative, positive = _confident(scores, self.confident)
        self.support_ = (positive, negative)

        random = seeded(self.seed)
        n_train = round(len(positive) * self.train_share)
        sides = [side[torch.randperm(len(side), generator=random)] for side in self.support_]
        train = torch.cat([side[:n_train] for side in sides])
        validation = torch.cat([side[n_train:] for side in sides])
        is_positive = torch.zeros(len(scores), dtype=torch.bool)
        is_positive[positive] = True

        machine = SVC(kernel="linear", C=self.C)
        machine.fit(codes[train].numpy(), is_positive[train].numpy())
        weight = torch.from_numpy(machine.coef_[0].copy())
        self.normal_ = weight / weight.norm()
        boundary = float(machine.intercept_[0] / weight.norm())
        self.intercept_ = boundary if self.keep_intercept else 0.0

        side = codes @ self.normal_ + boundary > 0  # the SVM's own verdict, intercept included
        remaining = torch.ones(len(scores), dtype=torch.bool)
        remaining[torch.cat(self.support_)] = False
        middle = (scores.max() + scores.min()) / 2
        self.accuracy_ = {
            "train": _share(side[train] == is_positive[train]),
            "validation": _share(side[validation] == is_positive[validation]),
            "remaining": _share((side == (scores > middle))[remaining]),
            "all": _share(side == (scores > scores.median())),
        }
        return self

    def distance(self, latents: Tensor) -> Tensor:
        """Signed distance n·z + b, (N,), in units of latent space."""
        return latents @ self.normal_.to(latents) + self.intercept_

    def predict(self, latents: Tensor) -> Tensor:
        """True (N,) on the positive side."""
        return self.distance(latents) > 0

    def editor(self, name: str, space: str = "z") -> LinearEditor:
        """The edit along the normal."""
        return LinearEditor(name, self.normal_.float(), space, intercept=self.intercept_)


class InterFaceGAN(Method):
    """A boundary for every score of the samples.

    Args:
        confident, train_share, C, keep_intercept, seed: of each, as for `Boundary`.

    Attributes:
        boundaries_: score → fitted `Boundary`.
        space_: of the samples' latents.
    """

    def __init__(
        self,
        confident: float = 0.02,
        train_share: float = 0.7,
        C: float = 1.0,
        keep_intercept: bool = False,
        seed: int = 0,
    ) -> None:
        self.confident = confident
        self.train_share = train_share
        self.C = C
        self.keep_intercept = keep_intercept
        self.seed = seed

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> InterFaceGAN:
        """The boundary of every score; ValueError names the score that has none, and why."""
        samples = require(samples, self)
        self.space_, self.samples_, self.boundaries_ = samples.latents.space, len(samples), {}
        for name in samples.names:
            boundary = Boundary(**self.get_params())
            try:
                self.boundaries_[name] = boundary.fit(samples.latents.values, samples[name])
            except ValueError as error:
                raise ValueError(f"no boundary for {name!r}: {error}") from error
        return self._fitted_to(generator)

    def editors(self) -> Editors:
        """The edit along each normal; a strength of 1 moves a latent by 1."""
        learned = self.boundaries_.items()
        validation = {name: round(b.accuracy_["validation"], 4) for name, b in learned}
        found = {name: boundary.editor(name, self.space_) for name, boundary in learned}
        return self._named(found, samples=self.samples_, validation=validation)


def load_boundaries(
    generator: Generator,
    scorers: ScorerSuite,
    n: int,
    confident: float = 0.02,
    seed: int = 0,
) -> Editors:
    """The boundaries that ship for the generator, or else new ones from `n` of its samples.

    In W where the generator has one, else in Z.
    """
    try:
        return load_editors("interfacegan", generator.name)
    except UnknownNameError:
        samples = load_samples(generator, scorers, n, "w" if "w" in generator.spaces else "z")
        return InterFaceGAN(confident, seed=seed).fit(generator, samples).editors()


def _checked(
    latents: Tensor, scores: Tensor, confident: float, train_share: float
) -> tuple[Tensor, Tensor]:
    """Both on the CPU in float64, where they fit."""
    if isinstance(latents, Latents):
        latents = latents.values
    latents, scores = floats_of(latents, "Boundary: latents"), floats_of(scores, "Boundary: scores")
    if latents.ndim == 3:
        raise ValueError(
            f"Boundary: expected latents (N, d) of 'z' or 'w', given {tuple(latents.shape)}, which "
            "are of 'w+'. Take one layer, latents[:, layer], or samples of 'w'."
        )
    if latents.ndim != 2 or scores.shape != latents.shape[:1]:
        raise ValueError(
            f"Boundary: expected latents (N, d) and scores (N,), "
            f"given {tuple(latents.shape)} and {tuple(scores.shape)}."
        )
    if not 0 < confident <= 0.5:
        raise ValueError(f"Boundary: expected 0 < confident ≤ 0.5, given {confident}.")
    if not 0 < train_share < 1:
        raise ValueError(f"Boundary: expected 0 < train_share < 1, given {train_share}.")
    check_finite(latents, "latents")
    check_finite(scores, "scores")
    return latents.detach().cpu().double(), scores.detach().cpu().double()


def _confident(scores: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Indices of the lowest and of the highest `share` of the scores."""
    count = int(len(scores) * share)
    if count < MIN_PER_CLASS:
        needed = -(-MIN_PER_CLASS // share)
        raise ValueError(
            f"Boundary: {len(scores)} samples at confident={share} give {count} of each class, "
            f"at least {MIN_PER_CLASS} are needed. Score {needed:.0f} samples, or raise confident."
        )
    order = scores.argsort(stable=True)
    low, high = order[:count], order[-count:]
    if scores[low[-1]] >= scores[high[0]]:
        below, above = (scores < scores[high[0]]).sum(), (scores > scores[low[-1]]).sum()
        raise ValueError(
            f"Boundary: {count} samples of each class are needed, given {int(below)} below "
            f"and {int(above)} above the score {float(scores[low[-1]]):.4g} that the rest share."
        )
    return low, high


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
