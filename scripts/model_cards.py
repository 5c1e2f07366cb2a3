"""Measure how far each score can be trusted: `python -m scripts.model_cards --framing ffhq`.

Rewrites the measured part of docs/model_cards.md (of docs/model_cards_digiface.md with
`--framing digiface`), between its two markers, and for ffhq the images at both ends of every score,
docs/scores/GROUP.jpg. Some minutes on two CPU cores: 2,000 samples, every score, the identity nets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from torch import Tensor

from facenb.generators import DEFAULT, EMBEDDED, Generator, load_generator
from facenb.samples import make_samples
from facenb.sampling import draw
from facenb.scorers import (
    ATTRIBUTES,
    QUALITY_GATE,
    Attribute,
    ScorerSuite,
    load_identity,
    load_independent_scorers,
    load_scorers,
)
from facenb.scorers.registry import PROBES
from facenb.storage.files import atomic_write
from scripts.card_images import write_ends

CARDS = {
    "ffhq": Path("docs") / "model_cards.md",
    "digiface": Path("docs") / "model_cards_digiface.md",
}
ENDS = Path("docs") / "scores"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TRAIN, TEST = 1500, 500  # the first of the generator's sample set (facenb.samples)
COMPONENTS = 200  # of w, in its first principal components


def predictability(values: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """How well a linear map of the latent predicts a score, on samples that it was not fitted to.

    Args:
        values: (TRAIN + TEST, d). scores: (TRAIN + TEST,).

    Returns:
        R² of ridge regression (strength by leave-one-out), and the area under the ROC curve of its
        prediction against the upper half of the scores.
    """
    ridge = RidgeCV(np.logspace(-1, 6, 22)).fit(values[:TRAIN], scores[:TRAIN])
    above, predicted = scores[TRAIN:] > np.median(scores[:TRAIN]), ridge.predict(values[TRAIN:])
    return ridge.score(values[TRAIN:], scores[TRAIN:]), roc_auc_score(above, predicted)


def principal_components(generator: Generator, w: np.ndarray) -> np.ndarray:
    """w (N, d) in its COMPONENTS first principal components, (N, COMPONENTS)."""
    many = generator.sample(10_000, seed=10_000, space="w").values.numpy()
    return PCA(COMPONENTS, svd_solver="full").fit(many).transform(w)


def score_table(
    suite: ScorerSuite, values: np.ndarray, scores: np.ndarray, space: str, judges: dict
) -> list[str]:
    """Markdown rows, one a score.

    Args:
        values, scores: as of `predictability`, scores (TRAIN + TEST, A).
        judges: the independent scores by name; none leaves the column out.
    """
    provenance = probes_provenance("digiface" if suite.framing == "digiface" else "ffhq")
    correlation = np.corrcoef(scores.T) - np.eye(scores.shape[1])  # with itself: 0
    columns = ["score", "unit", "low", "high", "mean ± sd", f"R² from {space}", f"AUC from {space}"]
    columns += ["labels, 5-fold AUC", *(["r with the independent score"] if judges else [])]
    columns += ["goes with (r)"]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for i, (attribute, column) in enumerate(zip(suite.attributes, scores.T, strict=True)):
        r2, auc = predictability(values, column)
        cells = [attribute.name, attribute.unit, attribute.low, attribute.high]
        cells += [f"{column.mean():.3g} ± {column.std():.2g}", f"{r2:.2f}", f"{auc:.2f}"]
        cells += [labels_auc(provenance, attribute.name)]
        if judges:
            judge = judges.get(attribute.name)
            cells += ["" if judge is None else f"{np.corrcoef(column, judge)[0, 1]:+.2f}"]
        most = int(np.abs(correlation[i]).argmax())
        cells += [f"{suite.names[most]} ({correlation[i, most]:+.2f})"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def probes_provenance(suite: str) -> dict[str, str]:
    """How the probes of a suite were trained, and their areas under the ROC curve."""
    with safe_open(PROBES[suite], "pt") as file:
        return json.loads(file.metadata()["provenance"])


def labels_auc(provenance: dict[str, str], name: str) -> str:
    """A probe's cross-validated AUC, ± over folds, and that on the faces both labellings share."""
    if f"{name}_auc" not in provenance:
        return ""
    text = f"{provenance[f'{name}_auc']} ± {provenance[f'{name}_auc_sd']}"
    agreed = provenance.get(f"{name}_auc_agreed")
    return f"{text}; agreed {agreed}" if agreed else text


def formula_table(attributes: Sequence[Attribute]) -> list[str]:
    """Markdown rows: what each score is read from."""
    rows = ["| score | group | kind | net | how it is read |", "|---|---|---|---|---|"]
    for a in attributes:
        formula = a.formula.replace("|", "\\|") + (f" ({a.description})" if a.description else "")
        rows.append(f"| {a.name} | {a.group} | {a.kind} | {a.net} | {formula} |")
    return rows


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


def identity_table(images: Tensor, names: Sequence[str], framing: str) -> list[str]:
    """Markdown rows: net, variant, cosine to itself and to others, and how well they differ."""
    rows = ["| net | image | itself | others | AUC |", "|---|---|---|---|---|"]
    for name in names:
        net = load_identity(name=name, framing=framing)
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


def measure(framing: str) -> str:
    """The measured part of the cards, as Markdown; for ffhq the images are written, too."""
    generator = load_generator(DEFAULT if framing == "ffhq" else EMBEDDED)
    suite, space = load_scorers(framing=framing), "w" if framing == "ffhq" else "z"
    samples = make_samples(generator, suite, TRAIN + TEST)
    values = generator.map(samples.latents, space).values.numpy()
    scores = samples.scores.double().numpy()
    judges, names = {}, ["face_recognition", "faceres"]
    if framing == "ffhq":
        others = load_independent_scorers()
        judged = make_samples(generator, others, TRAIN + TEST)
        judges = {name: judged[name].double().numpy() for name in others.names}
        values, names = principal_components(generator, values), ["sface"]
        write_ends(generator, suite, samples, ENDS)
    with torch.no_grad():
        images = draw(generator, samples.latents[:200], generator.scoring_size)
    passed = (scores[:, suite.names.index("quality")] > QUALITY_GATE).mean()
    lines = [
        *formula_table(suite.attributes),
        "",
        f"{TRAIN} samples to fit, {TEST} to test; correlations over all. The samples are the first "
        "of the generator's sample set (`facenb.samples`).",
        "",
        *score_table(suite, values, scores, space, judges),
        "",
        f"The quality gate (face flag > 0.9) keeps {passed:.1%} of the samples.",
        "",
    ]
    if judges:
        lines += ["The independent scores:", "", *independent_table()]
    lines += ["Cosine between 200 samples and the same images changed:", ""]
    return "\n".join(lines + identity_table(images, names, framing))


def independent_table() -> list[str]:
    """Markdown rows: the independent scores, what they are read from, their AUC."""
    provenance = probes_provenance("independent")
    rows = ["| score | net | how it is read | labels, 5-fold AUC |", "|---|---|---|---|"]
    for a in ATTRIBUTES["independent"]:
        formula, auc = a.formula.replace("|", "\\|"), labels_auc(provenance, a.name)
        rows.append(f"| {a.name} | {a.net} | {formula} | {auc} |")
    return [*rows, ""]


def replace_measured(text: str, measured: str) -> str:
    """`text` with what stands between the markers replaced."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{measured}\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.model_cards")
    parser.add_argument("--framing", choices=list(CARDS), default="ffhq")
    path = CARDS[parser.parse_args(arguments).framing]
    if not path.is_file():
        raise SystemExit(f"{path} is not here: run this from the root of the repository.")
    framing = parser.parse_args(arguments).framing
    atomic_write(path, replace_measured(path.read_text(), measure(framing)))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
