"""The scored samples that the methods learn from: they ship, and can be made again, or more.

    samples = load_samples(G, scorers, 20_000, space="w")       # latents and scores

    python -m facenb.samples --n 20000 --out FILE     # make them; goes on where it was stopped
    python -m facenb.samples check                    # what ships, against fresh scores
    python -m facenb.samples --n 500000 --shards URL --scheduler tcp://…     # on many machines

A sample set is made of shards of 1,000: shard k is `generator.sample(1000, seed=k)`, so that a
larger set begins with a smaller one. What ships for a generator is the seeds and the scores, in
half precision; the latents are drawn again in a second. Whoever takes them pays for 64 fresh scores
that must agree.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm.auto import tqdm

import facenb
from facenb.data import data_path
from facenb.errors import FacenbError, UnknownNameError, plain_streams
from facenb.generators import DEFAULT, Generator
from facenb.latents import Latents
from facenb.sampling import ScoredSamples, sample_scored, score
from facenb.scorers import ScorerSuite
from facenb.shards import Plan, make_shards
from facenb.storage.files import write_tensors

SHARD = 1000
CHECKED = 64  # samples that are scored again whenever the shipped ones are used
# Scores of one image differ by half precision's rounding, and by other processors' sums: a part of
# the score's standard deviation that no conclusion can hang on, and a hundred times less than a
# score of another image is away.
TOLERANCE = 0.03


class SamplesError(FacenbError):
    """Shipped samples that are not those of this generator and these scorers."""


def load_samples(
    generator: Generator,
    scorers: ScorerSuite,
    n: int,
    space: str = "z",
    more: bool = True,
    check: bool = True,
) -> ScoredSamples:
    """The first `n` samples of the generator's set, scored; those that ship are not scored again.

    Args:
        space: of the latents: "z", or "w" where the generator has one.
        more: score as many as are missing, where fewer than `n` ship; otherwise those are all.
        check: score 64 of the shipped samples, drawn at random, and compare.

    Raises:
        SamplesError: the shipped scores are of other weights or scorers, or the check failed.
    """
    shipped = shipped_scores(generator, scorers)
    have = 0 if shipped is None else min(n, len(shipped))
    parts = []
    if have and not more:
        n = have
    if have:
        latents = _latents(generator, have)
        parts.append(ScoredSamples(latents, shipped[:have], scorers.names))
        if check:
            compare(generator, scorers, parts[0])
    for start in range(have, n, SHARD):
        shard = sample_scored(generator, scorers, min(SHARD, n - start), seed=start // SHARD)
        parts.append(shard)
    latents = Latents.cat([part.latents for part in parts])
    return ScoredSamples(
        generator.map(latents.to(generator.device), space).to("cpu"),
        torch.cat([part.scores for part in parts]),
        scorers.names,
    )


def shipped_scores(generator: Generator, scorers: ScorerSuite) -> Tensor | None:
    """(N, A) float32 of what ships, the columns of `scorers`; None where nothing ships.

    Raises:
        SamplesError: it is of other weights, other heads or other scorers.
    """
    found = _read(generator.name)
    if found is None:
        return None
    scores, facts = found
    here = {"generator": generator.fingerprint, "framing": generator.framing}
    for field, value in here.items():
        if facts[field] != value:
            raise SamplesError(
                f"the samples that ship for {generator.name} were made with {field} "
                f"{facts[field]}, expected {value}. {_again(generator.name)}"
            )
    if not set(scorers.names) <= set(facts["names"]):
        return None
    return scores[:, [facts["names"].index(name) for name in scorers.names]].float()


def compare(generator: Generator, scorers: ScorerSuite, samples: ScoredSamples) -> float:
    """The largest difference of 64 fresh scores from `samples`, in standard deviations.

    Which 64 differs from call to call, so that in time all are checked. Raises SamplesError when
    it is above TOLERANCE.
    """
    index = torch.randperm(len(samples), generator=_unseeded())[:CHECKED]
    fresh = score(generator, scorers, samples.latents[index])
    spread = samples.scores.std(0).clamp(min=1e-6)
    away = ((fresh - samples.scores[index]).abs() / spread).amax(0)
    worst = int(away.argmax())
    if away[worst] > TOLERANCE:
        raise SamplesError(
            f"{len(index)} of the samples that ship for {generator.name} were scored again: "
            f"{samples.names[worst]!r} differs by {float(away[worst]):.3g} standard deviations, "
            f"expected at most {TOLERANCE}. {_again(generator.name)}"
        )
    return float(away[worst])


def make_samples(generator: Generator, scorers: ScorerSuite, n: int) -> ScoredSamples:
    """`n` samples, shard by shard, each kept in the cache as soon as a part of it is scored."""
    shards = []
    with tqdm(total=n, desc=f"samples of {generator.name}", unit="img") as bar:
        for start in range(0, n, SHARD):
            size = min(SHARD, n - start)
            shards.append(sample_scored(generator, scorers, size, seed=start // SHARD))
            bar.update(size)
    latents = Latents.cat([shard.latents for shard in shards])
    return ScoredSamples(latents, torch.cat([s.scores for s in shards]), scorers.names)


def write_samples(
    path: Path, generator: Generator, scores: Tensor, names: Sequence[str], bfloat16: bool = False
) -> None:
    """Seeds and scores (N, A), in half precision, with how they were made."""
    facts = {
        "generator": generator.fingerprint,
        "framing": generator.framing,
        "names": list(names),
        "size": generator.scoring_size,
        "truncation": getattr(generator, "truncation", 1.0),
        "shard": SHARD,
        "seeds": f"0 to {(len(scores) - 1) // SHARD}",
        "command": f"python -m facenb.samples --n {len(scores)} --generator {generator.name}"
        + " --bfloat16" * bfloat16,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} cores, torch "
        f"{torch.__version__}",
    }
    write_tensors(path, {"scores": scores.half()}, {"provenance": json.dumps(facts)})


def _latents(generator: Generator, n: int) -> Latents:
    shards = range(-(-n // SHARD))
    return Latents.cat([generator.sample(SHARD, seed=k) for k in shards])[:n].to("cpu")


def _read(name: str) -> tuple[Tensor, dict] | None:
    try:
        path = data_path(f"samples_{name}.safetensors")
    except UnknownNameError:
        return None
    with safe_open(path, "pt") as file:
        return file.get_tensor("scores"), json.loads(file.metadata()["provenance"])


def _again(name: str) -> str:
    return f"Make them again: python -m facenb.samples --generator {name} --out FILE."


def _unseeded() -> torch.Generator:
    random = torch.Generator()
    random.seed()
    return random


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    plain_streams()
    parser = argparse.ArgumentParser(
        prog="python -m facenb.samples", description="Scored samples of a generator."
    )
    parser.add_argument("what", nargs="?", default="make", choices=["make", "check"])
    parser.add_argument("--generator", default=DEFAULT, help="a name, a URL or a file of weights")
    parser.add_argument("--n", type=int, default=20_000, help="how many")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="draw in bfloat16: faster where the processor has it, and scores that differ a little",
    )
    parser.add_argument("--out", type=Path, help="file to write; without it they stay in the cache")
    parser.add_argument(
        "--shards", metavar="URL", help="keep them there: a folder, or a URL that fsspec knows"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of Dask, whose workers make the shards"
    )
    options = parser.parse_args(arguments)
    if options.n < 1:
        parser.error(f"--n: expected 1 sample or more, given {options.n}")
    if options.scheduler and not options.shards:
        parser.error("--scheduler needs --shards: the folder or URL that all workers reach")
    try:
        dtype = torch.bfloat16 if options.bfloat16 else torch.float32
        generator = facenb.load_generator(options.generator, options.device, dtype)
        scorers = facenb.load_scorers(framing=generator.framing, device=options.device)
        if options.what == "make":
            if options.shards:
                what = options.generator, generator, scorers
                plan = Plan.of(options.shards, *what, SHARD, options.bfloat16)
                scores = make_shards(plan, options.n, options.scheduler)
            else:
                scores = make_samples(generator, scorers, options.n).scores
            if options.out:
                write_samples(options.out, generator, scores, scorers.names, options.bfloat16)
            return 0
        scores = shipped_scores(generator, scorers)
        if scores is None:
            raise SamplesError(f"no samples ship for {generator.name}.")
        samples = ScoredSamples(_latents(generator, len(scores)), scores, scorers.names)
        worst = compare(generator, scorers, samples)
        print(
            f"{CHECKED} of {len(samples):,} scored again: at most {worst:.2g} standard deviations"
        )
    except (FacenbError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
