"""Faces on which methods are compared: their latents in every space, and what edits make of them.

    faces = Faces.of(generator, scorers, latents, thresholds, deviations, torch.arange(8))
    columns, seconds = faces.edit(editor, "smile", 2.0, faces.test)

Every face is edited towards the other side of its target attribute: a face that smiles is to stop
smiling, another one is to begin (Li et al. 2021 §4.4.1, Yao et al. 2021 §4.3).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import check_finite, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.mds import towards_other_side
from facenb.metrics.preservation import embed
from facenb.sampling import score_once
from facenb.scorers import IdentityScorer, ScorerSuite
from facenb.scorers.joint import JointScorers

BLOCK = 25  # edits that an interruption costs


@dataclass(frozen=True)
class Faces:
    """N faces: strengths are found on the calibration faces, edits measured on the test faces.

    The columns (C) of an image are the A scores of the suite, B independent ones where `scorers`
    are joint ones, and the cosine of the person with that of the unedited face. It is from the
    same image with joint scorers, from one of `generator.exact_size` with an `identity`, else NaN.

    Attributes:
        thresholds: (A,), the score above which an attribute counts as present.
        deviations: (A,), one standard deviation of each score.
        counted: scores that count as other attributes.
        labels: an attribute has changed when its label turned over (Yao et al. 2021 §4.3), not when
            its score moved by more than a standard deviation.
        identity: recognises persons; None measures no identity, or leaves it to joint scorers.
        calibration, test: rows of the faces.
        sides: (N, A) scores that say on which side of its target each face is: of these faces, or
            as they were measured in another precision.
    """

    generator: Generator
    scorers: ScorerSuite | JointScorers
    thresholds: Tensor
    deviations: Tensor
    counted: tuple[str, ...]
    labels: bool
    identity: IdentityScorer | None
    calibration: Tensor
    test: Tensor
    sides: Tensor
    _mapped: dict[str, Latents] = field(repr=False)
    _scored: dict[int, Tensor] = field(repr=False)

    @staticmethod
    def of(
        generator: Generator,
        scorers: ScorerSuite | JointScorers,
        latents: Latents,
        thresholds: Tensor,
        deviations: Tensor,
        calibration: Tensor,
        counted: Sequence[str] | None = None,
        labels: bool = False,
        identity: IdentityScorer | None = None,
        sides: Tensor | None = None,
    ) -> Faces:
        """The faces of `latents`, scored, unless `sides` says how; `calibration` are rows of them.

        By default all scores but those of kind "quality" count.

        Raises:
            UnknownNameError: a counted name that is not among the scores.
            ValueError: no face on one side of the calibration, thresholds or deviations that are
                not one finite number for each score, a deviation of 0, or an identity net without a
                threshold.
        """
        suite = scorers.suite if isinstance(scorers, JointScorers) else scorers
        if counted is None:
            counted = [a.name for a in suite.attributes if a.kind != "quality"]
        for name in counted:
            if name not in suite.names:
                raise unknown("score", name, suite.names)
        _check_scores(suite.names, thresholds, deviations)
        if identity is not None and identity.threshold is None:
            raise ValueError(
                "identity: its threshold is not measured. Set identity.threshold = "
                "false_acceptance_threshold(embed(generator, identity, generator.sample(2_000)))."
            )
        test = torch.arange(len(latents))
        test = test[~torch.isin(test, calibration)]
        if not len(calibration) or not len(test):
            raise ValueError(
                f"calibration: expected a part of {len(latents)} faces that leaves faces on both "
                f"sides, given {len(calibration)}."
            )
        latents = latents.to("cpu")
        scored = {}
        if sides is None:
            raw = [
                score_once(generator, scorers, latents[k : k + 2 * BLOCK], "scoring the faces")
                for k in range(0, len(latents), 2 * BLOCK)
            ]
            scored = dict(enumerate(finite(torch.cat(raw), "the unedited faces")))
            sides = torch.stack(list(scored.values()))[:, : len(suite.names)]
        facts = thresholds.cpu(), deviations.cpu(), tuple(counted), labels, identity
        rows = calibration, test, sides
        return Faces(generator, scorers, *facts, *rows, {latents.space: latents}, scored)

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def suite(self) -> ScorerSuite:
        """The scorers that methods learn from."""
        return self.scorers.suite if self.joint else self.scorers

    @property
    def joint(self) -> bool:
        return isinstance(self.scorers, JointScorers)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the C columns."""
        second = self.scorers.independent_names if self.joint else ()
        return (*self.suite.names, *second, "person")

    @property
    def given(self) -> Latents:
        """The faces in the space that they came in."""
        return next(iter(self._mapped.values()))

    def latents(self, space: str) -> Latents:
        """The faces in a space; SpaceError where there is no way to it from theirs."""
        if space not in self._mapped:
            mapped = self.generator.map(self.given.to(self.generator.device), space)
            self._mapped[space] = mapped.to("cpu")
        return self._mapped[space]

    def column(self, name: str) -> int:
        """The column of a score; UnknownNameError lists the known ones."""
        if name not in self.suite.names:
            raise unknown("score", name, self.suite.names)
        return self.suite.names.index(name)

    def signs(self, target: str) -> Tensor:
        """(N,): +1 for faces whose score has to rise, −1 for those whose score has to fall."""
        column = self.column(target)
        return towards_other_side(self.sides[:, column], self.thresholds[column])

    def own_strengths(self, target: str) -> Tensor:
        """(N,): standard deviations to one beyond the threshold, for iterative editors."""
        i = self.column(target)
        return 1 + ((self.sides[:, i] - self.thresholds[i]) / self.deviations[i]).abs()

    def before(self, rows: Tensor | None = None) -> Tensor:
        """(n, C) columns of the unedited faces at `rows`, or of all."""
        rows = torch.arange(len(self)) if rows is None else rows
        return self.columns(self._unedited(rows), rows)

    def edit(
        self,
        editor: Editor,
        target: str,
        strength: float | Tensor,
        rows: Tensor,
        person: bool = False,
    ) -> tuple[Tensor, float]:
        """(n, C) of the faces at `rows` edited to their other side, and seconds an edit.

        The time is that of `editor.edit` alone; no image is synthesized, unless the editor does so
        itself. Scores come from the cache where the same edits were scored before.

        Args:
            strength: of all edits, or (N,).
            person: measure the person by `identity` too, of the successes: full images are costly.
        """
        strengths = (self.signs(target) * strength)[rows]
        start, edited, scored, seconds = self.latents(editor.space)[rows], [], [], 0.0
        for part, asked in zip(start.values.split(BLOCK), strengths.split(BLOCK), strict=True):
            begin = time.perf_counter()
            edited.append(editor.edit(start.with_values(part), asked.to(part)))
            seconds += time.perf_counter() - begin
            scored.append(score_once(self.generator, self.scorers, edited[-1]))
        columns = self.columns(finite(torch.cat(scored), f"the edits of {editor.name}"), rows)
        if person and self.identity is not None:
            after = start.with_values(torch.cat([each.values for each in edited]))
            self._add_person(columns, after, rows, self.turned(target, columns, rows))
        return columns, seconds / len(rows)

    def columns(self, scored: Tensor, rows: Tensor) -> Tensor:
        """(n, C) of what the scorers say of edits of the faces at `rows`."""
        if not self.joint:
            return torch.cat([scored, scored.new_full((len(scored), 1), torch.nan)], dim=1)
        person = self.scorers.person(scored), self.scorers.person(self._unedited(rows))
        same = (person[0] * person[1]).sum(1, keepdim=True)
        return torch.cat([scored[:, : -person[0].shape[1]], same], dim=1)

    def _add_person(self, columns: Tensor, edited: Latents, rows: Tensor, among: Tensor) -> None:
        if among.any():
            people = embed(self.generator, self.identity, self.given[rows])[among]
            after = embed(self.generator, self.identity, edited[among])
            columns[among, -1] = (people * after).sum(1)

    def turned(self, target: str, columns: Tensor, rows: Tensor) -> Tensor:
        """(n,) whether the target is on its other side."""
        i = self.column(target)
        cut = self.thresholds[i]
        return (columns[:, i] > cut) != (self._unedited(rows)[:, i] > cut)

    def side_effects(self, target: str, columns: Tensor, rows: Tensor) -> Tensor:
        """(n,) mean absolute change of the other scores that count, in standard deviations."""
        others = [self.column(name) for name in self.counted if name != target]
        change = columns[:, others] - self._unedited(rows)[:, others]
        return (change / self.deviations[others]).abs().mean(1)

    def _unedited(self, rows: Tensor) -> Tensor:
        """(n, …) what the scorers say of the faces at `rows`, each drawn when first asked for."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._scored]
        if new:
            raw = score_once(self.generator, self.scorers, self.given[new])
            self._scored.update(zip(new, finite(raw, "the unedited faces"), strict=True))
        return torch.stack([self._scored[row] for row in rows.tolist()])


def finite(scores: Tensor, what: str) -> Tensor:
    """The scores; ValueError where they are not finite."""
    check_finite(scores, f"scores of {what}")
    return scores


def _check_scores(names: Sequence[str], thresholds: Tensor, deviations: Tensor) -> None:
    for values, what in ((thresholds, "thresholds"), (deviations, "deviations")):
        if values.shape != (len(names),):
            raise ValueError(
                f"{what}: expected one number for each of {len(names)} scores, "
                f"given shape {tuple(values.shape)}."
            )
        check_finite(values, what)
    if not (deviations > 0).all():
        constant = names[int((deviations <= 0).nonzero()[0])]
        raise ValueError(
            f"deviations: expected numbers above 0, given {float(deviations.min()):g}. "
            f"{constant!r} does not vary: load the scorers without it."
        )
