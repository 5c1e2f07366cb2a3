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
from facenb.generators import DEFAULT
from facenb.methods.interfacegan import InterFaceGAN
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
    method = InterFaceGAN(args.confident, seed=args.seed).fit(generator, samples)
    editors = method.editors().with_provenance(
        command=f"python -m scripts.learn_boundaries --generator {generator.name} --n {args.n} "
        f"--confident {args.confident} --seed {args.seed}",
    )
    editors.save(args.out)
    print(editors.provenance["validation"])


if __name__ == "__main__":
    main()
