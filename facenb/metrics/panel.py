"""All that edits are judged by, from one image: the suite, the independent scorers, the person.

    panel = load_panel(generator)
    scores = score_once(generator, panel, edited)     # (N, A + B + d)
    panel.suite(scores), panel.independent(scores), panel.people(scores)

One drawing serves all of them, and the embeddings that both sets of scorers have probes on are
computed once.
"""

from __future__ import annotations

import hashlib
import threading

import torch
from torch import Tensor, nn

from facenb.generators import Generator
from facenb.scorers import (
    IdentityScorer,
    ScorerSuite,
    load_identity,
    load_independent_scorers,
    load_scorers,
)

_CHUNK = 16  # images at a time: what one pass of the suites takes


class Panel(nn.Module):
    """Images (N, 3, S, S) → (N, A + B + d): A scores, B independent ones, a vector of the person.

    Args:
        scorers: what methods learn from.
        others: the independent scorers, or None where the framing has none.
        identity: of the person.

    Attributes:
        names: of all columns.
        framing: of the images.
        fingerprint: of all parts, for the cache.
    """

    def __init__(
        self, scorers: ScorerSuite, others: ScorerSuite | None, identity: IdentityScorer
    ) -> None:
        super().__init__()
        self.scorers, self.others, self.identity = scorers, others, identity
        self.framing = scorers.framing
        self._shared = _share(scorers, others) if others else []
        width = len(identity.mean)
        second = [f"independent {name}" for name in others.names] if others else []
        self.names = (*scorers.names, *second, *(f"person {i}" for i in range(width)))
        parts = [scorers.fingerprint, others.fingerprint if others else "", identity.name]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def forward(self, images: Tensor) -> Tensor:
        """All columns of the images."""
        return torch.cat([self._columns(part) for part in images.split(_CHUNK)])

    def _columns(self, images: Tensor) -> Tensor:
        for net in self._shared:
            net.forget()
        parts = [self.scorers, *([self.others] if self.others else []), self.identity]
        return torch.cat([part(images) for part in parts], dim=1)

    def suite(self, columns: Tensor) -> Tensor:
        """The scores (…, A)."""
        return columns[..., : len(self.scorers.names)]

    def independent(self, columns: Tensor) -> Tensor:
        """The independent scores (…, B); B = 0 without such scorers."""
        return columns[..., len(self.scorers.names) : -len(self.identity.mean)]

    def people(self, columns: Tensor) -> Tensor:
        """Unit vectors (…, d)."""
        return columns[..., -len(self.identity.mean) :]


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


def _share(scorers: ScorerSuite, others: ScorerSuite) -> list[_Once]:
    """Let both suites have the same embeddings, where they take them of the same crop."""
    shared = []
    for key in sorted(scorers.nets.keys() & others.nets.keys()):
        if hasattr(scorers.nets[key], "embed"):
            shared.append(_Once(scorers.nets[key].embed))
            scorers.nets[key].embed = others.nets[key].embed = shared[-1]
    return shared


def load_panel(generator: Generator) -> Panel:
    """The panel for a generator's images, on its device; no independent scorers but for "ffhq"."""
    framing, device = generator.framing, generator.device
    return Panel(
        load_scorers(framing=framing, device=device),
        load_independent_scorers(device=device) if framing == "ffhq" else None,
        load_identity(framing=framing, device=device),
    )
