"""What edits changed, face by face: from columns before and after to the measures of a comparison.

Every measure is a ratio of sums over faces, so that a bootstrap needs no more than how often each
face is drawn:

    success                fraction of the faces whose target is on its other side; the papers'
                           accuracy. By independent scorers: of the faces that both sets of scorers
                           put on the same side before
    identity               fraction of the successes that show the same person (Yao et al. 2021,
                           Table 1)
    both                   fraction of the faces whose target is on its other side and that show
                           the same person
    attributes             of the successes, the mean fraction of other attributes that did not
                           change
    side effects           mean absolute change of the other scores, in their standard deviations
    side effects / change  the same per standard deviation that the target's score moves towards
                           its other side (Niu et al. 2023)
    worst                  the side effect on the score that changes most
    quality                fraction with a positive flag of quality
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.metrics.mds import curve, label_change, larger_change, towards_other_side
from facenb.metrics.measurements import Measurements

_SECOND = "independent "


@dataclass(frozen=True)
class Changes:
    """The edits of n faces, each by one strength; float64.

    Attributes:
        weight: (n,) 1 where the face counts for success.
        turned: (n,) 1 where it counts and the target is on its other side.
        own: (n,) the target's change towards its other side, in standard deviations.
        others: (n, O) absolute changes of the scores `names`, in standard deviations.
        changed: (n, O) 1 where they count as changed.
        same, flag: (n,) 1 for the same person (which may be measured on successes alone), and for
            a positive flag of quality; NaN where that was not measured.
    """

    names: tuple[str, ...]
    weight: Tensor
    turned: Tensor
    own: Tensor
    others: Tensor
    changed: Tensor
    same: Tensor
    flag: Tensor

    def measure(self, measure: str, times: Tensor) -> Tensor:
        """(draws,): the measure with each face counted `times` (draws, n); NaN where there is
        nothing to divide by."""
        if measure == "worst":
            return (times @ self.others / times.sum(1, keepdim=True)).amax(1)
        one = torch.ones_like(self.own)
        kept = 1 - self.changed.mean(1)
        above, below = {
            "success": (self.turned, self.weight),
            "identity": (self.turned * self.same, self.turned),
            "both": (self.turned * self.same, self.weight),
            "attributes": (self.turned * kept, self.turned),
            "side effects": (self.others.mean(1), one),
            "side effects / change": (self.others.mean(1), self.own),
            "quality": (self.flag, one),
        }[measure]
        total = times @ below
        return torch.where(total > 0, times @ above / total, torch.nan)

    def point(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """A point of the manipulation disentanglement curve: accuracy, disentanglement (draws,)."""
        found = torch.stack([self.turned, self.changed.mean(1)], dim=-1)[:, None]
        accuracy, kept = curve(found, times, self.weight)
        return accuracy[:, 0], kept[:, 0]


def scores_of(data: Measurements, independent: bool) -> tuple[str, ...]:
    """Names of the suite's scores, or of the independent ones."""
    found = [name for name in data.names[:-1] if name.startswith(_SECOND) == independent]
    return tuple(name.removeprefix(_SECOND) for name in found)


def changes_of(
    data: Measurements, target: str, after: Tensor, rows: Tensor, independent: bool = False
) -> Changes:
    """Of columns (n, C) of edits of the faces at `rows`, by either set of scorers."""
    before = data.before[rows]
    known = scores_of(data, independent)
    names = tuple(name for name in data.counted if name in known and name != target)
    first, own = _column(data, target), _column(data, target, independent)
    others = [_column(data, name, independent) for name in names]
    cuts, deviations = data.thresholds, data.deviations
    present = before[:, first] > cuts[first]
    agrees = (before[:, own] > cuts[own]) == present
    turned = agrees & ((after[:, own] > cuts[own]) != present)
    change = label_change(cuts[others]) if data.labels else larger_change(deviations[others])
    moved = (after[:, own] - before[:, own]) / deviations[own]
    sign = towards_other_side(before[:, first], cuts[first])
    flag = same = torch.full((len(rows),), torch.nan)
    if "quality" in data.names:
        flag = (after[:, data.names.index("quality")] > 0).double()
    if data.same_person == data.same_person:
        same = (after[:, -1] > data.same_person).double()
    effects = (after[:, others] - before[:, others]).abs() / deviations[others]
    changed = change(before[:, others], after[:, others])
    parts = agrees, turned, sign * moved, effects, changed, same, flag
    return Changes(names, *(part.double() for part in parts))


def _column(data: Measurements, name: str, independent: bool = False) -> int:
    return data.names.index(_SECOND + name if independent else name)
