"""Scores of images, each computed once: from the cache, from what ships, or computed now.

What ships are the scores of all images that notebooks 00 to 09 score, in half precision; a first
run draws those again that are not among them, and one in 32 of the others as a check.
`python -m scripts.precompute` makes the file from a run in which nothing was taken from it.

An image is found by its latent, and a latent by eight random projections of it: another processor
rounds otherwise, and a hash of its bits would not find it there. FACENB_FRESH=1 takes nothing from
what ships; nor is anything taken from it any more where a check has failed, with a warning.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.data import data_path
from facenb.errors import UnknownNameError
from facenb.latents import Latents
from facenb.seeds import seeded
from facenb.storage import cache
from facenb.storage.files import sha256_tensor, sha256_tensors

CHECKED = 1 / 32  # of the images that are found
# In standard deviations over the group: of a projection, rounding's part, a hundred times less than
# the step to the next strength; of a score of the same image.
ALIKE = 1e-3
TOLERANCE = 0.1
_SKETCH = 8
_failed: set[str] = set()  # groups of which a check has failed in this process


@dataclass(frozen=True)
class Group:
    """Scores (N, A) of images that were scored alike, by the sketches (N, 8) of their latents."""

    sketches: Tensor
    scores: Tensor

    def find(self, sketches: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n,) of the latents with these sketches (n, 8), and whether each is there."""
        spread = self.sketches.std(0, correction=0).clamp(min=1e-6)
        distance, rows = torch.cdist(sketches / spread, self.sketches / spread, p=math.inf).min(1)
        return rows, distance < ALIKE


def scored_once(
    step: str,
    generator: str,
    facts: Mapping[str, object],
    latents: Latents,
    score: Callable[[Latents], Tensor],
) -> Tensor:
    """(N, A) on the CPU: `score(latents)`, from disk or from what ships where it is known.

    Args:
        step: of the cache.
        generator: the name that scores ship under.
        facts: all that decides the scores but for the latents; plain values. "device" is not asked
            about in what ships.
    """
    facts = {**facts, "space": latents.space}
    inputs = facts | {"codes": sha256_tensor(latents.values)}

    def compute() -> dict[str, Tensor]:
        sketches = sketch(latents.values)
        name = group_of(facts)
        group = None if name in _failed or fresh() else shipped(generator).get(name)
        if group is None:
            scores = score(latents)
        elif (scores := _complete(group, sketches, latents, score)) is None:
            _failed.add(name)
            scores = score(latents)
        return {"scores": scores, "sketches": sketches}

    path = cache.folder(step, inputs).with_suffix(".safetensors")
    return cache.stored(path, compute, {"facts": json.dumps(facts)})["scores"]


def fresh() -> bool:
    """Whether the environment says that nothing is to be taken from what ships."""
    return os.environ.get("FACENB_FRESH", "0") not in ("", "0")


def sketch(values: Tensor) -> Tensor:
    """Eight random projections (N, 8) of latents (N, …)."""
    flat = values.detach().flatten(1).cpu().double()
    to = torch.randn(flat.shape[1], _SKETCH, generator=seeded(0), dtype=torch.float64)
    return (flat @ to / math.sqrt(flat.shape[1])).float()


def group_of(facts: Mapping[str, object]) -> str:
    """The name of the group that was scored alike, on whichever device."""
    return cache.key({name: value for name, value in facts.items() if name != "device"})


def _complete(
    group: Group, sketches: Tensor, latents: Latents, score: Callable[[Latents], Tensor]
) -> Tensor | None:
    """The scores that are there, and the others computed; some of the former too, to compare.

    None, with a warning, where they are not those of the images.
    """
    rows, there = group.find(sketches)
    found = group.scores[rows].float()
    random = torch.Generator()
    random.seed()
    again = there & (torch.rand(len(there), generator=random) < CHECKED)
    new = ~there | again
    if not new.any():
        return found
    computed = score(latents[new])
    spread = group.scores.float().std(0, correction=0).clamp(min=1e-6)
    away = ((computed - found[new]) / spread)[again[new]].abs()
    if len(away) and not float(away.max()) <= TOLERANCE:
        warnings.warn(
            f"{len(away)} of the images whose scores ship were scored again: a score differs by "
            f"{float(away.max()):.3g} standard deviations, expected at most {TOLERANCE}. All are "
            "scored here now. `python -m scripts.precompute` makes what ships again.",
            stacklevel=5,
        )
        return None
    found[~there] = computed[~there[new]].to(found)
    return found


@once
def shipped(generator: str) -> Mapping[str, Group]:
    """The groups that ship for a generator; none for most."""
    try:
        path = data_path(file_name(generator))
    except UnknownNameError:
        return {}
    try:
        return read(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        warnings.warn(f"{path} is damaged ({error}); nothing is taken from it.", stacklevel=2)
        return {}


def file_name(generator: str) -> str:
    """Of what ships for a generator."""
    return f"precomputed_{generator}.safetensors"


def read(path: Path) -> dict[str, Group]:
    """The groups of a file, by their names; ValueError where its content is not what it was."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        expected = json.loads((file.metadata() or {})["provenance"])["sha256"]
    if (given := sha256_tensors(tensors)) != expected:
        raise ValueError(f"expected sha256 {expected}, found {given}")
    names = sorted({name.rpartition("/")[0] for name in tensors})
    parts = ("sketches", "scores")
    return {name: Group(*(tensors[f"{name}/{part}"] for part in parts)) for name in names}
