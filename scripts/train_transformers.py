"""Train the latent transformers of a profile; facenb/data/transformers_… is the laptop's.

python -m scripts.train_transformers --out FILE [--profile laptop] [--seed 0]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from facenb.generators import EMBEDDED, load_generator
from facenb.methods.latent_transformer import LEARNING_RATE, LatentTransformer
from facenb.presets import load_profile
from facenb.sampling import sample_scored
from facenb.scorers import load_scorers


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_transformers")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    generator = load_generator(EMBEDDED)
    scorers = load_scorers(framing=generator.framing)
    samples = sample_scored(generator, scorers, load_profile(options.profile).samples, options.seed)
    method = LatentTransformer(learning_rate=LEARNING_RATE, seed=options.seed)
    transformers = method.fit(generator, samples).editors()
    transformers = transformers.with_provenance(profile=options.profile, gamma="labels")
    transformers.save(options.out)
    print(f"{options.out.name}: {', '.join(transformers.names)}")


if __name__ == "__main__":
    main()
