"""Random numbers that depend on a seed, a name and a step, and on nothing before."""

from __future__ import annotations

import hashlib
from numbers import Integral

import torch


def check_seed(seed: object) -> int:
    """The seed, when it is a whole number from 0 to 2⁶³ − 1; ValueError otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise ValueError(f"seed: expected a whole number from 0 to 2**63 - 1, given {seed!r}.")
    return int(seed)


def seeded(seed: int) -> torch.Generator:
    """Random numbers of a seed from 0 to 2⁶³ − 1.

    torch's generator on the CPU looks at the lowest 32 bits alone: larger seeds are hashed, so that
    those which differ by 2³² have nothing in common.
    """
    seed = check_seed(seed)
    if seed >= 2**32:
        seed = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
    return torch.Generator().manual_seed(seed)


def random_for(seed: int, stream: str, step: int) -> torch.Generator:
    """The random numbers of one step of one stream.

    They depend on nothing that happened before, so that training resumes with no state of theirs
    to keep, and torch's own random state is left alone.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
