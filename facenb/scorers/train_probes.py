"""Train the glasses, hat and beard probes: `python -m facenb.scorers.train_probes`.

576 samples of the embedded generator were labelled by eye (data/digiface_dcgan_labels.json). A
probe is a logistic regression on the 1024-d face embedding: standardise → 100 principal
components → standardise → balanced classes, C = 0.01. Up to the logit all of it is affine, so it
folds into one weight vector and one bias. Samples on which the eye was unsure are left out.

Takes half a minute, on one thread, because the order of summation shows in the last digits: the
same machine gives the same file each time, another one the same to about 1e-5.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from facenb.assets import asset_sha256
from facenb.files import atomic_write, sha256_file
from facenb.generators import load_generator
from facenb.scorers.nets import PROBES_PATH, FaceEmbedding

LABELS_PATH = PROBES_PATH.with_name("digiface_dcgan_labels.json")
SEED = 0  # of the samples that were labelled, and of the folds


def embeddings(count: int) -> Tensor:
    """(count, 1024): the face embedding of the first samples of seed 0, the labelled ones."""
    generator, net = load_generator("digiface-dcgan-64"), FaceEmbedding()
    latents = generator.sample(count, seed=SEED)
    with torch.no_grad():
        parts = [net(generator.synthesize(latents[i : i + 16]))[0] for i in range(0, count, 16)]
    return torch.cat(parts)


def labelled(labels: dict, attribute: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the samples with a clear label, and the labels (1 positive, 0 negative)."""
    unsure = set(labels["unsure"][attribute])
    index = np.array([i for i in range(labels["count"]) if i not in unsure])
    return index, np.isin(index, labels["positive"][attribute]).astype(int)


def recipe() -> Pipeline:
    """The unfitted probe."""
    return make_pipeline(
        StandardScaler(),
        PCA(100, svd_solver="full"),
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000, tol=1e-8),
    )


def cross_validated_auc(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the ROC curve in each of five stratified folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
    return cross_val_score(recipe(), features, labels, cv=folds, scoring="roc_auc")


def fold(fitted: Pipeline) -> tuple[np.ndarray, float]:
    """The weight (1024,) and the bias of the affine map that the fitted probe is."""
    first, components, second, logistic = (step for _, step in fitted.steps)
    weight = (logistic.coef_[0] / second.scale_) @ components.components_ / first.scale_
    offset = logistic.intercept_[0] - logistic.coef_[0] @ (second.mean_ / second.scale_)
    centre = first.mean_ + components.mean_ * first.scale_
    return weight, float(offset - weight @ centre)


def train(path: Path = PROBES_PATH) -> dict[str, str]:
    """Train the three probes, write them with their provenance to `path`; the provenance."""
    labels = json.loads(LABELS_PATH.read_text())
    features = embeddings(labels["count"]).double().numpy()
    tensors = {}
    provenance = {
        "recipe": "standardise, PCA 100, standardise, logistic regression C=0.01 balanced",
        "seed": str(SEED),
        "labels_sha256": sha256_file(LABELS_PATH),
        "generator_sha256": asset_sha256("digiface-dcgan-64/weights.tar"),
        "faceres_sha256": asset_sha256("human/faceres.bin"),
    }
    for attribute in labels["positive"]:
        index, positive = labelled(labels, attribute)
        auc = cross_validated_auc(features[index], positive)
        weight, bias = fold(recipe().fit(features[index], positive))
        tensors[f"{attribute}/weight"] = torch.tensor(weight, dtype=torch.float32)
        tensors[f"{attribute}/bias"] = torch.tensor(bias, dtype=torch.float32)
        provenance[f"{attribute}_auc"] = f"{auc.mean():.3f}"
        provenance[f"{attribute}_auc_sd"] = f"{auc.std():.3f}"
        provenance[f"{attribute}_samples"] = f"{positive.sum()} of {len(index)}"
    # one entry: safetensors does not keep the order of several, and the file would differ
    atomic_write(path, save(tensors, metadata={"provenance": json.dumps(provenance)}))
    return provenance


if __name__ == "__main__":
    torch.set_num_threads(1)
    with threadpool_limits(1):
        provenance = train()
    for key, value in provenance.items():
        print(f"{key}: {value}")
