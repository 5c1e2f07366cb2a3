"""Learn the boundaries that ship for a generator, from its sample set (InterFaceGAN).

    python -m scripts.learn_boundaries --out FILE [--generator NAME] [--confident 0.05]

One boundary for each score, in W where the generator has one, else in Z. The samples are those that
ship (python -m facenb.samples). notebooks/02_interfacegan.py explains the method; facenb/data holds
the result as interfacegan_NAME.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import facenb
from facenb.editors import Directions
from facenb.generators import DEFAULT
from facenb.methods.interfacegan import fit_boundaries
from facenb.samples import load_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default=DEFAULT)
    parser.add_argument("--n", type=int, default=20_000, help="samples to learn from")
    parser.add_argument("--confident", type=float, default=0.05, help="fraction from each end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    generator = facenb.load_generator(args.generator)
    scorers = facenb.load_scorers(framing=generator.framing)
    space = "w" if "w" in generator.spaces else "z"
    samples = load_samples(generator, scorers, args.n, space)
    boundaries = fit_boundaries(samples, args.confident, args.seed)
    directions = Directions.from_editors(
        {name: boundary.editor(name, space) for name, boundary in boundaries.items()},
        method="InterFaceGAN",
        generator=generator.name,
        samples=len(samples),
        confident=args.confident,
        seed=args.seed,
        validation={name: round(b.accuracy_["validation"], 4) for name, b in boundaries.items()},
        command=f"python -m scripts.learn_boundaries --generator {generator.name} --n {args.n} "
        f"--confident {args.confident} --seed {args.seed}",
    )
    directions.save(args.out)
    print({name: round(b.accuracy_["validation"], 3) for name, b in boundaries.items()})


if __name__ == "__main__":
    main()
