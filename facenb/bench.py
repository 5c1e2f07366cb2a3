"""Speed and memory, measured side by side in one run: `python -m facenb.bench` (`make bench`).

Ratios compare two ways of doing the same thing, alternating, so that a busy machine slows both.
The table goes to figures/bench/bench.csv. The last row samples 20,000 scored images in a process of
its own, which takes some minutes.
"""

from __future__ import annotations

import itertools
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import pandas as pd
import torch
from torch import nn

from facenb import load_directions, load_generator, load_scorers
from facenb.assets import asset_path
from facenb.explorer import bench as explorer_bench
from facenb.figures import FigureFolder
from facenb.sampling import sample_scored

ROUNDS = 15
SAMPLED = 20_000


def plain_dcgan() -> nn.Sequential:
    """The embedded generator as its package defines it: separate batch normalisation, no freezing.

    Takes codes (N, 100, 1, 1).
    """
    path = asset_path("digiface-dcgan-64/weights.tar")
    state = torch.load(path, map_location="cpu", weights_only=True)["netG_state_dict"]
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise([100, 512, 256, 128, 64, 3])):
        layers.append(nn.ConvTranspose2d(n_in, n_out, 4, 1 + (i > 0), int(i > 0), bias=False))
        layers += [nn.BatchNorm2d(n_out), nn.ReLU(True)] if i < 4 else [nn.Tanh()]
    network = nn.Sequential(*layers)
    network.load_state_dict(
        {key.removeprefix("module.").removeprefix("main."): value for key, value in state.items()}
    )
    return network.eval()


def seconds(*ways: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Median wall time of each way, after one warm-up, taking turns."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds + 1):
        for way, spent in zip(ways, times, strict=True):
            start = time.perf_counter()
            way()
            if turn:
                spent.append(time.perf_counter() - start)
    return [median(spent) for spent in times]


def bench_generator() -> dict[str, str]:
    """Batch 64 through the plain module and through ours."""
    generator, plain = load_generator(), plain_dcgan()
    z = generator.sample(64)
    codes = z.values.view(64, 100, 1, 1)
    before, after = seconds(lambda: plain(codes), lambda: generator.synthesize(z))
    return {
        "DCGAN, batch 64": f"{64 / after:.0f} img/s",
        "DCGAN against the plain module": f"{before / after:.2f} ×",
    }


def bench_scorers() -> dict[str, str]:
    """The whole suite, and each of its nets, at batch 32."""
    generator, suite = load_generator(), load_scorers()
    with torch.inference_mode():
        images = generator.synthesize(generator.sample(32))
        ways = [lambda: suite(images), *(lambda n=net: n(images) for net in suite.nets.values())]
        whole, *parts = (spent / 32 * 1e3 for spent in seconds(*ways, rounds=5))
    nets = ", ".join(f"{name} {ms:.1f}" for name, ms in zip(suite.nets, parts, strict=True))
    return {"attribute suite, batch 32": f"{whole:.1f} ms/img ({nets})"}


def bench_explorer() -> dict[str, str]:
    """A slider's new position to the new picture, in the kernel: 95th percentiles."""
    editors = load_directions("interfacegan").editors()
    found = explorer_bench.measure(load_generator(), editors, load_scorers())
    return {f"slider to {what}": f"{ms:.0f} ms (p95)" for what, ms in found.items()}


def bench_sampling() -> dict[str, str]:
    """Peak memory and speed of scoring many samples, in a process and a cache of its own."""
    with tempfile.TemporaryDirectory() as steps:
        program = (
            "import facenb.bench, facenb.cache, pathlib;"
            f"facenb.cache.cache_dir = lambda: pathlib.Path({steps!r});"
            "facenb.bench.sample_and_report()"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
        )
    gigabytes, spent = (float(value) for value in done.stdout.split())
    return {
        f"{SAMPLED:,} scored samples, peak memory": f"{gigabytes:.2f} GiB",
        f"{SAMPLED:,} scored samples, time": f"{spent:.0f} s ({spent / SAMPLED * 1e3:.1f} ms each)",
    }


def sample_and_report() -> None:
    """Sample, then print this process's peak memory in GiB and the seconds it took."""
    start = time.perf_counter()
    sample_scored(load_generator(), load_scorers(), SAMPLED, seed=1)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    print(peak, time.perf_counter() - start)


def main() -> None:
    """Run everything and write the table."""
    rows: dict[str, str] = {}
    for bench in (bench_generator, bench_scorers, bench_explorer, bench_sampling):
        print(f"{bench.__name__} …", flush=True)
        rows |= bench()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    folder = FigureFolder("bench", machine=machine, threads=torch.get_num_threads())
    table = pd.Series(rows, name="measured").rename_axis("what").to_frame()
    folder.table(table, "bench", f"Measured on {machine}")
    print(table.to_string())


if __name__ == "__main__":
    main()
