"""Tables of judged edits, in the opinion of either set of scorers.

    tables = Opinion(judged)                        # the suite, which the methods learned with
    others = Opinion(judged, independent=True)
    tables.interval("success", "SGF", "smile")      # (estimate, low, high)
    tables.best("smile")                            # the best, and those not significantly below

Measures of an edit at the strength for equal side effects, on the judged faces:

    success       fraction of the faces whose target is on its other side. In the independent
                  opinion: of the faces that both sets of scorers put on the same side before
    side effects  mean absolute change of the other scores, in standard deviations
    worst         the same of the score that changes most
    person        fraction that shows the same person (SFace, threshold at 0.1 % false acceptances)
    attributes    mean fraction of other scores that changed by less than a standard deviation
    quality       fraction with a positive flag of quality
    mds           area under the curve of success and attributes of the successes, from this
                  strength and the stronger one that the calibration faces were edited at

Intervals are of 95 %, by a bootstrap over faces with the same resamples for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from facenb.errors import unknown
from facenb.metrics.bench import conditions_of
from facenb.metrics.judged import Judged
from facenb.metrics.mds import running_trapezoid
from facenb.metrics.statistics import percentile_interval, resample_counts

MEASURES = ("mds", "success", "side effects", "worst", "person", "attributes", "quality")
FEWEST = 25  # faces below which no interval is given
_SECOND = "independent "


@dataclass(frozen=True)
class Edits:
    """One cell in one opinion, per face.

    Attributes:
        weight: (n,) 1 where the face counts for success.
        turned: (n,) 1 where it counts and the target is on its other side.
        changes: (n, O) absolute changes of the other scores, in standard deviations.
        same, flag: (n,) 1 for the same person, and for a positive flag of quality.
    """

    weight: Tensor
    turned: Tensor
    changes: Tensor
    same: Tensor
    flag: Tensor


@dataclass(frozen=True)
class Opinion:
    """The cells of `judged` by the suite, or by the independent scorers.

    Targets that the independent scorers do not have are NaN.
    """

    judged: Judged
    independent: bool = False
    resamples: int = 1000
    seed: int = 0
    _known: dict[tuple[str, str, str], Tensor] = field(default_factory=dict, repr=False)

    def value(self, measure: str, method: str, target: str) -> Tensor:
        """(1 + resamples,): the measure, and the same on every resample; NaN where there is none.

        Of a method that turned hardly any calibration face over, success and MDS are of those
        faces, and the others NaN.
        """
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES)
        if (method, target) not in self.judged.cells:
            raise unknown("cell", f"{method}: {target}", [": ".join(k) for k in self.judged.cells])
        key = measure, method, target
        if key not in self._known:
            self._known[key] = self._compute(measure, method, target)
        return self._known[key]

    def interval(self, measure: str, method: str, target: str) -> tuple[float, float, float]:
        """Estimate and 95 % interval; the ends are NaN for fewer than FEWEST faces."""
        return _ends(self.value(measure, method, target), self.faces(method, target))

    def mean(self, measure: str, method: str) -> tuple[float, float, float]:
        """Of the targets that have the measure, estimate and interval."""
        values = [self.value(measure, method, target) for target in self.judged.targets]
        there = [value for value in values if not value[0].isnan()]
        if not there:
            return (torch.nan,) * 3
        faces = min(self.faces(method, t) for t, v in zip(self.judged.targets, values, strict=True)
                    if not v[0].isnan())  # fmt: skip
        return _ends(torch.stack(there).mean(0), faces)

    def difference(
        self, measure: str, first: str, second: str, target: str
    ) -> tuple[float, float, float]:
        """Of `first` less that of `second`, on the same resamples."""
        values = [self.value(measure, method, target) for method in (first, second)]
        faces = min(self.faces(method, target) for method in (first, second))
        return _ends(values[0] - values[1], faces)

    def success_of(self, target: str, columns: Tensor) -> float:
        """Of edits (n, C) of the first n judged faces."""
        rows = torch.arange(len(columns)) + self.judged.calibrating
        edits = self._of(target, columns, rows)
        return float(edits.turned.sum() / edits.weight.sum())

    def faces(self, method: str, target: str) -> int:
        """How many its success is measured on."""
        cell = self.judged.cells[method, target]
        return len(cell.judged) or (self.judged.calibrating if len(cell.calibration) else 0)

    def ranked(self, target: str) -> list[str]:
        """Methods that all judged faces were edited by at equal side effects, by success."""
        most = max(len(cell.judged) for cell in self.judged.cells.values())
        fair = [
            method
            for method in self.judged.methods
            if len(self.judged.cells[method, target].judged) == most
            and not self.value("success", method, target)[0].isnan()
        ]
        return sorted(fair, key=lambda m: -float(self.value("success", m, target)[0]))

    def best(self, target: str) -> list[str]:
        """The method of the highest success, then those that are not significantly below it."""
        fair = self.ranked(target)
        if not fair:
            return []
        first = fair[0]
        return [m for m in fair if not self.difference("success", first, m, target)[1] > 0]

    def worst_attribute(self, method: str, target: str) -> str:
        """Which other score changes most; empty where nothing was judged."""
        edits = self._edits(method, target)
        if edits is None or not len(edits.same):
            return ""
        return self._others(target)[int(edits.changes.mean(0).argmax())]

    def frame(self, measure: str) -> pd.DataFrame:
        """Methods × targets of a measure, and their mean."""
        rows = {
            method: {t: float(self.value(measure, method, t)[0]) for t in self.judged.targets}
            | {"mean": self.mean(measure, method)[0]}
            for method in self.judged.methods
        }
        return pd.DataFrame(rows).T.rename_axis("method")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores of this opinion."""
        found = [n for n in self.judged.names[:-1] if n.startswith(_SECOND) == self.independent]
        return tuple(name.removeprefix(_SECOND) for name in found)

    def _others(self, target: str) -> list[str]:
        return [name for name in conditions_of(self.names) if name != target]

    def _column(self, name: str, independent: bool) -> int:
        return self.judged.names.index(_SECOND + name if independent else name)

    def _edits(self, method: str, target: str) -> Edits | None:
        """Of the judged faces; None where this opinion has no score for the target."""
        cell = self.judged.cells[method, target]
        rows = torch.arange(len(cell.judged)) + self.judged.calibrating
        return self._of(target, cell.judged, rows)

    def _of(self, target: str, after: Tensor, rows: Tensor) -> Edits | None:
        if target not in self.names:
            return None
        data, before = self.judged, self.judged.before[rows]
        first, own = self._column(target, False), self._column(target, self.independent)
        present = before[:, first] > data.thresholds[first]
        agrees = (before[:, own] > data.thresholds[own]) == present
        turned = agrees & ((after[:, own] > data.thresholds[own]) != present)
        columns = [self._column(name, self.independent) for name in self._others(target)]
        changes = (after[:, columns] - before[:, columns]).abs() / data.deviations[columns]
        flag = after[:, data.names.index("quality")] > 0
        same = after[:, -1] > data.same_person
        return Edits(*(v.double() for v in (agrees, turned, changes, same, flag)))

    def _compute(self, measure: str, method: str, target: str) -> Tensor:
        nothing = torch.full((1 + self.resamples,), torch.nan, dtype=torch.float64)
        cell, edits = self.judged.cells[method, target], self._edits(method, target)
        alone = edits is not None and not edits.changes.shape[1]  # no other score to change
        if edits is None or (alone and measure in ("mds", "side effects", "worst", "attributes")):
            return nothing
        if measure == "mds":
            return self._mds(method, target) if len(cell.calibration) else nothing
        if not len(cell.judged):
            if measure != "success" or not len(cell.calibration):
                return nothing
            edits = self._of(target, cell.calibration[0], torch.arange(self.judged.calibrating))
        times = self._times(len(edits.same), bool(len(cell.judged)))
        if measure == "success":
            return (times @ edits.turned) / (times @ edits.weight)
        if measure == "worst":
            return (times @ edits.changes / times.sum(1, keepdim=True)).amax(1)
        values = {
            "side effects": edits.changes.mean(1),
            "attributes": (edits.changes < 1).double().mean(1),
            "person": edits.same,
            "quality": edits.flag,
        }
        return times @ values[measure] / times.sum(1)

    def _mds(self, method: str, target: str) -> Tensor:
        cell, calibration = self.judged.cells[method, target], torch.arange(self.judged.calibrating)
        points = []
        if len(cell.judged):
            points.append((cell.strength, self._edits(method, target), True))
        for strength, columns in zip(cell.strengths.tolist(), cell.calibration, strict=True):
            if strength > 1.25 * cell.strength or not len(cell.judged):
                points.append((strength, self._of(target, columns, calibration), False))
        points.sort(key=lambda point: point[0])
        accuracy, kept = [], []
        for _, edits, judged in points:
            times = self._times(len(edits.same), judged)
            successes = times @ edits.turned
            changed = times @ (edits.turned * (edits.changes > 1).double().mean(1))
            accuracy.append(successes / (times @ edits.weight).clamp(min=1))
            kept.append((1 - changed / successes.clamp(min=1)).clamp(min=0))
        return running_trapezoid(torch.stack(accuracy, -1), torch.stack(kept, -1)).amax(-1)

    def _times(self, n: int, judged: bool) -> Tensor:
        """(1 + resamples, n): each face once, then how often it is in each resample."""
        total = len(self.judged.before) - self.judged.calibrating if judged else n
        counts = resample_counts(total, self.resamples, self.seed + (not judged))
        return torch.cat([torch.ones(1, total, dtype=torch.float64), counts])[:, :n]


def sides_changed(first: Opinion, second: Opinion) -> pd.DataFrame:
    """Every pair of methods whose success differs significantly by `first`: what `second` says.

    Columns: target, better, worse, difference by either, and verdict: "same" where the second
    opinion has the sign with significance, "not significant", or "reversed" with significance.
    """
    rows = []
    for target in first.judged.targets:
        fair = [m for m in first.ranked(target) if m in second.ranked(target)]
        for i, better in enumerate(fair):
            for worse in fair[i + 1 :]:
                one = first.difference("success", better, worse, target)
                two = second.difference("success", better, worse, target)
                if one[1] > 0:
                    verdict = "same" if two[1] > 0 else "reversed" if two[2] < 0 else None
                    rows.append((target, better, worse, one[0], two[0],
                                 verdict or "not significant"))  # fmt: skip
    columns = ["target", "better", "worse", "difference", "independent", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _ends(values: Tensor, faces: int) -> tuple[float, float, float]:
    if values[0].isnan():
        return (torch.nan,) * 3
    if faces < FEWEST:
        return float(values[0]), torch.nan, torch.nan
    low, high = percentile_interval(values[1:])
    return float(values[0]), float(low), float(high)
