"""Speed and memory, measured side by side in one run: `python -m benchmarks` (`make bench`).

Ratios compare two ways of doing the same thing, alternating, so that a busy machine slows both.
The table goes to figures/bench/bench.csv. The last rows score many samples in processes of their
own, which takes some minutes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time

import pandas as pd
import torch

from benchmarks import explorer as explorer_bench
from benchmarks import peak_mebibytes, plain_dcgan, seconds
from benchmarks.discovery import bench_discovery
from benchmarks.mobilestylegan import bench_mobilestylegan
from benchmarks.penalties import bench_hessian_penalty
from benchmarks.photos import bench_photos
from benchmarks.sgf import bench_sgf
from benchmarks.stylegan2 import bench_stylegan2
from benchmarks.transformer import bench_latent_transformer
from facenb import load_editors, load_generator, load_scorers
from facenb.editors import traversal
from facenb.figures import FigureFolder
from facenb.generators import DEFAULT, EMBEDDED
from facenb.metrics.mds import curve, larger_change, outcomes, running_trapezoid
from facenb.metrics.statistics import resample_counts
from facenb.sampling import sample_scored, score

SAMPLED = {DEFAULT: 1_000, f"{DEFAULT}, bfloat16": 1_000, EMBEDDED: 20_000}
SWEPT = 500  # faces of a curve
# multiplications and additions to a picture: 16·Cin·Cout weights at every input pixel
_DCGAN_FLOP = 32 * (100 * 512 + 16 * 512 * 256 + 64 * 256 * 128 + 256 * 128 * 64 + 1024 * 64 * 3)


def bench_generator() -> dict[str, str]:
    """Batch 64 through the plain module and through ours, in float32 and in bfloat16."""
    generator, plain = load_generator("digiface-dcgan-64"), plain_dcgan()
    half = load_generator("digiface-dcgan-64", dtype=torch.bfloat16)
    z = generator.sample(64)
    codes = z.values.view(64, 100, 1, 1)
    before, after, quick = seconds(
        lambda: plain(codes), lambda: generator.synthesize(z), lambda: half.synthesize(z)
    )
    square = torch.randn(2048, 2048)
    product = 2 * 2048**3 / seconds(lambda: square @ square, rounds=5)[0]
    error = (half.synthesize(z) - generator.synthesize(z)).square().mean()
    decibels = float(10 * (4 / error).log10())
    return {
        "DCGAN, batch 64": f"{64 / after:.0f} img/s (plain module {64 / before:.0f})",
        "DCGAN against the plain module": f"{before / after:.2f} ×",
        "DCGAN, float32 arithmetic": (
            f"{64 * _DCGAN_FLOP / after / 1e9:.0f} GFLOP/s (a plain matrix product here: "
            f"{product / 1e9:.0f}; twice the plain module would need "
            f"{2 * 64 * _DCGAN_FLOP / before / 1e9:.0f})"
        ),
        "DCGAN in bfloat16": f"{before / quick:.2f} ×, PSNR {decibels:.0f} dB",
    }


def bench_scorers() -> dict[str, str]:
    """The whole suite and each of its nets at batch 32, and drawing and scoring on every core."""
    generator, suite = load_generator("digiface-dcgan-64"), load_scorers(framing="digiface")
    codes = generator.sample(128)
    with torch.inference_mode():
        images = generator.synthesize(codes[:32])
        ways = [lambda: suite(images), *(lambda n=net: n(images) for net in suite.nets.values())]
        whole, *parts = (spent / 32 * 1e3 for spent in seconds(*ways, rounds=5))
        plain, ours = seconds(
            lambda: [suite(generator.synthesize(codes[i : i + 32])) for i in range(0, 128, 32)],
            lambda: score(generator, suite, codes),
            rounds=5,
        )
    nets = ", ".join(f"{name} {ms:.1f}" for name, ms in zip(suite.nets, parts, strict=True))
    return {
        "attribute suite, batch 32": f"{whole:.1f} ms/img ({nets})",
        "drawing and scoring, a batch on each core": f"{ours / 128 * 1e3:.1f} ms/img, "
        f"{plain / ours:.2f} × faster than every layer on all cores",
    }


def bench_sweep() -> dict[str, str]:
    """A disentanglement curve with its interval: 500 faces, 6 strengths, all scores, no cache."""
    generator, scorers = load_generator("digiface-dcgan-64"), load_scorers(framing="digiface")
    editor = load_editors("interfacegan", "digiface-dcgan-64")["glasses"]
    faces = generator.sample(SWEPT, seed=1)
    start = time.perf_counter()
    codes = traversal(editor, faces, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    scores = score(generator, scorers, codes).unflatten(0, (SWEPT, 6))
    before, target = scores[:, 0], scorers.names.index("glasses")
    found = outcomes(before, scores[:, 1:], target, 0.0, larger_change(before.std(0)))
    running_trapezoid(*curve(found, resample_counts(SWEPT))).amax(-1).quantile(0.025)
    spent = time.perf_counter() - start
    return {f"a curve over {SWEPT} faces, 6 strengths, with its interval": f"{spent:.0f} s"}


def bench_explorer() -> dict[str, str]:
    """A slider's new position to the new image, in the kernel: 95th percentiles."""
    rows = {}
    for name in (DEFAULT, EMBEDDED):
        generator = load_generator(name)
        editors = load_editors("interfacegan", name)
        scorers = load_scorers(framing=generator.framing)
        for what, ms in explorer_bench.measure(generator, editors, scorers).items():
            rows[f"slider to {what}, {name}"] = f"{ms:.0f} ms (p95)"
    return rows


def bench_sampling() -> dict[str, str]:
    """Peak memory and speed of scoring many samples, in a process and a cache of its own."""
    rows = {}
    for name, count in SAMPLED.items():
        with tempfile.TemporaryDirectory() as steps:
            program = (
                "import benchmarks.__main__ as bench, facenb.storage.cache, pathlib;"
                f"facenb.storage.cache.cache_dir = lambda: pathlib.Path({steps!r});"
                f"bench.sample_and_report({name!r}, {count})"
            )
            done = subprocess.run(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
            )
        gigabytes, spent = (float(value) for value in done.stdout.split())
        rows[f"{count:,} scored samples of {name}"] = (
            f"{spent:.0f} s, {count / spent:.1f} img/s, peak memory {gigabytes:.2f} GiB"
        )
    return rows


def sample_and_report(name: str, count: int) -> None:
    """Sample, then print this process's peak memory in GiB and the seconds it took."""
    name, _, precision = name.partition(", ")
    generator = load_generator(name, dtype=torch.bfloat16 if precision else torch.float32)
    scorers = load_scorers(framing=generator.framing)
    score(generator, scorers, generator.sample(2))  # loads what is loaded once
    start = time.perf_counter()
    sample_scored(generator, scorers, count, seed=1)
    print(peak_mebibytes() / 1024, time.perf_counter() - start)


def main() -> int:
    """Run everything and write the table; 1 where a part failed, whose reason is a row then."""
    rows: dict[str, str] = {}
    failed = 0
    for bench in BENCHES:
        print(f"{bench.__name__} …", flush=True)
        try:
            rows |= bench()
        except Exception as error:  # the others take minutes each
            rows[bench.__name__], failed = f"failed: {type(error).__name__}: {error}", 1
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    folder = FigureFolder("bench", machine=machine, threads=torch.get_num_threads())
    table = pd.Series(rows, name="measured").rename_axis("what").to_frame()
    folder.table(table, "bench", f"Measured on {machine}")
    print(table.to_string())
    return failed


BENCHES = (
    bench_generator,
    bench_scorers,
    bench_sweep,
    bench_explorer,
    bench_hessian_penalty,
    bench_discovery,
    bench_latent_transformer,
    bench_sgf,
    bench_stylegan2,
    bench_mobilestylegan,
    bench_photos,
    bench_sampling,
)

if __name__ == "__main__":
    sys.exit(main())
