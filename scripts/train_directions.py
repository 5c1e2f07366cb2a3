"""Train the directions of Niu et al. (2023) and keep them.

    python -m scripts.train_directions [METHOD …] [--profile laptop] [--generator …]

What is learned on the embedded generator ships with the package, once all methods have been
trained; of other generators it stays in the cache. Profiles: smoke, laptop, gpu (the embedded
generator at full width), paper (a style-based generator: W, 256 directions).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from safetensors.torch import save

from facenb.data import data_path
from facenb.errors import unknown
from facenb.generators import EMBEDDED, load_generator
from facenb.methods.two_stage.trained import ALL, train_all
from facenb.storage.files import atomic_write

_FOLDER = data_path("__init__.py").parent


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_directions")
    parser.add_argument("methods", nargs="*", help=f"all by default: {', '.join(ALL)}")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--generator", default=EMBEDDED, help="a name, a URL or a file of weights")
    options = parser.parse_args(arguments)
    for method in options.methods:
        if method not in ALL:
            raise unknown("method", method, ALL)
    generator = load_generator(options.generator, options.device)
    learners = train_all(generator, options.profile, options.seed, options.methods or ALL)
    if generator.name != EMBEDDED:
        print("The checkpoints are kept; notebooks 03 and 05 find them.")
        return
    if set(learners) != set(ALL):
        print("The checkpoints are kept; run without names to write what ships.")
        return
    facts = {"profile": options.profile, "seed": options.seed, "hardware": generator.device.type}
    for method, learner in learners.items():
        editors = learner.editors().with_provenance(**facts)
        editors.save(_FOLDER / f"{method.lower()}_{generator.name}.safetensors")
        print(method, learner.held_out_ or "", flush=True)
    histories = {
        f"{method}/{name}": values.float()
        for method, learner in learners.items()
        for name, values in learner.history_.items()
    }
    atomic_write(
        _FOLDER / f"histories_{generator.name}.safetensors",
        save(histories, {key: str(value) for key, value in facts.items()}),
    )


if __name__ == "__main__":
    main()
