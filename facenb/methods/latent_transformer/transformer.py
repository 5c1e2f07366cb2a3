"""The latent transformer (Yao et al., 2021): a network for each attribute that moves latents.

T(z, α) = z + α·H(z) (Eq. 1). Its loss asks a frozen latent classifier for the other verdict on the
target (Eq. 2), for the same values of the other attributes, each weighted by how little it is
correlated with the target (Eq. 3), and for a short way (Eq. 4). All networks are trained in one
pass: they see the same latents, their weights lie in one tensor, and since no loss knows of another
network's weights the gradients are those of training each alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.editors import Editors
from facenb.errors import check_finite, unknown
from facenb.generators import Generator
from facenb.methods.base import Method, require
from facenb.methods.latent_transformer.editors import TransformerEditor
from facenb.methods.latent_transformer.labels import (
    LATENTS,
    VERSION,
    attributes_of,
    digest,
    fit_classifier,
    labelled,
)
from facenb.methods.latent_transformer.latent_classifier import LatentClassifier
from facenb.methods.latent_transformer.losses import Task, loss_terms
from facenb.metrics.attribute_correlation import label_correlation
from facenb.parallel import one_thread
from facenb.sampling import ScoredSamples
from facenb.seeds import random_for
from facenb.storage.cache import cached

TERMS = ("class", "attr", "recon")
RECONSTRUCTIONS = ("squared", "norm")
FEATURES = ("logit", "probability")


class LatentTransformer(Method):
    """Networks that move latents towards the other side of each attribute, trained together.

    Args:
        hidden: width of H's hidden layer (lost from the paper); None is the width of the latents,
            as in the authors' later code.
        attribute_weight: λ_attr (1 in the paper).
        reconstruction_weight: λ_recon. 100 in the paper, with which hardly anything moves in the Z
            of 100 dimensions; 1 is chosen here (notebook 06 measures both).
        reconstruction: "norm" is Eq. 4 to the letter, the length of the move, whose every unit
            costs λ_recon: more than the classifier ever gives, so that nothing moves at all.
            "squared" is its mean square over the dimensions, as in the authors' later code.
        features: what the attribute loss compares (Eq. 3). "probability" reads the text literally:
            the C of Eq. 3 is that of Eq. 2, whose cross-entropy takes probabilities. "logit" is the
            authors' later code; its penalty knows no bound, so that attributes with many
            correlated ones hardly change (notebook 06).
        epochs: passes over the latents (10 in the paper, with 10,000 latents).
        batch: latents a step (16).
        learning_rate: of Adam with β = (0.9, 0.999) (1e-4).
        seed: of the first weights and of the order of the latents.
        targets: names of the attributes to train for; all of the classifier's by default.

    Attributes:
        weights_: of the K networks, as `editors.displacements` takes them.
        targets_: the names of the K attributes.
        history_: (epochs, 3, K): mean L_class, L_attr, L_recon, unweighted.
    """

    def __init__(
        self,
        hidden: int | None = None,
        attribute_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        reconstruction: str = "squared",
        features: str = "logit",
        epochs: int = 10,
        batch: int = 16,
        learning_rate: float = 1e-4,
        seed: int = 0,
        targets: Sequence[str] | None = None,
    ) -> None:
        self.hidden = hidden
        self.attribute_weight = attribute_weight
        self.reconstruction_weight = reconstruction_weight
        self.reconstruction = reconstruction
        self.features = features
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.seed = seed
        self.targets = targets

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> LatentTransformer:
        """Labels, the latent classifier, γ, and a network for each target.

        The classifier learns all semantic scores of the samples; those that all samples have, or
        none, are left out. What was trained on the same before comes from the cache.
        """
        samples = require(samples, self)
        values, labels, names = labelled(samples, attributes_of(samples.names, generator.framing))
        classifier = fit_classifier(values, labels, names, seed=self.seed)
        gamma = label_correlation(labels)
        fitted = fit_transformers(values[:LATENTS], classifier, gamma, **self.get_params())
        self.space_, self.samples_ = samples.latents.space, len(samples)
        return self.restore(fitted.state(), fitted.targets_)._fitted_to(generator)

    def editors(self) -> Editors:
        """A network for each target; a strength of 1 is one whole H(z)."""
        facts = {"samples": self.samples_} if hasattr(self, "samples_") else {}
        space, found = getattr(self, "space_", "z"), {}
        for row, name in enumerate(self.targets_):
            weights = {key: weight[row : row + 1] for key, weight in self.weights_.items()}
            found[name] = TransformerEditor(name, weights, space)
        return self._named(found, **facts)

    def fit_networks(
        self,
        values: Tensor,
        classifier: LatentClassifier,
        gamma: Tensor,
    ) -> LatentTransformer:
        """Train on latents (N, d) against a fitted classifier of A attributes.

        Args:
            gamma: (A, A), how attributes are correlated: `label_correlation` of the samples, or
                `celeba_correlation`.

        Raises:
            UnknownNameError: a target that the classifier does not know.
            ValueError: shapes that do not fit, or NaN, given or come up in training.

        Warns about a target on which the classifier gives all latents the same verdict: from those
        nothing is learned about the way back.
        """
        columns = self._check(values, classifier, gamma)
        task = Task.of(values, classifier, gamma, columns, self.features)
        for name, way in zip(self.targets_, task.alpha, strict=True):
            if (way > 0).all() or (way < 0).all():
                warnings.warn(
                    f"LatentTransformer: the classifier says {'no' if way[0] > 0 else 'yes'} to "
                    f"{name!r} on all {len(values)} latents: its network learns one way only.",
                    stacklevel=2,
                )
        weights = self._start(values, columns)
        optimiser = torch.optim.Adam(weights.values(), lr=self.learning_rate, fused=True)
        steps, history = self.epochs * -(-len(values) // self.batch), []
        bar = tqdm(total=steps, desc="latent transformers", unit="step", leave=False)
        with bar, one_thread():
            for epoch in range(self.epochs):
                random = random_for(self.seed, "order", epoch)
                order = torch.randperm(len(values), generator=random).to(values.device)
                total = values.new_zeros(len(TERMS), len(columns))
                for rows in order.split(self.batch):
                    terms = loss_terms(weights, task, rows, self.reconstruction)
                    optimiser.zero_grad()
                    self._loss(terms).backward()
                    optimiser.step()
                    total += terms.detach() * len(rows)
                    bar.update()
                history.append(total / len(values))
                check_finite(total, f"losses of epoch {epoch + 1} (lower the learning rate)")
        self.history_ = torch.stack(history).cpu()
        self.weights_ = {key: weight.detach() for key, weight in weights.items()}
        return self._fitted_to(None)

    def state(self) -> dict[str, Tensor]:
        """What was learned, as tensors, for `facenb.storage.cache`; `restore` takes it back."""
        return {**self.weights_, "history": self.history_}

    def restore(self, state: dict[str, Tensor], targets: Sequence[str]) -> LatentTransformer:
        """The networks that `state` was taken of, for the same targets."""
        self.weights_ = {key: tensor for key, tensor in state.items() if key != "history"}
        self.targets_, self.history_ = tuple(targets), state["history"]
        return self

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
    ) -> Tensor:
        """The targets' columns (K,) among the classifier's attributes."""
        known = classifier.names_
        if self.reconstruction not in RECONSTRUCTIONS:
            raise unknown("reconstruction", self.reconstruction, RECONSTRUCTIONS)
        if self.features not in FEATURES:
            raise unknown("features", self.features, FEATURES)
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(
                f"LatentTransformer: expected epochs ≥ 1 and batch ≥ 1, "
                f"given {self.epochs} and {self.batch}."
            )
        self.targets_ = known if self.targets is None else tuple(self.targets)
        for name in self.targets_:
            if name not in known:
                raise unknown("target", name, known)
        if values.ndim != 2 or gamma.shape != (len(known), len(known)):
            raise ValueError(
                f"LatentTransformer: expected latents (N, d), gamma ({len(known)}, {len(known)}), "
                f"given {tuple(values.shape)} and {tuple(gamma.shape)}."
            )
        check_finite(values, "latents")
        check_finite(gamma, "gamma")
        return torch.tensor([known.index(name) for name in self.targets_], device=values.device)


def fit_transformers(
    values: Tensor, classifier: LatentClassifier, gamma: Tensor, **settings: object
) -> LatentTransformer:
    """`LatentTransformer(**settings).fit_networks(…)`, or as it was fitted to the same before."""
    model = LatentTransformer(**settings)
    state = cached(
        "latent-transformers",
        cache_inputs(model, values, classifier, gamma),
        lambda: model.fit_networks(values, classifier, gamma).state(),
    )
    return model.restore(state, classifier.names_ if model.targets is None else model.targets)


def cache_inputs(
    model: LatentTransformer, values: Tensor, classifier: LatentClassifier, gamma: Tensor
) -> dict[str, object]:
    """What decides the networks, for the key of their cache."""
    targets = list(classifier.names_ if model.targets is None else model.targets)
    data = digest(values, gamma, *classifier.state().values())
    return {"version": VERSION, **model.get_params(), "targets": targets, "data": data}
