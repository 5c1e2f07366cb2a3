"""Random numbers that depend on a seed, a name and a step, and on nothing before."""

from __future__ import annotations

import hashlib

import torch


def random_for(seed: int, stream: str, step: int) -> torch.Generator:
    """The random numbers of one step of one stream.

    They depend on nothing that happened before, so that training resumes with no state of theirs
    to keep, and torch's own random state is left alone.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
