"""Train the directions of Niu et al. (2023) and keep them.

    python -m scripts.train_directions [METHOD …] [--profile laptop] [--generator …] [--out FOLDER]

What is learned stays in the cache, where notebooks 03 and 05 find it. With `--out facenb/data` it
becomes what ships with the package: the five methods on the default generator (two hours on two
cores), and on the DCGAN their variants, too. Profiles: smoke, laptop, gpu (at full width), paper
(W, 256 directions).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from facenb.errors import unknown
from facenb.generators import DEFAULT, EMBEDDED, load_generator
from facenb.methods.two_stage import METHODS
from facenb.methods.two_stage.trained import ALL, train_all
from facenb.storage.files import write_tensors


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_directions")
    parser.add_argument("methods", nargs="*", help=f"among {', '.join(ALL)}")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--generator", default=DEFAULT, help="a name, a URL or a file of weights")
    parser.add_argument("--out", type=Path, help="folder for the files that ship")
    options = parser.parse_args(arguments)
    shipped = {DEFAULT: METHODS, EMBEDDED: ALL}
    if options.out and (options.methods or options.generator not in shipped):
        parser.error(f"--out is for all methods on {' or '.join(shipped)}")
    for method in options.methods:
        if method not in ALL:
            raise unknown("method", method, ALL)
    generator = load_generator(options.generator, options.device)
    methods = options.methods or list(shipped.get(options.generator, METHODS))
    learners = train_all(generator, options.profile, options.seed, methods)
    if not options.out:
        print("The checkpoints are kept; notebooks 03 and 05 find them.")
        return
    facts = {"profile": options.profile, "seed": options.seed, "hardware": generator.device.type}
    for method, learner in learners.items():
        editors = learner.editors().with_provenance(**facts)
        editors.save(options.out / f"{method.lower()}_{generator.name}.safetensors")
        print(method, learner.held_out_ or "", flush=True)
    histories = {
        f"{method}/{name}": values.float()
        for method, learner in learners.items()
        for name, values in learner.history_.items()
    }
    write_tensors(
        options.out / f"histories_{generator.name}.safetensors",
        histories,
        {key: str(value) for key, value in facts.items()},
    )


if __name__ == "__main__":
    main()
