"""Labels of samples, and the latent classifier of them: a second fit to the same takes no time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from facenb.methods.latent_transformer.latent_classifier import LatentClassifier, label_thresholds
from facenb.sampling import ScoredSamples
from facenb.scorers import ATTRIBUTES, Attribute
from facenb.storage.cache import cached

LATENTS = 10_000  # that the transformers are trained on, as in the paper
LEARNING_RATE = 1e-3  # ten times the paper's: with its own, ten epochs are too few (notebook 06)
VERSION = 1  # raise when a change to the methods alters what they learn
_LEAST_HELD = 128  # fewer would leave rare attributes without a positive


def split(samples: ScoredSamples) -> tuple[ScoredSamples, ScoredSamples]:
    """The samples to learn from, and the last tenth of them to judge the classifier on."""
    held = max(len(samples) // 10, _LEAST_HELD)
    return samples.select(slice(0, -held)), samples.select(slice(-held, None))


def attributes_of(names: Sequence[str], framing: str) -> list[Attribute]:
    """What facenb knows of these scores; others count as semantic, labelled by their median."""
    known = {attribute.name: attribute for attribute in ATTRIBUTES.get(framing, ())}
    return [
        known.get(name) or Attribute(name, "", "low", "high", "semantic", "", "") for name in names
    ]


def two_sided(samples: ScoredSamples, attributes: Sequence[Attribute]) -> list[Attribute]:
    """The semantic attributes whose label some samples have and some have not, in both parts."""
    parts, found = split(samples), []
    for attribute in attributes:
        if attribute.kind == "semantic":
            threshold = label_thresholds(samples[attribute.name][:, None], [attribute])
            shares = [float((part[attribute.name] > threshold).float().mean()) for part in parts]
            if all(0 < share < 1 for share in shares):
                found.append(attribute)
    return found


def labelled(
    samples: ScoredSamples, attributes: Sequence[Attribute]
) -> tuple[Tensor, Tensor, list[str]]:
    """Latents (N, d), labels (N, A) and names of `two_sided`, of the part to learn from.

    Raises ValueError where no attribute has two sides.
    """
    attributes = two_sided(samples, attributes)
    if not attributes:
        raise ValueError(
            f"latent transformer: expected a semantic score with two sides among "
            f"{', '.join(samples.names)}, given {len(samples)} samples on one side of each."
        )
    scores = torch.stack([samples[a.name] for a in attributes], dim=1)
    learned = len(split(samples)[0])
    labels = (scores > label_thresholds(scores, attributes))[:learned]
    return samples.latents.values[:learned], labels, [a.name for a in attributes]


def fit_classifier(
    values: Tensor, labels: Tensor, names: Sequence[str], **settings: object
) -> LatentClassifier:
    """`LatentClassifier(**settings)` fitted, or as it was fitted to the same before."""
    model = LatentClassifier(**settings)
    inputs = {"version": VERSION, "names": list(names), **model.get_params()}
    state = cached(
        "latent-classifier",
        inputs | {"data": digest(values, labels)},
        lambda: model.fit(values, labels, names).state(),
    )
    return model.restore(state, names)


def digest(*tensors: Tensor) -> str:
    """sha256 of tensors with their types and shapes, for the keys of caches."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
