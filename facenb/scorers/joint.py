"""All scorers of one image: the suite, the independent scorers, the person.

    joint = load_joint_scorers(generator.framing)
    scores = joint(images)                          # (N, A + B + d)
    joint.scores(scores), joint.person(scores)      # (N, A + B), (N, d)

One drawing serves all of them, and the embeddings that both sets of scorers have probes on are
computed once.
"""

from __future__ import annotations

import hashlib
import threading

import torch
from torch import Tensor, nn

from facenb.scorers import (
    IdentityScorer,
    ScorerSuite,
    load_identity,
    load_independent_scorers,
    load_scorers,
)

_CHUNK = 16  # images at a time: what one pass of the suites takes


class JointScorers(nn.Module):
    """Images (N, 3, S, S) → (N, A + B + d): A scores, B independent ones, a vector of the person.

    Args:
        suite: what methods learn from.
        others: the independent scorers, or None where the framing has none.
        identity: of the person.

    Attributes:
        names: of all columns.
        framing: of the images.
        fingerprint: of all parts, for the cache.
    """

    def __init__(
        self, suite: ScorerSuite, others: ScorerSuite | None, identity: IdentityScorer
    ) -> None:
        super().__init__()
        self.suite, self.others, self.identity = suite, others, identity
        self.framing = suite.framing
        self._shared = _share(suite, others) if others else []
        width = len(identity.mean)
        self.names = (*suite.names, *self.independent_names, *(f"person {i}" for i in range(width)))
        parts = [suite.fingerprint, others.fingerprint if others else "", identity.name]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def independent_names(self) -> tuple[str, ...]:
        """Of the B independent scores: "independent smile", …"""
        return tuple(f"independent {name}" for name in self.others.names) if self.others else ()

    def forward(self, images: Tensor) -> Tensor:
        """All columns of the images."""
        return torch.cat([self._columns(part) for part in images.split(_CHUNK)])

    def _columns(self, images: Tensor) -> Tensor:
        for net in self._shared:
            net.forget()
        parts = [self.suite, *([self.others] if self.others else []), self.identity]
        return torch.cat([part(images) for part in parts], dim=1)

    def scores(self, columns: Tensor) -> Tensor:
        """The scores of both sets (…, A + B)."""
        return columns[..., : len(self.suite.names) + len(self.independent_names)]

    def person(self, columns: Tensor) -> Tensor:
        """Unit vectors (…, d)."""
        return columns[..., len(self.suite.names) + len(self.independent_names) :]


class _Once(nn.Module):
    """A net that gives its last answer again until it is told to forget it, in each thread."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self._thread = net, threading.local()

    def forget(self) -> None:
        self._thread.answer = None

    def forward(self, images: Tensor) -> object:
        if self._thread.answer is None:
            self._thread.answer = self.net(images)
        return self._thread.answer


def _share(suite: ScorerSuite, others: ScorerSuite) -> list[_Once]:
    """Let both suites have the same embeddings, where they take them of the same crop."""
    shared = []
    for key in sorted(suite.nets.keys() & others.nets.keys()):
        if hasattr(suite.nets[key], "embed"):
            shared.append(_Once(suite.nets[key].embed))
            suite.nets[key].embed = others.nets[key].embed = shared[-1]
    return shared


def load_joint_scorers(framing: str = "ffhq", device: str | torch.device = "cpu") -> JointScorers:
    """All scorers for images of a framing; no independent ones but for "ffhq"."""
    return JointScorers(
        load_scorers(framing=framing, device=device),
        load_independent_scorers(device=device) if framing == "ffhq" else None,
        load_identity(framing=framing, device=device),
    )
