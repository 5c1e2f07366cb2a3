"""Train the surrogate gradient fields that ship for the FFHQ generator (Li et al., 2021).

    python -m scripts.train_fields NAME --out FILE [--steps 600]

NAME is "attributes" (in W, without and with noise, and in Z), "keypoints" (in W, with noise) or
"captions" (in W). The samples are those that ship; keypoints are found on the first 1,000, which
takes two minutes. Each field is a minute or two of training, and goes on where it was stopped.
facenb/data holds the results as sgf_NAME_GENERATOR.safetensors; notebooks 07 and 08 explain them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from facenb.generators import Generator, load_generator
from facenb.methods.sgf import SurrogateGradientField, fit_sgf, load_config
from facenb.methods.sgf.files import save_fields
from facenb.samples import SHARD, load_samples
from facenb.sampling import ScoredSamples, sample_scored
from facenb.scorers import conditions_of, load_scorers
from facenb.scorers.captions import Captions, Grammar, SentenceEncoder
from facenb.scorers.conditions import Landmarks

KINDS = ("attributes", "keypoints", "captions")
# Conditions beside the landmarks, which are asked to stay (appendix F).
APPEARANCE = ("gender", "age", "glasses", "beard", "fringe", "long_hair", "brightness", "warmth")
KEYPOINTS = 1_000  # samples
NOISE = 1.0  # standard deviation in W, where a coordinate has .42 on average


def train(kind: str, generator: Generator, steps: int) -> dict[str, SurrogateGradientField]:
    """The fields of one file by name."""
    scorers = load_scorers(framing=generator.framing)
    samples = load_samples(generator, scorers, 20_000, "w", check=False)
    values = samples.latents.values
    config = replace(load_config("laptop", "w"), steps=steps, batch=128)
    noisy = replace(config, noise=NOISE)
    if kind == "captions":
        grammar = Grammar().fit(samples.scores, samples.names)
        told = Captions(scorers, grammar, SentenceEncoder("cpu"))
        return {"captions": fit_sgf(config, values, told.of_scores(samples.scores), told.names)}
    if kind == "keypoints":
        scores = torch.cat([landmarks(generator), columns(samples, APPEARANCE)[:KEYPOINTS]], 1)
        names = (*Landmarks.names, *APPEARANCE)
        return {"keypoints": fit_sgf(noisy, values[:KEYPOINTS], scores, names)}
    names = tuple(conditions_of(samples.names))
    scores = columns(samples, names)
    in_z = load_samples(generator, scorers, 20_000, "z", check=False).latents.values
    deep = replace(load_config("laptop", "z"), steps=4 * steps, batch=128)
    return {
        "w": fit_sgf(config, values, scores, names),
        "w, with noise": fit_sgf(noisy, values, scores, names),
        "z": fit_sgf(deep, in_z, scores, names),
    }


def landmarks(generator: Generator) -> Tensor:
    """Those of the first samples, (KEYPOINTS, 136)."""
    net = Landmarks(generator.framing)
    shards = range(KEYPOINTS // SHARD)
    return torch.cat([sample_scored(generator, net, SHARD, seed=k).scores for k in shards])


def columns(samples: ScoredSamples, names: Sequence[str]) -> Tensor:
    """(N, names)."""
    return torch.stack([samples[name] for name in names], 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_fields")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    generator = load_generator()
    fields = train(options.kind, generator, options.steps)
    provenance = {
        "method": "SurrogateGradientField",
        "generator": generator.name,
        "fingerprint": generator.space_fingerprint,
        "command": f"python -m scripts.train_fields {options.kind} --steps {options.steps}",
        "final loss": {name: float(f.loss_[-50:].mean()) for name, f in fields.items()},
    }
    save_fields(options.out, fields, "w", provenance)
    print(f"{options.out.name}: {', '.join(fields)}; {provenance['final loss']}")


if __name__ == "__main__":
    main()
