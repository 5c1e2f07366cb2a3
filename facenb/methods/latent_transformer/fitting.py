"""Latent classifier and latent transformers, kept on disk: a second fit to the same takes seconds.

`python -m scripts.train_transformers` writes the file that ships (`load_transformers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from facenb.methods.latent_transformer.latent_classifier import LatentClassifier, label_thresholds
from facenb.methods.latent_transformer.transformer import LatentTransformer
from facenb.metrics.attribute_correlation import label_correlation
from facenb.parallel import side_by_side
from facenb.sampling import ScoredSamples
from facenb.scorers import Attribute
from facenb.storage.cache import cached, folder

CODES = 10_000  # that the transformers are trained on, as in the paper
RATE = 1e-3  # ten times the paper's: with its own, ten epochs are too few here (notebook 06)
_LEAST_HELD = 128  # fewer would leave rare attributes without a positive
_DATA = ("values", "gamma", "classifier", "targets")
_VERSION = 1  # raise when a change to the methods alters what they learn


def split(samples: ScoredSamples) -> tuple[ScoredSamples, ScoredSamples]:
    """The samples to learn from, and the last tenth of them to judge the classifier on."""
    held = max(len(samples) // 10, _LEAST_HELD)
    return samples.select(slice(0, -held)), samples.select(slice(-held, None))


def fit_classifier(
    values: Tensor, labels: Tensor, names: Sequence[str], **settings: object
) -> LatentClassifier:
    """`LatentClassifier(**settings)` fitted, or as it was fitted to the same before."""
    model = LatentClassifier(**settings)
    inputs = {"version": _VERSION, "names": list(names), **model.get_params()}
    state = cached(
        "latent-classifier",
        inputs | {"data": _digest(values, labels)},
        lambda: model.fit(values, labels, names).state(),
    )
    return model.restore(state, names)


def fit_transformers(
    values: Tensor,
    classifier: LatentClassifier,
    gamma: Tensor,
    targets: Sequence[str] | None = None,
    **settings: object,
) -> LatentTransformer:
    """`LatentTransformer(**settings)` fitted, or as it was fitted to the same before."""
    model = LatentTransformer(**settings)
    targets = list(classifier.names_ if targets is None else targets)
    state = cached(
        "latent-transformers",
        _inputs(model, values, classifier, gamma, targets),
        lambda: model.fit(values, classifier, gamma, targets).state(),
    )
    return model.restore(state, targets)


def fit_side_by_side(
    values: Tensor, gamma: Tensor, settings: Mapping[str, Mapping[str, object]]
) -> dict[str, LatentTransformer]:
    """`fit_transformers` of several settings by name, `classifier` and `targets` among them.

    Those that are not on disk are trained in several processes.
    """
    calls = {n: {"values": values, "gamma": gamma, **each} for n, each in settings.items()}
    new, steps = [], 0
    for call in calls.values():
        model = LatentTransformer(**{k: v for k, v in call.items() if k not in _DATA})
        targets = list(call.get("targets", call["classifier"].names_))
        inputs = _inputs(model, values, call["classifier"], gamma, targets)
        if not folder("latent-transformers", inputs).with_suffix(".safetensors").exists():
            new.append(call)
            steps += model.epochs * -(-len(values) // model.batch)
    side_by_side(fit_transformers, new, "latent transformers", steps)
    return {name: fit_transformers(**call) for name, call in calls.items()}


def _inputs(
    model: LatentTransformer,
    values: Tensor,
    classifier: LatentClassifier,
    gamma: Tensor,
    targets: Sequence[str],
) -> dict[str, object]:
    data = _digest(values, gamma, *classifier.state().values())
    return {"version": _VERSION, "targets": targets, **model.get_params(), "data": data}


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


def fit_to_scores(
    samples: ScoredSamples, attributes: Sequence[Attribute], seed: int = 0
) -> LatentTransformer:
    """Labels, classifier, γ and a network for each of `two_sided`: notebook 06's steps in one."""
    attributes = two_sided(samples, attributes)
    names = [a.name for a in attributes]
    scores = torch.stack([samples[name] for name in names], dim=1)
    learned = len(split(samples)[0])
    labels = (scores > label_thresholds(scores, attributes))[:learned]
    values = samples.latents.values[:learned]
    classifier = fit_classifier(values, labels, names, seed=seed)
    gamma = label_correlation(labels)
    return fit_transformers(values[:CODES], classifier, gamma, rate=RATE, seed=seed)


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
