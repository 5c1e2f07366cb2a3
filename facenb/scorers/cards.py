"""Measure how far each score can be trusted: `python -m facenb.scorers.cards`.

Rewrites the measured part of docs/model_cards.md, between its two markers. About two minutes on
two CPU cores: 2,000 samples of the embedded generator, every score, both identity nets.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm.auto import tqdm

from facenb.files import atomic_write
from facenb.generators import load_generator
from facenb.scorers import ATTRIBUTES, QUALITY_GATE, ScorerSuite, load_identity, load_scorers
from facenb.scorers.nets import PROBES_PATH

CARDS_PATH = Path("docs") / "model_cards.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TRAIN, TEST, SEED = 1500, 500, 0


def predictability(z: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """How well a linear map of z predicts a score, on samples that it was not fitted to.

    Args:
        z: (TRAIN + TEST, d). scores: (TRAIN + TEST,).

    Returns:
        R² of ridge regression (strength by leave-one-out), and the area under the ROC curve of its
        prediction against the upper half of the scores.
    """
    ridge = RidgeCV(np.logspace(-1, 4, 16)).fit(z[:TRAIN], scores[:TRAIN])
    above = scores[TRAIN:] > np.median(scores[:TRAIN])
    return ridge.score(z[TRAIN:], scores[TRAIN:]), roc_auc_score(above, ridge.predict(z[TRAIN:]))


def variants(images: Tensor) -> dict[str, Tensor]:
    """The same persons pictured otherwise: images (N, 3, S, S) → the like, by name."""
    side = images.shape[-1]
    margin = side // 16
    warm = torch.tensor([1.15, 1.0, 0.85], device=images.device).view(1, 3, 1, 1)
    return {
        "flipped": images.flip(3),
        "darkened": (images + 1) * 0.6 - 1,
        "cropped": images[:, :, margin : side - margin, margin : side - margin],
        "warmed": ((images + 1) * warm).clamp(0, 2) - 1,
    }


def identity_table(images: Tensor) -> list[str]:
    """Markdown rows: net, variant, cosine to itself and to others, and how well it tells them."""
    rows = ["| net | picture | itself | others | AUC |", "|---|---|---|---|---|"]
    for name in ("face_recognition", "faceres"):
        net = load_identity(name=name)
        with torch.no_grad():
            vectors = net(images)
            for variant, changed in variants(images).items():
                cosine = (vectors @ net(changed).T).double().numpy()
                same = np.eye(len(images), dtype=bool)
                auc = roc_auc_score(same.ravel(), cosine.ravel())
                rows.append(
                    f"| {name} | {variant} | {cosine[same].mean():.2f} "
                    f"| {cosine[~same].mean():.2f} | {auc:.4f} |"
                )
    return rows


def score_table(suite: ScorerSuite, z: np.ndarray, scores: np.ndarray) -> list[str]:
    """Markdown rows, one a score."""
    with safe_open(PROBES_PATH, "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    brightness = scores[:, suite.names.index("brightness")]
    rows = [
        "| score | unit | low | high | mean ± sd | R² from z | AUC from z | r with brightness "
        "| labels, 5-fold AUC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for attribute, column in zip(suite.attributes, scores.T, strict=True):
        r2, auc = predictability(z, column)
        correlation = np.corrcoef(column, brightness)[0, 1]
        labels = ""
        if f"{attribute.name}_auc" in provenance:
            spread = provenance[f"{attribute.name}_auc_sd"]
            labels = f"{provenance[f'{attribute.name}_auc']} ± {spread}"
        rows.append(
            f"| {attribute.name} | {attribute.unit} | {attribute.low} | {attribute.high} "
            f"| {column.mean():.3g} ± {column.std():.2g} | {r2:.2f} | {auc:.2f} "
            f"| {correlation:+.2f} | {labels} |"
        )
    return rows


def formula_table() -> list[str]:
    """Markdown rows: what each score is read from."""
    rows = ["| score | kind | net | how it is read |", "|---|---|---|---|"]
    for attribute in ATTRIBUTES:
        formula = attribute.formula.replace("|", "\\|")
        rows.append(f"| {attribute.name} | {attribute.kind} | {attribute.net} | {formula} |")
    return rows


def measure() -> str:
    """The measured part of the cards, as Markdown."""
    generator, suite = load_generator("digiface-dcgan-64"), load_scorers()
    latents = generator.sample(TRAIN + TEST, seed=SEED)
    parts = []
    with torch.no_grad():
        for i in tqdm(range(0, len(latents), 32), desc="scoring", mininterval=2):
            parts.append(suite(generator.synthesize(latents[i : i + 32])))
        images = generator.synthesize(latents[:200])
    scores = torch.cat(parts).double().numpy()
    passed = (scores[:, suite.names.index("quality")] > QUALITY_GATE).mean()
    lines = [
        *formula_table(),
        "",
        f"{TRAIN} samples of seed {SEED} to fit, {TEST} to test; correlations over all.",
        "",
        *score_table(suite, latents.values.numpy(), scores),
        "",
        f"The quality gate (face flag > 0.9) keeps {passed:.1%} of the samples.",
        "",
        "Centred cosine between 200 samples and the same pictures changed:",
        "",
        *identity_table(images),
    ]
    return "\n".join(lines)


def replace_measured(text: str, measured: str) -> str:
    """`text` with what stands between the markers replaced."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{measured}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if not CARDS_PATH.is_file():
        raise SystemExit(f"{CARDS_PATH} is not here: run this from the root of the repository.")
    atomic_write(CARDS_PATH, replace_measured(CARDS_PATH.read_text(), measure()))
    print(f"wrote {CARDS_PATH}")
