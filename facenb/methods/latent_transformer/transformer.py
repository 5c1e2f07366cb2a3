"""The latent transformer (Yao et al., 2021): a network for each attribute that moves codes.

T(z, α) = z + α·H(z) (Eq. 1). Its loss asks a frozen latent classifier for the other verdict on the
target (Eq. 2), for the same values of the other attributes, each weighted by how little it is
correlated with the target (Eq. 3), and for a short way (Eq. 4). All networks are trained in one
pass: they see the same codes, their weights lie in one tensor, and since no loss knows of another
network's weights the gradients are those of training each alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.errors import check_finite, unknown
from facenb.methods.latent_transformer.editors import LatentTransformers, displacements
from facenb.methods.latent_transformer.latent_classifier import LatentClassifier
from facenb.parallel import one_thread
from facenb.seeds import random_for

TERMS = ("class", "attr", "recon")
RECONSTRUCTIONS = ("squared", "norm")


class LatentTransformer(BaseEstimator):
    """Networks that move codes towards the other side of each attribute, trained together.

    Args:
        hidden: width of H's hidden layer (lost from the paper); None is the width of the codes, as
            in the authors' later code.
        attribute_weight: λ_attr (1 in the paper).
        reconstruction_weight: λ_recon. 100 in the paper, with which hardly anything moves in the Z
            of 100 dimensions; 1 is chosen here (notebook 06 measures both).
        reconstruction: "norm" is Eq. 4 to the letter, the length of the move, whose every unit
            costs λ_recon: more than the classifier ever gives, so that nothing moves at all.
            "squared" is its mean square over the dimensions, as in the authors' later code.
        epochs: passes over the codes (10 in the paper, with 10,000 codes).
        batch: codes a step (16).
        rate: of Adam with β = (0.9, 0.999) (1e-4).
        seed: of the first weights and of the order of the codes.

    Attributes:
        weights_: of the K networks, as `transformer_editors.displacements` takes them.
        targets_: the names of the K attributes.
        history_: (epochs, 3, K): mean L_class, L_attr, L_recon, unweighted.
    """

    def __init__(
        self,
        hidden: int | None = None,
        attribute_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        reconstruction: str = "squared",
        epochs: int = 10,
        batch: int = 16,
        rate: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.attribute_weight = attribute_weight
        self.reconstruction_weight = reconstruction_weight
        self.reconstruction = reconstruction
        self.epochs = epochs
        self.batch = batch
        self.rate = rate
        self.seed = seed

    def fit(
        self,
        values: Tensor,
        classifier: LatentClassifier,
        gamma: Tensor,
        targets: Sequence[str] | None = None,
    ) -> LatentTransformer:
        """Train on codes (N, d) against a fitted classifier of A attributes.

        Args:
            gamma: (A, A), how attributes are correlated: `label_correlation` of the samples, or
                `celeba_correlation`.
            targets: names of the attributes to train for; all of the classifier's when left out.

        Raises:
            UnknownNameError: a target that the classifier does not know.
            ValueError: shapes that do not fit, or NaN, given or come up in training.

        Warns about a target on which the classifier gives all codes the same verdict: from those
        nothing is learned about the way back.
        """
        columns = self._check(values, classifier, gamma, targets)
        questions = _ask(values, classifier, gamma, columns)
        for name, way in zip(self.targets_, questions.alpha, strict=True):
            if (way > 0).all() or (way < 0).all():
                warnings.warn(
                    f"LatentTransformer: the classifier says {'no' if way[0] > 0 else 'yes'} to "
                    f"{name!r} on all {len(values)} codes: its network learns one way only.",
                    stacklevel=2,
                )
        weights = self._start(values, columns)
        optimiser = torch.optim.Adam(weights.values(), lr=self.rate, fused=True)
        steps, history = self.epochs * -(-len(values) // self.batch), []
        bar = tqdm(total=steps, desc="latent transformers", unit="step", leave=False)
        with bar, one_thread():
            for epoch in range(self.epochs):
                random = random_for(self.seed, "order", epoch)
                order = torch.randperm(len(values), generator=random).to(values.device)
                total = values.new_zeros(len(TERMS), len(columns))
                for rows in order.split(self.batch):
                    terms = self._terms(weights, questions, rows)
                    optimiser.zero_grad()
                    self._loss(terms).backward()
                    optimiser.step()
                    total += terms.detach() * len(rows)
                    bar.update()
                history.append(total / len(values))
                check_finite(total, f"losses of epoch {epoch + 1} (lower the rate)")
        self.history_ = torch.stack(history).cpu()
        self.weights_ = {key: weight.detach() for key, weight in weights.items()}
        return self

    def transformers(self, space: str = "z", **provenance: object) -> LatentTransformers:
        """The networks as editors, to use and to save."""
        facts = {"method": "latent transformer", **self.get_params(), **provenance}
        return LatentTransformers(self.targets_, self.weights_, space, facts)

    def state(self) -> dict[str, Tensor]:
        """What was learned, as tensors, for `facenb.storage.cache`; `restore` takes it back."""
        return {**self.weights_, "history": self.history_}

    def restore(self, state: dict[str, Tensor], targets: Sequence[str]) -> LatentTransformer:
        """The networks that `state` was taken of, for the same targets."""
        self.weights_ = {key: tensor for key, tensor in state.items() if key != "history"}
        self.targets_, self.history_ = tuple(targets), state["history"]
        return self

    def _terms(self, weights: dict[str, Tensor], asked: _Questions, rows: Tensor) -> Tensor:
        """Eq. 2, 3 and 4 of K networks on the B codes of `rows`, (3, K)."""
        values, alpha = asked.values[rows], asked.alpha[:, rows]
        move = alpha[..., None] * displacements(weights, values)  # (K, B, d)
        after = asked.classifier.logits((values + move).flatten(0, 1)).unflatten(0, alpha.shape)
        target = after[torch.arange(len(alpha)), :, asked.columns]  # (K, B)
        wanted = (alpha > 0).to(values)
        verdict = F.binary_cross_entropy_with_logits(target, wanted, reduction="none").mean(1)
        # each attribute's feature is one number, whose Euclidean length is its absolute value
        others = ((after - asked.before[rows]).abs().mean(dim=1) * asked.keep).sum(dim=1)
        if self.reconstruction == "norm":
            length = move.norm(dim=2).mean(dim=1)
        else:
            length = move.square().mean(dim=(1, 2))
        return torch.stack([verdict, others, length])

    def _loss(self, terms: Tensor) -> Tensor:
        """Eq. 5, summed over networks."""
        weight = terms.new_tensor([1.0, self.attribute_weight, self.reconstruction_weight])
        return (terms.sum(dim=1) * weight).sum()

    def _start(self, values: Tensor, columns: Tensor) -> dict[str, Tensor]:
        """Random first weights of every network, as torch starts linear layers.

        Each network's depend on its attribute alone, not on which others are trained beside it.
        """
        width = values.shape[1]
        hidden = self.hidden or width
        shapes = {"weight_in": (hidden, width), "bias_in": (hidden,),
                  "weight_out": (width, hidden), "bias_out": (width,)}  # fmt: skip
        randoms = [random_for(self.seed, f"network of column {int(c)}", 0) for c in columns]
        weights = {}
        for key, shape in shapes.items():
            reach = (width if key.endswith("in") else hidden) ** -0.5
            drawn = [torch.rand(shape, generator=random) for random in randoms]
            weights[key] = nn.Parameter(((2 * torch.stack(drawn) - 1) * reach).to(values))
        return weights

    def _check(
        self,
        values: Tensor,
        classifier: LatentClassifier,
        gamma: Tensor,
        targets: Sequence[str] | None,
    ) -> Tensor:
        """The targets' columns (K,) among the classifier's attributes."""
        known = classifier.names_
        if self.reconstruction not in RECONSTRUCTIONS:
            raise unknown("reconstruction", self.reconstruction, RECONSTRUCTIONS)
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(
                f"LatentTransformer: expected epochs ≥ 1 and batch ≥ 1, "
                f"given {self.epochs} and {self.batch}."
            )
        self.targets_ = known if targets is None else tuple(targets)
        for name in self.targets_:
            if name not in known:
                raise unknown("target", name, known)
        if values.ndim != 2 or gamma.shape != (len(known), len(known)):
            raise ValueError(
                f"LatentTransformer: expected codes (N, d) and gamma ({len(known)}, {len(known)}), "
                f"given {tuple(values.shape)} and {tuple(gamma.shape)}."
            )
        check_finite(values, "codes")
        check_finite(gamma, "gamma")
        return torch.tensor([known.index(name) for name in self.targets_], device=values.device)


@dataclass(frozen=True)
class _Questions:
    """What does not change in training: the classifier is frozen, so what it says of z is known."""

    values: Tensor  # (N, d)
    classifier: LatentClassifier
    columns: Tensor  # (K,) the targets among the A attributes
    before: Tensor  # (N, A) log-odds of z
    alpha: Tensor  # (K, N)
    keep: Tensor  # (K, A) 1 − |γ|, and 0 for the target itself


@torch.no_grad()
def _ask(
    values: Tensor, classifier: LatentClassifier, gamma: Tensor, columns: Tensor
) -> _Questions:
    before = classifier.logits(values)
    keep = (1 - gamma.to(values).abs())[columns].clone()
    keep[torch.arange(len(columns)), columns] = 0
    alpha = scaling_factors(before[:, columns]).T.contiguous()
    return _Questions(values, classifier, columns, before, alpha, keep)


def scaling_factors(logits: Tensor) -> Tensor:
    """α of training (§4.1) from the classifier's log-odds: 1 − p where p < 0.5, −p elsewhere.

    So α is large where the classifier is sure, and points to the other verdict.
    """
    probability = logits.sigmoid()
    return torch.where(probability < 0.5, 1 - probability, -probability)
