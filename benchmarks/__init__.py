"""What the benches share: the plain generator to compare with, timing, peak memory."""

from __future__ import annotations

import itertools
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from facenb.assets import asset_path

ROUNDS = 15


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


def peak_mebibytes() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts what the parent held into a child's ru_maxrss
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS, in bytes
