"""Train the directions of Niu et al. (2023) and keep them: `python -m facenb.train_directions`.

SDD, SHP, HDP, DTJ, DTH and the variants that they are compared with, in one profile, in that order.
What is learned on the embedded generator ships with the package: `load_directions("dth")`, and
`load_histories()` for the curves. With `--generator` it stays in the cache, where `learned` finds
it. Killed work goes on. Profiles: smoke, laptop, gpu (the embedded generator at full width), paper
(a style-based generator: W, 256 directions).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from facenb.assets import cache_dir
from facenb.data import data_path
from facenb.editors import Directions, load_directions
from facenb.errors import FacenbError, unknown
from facenb.generators import EMBEDDED, Generator, load_generator
from facenb.methods.two_stage import METHODS, VARIANTS, DirectionLearner, load_config
from facenb.storage.files import atomic_write

_FOLDER = data_path("__init__.py").parent
_ALL = (*METHODS, *VARIANTS)


def train_all(
    generator: Generator, profile: str, seed: int = 0, methods: Sequence[str] = tuple(METHODS)
) -> dict[str, DirectionLearner]:
    """Every experiment of `methods` (names of `VARIANTS` too), second stages from SDD's directions.

    Each keeps its checkpoint in the cache, so that what was trained before is not trained again.
    """
    done: dict[str, DirectionLearner] = {}
    for method in methods:
        config = load_config(method, profile, seed=seed)
        start = None
        if METHODS[config.method].second_stage:
            if "SDD" not in done:
                raise FacenbError(f"{method} starts from SDD's directions: train SDD with it.")
            start = done["SDD"].directions_
        checkpoint = _checkpoint(generator, method, profile, seed)
        done[method] = DirectionLearner(config).fit(generator, start, checkpoint)
    return done


def learned(
    generator: Generator, profile: str, seed: int, methods: Sequence[str]
) -> tuple[dict[str, Directions], dict[str, dict[str, Tensor]]]:
    """Directions and training curves of `methods`: those that ship, or those in the cache.

    In the smoke profile they are trained on the spot, a few steps each.

    Raises:
        FacenbError: another generator than the embedded one, and its training, of hours, was never
            begun; the message has the command for it.
    """
    if generator.name == EMBEDDED and profile != "smoke":
        return {m: load_directions(m.lower(), EMBEDDED) for m in methods}, load_histories()
    begun = all(_checkpoint(generator, m, profile, seed).exists() for m in methods)
    if profile != "smoke" and not begun:
        asked = [] if set(methods) == set(_ALL) else methods
        command = " ".join(["python -m facenb.train_directions", *asked])
        raise FacenbError(
            f"no directions of {', '.join(methods)} have been trained on {generator.name}. Train "
            f"them first (hours): {command} --profile {profile} --seed {seed} --generator …"
        )
    learners = train_all(generator, profile, seed, methods)
    return (
        {name: learner.directions_ for name, learner in learners.items()},
        {name: learner.history_ for name, learner in learners.items()},
    )


def _checkpoint(generator: Generator, method: str, profile: str, seed: int) -> Path:
    """Files of the same name are told apart by their content."""
    which = generator.name
    if which != EMBEDDED:
        which += f"-{generator.fingerprint[:8]}"
    return cache_dir() / "training" / f"{method.lower()}_{which}_{profile}_{seed}.safetensors"


def load_histories(generator: str = EMBEDDED) -> dict[str, dict[str, Tensor]]:
    """Training curves of the shipped directions: method → name → (steps,)."""
    curves: dict[str, dict[str, Tensor]] = {}
    for key, values in load_file(data_path(f"histories_{generator}.safetensors")).items():
        method, _, name = key.partition("/")
        curves.setdefault(method, {})[name] = values
    return curves


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m facenb.train_directions")
    parser.add_argument("methods", nargs="*", help=f"all by default: {', '.join(_ALL)}")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--generator", default=EMBEDDED, help="a name, a URL or a file of weights")
    options = parser.parse_args(arguments)
    for method in options.methods:
        if method not in _ALL:
            raise unknown("method", method, _ALL)
    generator = load_generator(options.generator, options.device)
    learners = train_all(generator, options.profile, options.seed, options.methods or _ALL)
    if generator.name != EMBEDDED:
        print("The checkpoints are kept; notebooks 03 and 05 find them.")
        return
    if set(learners) != set(_ALL):
        print("The checkpoints are kept; run without names to write what ships.")
        return
    facts = {"profile": options.profile, "seed": options.seed, "hardware": generator.device.type}
    for method, learner in learners.items():
        found = learner.directions_
        named = Directions(
            found.names, found.vectors, found.space, provenance=found.provenance | facts
        )
        named.save(_FOLDER / f"{method.lower()}_{generator.name}.safetensors")
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
