"""Methods × targets × seeds of training, each a row of `metrics.compare`, here or on a cluster.

    python -m scripts.sweep_methods --folder URL [--scheduler tcp://…] [--out FILE.csv]
        [--methods NAME …] [--targets NAME …] [--seeds 0 1 2] [--faces 200] [--profile laptop]

Every row is a task, and a small file in the folder when it is done: a sweep goes on after lost
workers, a lost scheduler, or with more methods, targets and seeds. A method that fails for a target
is a row with the reason. Trainings of different seeds learn from different halves of the samples.
Rows have no identity, which takes full images; notebook 11 has it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import torch

from facenb.cluster import compute, connected, versions
from facenb.editors import Editors
from facenb.errors import AssetError, FacenbError, unknown
from facenb.generators import DEFAULT, Generator, absolute, load_generator
from facenb.methods.by_attribute import by_attribute
from facenb.methods.compare_all import SEED, TARGETS
from facenb.methods.ganspace import GANSpace
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.latent_transformer import LatentTransformer, label_thresholds
from facenb.methods.sefa import SeFa
from facenb.methods.two_stage.trained import train_all
from facenb.metrics.compare import compare
from facenb.presets import Profile, load_profile
from facenb.samples import load_samples
from facenb.sampling import ScoredSamples, scored_by
from facenb.scorers import ScorerSuite, conditions_of, load_scorers
from facenb.seeds import random_for
from facenb.storage.cache import key
from facenb.storage.files import atomic_write
from facenb.storage.shared import SharedFolder, absolute_url

STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Sweep:
    """What all rows have in common."""

    folder: str
    generator: str
    profile: str
    faces: int


@dataclass(frozen=True)
class World:
    """What a worker has loaded: a training sees a half of the samples."""

    generator: Generator
    scorers: ScorerSuite
    samples: ScoredSamples
    sizes: Profile
    space: str

    def half(self, seed: int) -> ScoredSamples:
        order = torch.randperm(len(self.samples), generator=random_for(seed, "half", 0))
        return self.samples.select(order[: len(order) // 2])


def _boundaries(world: World, seed: int) -> Editors:
    model = InterFaceGAN(max(world.sizes.confident, 0.05), seed=seed)
    return model.fit(world.generator, world.half(seed)).editors()


def _conditioned(world: World, seed: int) -> Editors:
    names = conditions_of(world.samples.names)
    return _boundaries(world, seed).condition(names, on=names)


def _ganspace(world: World, seed: int) -> Editors:
    model = GANSpace(min(20, world.sizes.activations), space=world.space,
                     n=world.sizes.activations, seed=seed)  # fmt: skip
    return by_attribute(model.fit(world.generator).editors().unscaled(), world.half(seed))


def _sefa(world: World, seed: int) -> Editors:
    return by_attribute(SeFa().fit(world.generator).editors(), world.half(seed))


def _transformer(world: World, seed: int) -> Editors:
    model = LatentTransformer(epochs=1 if world.sizes.name == "smoke" else 10, seed=seed)
    return model.fit(world.generator, world.half(seed)).editors()


def _two_stage(method: str, world: World, seed: int) -> Editors:
    profile = "gpu" if world.sizes.name == "paper" else world.sizes.name
    trained = train_all(world.generator, profile, seed, dict.fromkeys(("SDD", method)))
    return by_attribute(trained[method].editors(), world.half(seed))


METHODS: dict[str, Callable[[World, int], Editors]] = {
    "InterFaceGAN": _boundaries,
    "InterFaceGAN, conditioned": _conditioned,
    "GANSpace": _ganspace,
    "SeFa": _sefa,
    "latent transformer": _transformer,
    **{name: partial(_two_stage, name) for name in ("SDD", "SHP", "HDP", "DTJ", "DTH")},
}


@lru_cache(maxsize=1)
def _world(name: str, profile: str) -> World:
    generator, sizes = load_generator(name), load_profile(profile)
    scorers = load_scorers(framing=generator.framing)
    space = "w" if "w" in generator.spaces else "z"
    samples = load_samples(generator, scorers, sizes.samples, space)
    return World(generator, scorers, samples, sizes, space)


@lru_cache(maxsize=8)
def _learned(name: str, profile: str, method: str, seed: int) -> Editors:
    """Once for each process and training, for all its targets."""
    return METHODS[method](_world(name, profile), seed)


def row(sweep: Sweep, task: tuple[str, str, int]) -> dict[str, object]:
    """The row of a method, a target and a seed, from the folder where it was measured before."""
    method, target, seed = task
    world = _world(sweep.generator, sweep.profile)
    facts = {"method": method, "target": target, "seed": seed}
    decides = scored_by(world.generator, world.scorers) | asdict(sweep) | facts | versions()
    del decides["folder"], decides["generator"]
    decides["weights"] = world.generator.fingerprint
    folder, name = SharedFolder(sweep.folder), f"{key(decides)}.json"
    if found := folder.read(name):
        return json.loads(found)
    try:
        measured = _measure(world, sweep, method, target, seed)
    except AssetError:  # of this machine, not of the method
        raise
    except (FacenbError, ValueError) as error:
        measured = {"reason": str(error)}
    found = facts | measured
    folder.write(name, json.dumps(found | {"made by": versions()}).encode())
    return found


def _measure(world: World, sweep: Sweep, method: str, target: str, seed: int) -> dict[str, object]:
    editors = _learned(sweep.generator, sweep.profile, method, seed)
    if target not in editors:
        raise ValueError(f"{method} has no editor for {target}.")
    scores = world.samples.scores
    result = compare(
        world.generator, world.scorers, {method: {target: editors[target]}},
        world.generator.sample(sweep.faces, seed=SEED), [target], STRENGTHS,
        label_thresholds(scores, world.scorers.attributes), scores.std(0),
        resamples=world.sizes.bootstrap,
    )  # fmt: skip
    mds = result.intervals("mds").loc[(method, target)].to_dict()
    ends = {"mds": mds["mds"], "mds low": mds["low"], "mds high": mds["high"]}
    found = ends | result.at_level().loc[(target, method)].to_dict()
    return {
        name: value for name, value in found.items() if not name.startswith(("identity", "both"))
    }


def rows(
    sweep: Sweep, tasks: Sequence[tuple[str, str, int]], scheduler: str | None = None
) -> Iterable[dict[str, object]]:
    """The rows of all tasks, on a cluster where a scheduler is given."""
    one = partial(row, sweep)
    if scheduler is None:
        yield from map(one, tasks)
        return
    with connected(scheduler) as client:
        yield from compute(client, one, tasks)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.sweep_methods")
    parser.add_argument("--folder", required=True, help="that all workers reach: a path or a URL")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask")
    parser.add_argument("--out", type=Path, help="CSV of all rows")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--generator", default=DEFAULT)
    options = parser.parse_args(arguments)
    try:
        for method in options.methods:
            if method not in METHODS:
                raise unknown("method", method, METHODS)
        sweep = Sweep(absolute_url(options.folder), absolute(options.generator), options.profile,
                      options.faces)  # fmt: skip
        tasks = list(itertools.product(options.methods, options.targets, options.seeds))
        found = []
        for done in rows(sweep, tasks, options.scheduler):
            found.append(done)
            label = f"{done['method']}, {done['target']}, seed {done['seed']}"
            said = done.get("reason") or f"MDS {done['mds']:.3f}"
            print(f"{len(found)} of {len(tasks)}: {label}: {said}", flush=True)
    except (FacenbError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.out:
        table = pd.DataFrame(found).sort_values(["target", "method", "seed"])
        atomic_write(options.out, table.to_csv(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
