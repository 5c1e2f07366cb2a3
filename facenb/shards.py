"""Scored samples in shards, made by many machines: each shard is a file that appears whole, once.

Shard k has the scores of `generator.sample(1000, seed=k)`, as the samples that ship. The folder is
one that all machines share, or any URL that fsspec knows; in it every set has a folder of its own,
named by what decides the scores. Whatever is there is never made again, so that work goes on after
lost workers, a lost scheduler, or with more samples.

A worker keeps parts of the shard that it works on in its own cache (`sampling.sample_scored`).
"""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from tqdm.auto import tqdm

from facenb.cluster import ClusterError, compute, connected, versions
from facenb.generators import Generator, load_generator
from facenb.generators import absolute as absolute_name
from facenb.sampling import sample_scored, scored_by
from facenb.scorers import ScorerSuite, load_scorers
from facenb.storage import cache
from facenb.storage.files import header, sha256_tensors
from facenb.storage.shared import FolderError, SharedFolder, absolute_url


@dataclass(frozen=True)
class Plan:
    """A set of shards: what every machine has to agree on.

    Args:
        url: folder or fsspec URL that all machines reach.
        generator: a name, a URL, or the path of a file that all machines reach.
        scores: names of the scores, the columns.
        identity: what decides the scores (`sampling.scored_by`), by which it is checked that a
            machine has the same weights.
        shard: samples to a shard.
        device: that each machine draws and scores on.
        bfloat16: draw in bfloat16.
    """

    url: str
    generator: str
    scores: tuple[str, ...]
    identity: dict
    shard: int
    device: str = "cpu"
    bfloat16: bool = False

    @staticmethod
    def of(
        url: str,
        name: str,
        generator: Generator,
        scorers: ScorerSuite,
        shard: int,
        bfloat16: bool = False,
    ) -> Plan:
        """The plan for a generator that was loaded by `name`, and scorers of its framing."""
        what = absolute_url(url), absolute_name(name), scorers.names, scored_by(generator, scorers)
        return Plan(*what, shard, generator.device.type, bfloat16)


class Shards:
    """The files of a plan, in a folder of their own inside the plan's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._folder = SharedFolder(plan.url)
        self._set = cache.key(plan.identity | {"shard": plan.shard})

    def path(self, k: int) -> str:
        """Of shard k."""
        return self._folder.path(self._name(k))

    def read(self, k: int) -> Tensor | None:
        """Scores (shard, A) of shard k; None where it is missing or, with a warning, damaged."""
        content = self._folder.read(self._name(k))
        if content is None:
            return None
        try:
            about = header(content)[0]["__metadata__"]
            facts = json.loads(about["provenance"])
            tensors = load(content)
            good = facts["sha256"] == sha256_tensors(tensors) and facts["seed"] == k
            if good and tensors["scores"].shape == (self.plan.shard, len(self.plan.scores)):
                return tensors["scores"]
            said = "its content is not what it was"
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            said = str(error)
        warnings.warn(f"{self.path(k)} is damaged ({said}); it is made again.", stacklevel=2)
        return None

    def write(self, k: int, scores: Tensor) -> None:
        """Shard k, whole, with how it was made; FolderError where that cannot be."""
        tensors = {"scores": scores.float().contiguous()}
        facts = {
            **self.plan.identity,
            **versions(),
            "seed": k,
            "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "sha256": sha256_tensors(tensors),
        }
        self._folder.write(self._name(k), save(tensors, {"provenance": json.dumps(facts)}))

    def describe(self) -> None:
        """Write what they are beside them, before the work: FolderError where that cannot be."""
        facts = asdict(self.plan)
        del facts["url"]  # machines may reach it by several
        self._folder.write(f"{self._set}/plan.json", json.dumps(facts, indent=1).encode())

    def _name(self, k: int) -> str:
        return f"{self._set}/{k:06d}.safetensors"


def make_shard(plan: Plan, k: int) -> int:
    """Shard k of the plan, unless it is there; returns k.

    Raises:
        ClusterError: this machine has other weights or other scorers than the plan.
        FolderError: the folder is full, read-only or out of reach.
    """
    shards = Shards(plan)
    if shards.read(k) is not None:
        return k
    generator, scorers = _loaded(plan.generator, plan.scores, plan.device, plan.bfloat16)
    found = scored_by(generator, scorers)
    for field, value in plan.identity.items():
        if found[field] != value:
            raise ClusterError(
                f"for {plan.generator} this machine has {field} {found[field]}, expected {value}: "
                "other files than the machine that gave out the work."
            )
    samples = sample_scored(generator, scorers, plan.shard, seed=k)
    shards.write(k, samples.scores)
    return k


def make_shards(plan: Plan, n: int, scheduler: str | None = None) -> Tensor:
    """The first `n` scores (n, A) of the plan, those that are missing made first.

    Args:
        n: rounded up to whole shards, which are made; the rest of the last one stays in the folder.
        scheduler: address of a Dask scheduler whose workers make them; None makes them here.

    Raises:
        ClusterError: see `cluster.connected` and `cluster.compute`; the same call goes on.
        FolderError: the folder cannot be written to or read from.
    """
    shards, count = Shards(plan), -(-n // plan.shard)
    found = {k: shards.read(k) for k in range(count)}
    missing = [k for k, scores in found.items() if scores is None]
    have = (count - len(missing)) * plan.shard
    label = f"samples of {plan.generator}"
    with tqdm(total=count * plan.shard, initial=have, desc=label, unit="img") as bar:
        for k in _made(plan, shards, missing, scheduler):
            found[k] = shards.read(k)
            bar.update(plan.shard)
    found = {k: shards.read(k) if v is None else v for k, v in found.items()}
    lost = [k for k, scores in found.items() if scores is None]
    if lost:
        raise FolderError(
            f"{plan.url}: {len(lost)} of {count} shards were made and cannot be found, {lost[0]} "
            "the first. Do all machines reach the same folder by this name?"
        )
    return torch.cat(list(found.values()))[:n]


def _made(plan: Plan, shards: Shards, missing: list[int], scheduler: str | None) -> Iterable[int]:
    make = partial(make_shard, plan)
    if missing and scheduler is None:
        shards.describe()
        yield from map(make, missing)
    elif missing:
        with connected(scheduler) as client:
            shards.describe()
            yield from compute(client, make, missing)


@lru_cache(maxsize=1)
def _loaded(
    name: str, scores: tuple[str, ...], device: str, bfloat16: bool
) -> tuple[Generator, ScorerSuite]:
    """Once for each process, not for each shard."""
    generator = load_generator(name, device, torch.bfloat16 if bfloat16 else torch.float32)
    return generator, load_scorers(scores, generator.framing, device)
