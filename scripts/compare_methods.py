"""Draw and score the edits of every method once: what notebook 11 makes its tables of.

    python -m scripts.compare_methods --out FILE [--faces 200] [--directions age=FILE.npy …]

Every edit is scored by the suite, by the independent scorers and by the identity net in one pass,
from one image of 256 pixels in bfloat16. Faces come from fixed seeds, strengths from calibration
faces. Scores are kept in the cache a block of edits at a time: what was killed goes on where it
was, and a run for more faces begins with those of a run for fewer. An edit takes a sixth of a
second on one core, all methods and 200 faces an hour and a half on two. facenb/data holds the
result as comparison_NAME.safetensors.
"""

from __future__ import annotations

import argparse
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

import facenb
from facenb.generators import DEFAULT
from facenb.methods.all_methods import AllMethods
from facenb.methods.compare_all import (
    POPULATION,
    POPULATION_SEED,
    PROTOCOL,
    PSI,
    SEED,
    TARGETS,
    TEST,
    Sizes,
    compare_all,
    faces_of,
    population,
)
from facenb.methods.entry import own_directions
from facenb.samples import load_samples


def directions(given: Sequence[str]) -> dict[str, str]:
    """Files by target from "target=file" each; ValueError for anything else."""
    pairs = [text.partition("=") for text in given]
    wrong = [text for text, (target, _, path) in zip(given, pairs, strict=True)
             if not (target and path)]  # fmt: skip
    if wrong:
        raise ValueError(f"--directions: expected TARGET=FILE, given {wrong[0]!r}.")
    return {target: path for target, _, path in pairs}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.compare_methods")
    parser.add_argument("--faces", type=int, default=TEST, help="test faces of each method")
    parser.add_argument(
        "--iterative", type=int, default=Sizes.iterative, help="… of iterative ones"
    )
    parser.add_argument("--again", type=int, default=Sizes.again, help="… of further trainings")
    parser.add_argument("--population", type=int, default=POPULATION, help="random faces")
    parser.add_argument("--methods", nargs="*", help="names as in the table; all by default")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS)
    parser.add_argument("--directions", nargs="*", default=[], help="age=FILE.npy …")
    parser.add_argument("--out", type=Path, help="file to write; without it scores stay cached")
    options = parser.parse_args(arguments)
    generator = facenb.load_generator(DEFAULT)
    scorers = facenb.load_scorers()
    samples = load_samples(generator, scorers, 20_000, check=False)
    faces = faces_of(generator, samples, test=max(options.faces, TEST))
    yours = own_directions(directions(options.directions), generator, options.targets)
    methods = AllMethods(faces.generator, samples, options.targets, yours=yours)
    command = f"python -m scripts.compare_methods --faces {options.faces} --iterative "
    command += f"{options.iterative} --again {options.again} --population {options.population}"
    for name in ("methods", "targets", "directions"):
        if given := getattr(options, name):
            command += f" --{name} {shlex.join(given)}"
    provenance = {
        "command": command,
        "generator": faces.generator.fingerprint,
        "scorers": faces.scorers.fingerprint,
        "seeds": {"faces": SEED, "population": POPULATION_SEED},
        "population": options.population,
        "truncation": PSI,
        "size": faces.generator.scoring_size,
        "equal": f"{PROTOCOL.equal} of {PROTOCOL.level} standard deviations",
        "hardware": f"{platform.machine()}, torch {torch.__version__}",
    }
    sizes = Sizes(options.faces, options.iterative, options.again)
    known = population(generator, faces.scorers, options.population)
    data = compare_all(faces, methods, known, sizes, options.methods, print, provenance)
    if options.out:
        data.write(options.out)
        print(f"{options.out.name}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
