"""Faces on which methods are compared: their latents in every space, and what edits make of them.

Every face is edited towards the other side of its target attribute: a face that smiles is to stop
smiling, another one is to begin (Li et al. 2021 §4.4.1, Yao et al. 2021 §4.3).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import check_finite, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.mds import towards_other_side
from facenb.metrics.preservation import embed, same_person
from facenb.sampling import score_once
from facenb.scorers import IdentityScorer, ScorerSuite


@dataclass(frozen=True)
class Faces:
    """N faces, unedited, with the A scores that their edits are judged by.

    Attributes:
        latents: the same N faces in every space that an editor needs.
        before: their scores (N, A).
        thresholds: (A,), the score above which an attribute counts as present.
        deviations: (A,), one standard deviation of each score.
        identity: tells persons apart; None measures no identity.
    """

    generator: Generator
    scorers: ScorerSuite
    latents: dict[str, Latents]
    before: Tensor
    thresholds: Tensor
    deviations: Tensor
    identity: IdentityScorer | None

    @staticmethod
    def of(
        generator: Generator,
        scorers: ScorerSuite,
        latents: Latents,
        spaces: Iterable[str],
        thresholds: Tensor,
        deviations: Tensor,
        identity: IdentityScorer | None = None,
    ) -> Faces:
        """The faces of `latents`, mapped to each of `spaces` and scored.

        Raises:
            SpaceError: the generator has no way from the latents' space to one of `spaces`.
            ValueError: fewer than two faces, thresholds or deviations that are not one finite
                number for each score, a deviation of 0, or an identity net without a threshold.
        """
        if len(latents) < 2:
            raise ValueError(f"latents: expected two faces or more, given {len(latents)}.")
        for values, what in ((thresholds, "thresholds"), (deviations, "deviations")):
            if values.shape != (len(scorers.names),):
                raise ValueError(
                    f"{what}: expected one number for each of {len(scorers.names)} scores, "
                    f"given shape {tuple(values.shape)}."
                )
            check_finite(values, what)
        if not (deviations > 0).all():
            constant = scorers.names[int((deviations <= 0).nonzero()[0])]
            raise ValueError(
                f"deviations: expected numbers above 0, given {float(deviations.min()):g}. "
                f"{constant!r} does not vary: load the scorers without it."
            )
        if identity is not None and identity.threshold is None:
            raise ValueError(
                "identity: its threshold is not measured. Set identity.threshold = "
                "false_acceptance_threshold(embed(generator, identity, generator.sample(2_000)))."
            )
        start = latents.to(generator.device)
        mapped = {space: generator.map(start, space).to("cpu") for space in sorted(set(spaces))}
        before = score_once(generator, scorers, latents, "scoring the unedited faces")
        check_finite(before, "scores of the unedited faces")
        return Faces(
            generator,
            scorers,
            {latents.space: latents.to("cpu")} | mapped,
            before,
            thresholds.cpu(),
            deviations.cpu(),
            identity,
        )

    def __len__(self) -> int:
        return len(self.before)

    def column(self, name: str) -> int:
        """The column of a score; UnknownNameError lists the known ones."""
        if name not in self.scorers.names:
            raise unknown("score", name, self.scorers.names)
        return self.scorers.names.index(name)

    def signs(self, target: str) -> Tensor:
        """(N,): +1 for faces whose score has to rise, −1 for those whose score has to fall."""
        column = self.column(target)
        return towards_other_side(self.before[:, column], self.thresholds[column])

    def edit(
        self, editor: Editor, target: str, strength: float, rows: Tensor
    ) -> tuple[Latents, float]:
        """The faces at `rows` edited by `strength` to the other side; seconds per edit.

        The time is that of `editor.edit` alone, all rows in one batch; no image is synthesized,
        unless the editor does so itself.
        """
        strengths = strength * self.signs(target)[rows]
        start = self.latents[editor.space][rows]
        begin = time.perf_counter()
        edited = editor.edit(start, strengths.to(start.values))
        return edited, (time.perf_counter() - begin) / len(start)

    def scores(self, edited: Latents) -> Tensor:
        """Scores (M, A) of edited latents, from disk where these latents were scored before."""
        found = score_once(self.generator, self.scorers, edited)
        check_finite(found, "scores of the edited faces")
        return found

    def changes(self, scores: Tensor, rows: Tensor) -> Tensor:
        """Changes (M, …, A) of the scores of the faces at `rows`, in standard deviations."""
        before = self.before[rows].view(len(rows), *[1] * (scores.ndim - 2), -1)
        return (scores - before) / self.deviations

    def same_person(self, edited: Latents, rows: Tensor, among: Tensor) -> Tensor:
        """(M,) float64: 1 where the edit of a face at `rows` still shows the same person.

        The identity net's `threshold` decides; NaN without a net. Full images are costly: only the
        edits at the mask `among` (M,) are embedded, and all others are 0.
        """
        found = torch.zeros(len(edited), dtype=torch.float64)
        if self.identity is None:
            return found.fill_(torch.nan)
        if among.any():
            original = next(iter(self.latents.values()))[rows]  # in the space that was given
            people = embed(self.generator, self.identity, original)[among]
            after = embed(self.generator, self.identity, edited[among])
            found[among] = same_person(people, after, self.identity.threshold).double()
        return found
