"""Measure above which cosine two faces are the same person to SFace.

    python -m scripts.identity_threshold [--faces 1000] [--bfloat16]

Writes data/identity_threshold.json, which load_identity("sface") reads: the cosine that one pair in
a thousand of different generated faces exceeds, at ψ = 1 and at ψ = 0.7 (of the same z), with a
bootstrap interval over faces; and the same among adults alone, because recognition nets hardly tell
small children apart, and most of the pairs above the threshold are children. The images are those
of 512 px, the smallest that are the network's own. Half an hour on two cores; what is done is kept
when it is stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.assets import asset_sha256
from facenb.assets.converters import CONVERSIONS
from facenb.data import data_path
from facenb.generators import load_generator
from facenb.generators.style_based import StyleBased
from facenb.metrics.preservation import false_acceptance_threshold
from facenb.metrics.statistics import percentile_interval, resample_counts
from facenb.sampling import score
from facenb.scorers.identity import IdentityScorer
from facenb.scorers.nets.human import FaceEmbedding
from facenb.storage import cache
from facenb.storage.files import atomic_write

OUT = data_path("identity_threshold.json")
RATE = 0.001
PSI = (1.0, 0.7)
RESAMPLES = 1000
ADULT = 15  # years, as "faceres" sees them
_GENERATOR = "mobilestylegan-ffhq-1024"
_SIZE = 512
_PART = 50
_VERSION = 1  # raise when a change alters SFace's vectors


class _IdentityAndAge(nn.Module):
    """Images → (N, d + 1): the unit vector, then the age in years."""

    def __init__(self) -> None:
        super().__init__()
        self.identity, self.age = IdentityScorer("sface", torch.zeros(128)), FaceEmbedding()

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.identity(images), self.age(images)[2][:, None]], dim=1)


def people(generator: StyleBased, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Unit vectors (n, d) and ages (n,) of the first n samples of `seed`, from disk if known."""
    nets = _IdentityAndAge()
    latents = generator.sample(n, seed)
    inputs = {
        "version": _VERSION,
        # not its fingerprint: that follows the heads for small images, which play no part here
        "truncation": generator.truncation,
        "precision": str(generator.network.precision),
        "files": _sources(_GENERATOR, "face-mesh", "sface"),
        "size": _SIZE,
        "seed": seed,
    }
    folder = cache.folder("identity-threshold", inputs)
    parts = []
    with tqdm(total=n, desc=f"ψ = {generator.truncation:g}", unit="img") as bar:
        for start in range(0, n, _PART):
            part = latents[start : min(start + _PART, n)]
            path = folder / f"{start:07d}-{start + len(part):07d}.safetensors"
            kept = cache.stored(
                path, lambda p=part: {"people": score(generator, nets, p, size=_SIZE)}
            )
            parts.append(kept["people"])
            bar.update(len(part))
    found = torch.cat(parts)
    return found[:, :-1], found[:, -1]


def bootstrap_threshold(
    vectors: Tensor, rate: float, resamples: int, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of `false_acceptance_threshold`, faces resampled.

    A face that is drawn several times makes no pairs with itself.
    """
    n = len(vectors)
    first, second = torch.triu_indices(n, n, offset=1)
    # ten times as many pairs as lie above the threshold: more than any resample needs
    kept = min(int(10 * rate * len(first)) + 100, len(first))
    cosine, order = (vectors @ vectors.T)[first, second].topk(kept)
    first, second = first[order], second[order]
    found = torch.empty(resamples, dtype=torch.float64)
    for i, times in enumerate(resample_counts(n, resamples, seed)):
        above = (times[first] * times[second]).cumsum(0)
        allowed = rate * float(n**2 - times.square().sum()) / 2
        # the first pair with which more than the allowed number would lie above
        place = int((above <= allowed + 1e-9).sum())
        found[i] = cosine[min(place, kept - 1)]
    low, high = percentile_interval(found)
    return float(low), float(high)


def measure(vectors: Tensor) -> dict[str, float]:
    """Threshold with its interval, and what the cosines of different faces look like."""
    first, second = torch.triu_indices(len(vectors), len(vectors), offset=1)
    cosine = (vectors @ vectors.T)[first, second]
    low, high = bootstrap_threshold(vectors, RATE, RESAMPLES)
    numbers = {
        "faces": len(vectors),
        "threshold": false_acceptance_threshold(vectors, RATE),
        "low": low,
        "high": high,
        "mean": float(cosine.mean()),
        "standard_deviation": float(cosine.std()),
        "maximum": float(cosine.max()),
    }
    return {name: round(value, 4) for name, value in numbers.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="the generator's precision")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    generator = load_generator(_GENERATOR)
    if options.bfloat16:
        generator = generator.variant(precision=torch.bfloat16)
    found = {}
    for psi in PSI:
        variant = generator.variant(truncation=psi)
        vectors, ages = people(variant, options.faces, options.seed)
        found[str(psi)] = measure(vectors) | {"adults": measure(vectors[ages >= ADULT])}
        print(psi, found[str(psi)])
    provenance = {
        "command": "python -m scripts.identity_threshold "
        f"--faces {options.faces} --seed {options.seed}"
        f"{' --bfloat16' if options.bfloat16 else ''}",
        "generator": generator.name,
        "size": _SIZE,
        "files": _sources(_GENERATOR, "face-mesh", "sface"),
        "resamples": RESAMPLES,
    }
    report = {"false_acceptance_rate": RATE, "psi": found, "provenance": provenance}
    atomic_write(options.out, json.dumps(report, indent=1) + "\n")
    print(f"wrote {options.out}")


def _sources(*nets: str) -> dict[str, str]:
    """The sha256 of the files behind these converted nets, and behind the age."""
    files = [source for net in nets for source in CONVERSIONS[net].sources]
    return {
        file: asset_sha256(file) for file in [*files, "human/faceres.json", "human/faceres.bin"]
    }


if __name__ == "__main__":
    main()
