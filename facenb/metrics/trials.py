"""The edits of a comparison: each method's of each target, swept over strengths, and at one
success rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.editors import Editor
from facenb.metrics.faces import Faces
from facenb.metrics.mds import label_change, larger_change, outcomes


@dataclass(frozen=True)
class Sweep:
    """One method's edits of one target on the N swept faces: strengths (S,), scores (N, S, A),
    seconds per edit (S,)."""

    strengths: Tensor
    scores: Tensor
    seconds: Tensor


@dataclass(frozen=True)
class AtSuccess:
    """One method's edits of one target at its strength for a success rate, on M judged faces.

    Attributes:
        reached: whether any strength has the rate on the calibration faces.
        sums: for each measure that is a ratio of sums over faces, (M, 2): numerator, denominator.
        effects: (counted,), mean absolute change of each counted score, in standard deviations, per
            standard deviation of the target; NaN where the target does not move to its other side.
        seconds: per edit.
    """

    strength: float
    reached: bool
    sums: dict[str, Tensor]
    effects: Tensor
    seconds: float


@dataclass(frozen=True)
class Trials:
    """Methods × targets on the same faces.

    Attributes:
        counted: names of the scores that count as other attributes.
        labels: an attribute has changed when its label turned over (Yao et al. 2021 §4.3), not when
            its score moved by more than a standard deviation.
        swept: rows of the faces that all strengths are tried on, the calibration faces among them.
        calibration, judged: rows of the faces: strengths are found on the former, and judged on the
            latter.
    """

    faces: Faces
    methods: Mapping[str, Mapping[str, Editor]]
    targets: tuple[str, ...]
    counted: tuple[str, ...]
    labels: bool
    swept: Tensor
    calibration: Tensor
    judged: Tensor

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The (method, target) pairs that have an editor."""
        return [(m, t) for m, editors in self.methods.items() for t in self.targets if t in editors]

    def sweep(self, strengths: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Sweep]:
        """The swept faces at every strength of each method, one strength after the other."""
        found = {}
        count = sum(len(strengths[method]) for method, _ in self.cells)
        with tqdm(total=count, desc="comparing", unit="strength", leave=False) as bar:
            for method, target in self.cells:
                editor, scores, seconds = self.methods[method][target], [], []
                for strength in strengths[method]:
                    edited, spent = self.faces.edit(editor, target, strength, self.swept)
                    scores.append(self.faces.scores(edited))
                    seconds.append(spent)
                    bar.update()
                tried = torch.tensor(strengths[method], dtype=torch.float64)
                times = torch.tensor(seconds, dtype=torch.float64)
                found[method, target] = Sweep(tried, torch.stack(scores, 1), times)
        return found

    def at_success(
        self, sweeps: Mapping[tuple[str, str], Sweep], rate: float
    ) -> dict[tuple[str, str], AtSuccess]:
        """Each method's edits of the judged faces at its strength for a success rate.

        Raises ValueError for a rate outside 0..1.
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate: expected a success rate above 0 and up to 1, given {rate}.")
        bar = tqdm(self.cells, f"at {rate:.0%} success", unit="edit", leave=False)
        return {cell: self._judge(*cell, sweeps[cell], rate) for cell in bar}

    def outcomes(self, target: str, scores: Tensor, rows: Tensor) -> Tensor:
        """`mds.outcomes` (M, S, 2) of scores (M, S, A) of the faces at `rows`."""
        columns = [self.faces.column(n) for n in dict.fromkeys((*self.counted, target))]
        own = self.faces.column(target)
        threshold, faces = self.faces.thresholds, self.faces
        changed = (
            label_change(threshold[columns])
            if self.labels
            else larger_change(faces.deviations[columns])
        )
        before, after = faces.before[rows][:, columns], scores[..., columns]
        return outcomes(before, after, columns.index(own), threshold[own], changed)

    def moves(self, target: str, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How far scores (M, S, A) moved, in standard deviations, float64.

        Returns:
            the target's change towards its other side (M, S); the absolute changes of the counted
            scores (M, S, counted), NaN for the target itself.
        """
        change = self.faces.changes(scores, rows).double()
        own = change[..., self.faces.column(target)] * self.faces.signs(target)[rows][:, None]
        others = change[..., [self.faces.column(name) for name in self.counted]].abs()
        if target in self.counted:
            others[..., self.counted.index(target)] = torch.nan
        return own, others

    def _judge(self, method: str, target: str, sweep: Sweep, rate: float) -> AtSuccess:
        known = sweep.scores[torch.isin(self.swept, self.calibration)]
        turned = self.outcomes(target, known, self.calibration)[..., 0]
        strength, reached = strength_for(rate, sweep.strengths, turned.mean(0))
        editor = self.methods[method][target]
        edited, seconds = self.faces.edit(editor, target, strength, self.judged)
        scores = self.faces.scores(edited)[:, None]
        success, changed = self.outcomes(target, scores, self.judged)[:, 0].unbind(-1)
        same = self.faces.same_person(edited, self.judged, success > 0)
        own, others = (part[:, 0] for part in self.moves(target, scores, self.judged))
        sums = {
            "success": (success, torch.ones_like(success)),
            "identity": (success * same, success),
            "attributes": (success * (1 - changed), success),
            "side effects": (others.nanmean(1), own),
        }
        sums = {name: torch.stack(pair, 1) for name, pair in sums.items()}
        return AtSuccess(strength, reached, sums, ratio(others.mean(0), own.mean()), seconds)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, NaN where the denominator is not above 0."""
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


def strength_for(rate: float, strengths: Tensor, success: Tensor) -> tuple[float, bool]:
    """Where the success rate (S,) first reaches `rate`, linear between the strengths (S,) and 0.

    Returns:
        the strength, and whether the rate was reached; where it was not, the strength tried that
        has the highest rate.
    """
    x, y = (torch.cat([part.new_zeros(1), part]) for part in (strengths, success))
    reaching = (y >= rate).nonzero()
    if not len(reaching):
        return float(strengths[success.argmax()]), False
    last = int(reaching[0])
    fraction = (rate - y[last - 1]) / (y[last] - y[last - 1])
    return float(torch.lerp(x[last - 1], x[last], fraction)), True
