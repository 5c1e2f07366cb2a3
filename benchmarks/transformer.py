"""Latent transformers: the time that ten take to train together and alone, and edits a second.

Training has the paper's size: 10,000 codes, 10 epochs, batch 16. What is learned plays no part in
the time, so that labels drawn by chance do. Together against one after the other is measured on one
epoch.
"""

from __future__ import annotations

import time

import torch

from benchmarks import seconds
from facenb.latents import Latents
from facenb.methods.latent_transformer import LATENTS, LatentClassifier, LatentTransformer

ATTRIBUTES = 10
WIDTH = 100  # of the embedded generator's z


def bench_latent_transformer() -> dict[str, str]:
    """Seconds to train ten networks, their ratio to training each alone, codes edited a second."""
    random = torch.Generator().manual_seed(0)
    values = torch.randn(LATENTS, WIDTH, generator=random)
    labels = values @ torch.randn(WIDTH, ATTRIBUTES, generator=random) > 0
    start = time.perf_counter()
    classifier = LatentClassifier().fit(values, labels)
    learned = time.perf_counter() - start
    gamma = torch.eye(ATTRIBUTES)

    start = time.perf_counter()
    model = LatentTransformer().fit_networks(values, classifier, gamma)
    trained = time.perf_counter() - start
    once = LatentTransformer(epochs=1)
    together, alone = seconds(
        lambda: once.fit_networks(values, classifier, gamma),
        lambda: [
            LatentTransformer(epochs=1, targets=[name]).fit_networks(values, classifier, gamma)
            for name in classifier.names_
        ],
        rounds=1,
    )
    editor, codes = model.editors()["0"], Latents(values[:256], "z")
    with torch.inference_mode():
        edit, score = seconds(
            lambda: editor.edit(codes, 1.0), lambda: classifier.logits(codes.values)
        )
    return {
        "latent transformers, ten attributes, training": (
            f"{trained:.0f} s ({together / alone:.2f} of the time of one after the other)"
        ),
        "latent transformer, batch 256": f"{256 / edit:,.0f} edits/s",
        "latent classifier": f"{learned:.1f} s to train, {256 / score:,.0f} codes/s",
    }


if __name__ == "__main__":
    for what, measured in bench_latent_transformer().items():
        print(f"{what:60} {measured}")
