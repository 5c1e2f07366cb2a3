"""The Hessian penalty against its plain formula evaluated the common way, on the embedded DCGAN.

The plain way: the published network as it is, parameters not frozen, and 2k + 1 separate calls. Our
way: `penalties.hessian_penalty` on the embedded generator. The step is the second stage's of Niu et
al. (2023): batch 18, k = 2, ε = 0.1, one coefficient of a batch set, gradient to the directions.

On the FFHQ generator, in W: the fused kernel against plain torch in its place, by size of image.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks import ROUNDS, peak_mebibytes, plain_dcgan, seconds
from facenb import load_generator
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.penalties import hessian_penalty, kernels, rademacher

BATCH, DRAWS, EPSILON, DIRECTIONS, STRENGTH = 18, 2, 0.1, 64, 3.0
CHUNK = 36  # of 72 points: what a piece writes in one layer still lies in the cache for the next


def bench_hessian_penalty(device: str = "cpu", rounds: int = 9) -> dict[str, str]:
    """Ratios of time and of memory, forward and backward, for either reduction."""
    rows = {}
    name = f"Hessian penalty, batch {BATCH}, k = {DRAWS}, {device}"
    for reduction in ("mean", "max"):
        before, after = seconds(
            plain_step(device, reduction), step(device, reduction), rounds=rounds
        )
        rows[f"{name}, {reduction}"] = (
            f"{before / after:.2f} × faster ({before * 1e3:.0f} → {after * 1e3:.0f} ms)"
        )
    memory = {way: peak_memory(way, device) for way in ("plain_step", "step")}
    rows[f"{name}, memory"] = (
        f"{memory['step'] / memory['plain_step']:.2f} × "
        f"({memory['plain_step']:.0f} → {memory['step']:.0f} MiB above the idle process)"
    )
    return rows


def step(device: str = "cpu", reduction: str = "mean") -> Callable[[], Tensor]:
    """One step of `hessian_penalty`, forward and backward; returns the gradient."""
    generator = load_generator("digiface-dcgan-64", device)
    directions, coefficients, z = _problem(device)
    chunk = CHUNK if device == "cpu" else None

    def images(coefficients: Tensor, z: Tensor) -> Tensor:
        return generator.synthesize(Latents(z + coefficients @ directions.T, "z"))

    def run() -> Tensor:
        penalty = hessian_penalty(
            images,
            coefficients,
            DRAWS,
            EPSILON,
            reduction,
            context=(z,),
            seed=0,
            chunk=chunk,
            check_deterministic=False,  # as in training, whose first step alone checks
        )
        return _gradient(penalty, directions)

    return run


def plain_step(device: str = "cpu", reduction: str = "mean") -> Callable[[], Tensor]:
    """The same step by the plain formula, with the gradients of the network's parameters too."""
    network = plain_dcgan().to(device)
    directions, coefficients, z = _problem(device)

    def images(coefficients: Tensor) -> Tensor:
        return network((z + coefficients @ directions.T)[:, :, None, None])

    def run() -> Tensor:
        network.zero_grad()
        middle, seconds = images(coefficients), []
        for step in EPSILON * rademacher(DRAWS, coefficients, 0):
            ends = images(coefficients + step) + images(coefficients - step)
            seconds.append((ends - 2 * middle) / EPSILON**2)
        variance = torch.stack(seconds).var(dim=0).flatten(1)
        values = variance.amax(dim=1) if reduction == "max" else variance.mean(dim=1)
        return _gradient(values.mean(), directions)

    return run


def bench_in_w(
    generator: Generator, size: int, batch: int = BATCH, rounds: int = ROUNDS
) -> dict[str, float]:
    """Milliseconds a step of the maximum, with the kernel and without, and MiB on a GPU.

    Where the kernel does not run, both ways are plain torch.
    """
    random, device = torch.Generator().manual_seed(0), generator.device
    start = torch.linalg.qr(torch.randn(generator.dim("w"), DIRECTIONS, generator=random)).Q
    count = start.shape[1]
    directions = nn.Parameter(start.to(device))
    latents = generator.sample(batch, space="w").values
    coefficients = (STRENGTH * torch.eye(count)[torch.arange(batch) % count]).to(device)

    def images(coefficients: Tensor, w: Tensor) -> Tensor:
        return generator.synthesize(Latents(w + coefficients @ directions.T, "w"), size)

    def fused() -> Tensor:
        penalty = hessian_penalty(images, coefficients, DRAWS, EPSILON, "max", context=(latents,),
                                  seed=0, check_deterministic=False)  # fmt: skip
        return _gradient(penalty, directions)

    def plain() -> Tensor:
        with mock.patch.object(kernels, "use_triton", lambda values: False):
            return fused()

    found = dict(zip(("kernel ms", "plain ms"), seconds(fused, plain, rounds=rounds), strict=True))
    found = {name: 1e3 * spent for name, spent in found.items()}
    if device.type == "cuda":
        for name, way in (("kernel MiB", fused), ("plain MiB", plain)):
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            way()
            found[name] = (torch.cuda.max_memory_allocated() - held) / 2**20
    difference = (fused() - plain()).norm() / plain().norm()
    return found | {"difference of the gradients": float(difference)}


def peak_memory(way: str, device: str = "cpu") -> float:
    """MiB that two steps take beyond what the process held before them, in a process of its own."""
    program = (
        f"from benchmarks.penalties import _report_memory; _report_memory({way!r}, {device!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def _report_memory(way: str, device: str) -> None:
    run = {"step": step, "plain_step": plain_step}[way](device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        for _ in range(2):
            run()
        print((torch.cuda.max_memory_allocated() - held) / 2**20)
        return
    held = peak_mebibytes()
    for _ in range(2):
        run()
    print(peak_mebibytes() - held)


def _problem(device: str) -> tuple[nn.Parameter, Tensor, Tensor]:
    """Orthonormal directions (100, 64), one-hot coefficients (18, 64) and codes (18, 100)."""
    random = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(100, DIRECTIONS, generator=random))
    z = torch.randn(BATCH, 100, generator=random)
    coefficients = STRENGTH * torch.eye(DIRECTIONS)[:BATCH]
    return nn.Parameter(directions.to(device)), coefficients.to(device), z.to(device)


def _gradient(penalty: Tensor, directions: nn.Parameter) -> Tensor:
    directions.grad = None
    penalty.backward()
    if directions.is_cuda:
        torch.cuda.synchronize()
    assert directions.grad is not None
    return directions.grad


if __name__ == "__main__":
    for what, measured in bench_hessian_penalty(*sys.argv[1:2]).items():
        print(f"{what}: {measured}")
