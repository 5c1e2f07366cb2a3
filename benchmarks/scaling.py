"""What drawing and scoring costs as n and the resolution grow: `python -m benchmarks.scaling`.

Core-seconds of this process, on one thread; of the resolutions the least of three rounds, since
other work on the machine takes the caches.
docs/scaling.md has the numbers and what follows from them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

from benchmarks import peak_mebibytes
from facenb import load_generator, load_scorers
from facenb.generators import DEFAULT, EMBEDDED, Generator
from facenb.sampling import draw, score
from facenb.shards import Plan, make_shards
from facenb.storage import cache

FACES, ROUNDS = 8, 3
COUNTS = (250, 500, 1_000, 2_000)


def bench_resolution(generator: Generator, faces: int = FACES) -> dict[str, str]:
    """Core-milliseconds a face to draw, and to draw and score, at every size."""
    scorers = load_scorers(framing=generator.framing)
    latents, rows = generator.sample(faces), {}
    score(generator, scorers, latents[:2])  # loads what is loaded once
    for size in generator.sizes:
        ways = (
            lambda s=size: draw(generator, latents, s),
            lambda s=size: score(generator, scorers, latents, size=s),
        )
        drawn, whole = (min(_spent(way) for _ in range(ROUNDS)) for way in ways)
        rows[f"{generator.name}, {size} px"] = (
            f"{drawn / faces * 1e3:.0f} core-ms to draw, "
            f"{whole / faces * 1e3:.0f} to draw and score"
        )
    return rows


def bench_count(generator: Generator, counts: tuple[int, ...] = COUNTS) -> dict[str, str]:
    """Core-seconds and peak memory of shards of 250, one set in one folder going on and on."""
    scorers, rows, spent, have = load_scorers(framing=generator.framing), {}, 0.0, 0
    score(generator, scorers, generator.sample(2))  # loads what is loaded once
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as parts,
        mock.patch.object(cache, "cache_dir", lambda: Path(parts)),
    ):
        for count in counts:
            plan = Plan.of(folder, generator.name, generator, scorers, counts[0])
            spent += _spent(lambda p=plan, n=count: make_shards(p, n))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
            rows[f"{generator.name}, n = {count:,}"] = (
                f"{spent:.1f} core-s, {spent / count * 1e3:.1f} core-ms a face, the last "
                f"{count - have:,} with the first {have:,} read; {size / count:.0f} bytes a face "
                f"in the folder; peak memory {peak_mebibytes() / 1024:.2f} GiB"
            )
            have = count
    return rows


@torch.no_grad()
def _spent(way: Callable[[], object]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    for bench, name in ((bench_resolution, DEFAULT), (bench_count, EMBEDDED)):
        for what, measured in bench(load_generator(name)).items():
            print(f"{what}: {measured}", flush=True)
