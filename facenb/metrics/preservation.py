"""Whether an edit still shows the same person: Yao et al. 2021 §4.3.

"The same person" is a similarity above the threshold at which one pair in a thousand of *different*
people would pass for the same: the threshold is measured, never set by hand.

    people = embed(generator, identity, generator.sample(2_000, seed=2))
    threshold = false_acceptance_threshold(people)
    before, after = (embed(generator, identity, each) for each in (latents, edited))
    same = (before * after).sum(1) > threshold

`facenb.metrics.compare` counts them beside the other attributes.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from facenb.errors import check_finite
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.precomputed import scored_once
from facenb.sampling import score
from facenb.scorers import IdentityScorer

_VERSION = 1  # raise when a change here alters the vectors of `embed`


def false_acceptance_threshold(people: Tensor, rate: float = 0.001) -> float:
    """The similarity that a share `rate` of all pairs of different people exceeds, and no more.

    Every pair of the N people is used, N(N − 1)/2 of them: random samples of a generator are
    different people. The generator is the population, so that faces that it draws alike raise the
    threshold.

    Args:
        people: unit vectors (N, d), one for each person.
        rate: false acceptances to allow; the paper takes 0.1 %.

    Raises:
        ValueError: rows that are not unit vectors, or too few pairs to see a rate so low.
    """
    _check_unit(people)
    if not 0 < rate < 1:
        raise ValueError(f"false_acceptance_threshold: expected a rate in 0..1, given {rate}.")
    n = len(people)
    allowed = int(rate * n * (n - 1) / 2 + 1e-9)
    if allowed < 1:
        raise ValueError(
            f"false_acceptance_threshold: {n} people make {n * (n - 1) // 2} pairs, too few for a "
            f"rate of {rate:g}. Expected {int((2 / rate) ** 0.5) + 2} people or more."
        )
    first, second = torch.triu_indices(n, n, offset=1)
    similarity = (people @ people.T)[first, second]
    return float(similarity.topk(allowed + 1).values[-1]) if allowed < len(similarity) else -1.0


def embed(generator: Generator, identity: IdentityScorer, latents: Latents) -> Tensor:
    """Identity vectors (N, d) of the images of `latents`, on the CPU; from disk when known.

    The images are of `generator.exact_size`: learned small images change the person.
    """
    facts = {
        "version": _VERSION,
        "generator": generator.fingerprint,
        "identity": _fingerprint(identity),
        "device": generator.device.type,
        "size": generator.exact_size,
    }
    return scored_once(
        "identities",
        generator.name,
        facts,
        latents.to("cpu"),
        lambda codes: score(generator, identity, codes, size=generator.exact_size),
    )


def _check_unit(vectors: Tensor) -> None:
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"identities: expected vectors (N, d), given {tuple(vectors.shape)}.")
    check_finite(vectors, "identities")
    lengths = vectors.norm(dim=1)
    if (lengths - 1).abs().max() > 1e-3:
        raise ValueError(
            "identities: expected unit vectors, given lengths "
            f"{float(lengths.min()):.3g} to {float(lengths.max()):.3g}. "
            "Use load_identity(), or torch.nn.functional.normalize."
        )


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
