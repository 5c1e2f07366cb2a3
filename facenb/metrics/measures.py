"""The measures of a comparison, with their resamples: what its tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from facenb.errors import unknown
from facenb.metrics.changes import Changes, changes_of, scores_of
from facenb.metrics.mds import running_trapezoid
from facenb.metrics.measurements import Measurements
from facenb.metrics.statistics import resample_counts
from facenb.metrics.trials import Edits

MEASURES = ("mds", "success", "identity", "both", "attributes", "side effects",
            "side effects / change", "worst", "quality")  # fmt: skip
_OF_THE_TARGET = ("success", "identity", "both", "quality")
_STRONGER = 1.25  # times the strength of the test faces, from where swept ones add to the curve


@dataclass(frozen=True)
class Measures:
    """Methods × targets by the suite's scores, or by the independent ones.

    A method without an editor for a target is NaN there, and so is a target that the scorers do
    not have.
    """

    data: Measurements
    independent: bool = False
    resamples: int = 1000
    seed: int = 0
    _known: dict[tuple[str, str, str], Tensor] = field(default_factory=dict, repr=False)
    _counts: dict[bool, Tensor] = field(default_factory=dict, repr=False)
    _changes: dict[tuple[str, str], Changes | None] = field(default_factory=dict, repr=False)

    def reached(self, method: str, target: str) -> bool:
        """Whether the test faces were edited at the level that is equal."""
        edits = self.data.edits.get((method, target))
        return edits is not None and edits.reached and len(edits.test) > 0

    def faces(self, measure: str, method: str, target: str) -> int:
        """How many a measure is of: of the successes, the faces that count for success, or all."""
        edits = self.data.edits.get((method, target))
        if measure == "mds" and edits is not None and not len(edits.test):
            return len(self.data.swept) if len(edits.swept) else 0
        if measure == "mds" and self._everywhere:
            return len(self.data.swept)
        found = self._measured(measure, method, target)
        if found is None:
            return 0
        changes = found[0]
        if measure in ("identity", "attributes"):
            return int(changes.turned.sum())
        return int(changes.weight.sum()) if measure in ("success", "both") else len(changes.own)

    def values(self, measure: str, method: str, target: str) -> Tensor:
        """(1 + resamples,), float64: the measure, and the same on every resample of the faces.

        Where hardly any calibration face was turned over, success, "both" and MDS are of the
        calibration faces, and the others are NaN. MDS of iterative editors is NaN.
        """
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES)
        if method not in self.data.methods:
            raise unknown("method", method, self.data.methods)
        key = measure, method, target
        if key not in self._known:
            self._known[key] = self._compute(*key)
        return self._known[key]

    def _compute(self, measure: str, method: str, target: str) -> Tensor:
        if measure not in _OF_THE_TARGET and set(self.scores) & set(self.data.counted) <= {target}:
            return self._nothing  # there is no other score
        if measure == "mds":
            return self._mds(method, target)
        found = self._measured(measure, method, target)
        return self._nothing if found is None else found[0].measure(measure, found[1])

    def _measured(self, measure: str, method: str, target: str) -> tuple[Changes, Tensor] | None:
        """The edits that a measure is of, and how often each face counts."""
        test = self._on_test(method, target)
        if test is not None:
            return test, self._times(True)[:, : len(test.own)]
        edits = self.data.edits.get((method, target))
        known = edits is not None and target in self.scores and len(edits.swept)
        if measure not in ("success", "both") or not known or not edits.reason:
            return None
        nearest = int((edits.strengths - edits.strength).abs().argmin())
        return self._swept(edits, target, nearest), self._times(False)

    def _mds(self, method: str, target: str) -> Tensor:
        """Of the swept faces where they are all; else of the test faces, and of the swept ones at
        higher strengths."""
        edits = self.data.edits.get((method, target))
        if edits is None or target not in self.scores or not len(edits.swept):
            return self._nothing
        test = None if self._everywhere else self._on_test(method, target)
        points = []
        if test is not None:
            points.append(test.point(self._times(True)[:, : len(test.own)]))
        for k, strength in enumerate(edits.strengths.tolist()):
            if test is None or strength > _STRONGER * edits.strength:
                points.append(self._swept(edits, target, k).point(self._times(False)))
        accuracy, kept = (torch.stack(v, -1) for v in zip(*points, strict=True))
        return running_trapezoid(accuracy, kept).amax(-1)

    def _swept(self, edits: Edits, target: str, k: int) -> Changes:
        return changes_of(self.data, target, edits.swept[k], self.data.swept, self.independent)

    def _on_test(self, method: str, target: str) -> Changes | None:
        key = method, target
        if key not in self._changes:  # every measure asks for them
            edits = self.data.edits.get(key)
            known = edits is not None and len(edits.test) and target in self.scores
            rows = self.data.test[: len(edits.test)] if known else None
            self._changes[key] = (
                changes_of(self.data, target, edits.test, rows, self.independent) if known else None
            )
        return self._changes[key]

    def successes(self, method: str, target: str) -> Tensor:
        """(m,) of the test faces, whether the target is on its other side; m = 0 for none."""
        found = self._on_test(method, target)
        return torch.zeros(0, dtype=torch.bool) if found is None else found.turned > 0

    def _times(self, test: bool) -> Tensor:
        """(1 + resamples, n): each face once, then how often it is in each resample."""
        if test not in self._counts:
            n = len(self.data.test if test else self.data.swept)
            other = not test and not self._everywhere  # than the test faces
            counts = resample_counts(n, self.resamples, self.seed + other)
            self._counts[test] = torch.cat([torch.ones(1, n, dtype=torch.float64), counts])
        return self._counts[test]

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores of this comparison."""
        return scores_of(self.data, self.independent)

    @property
    def _everywhere(self) -> bool:
        return len(self.data.swept) == len(self.data.before)

    @property
    def _nothing(self) -> Tensor:
        return torch.full((1 + self.resamples,), torch.nan, dtype=torch.float64)
