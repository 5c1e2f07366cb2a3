"""Train the probes: `python -m scripts.train_probes --framing ffhq` (or digiface).

A probe is a logistic regression on the embedding of a net: standardise → principal components →
standardise → balanced classes, C = 0.01. Up to the logit all of it is affine, so it folds into one
weight vector and one bias. Faces on which the labeller was unsure are left out.

ffhq: 432 faces of mobilestylegan-ffhq-1024 were labelled by eye, twice and independently
(data/ffhq_labels.json). Each attribute has two probes: the suite's, on the embedding that knows it
better, trained on the first labels; and an independent one, on the other embedding, trained on the
second. Both learn from the same faces: agreement between them is measured on others (cards.py). A
face is there twice, as it is scored (256 px, by a learned head) and as the network itself draws it
(512 px), so that a probe learns what both have in common.

digiface: 576 samples of the DCGAN were labelled by eye (data/digiface_dcgan_labels.json).

Takes some minutes, on one thread, because the order of summation shows in the last digits: the same
machine gives the same file each time, another one the same to about 1e-5.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from facenb.assets import asset_sha256
from facenb.assets.converted import converted_path
from facenb.data import data_path, load_json
from facenb.generators import DEFAULT, EMBEDDED, Generator, load_generator
from facenb.latents import Latents
from facenb.sampling import draw
from facenb.scorers.framing import crops
from facenb.scorers.nets.efficientnet import EfficientNetLite0
from facenb.scorers.nets.human import FaceEmbedding
from facenb.scorers.registry import PROBES
from facenb.storage.files import sha256_file, write_tensors

SEED = 0  # of the DCGAN's samples, and of the folds
_LABELS = {"digiface": "digiface_dcgan_labels.json", "ffhq": "ffhq_labels.json"}
# attribute → its name in the labels, where that is another one
_LABEL = {"make_up": "makeup"}
# Which embedding knows an attribute better was measured: EfficientNet, trained on objects, sees
# hats (AUC .997 against .88); faceres what is on the face and beside it.
_FACE = ("glasses", "beard", "fringe", "bald", "grey_hair", "make_up", "long_hair", "wavy_hair")
_OBJECT = ("hat",)
PROBED = {
    "digiface": {"": ("glasses", "hat", "beard")},
    "ffhq": {"faceres": _FACE, "efficientnet": _OBJECT},
    "independent": {"faceres": _OBJECT, "efficientnet": _FACE},
}


@dataclass(frozen=True)
class Labels:
    """Labels of one attribute.

    Attributes:
        index: (M,) the faces with a clear label.
        positive: (M,) 1 or 0.
        agreed: (M,) whether another labelling says the same without doubt.
    """

    index: np.ndarray
    positive: np.ndarray
    agreed: np.ndarray


def labels_of(suite: str, attribute: str) -> Labels:
    """The labels that the probe of an attribute is trained on, in a suite of PROBED."""
    if suite == "digiface":
        labels = load_json(_LABELS[suite])
        return _labels(labels["count"], labels, attribute, None)
    labels, name = load_json(_LABELS["ffhq"]), _LABEL.get(attribute, attribute)
    chosen = labels["second" if suite == "independent" else "first"]
    chosen = {"positive": chosen["yes"], "unsure": chosen["unsure"]}
    return _labels(labels["faces"][1], chosen, name, labels["agreed"][name])


def _labels(count: int, labels: dict, name: str, agreed: dict | None) -> Labels:
    index = np.setdiff1d(np.arange(count), labels["unsure"].get(name, []))
    positive = np.isin(index, labels["positive"][name]).astype(int)
    same = [] if agreed is None else [*agreed["yes"], *agreed["no"]]
    return Labels(index, positive, np.isin(index, same))


def faces(framing: str, count: int) -> tuple[Generator, Latents]:
    """The generator and the latents of the faces that were labelled, the first `count`."""
    if framing == "digiface":
        generator = load_generator(EMBEDDED)
        return generator, generator.sample(count, seed=SEED)
    z = np.random.default_rng(7).normal(size=(576, 512)).astype(np.float32)[:count]
    return load_generator(DEFAULT), Latents(torch.from_numpy(z), "z")


def embeddings(framing: str, count: int) -> dict[str, Tensor]:
    """(V, count, d) of the labelled faces, by the name of the net, drawn in V sizes."""
    generator, latents = faces(framing, count)
    nets: dict[str, nn.Module] = {"faceres": FaceEmbedding()}
    sizes = [generator.scoring_size]
    if framing == "ffhq":
        nets["efficientnet"] = EfficientNetLite0()
        sizes.append(512)
    found: dict[str, list[Tensor]] = {name: [] for name in nets}
    with torch.no_grad():
        for size, start in product(sizes, range(0, count, 16)):
            images = draw(generator, latents[start : start + 16], size)
            for name, net in nets.items():
                output = net(crops(framing)[name](images, net.native))
                found[name].append(output[0] if name == "faceres" else output)
    return {n: torch.cat(parts).unflatten(0, (len(sizes), count)) for n, parts in found.items()}


def recipe(views: int = 1) -> Pipeline:
    """The unfitted probe, for faces that are there `views` times: each weighs that much less."""
    return make_pipeline(
        StandardScaler(),
        PCA(100, svd_solver="full"),
        StandardScaler(),
        LogisticRegression(C=0.01 / views, class_weight="balanced", max_iter=1000, tol=1e-8),
    )


def fit(features: np.ndarray, index: np.ndarray, positive: np.ndarray) -> Pipeline:
    """The probe fitted to the faces `index` of features (V, N, d)."""
    known = features[:, index].reshape(-1, features.shape[2])
    return recipe(len(features)).fit(known, np.tile(positive, len(features)))


def cross_validated(features: np.ndarray, labels: Labels) -> tuple[np.ndarray, float | None]:
    """The area under the ROC curve in each of five stratified folds, and on the agreed faces.

    Of features (V, N, d) the first of the V is scored, by the probe that has not seen the face. The
    second area is over the faces of all folds at once; None where there is no other labelling.
    """
    areas, logits = [], np.empty(len(labels.index))
    for train, test in _folds(labels.positive):
        probe = fit(features, labels.index[train], labels.positive[train])
        logits[test] = probe.decision_function(features[0, labels.index[test]])
        areas.append(roc_auc_score(labels.positive[test], logits[test]))
    if not labels.agreed.any():
        return np.array(areas), None
    return np.array(areas), roc_auc_score(labels.positive[labels.agreed], logits[labels.agreed])


def _folds(positive: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return StratifiedKFold(5, shuffle=True, random_state=SEED).split(positive, positive)


def fold(fitted: Pipeline) -> tuple[np.ndarray, float]:
    """The weight (d,) and the bias of the affine map that the fitted probe is."""
    first, components, second, logistic = (step for _, step in fitted.steps)
    weight = (logistic.coef_[0] / second.scale_) @ components.components_ / first.scale_
    offset = logistic.intercept_[0] - logistic.coef_[0] @ (second.mean_ / second.scale_)
    centre = first.mean_ + components.mean_ * first.scale_
    return weight, float(offset - weight @ centre)


def train(framing: str, path_of: Callable[[str], Path]) -> dict[str, dict]:
    """Train the probes of a framing and write them with their provenance.

    Args:
        path_of: the file of each suite: "digiface", or "ffhq" and "independent".

    Returns:
        The provenance by suite.
    """
    labelled = load_json(_LABELS[framing])
    count = labelled["count"] if framing == "digiface" else labelled["faces"][1]
    features = {name: e.double().numpy() for name, e in embeddings(framing, count).items()}
    found = {}
    for suite in ["digiface"] if framing == "digiface" else ["ffhq", "independent"]:
        tensors, facts = {}, _provenance(framing, suite)
        for net, attributes in PROBED[suite].items():
            for attribute in attributes:
                values = features[net or "faceres"]
                probe, measured = _one(values, labels_of(suite, attribute))
                prefix = f"{net}/{attribute}" if net else attribute
                tensors |= {f"{prefix}/{key}": value for key, value in probe.items()}
                facts |= {f"{attribute}_{key}": value for key, value in measured.items()}
        # one entry: safetensors does not keep the order of several, and the file would differ
        write_tensors(path_of(suite), tensors, {"provenance": json.dumps(facts)})
        found[suite] = facts
    return found


def _one(features: np.ndarray, labels: Labels) -> tuple[dict, dict[str, str]]:
    areas, agreed = cross_validated(features, labels)
    weight, bias = fold(fit(features, labels.index, labels.positive))
    probe = {
        "weight": torch.tensor(weight, dtype=torch.float32),
        "bias": torch.tensor(bias, dtype=torch.float32),
    }
    facts = {"auc": f"{areas.mean():.3f}", "auc_sd": f"{areas.std():.3f}"}
    if agreed is not None:
        facts["auc_agreed"] = f"{agreed:.3f}"
    return probe, facts | {"samples": f"{labels.positive.sum()} of {len(labels.index)}"}


def _provenance(framing: str, suite: str) -> dict[str, str]:
    facts = {
        "recipe": "standardise, PCA 100, standardise, logistic regression C=0.01 balanced",
        "seed": str(SEED),
        "labels_sha256": sha256_file(data_path(_LABELS[framing])),
        "faceres_sha256": asset_sha256("human/faceres.bin"),
    }
    if framing == "digiface":
        return facts | {"generator_sha256": asset_sha256("digiface-dcgan-64/weights.tar")}
    generator = load_generator(DEFAULT)
    return facts | {
        "labels": {"ffhq": "first pass", "independent": "second pass"}[suite],
        "generator": generator.fingerprint,
        "image_size": f"{generator.scoring_size} and 512",
        "efficientnet": converted_path("efficientnet-lite0").stem,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_probes")
    parser.add_argument("--framing", choices=list(_LABELS), default="ffhq")
    parser.add_argument("--out", type=Path, required=True, help="folder; facenb/data ships")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        found = train(options.framing, lambda suite: options.out / PROBES[suite].name)
        for suite, facts in found.items():
            print(PROBES[suite].name)
            for key, value in facts.items():
                print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
