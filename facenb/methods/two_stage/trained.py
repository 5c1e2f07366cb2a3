"""The trained directions of Niu et al. (2023): those that ship, those in the cache, or new ones.

SDD, SHP, HDP, DTJ, DTH and the variants that they are compared with, in one profile, in that order.
`python -m scripts.train_directions` trains them. What is learned on the default generator and on
the DCGAN ships with the package: `load_editors("dth", …)`, and `load_histories(…)` for the curves;
of other generators it stays in the cache, where `learned` finds it. Killed work goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from facenb.data import data_path
from facenb.editors import Editors, load_editors
from facenb.errors import FacenbError, UnknownNameError
from facenb.generators import EMBEDDED, Generator
from facenb.methods.two_stage.configs import METHODS, VARIANTS, load_config, profile_for
from facenb.methods.two_stage.learner import DirectionLearner
from facenb.storage.cache import cache_dir, key

ALL = (*METHODS, *VARIANTS)


def train_all(
    generator: Generator, profile: str, seed: int = 0, methods: Sequence[str] = tuple(METHODS)
) -> dict[str, DirectionLearner]:
    """Every experiment of `methods` (names of `VARIANTS` too), second stages from SDD's directions.

    Each keeps its checkpoint in the cache, so that what was trained before is not trained again.
    """
    done: dict[str, DirectionLearner] = {}
    profile = profile_for(generator, profile)
    for method in methods:
        config = load_config(method, profile, seed=seed)
        start = None
        if METHODS[config.method].second_stage:
            if "SDD" not in done:
                raise FacenbError(f"{method} starts from SDD's directions: train SDD with it.")
            start = done["SDD"].editors()
        checkpoint = checkpoint_path(generator, method, profile, seed)
        done[method] = DirectionLearner(config).fit(generator, None, start, checkpoint)
    return done


def shipped_variants(generator: Generator) -> list[str]:
    """Those of `VARIANTS` whose directions ship for the generator."""
    return [name for name in VARIANTS if _ships(name, generator)]


def _ships(method: str, generator: Generator) -> bool:
    try:
        data_path(f"{method.lower()}_{generator.name}.safetensors")
    except UnknownNameError:
        return False
    return True


def learned(
    generator: Generator, profile: str, seed: int, methods: Sequence[str]
) -> tuple[dict[str, Editors], dict[str, dict[str, Tensor]]]:
    """Directions and training curves of `methods`: those that ship, or those in the cache.

    In the smoke profile they are trained on the spot, a few steps each.

    Raises:
        FacenbError: none ship for the generator, and their training, of hours, was never begun; the
            message has the command for it.
    """
    if profile != "smoke" and all(_ships(method, generator) for method in methods):
        editors = {m: load_editors(m.lower(), generator.name) for m in methods}
        return editors, load_histories(generator.name)
    own = profile_for(generator, profile)
    begun = all(checkpoint_path(generator, m, own, seed).exists() for m in methods)
    if profile != "smoke" and not begun:
        asked = [] if set(methods) == set(ALL) else methods
        command = " ".join(["python -m scripts.train_directions", *asked])
        raise FacenbError(
            f"no directions of {', '.join(methods)} have been trained on {generator.name}. Train "
            f"them first (hours): {command} --profile {profile} --seed {seed} --generator …"
        )
    learners = train_all(generator, profile, seed, methods)
    return (
        {name: learner.editors() for name, learner in learners.items()},
        {name: learner.history_ for name, learner in learners.items()},
    )


def checkpoint_path(generator: Generator, method: str, profile: str, seed: int) -> Path:
    """Where a training is kept; generators of one name are told apart by their weights."""
    which = generator.name
    if which != EMBEDDED:
        which += f"-{key({'weights': generator.fingerprint})[:8]}"
    return cache_dir() / "training" / f"{method.lower()}_{which}_{profile}_{seed}.safetensors"


def load_histories(generator: str) -> dict[str, dict[str, Tensor]]:
    """Training curves of the shipped directions: method → name → (steps,)."""
    curves: dict[str, dict[str, Tensor]] = {}
    for entry, values in load_file(data_path(f"histories_{generator}.safetensors")).items():
        method, _, name = entry.partition("/")
        curves.setdefault(method, {})[name] = values
    return curves
