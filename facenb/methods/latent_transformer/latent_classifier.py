"""The latent classifier of Yao et al. (2021, §3.1): attributes read off a latent, without an image.

Score the images of many latents once, call each score yes or no, and learn it from the latent.
What is learned is hundreds of times faster than generator and scorers, and differentiable: the
latent transformer is trained against it. Three linear layers with ReLU are the paper's; a single
linear layer is what it compares with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.errors import check_finite
from facenb.metrics.statistics import area_under_curve
from facenb.parallel import one_thread
from facenb.scorers.attributes import Attribute
from facenb.seeds import random_for, seeded

MEASURES = ("precision", "recall", "F1", "AUC")


def label_thresholds(scores: Tensor, attributes: Sequence[Attribute]) -> Tensor:
    """The score (A,) above which each attribute counts as present.

    A log-odds has its own yes: above 0. Degrees, years and distances have none, and the median of
    `scores` (N, A) stands for it.

    Raises:
        ValueError: not one column of scores for each attribute.
    """
    if scores.ndim != 2 or scores.shape[1] != len(attributes):
        raise ValueError(
            f"label_thresholds: expected scores (N, {len(attributes)}), one column for each "
            f"attribute, given {tuple(scores.shape)}."
        )
    verdict = torch.tensor([a.unit == "log-odds" for a in attributes], device=scores.device)
    return torch.where(verdict, 0.0, scores.median(dim=0).values)


class LatentClassifier(BaseEstimator):
    """Latents (N, d) → log-odds (N, A) of A attributes at once, trained by binary cross-entropy.

    Args:
        hidden: width of the two hidden layers (lost from the paper); None is one linear layer.
        epochs: passes over the samples (20 in the authors' later code, as are batch 256 and the
            weight decay).
        batch: samples a step.
        learning_rate: of Adam, falling to 0 along a cosine.
        weight_decay: decoupled (AdamW).
        seed: of the first weights and of the order of the samples.

    Attributes:
        network_: the module, frozen and in evaluation mode.
        names_: the A attributes.
        history_: (epochs,) mean loss.
    """

    def __init__(
        self,
        hidden: int | None = 128,
        epochs: int = 20,
        batch: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-4,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def fit(
        self, values: Tensor, labels: Tensor, names: Sequence[str] | None = None
    ) -> LatentClassifier:
        """Learn from latents (N, d) and labels (N, A), booleans or zeros and ones.

        Args:
            names: of the A attributes; "0", "1", … when left out.

        Raises:
            ValueError: shapes that do not fit, NaN, labels other than 0 and 1, or an attribute
                with one class only.
        """
        self.names_ = _names(names, labels)
        labels = _checked(values, labels, self.names_)
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(
                "LatentClassifier: expected epochs ≥ 1 and batch ≥ 1, "
                f"given {self.epochs} and {self.batch}."
            )
        self.network_ = self._network(values.shape[1], labels.shape[1]).to(values)
        optimiser = torch.optim.AdamW(
            self.network_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = self.epochs * -(-len(values) // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        losses = []
        bar = tqdm(total=steps, desc="latent classifier", unit="step", leave=False)
        with bar, one_thread():
            for epoch in range(self.epochs):
                random = random_for(self.seed, "order", epoch)
                order = torch.randperm(len(values), generator=random).to(values.device)
                total = 0.0
                for rows in order.split(self.batch):
                    logits = self.network_(values[rows])
                    loss = F.binary_cross_entropy_with_logits(logits, labels[rows])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
                    total += float(loss.detach()) * len(rows)
                    bar.update()
                losses.append(total / len(values))
        self.history_ = torch.tensor(losses)
        self.network_.requires_grad_(False).eval()
        return self

    def logits(self, values: Tensor) -> Tensor:
        """Log-odds (N, A) of latents (N, d); differentiable in the latents.

        This is also a scorer: it takes the latents themselves, hence no generator and no image.
        """
        width = self.network_[0].in_features
        if values.ndim != 2 or values.shape[1] != width:
            raise ValueError(
                f"LatentClassifier: expected latents (N, {width}), given {tuple(values.shape)}."
            )
        return self.network_(values)

    def predict_proba(self, values: Tensor) -> Tensor:
        """Probability (N, A) of each attribute."""
        return self.logits(values).sigmoid()

    def predict(self, values: Tensor) -> Tensor:
        """True (N, A) where an attribute is more likely than not."""
        return self.logits(values) > 0

    def report(self, values: Tensor, labels: Tensor) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and AUC of every attribute, on latents (N, d) not learned from.

        Precision counts as 0 where nothing is called positive. Raises ValueError as `fit` does.
        """
        labels = _checked(values, labels, self.names_).bool()
        with torch.no_grad():
            logits = self.logits(values)
        return {
            name: dict(zip(MEASURES, _measures(logits[:, i], labels[:, i]), strict=True))
            for i, name in enumerate(self.names_)
        }

    def state(self) -> dict[str, Tensor]:
        """What was learned, as tensors, for `facenb.storage.cache`; `restore` takes it back."""
        return {**self.network_.state_dict(), "history": self.history_}

    def restore(self, state: dict[str, Tensor], names: Sequence[str]) -> LatentClassifier:
        """The classifier that `state` was taken of: `hidden` and `names` have to be the same."""
        weights = {key: value for key, value in state.items() if key != "history"}
        first, last = weights["0.weight"], weights[max(weights)]  # whatever the order they come in
        self.network_ = self._network(first.shape[1], len(last)).to(first)
        self.network_.load_state_dict(weights)
        self.network_.requires_grad_(False).eval()
        self.names_ = _names(names, last.T)
        self.history_ = state["history"]
        return self

    def _network(self, width: int, attributes: int) -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):  # torch's own random state is left alone
            torch.manual_seed(seeded(self.seed).initial_seed())
            if self.hidden is None:
                return nn.Sequential(nn.Linear(width, attributes))
            return nn.Sequential(
                nn.Linear(width, self.hidden),
                nn.ReLU(),
                nn.Linear(self.hidden, self.hidden),
                nn.ReLU(),
                nn.Linear(self.hidden, attributes),
            )


def _measures(logits: Tensor, positive: Tensor) -> tuple[float, float, float, float]:
    """Precision, recall, F1 and AUC of log-odds (N,) against booleans (N,) of both classes."""
    called = logits > 0
    hits = float((called & positive).sum())
    precision, recall = hits / max(int(called.sum()), 1), hits / int(positive.sum())
    harmonic = 2 * hits / (int(called.sum()) + int(positive.sum()))
    return precision, recall, harmonic, area_under_curve(logits, positive)


def _names(names: Sequence[str] | None, labels: Tensor) -> tuple[str, ...]:
    count = labels.shape[-1]
    names = tuple(map(str, range(count))) if names is None else tuple(names)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"LatentClassifier: expected {count} different names, one for each attribute, "
            f"given {', '.join(names)}."
        )
    return names


def _checked(values: Tensor, labels: Tensor, names: Sequence[str]) -> Tensor:
    """The labels as floats (N, A)."""
    if values.ndim != 2 or labels.ndim != 2 or len(values) != len(labels) or len(values) < 2:
        raise ValueError(
            f"LatentClassifier: expected latents (N, d) and labels (N, A) with N ≥ 2, "
            f"given {tuple(values.shape)} and {tuple(labels.shape)}."
        )
    if labels.shape[1] != len(names):
        raise ValueError(
            f"LatentClassifier: expected {len(names)} labels ({', '.join(names)}), "
            f"given {labels.shape[1]}."
        )
    check_finite(values, "latents")
    labels = labels.to(values)
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError(
            "LatentClassifier: expected labels 0 and 1; compare scores to a threshold."
        )
    share = labels.mean(dim=0).tolist()
    single = [f"{name} (all {int(s)})" for name, s in zip(names, share, strict=True) if s in (0, 1)]
    if single:
        raise ValueError(
            f"LatentClassifier: expected two classes of every attribute, given one of "
            f"{', '.join(single)} in {len(labels)} samples. Score more, or leave the attribute out."
        )
    return labels
