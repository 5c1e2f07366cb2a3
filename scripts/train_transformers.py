"""Train the latent transformers that ship for a generator (Yao et al., 2021).

    python -m scripts.train_transformers --out FILE [--generator NAME] [--targets yaw]

For the FFHQ generator in W, from the samples that ship: two minutes on two cores, written in half
precision. For the DCGAN in Z, from 12,000 samples that are scored first. facenb/data holds the
results as transformers_NAME.safetensors, and as transformers-pose_NAME.safetensors that of the yaw,
which notebook 11 compares; notebooks/06_latent_transformer.py explains the method and trains one of
them again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from facenb.editors import Editors
from facenb.generators import DEFAULT, EMBEDDED, load_generator
from facenb.methods.latent_transformer import LEARNING_RATE, LatentTransformer
from facenb.samples import load_samples
from facenb.scorers import load_scorers

# Table 1 and Figures 2 to 4 of the paper.
TARGETS = ("age", "glasses", "gender", "smile", "fringe", "wavy_hair", "grey_hair", "beard")
SETTINGS = {
    DEFAULT: {
        "hidden": 128,
        "reconstruction_weight": 10.0,
        "features": "probability",
        "targets": TARGETS,
    },
    EMBEDDED: {},
}
SAMPLES = {DEFAULT: 20_000, EMBEDDED: 12_000}


def halved(editors: Editors) -> Editors:
    """The same networks in half precision; they compute in that of the latents."""
    small = {
        name: replace(editor, weights={key: w.half() for key, w in editor.weights.items()})
        for name, editor in editors.items()
    }
    return Editors(small, editors.provenance)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_transformers")
    parser.add_argument("--generator", default=DEFAULT, choices=SETTINGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", help="scores; by default those of the paper")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    generator = load_generator(options.generator)
    scorers = load_scorers(framing=generator.framing)
    space = "w" if "w" in generator.spaces else "z"
    samples = load_samples(generator, scorers, SAMPLES[options.generator], space)
    settings = SETTINGS[options.generator] | {"learning_rate": LEARNING_RATE, "seed": options.seed}
    if options.targets:
        settings |= {"targets": tuple(options.targets)}
    told = ["--targets", *options.targets] if options.targets else []
    transformers = LatentTransformer(**settings).fit(generator, samples).editors()
    transformers = transformers.with_provenance(
        gamma="labels",
        command=f"python -m scripts.train_transformers --generator {options.generator} "
        f"--seed {options.seed}" + "".join(f" {word}" for word in told),
    )
    if space == "w":
        transformers = halved(transformers)
    transformers.save(options.out)
    print(f"{options.out.name}: {', '.join(transformers.names)}")


if __name__ == "__main__":
    main()
