"""Scores of face images: `load_scorers(names, framing)(images)` → one column per attribute.

    suite = load_scorers(["pose", "smile"], framing=generator.framing)
    scores = suite(images)            # images (N, 3, S, S) in [−1, 1] → (N, 4)

The nets are packaged face networks run as torch modules (docs/model_cards.md says whose, and how
far each score can be trusted). `load_identity()` gives the vectors that tell persons apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from facenb.errors import unknown
from facenb.scorers.attributes import (
    ATTRIBUTES,
    QUALITY_GATE,
    Attribute,
    conditions_of,
    select,
)
from facenb.scorers.framing import CROPS
from facenb.scorers.identity import IdentityScorer, load_identity
from facenb.scorers.suite import ScorerSuite

__all__ = [
    "ATTRIBUTES",
    "QUALITY_GATE",
    "Attribute",
    "IdentityScorer",
    "ScorerSuite",
    "conditions_of",
    "load_identity",
    "load_independent_scorers",
    "load_scorers",
]


def load_scorers(
    names: str | Sequence[str] | None = None,
    framing: str = "ffhq",
    device: str | torch.device = "cpu",
) -> ScorerSuite:
    """The scorers of these attributes and groups of attributes, in the order given.

    Args:
        names: an attribute ("smile") or a group ("hair"), or several of either; all by default.
        framing: how the images are cut around the face, `generator.framing`: "ffhq" or "digiface".

    Raises:
        UnknownNameError: no such attribute, group or framing; the message lists the known ones.
        ValueError: no name at all, or the same one twice.
        AssetError: a net's weights are not cached and cannot be fetched.
    """
    if framing not in CROPS:
        raise unknown("framing", framing, CROPS)
    return ScorerSuite(select(names, ATTRIBUTES[framing]), framing, framing).to(device)


def load_independent_scorers(
    names: str | Sequence[str] | None = None, device: str | torch.device = "cpu"
) -> ScorerSuite:
    """Scores of images framed like FFHQ's, by other nets than the suite's. Never learn with them.

    They have the names of scores of the suite and say whether an edit that was learned with the
    suite does what it should in the opinion of a net that had no part in it: age and gender by nets
    of another author, the probes on the other embedding and trained on another labelling.

    Args:
        names: attributes and groups, as of `load_scorers`; all by default.

    Raises:
        UnknownNameError, ValueError, AssetError: as `load_scorers`.
    """
    return ScorerSuite(select(names, ATTRIBUTES["independent"]), "independent", "ffhq").to(device)
