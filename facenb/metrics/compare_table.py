"""Tables of a comparison: measures with intervals, differences, strengths, side effects, cost.

    tables = Comparison(data)                         # by the scorers that methods learn from
    others = Comparison(data, independent=True)       # by those that no method has learned with
    tables.intervals("success")                       # rows (method, target) and (method, "mean")
    tables.difference("SGF", "InterFaceGAN")          # on the same resamples of the faces

All intervals are of 95 %, by a bootstrap over faces with the same resamples for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from facenb.errors import unknown
from facenb.metrics.changes import Changes, changes_of, scores_of
from facenb.metrics.mds import harmonic_mean, running_trapezoid
from facenb.metrics.measurements import Measurements
from facenb.metrics.statistics import percentile_interval, resample_counts
from facenb.metrics.trials import Edits

MEASURES = ("mds", "success", "identity", "both", "attributes", "side effects",
            "side effects / change", "worst", "quality")  # fmt: skip
_OF_THE_TARGET = ("success", "identity", "both", "quality")
FEWEST = 16  # faces below which no interval is given
_STRONGER = 1.25  # times the strength of the judged faces, from where swept ones add to the curve


@dataclass(frozen=True)
class Comparison:
    """Methods × targets by the suite's scores, or by the independent ones.

    A method without an editor for a target has NaN there, and so has a target that the scorers do
    not have. Means are over the targets that have the measure.
    """

    data: Measurements
    independent: bool = False
    resamples: int = 1000
    seed: int = 0
    _known: dict[tuple[str, str, str], Tensor] = field(default_factory=dict, repr=False)

    def curve(self, method: str, target: str) -> pd.DataFrame:
        """The manipulation disentanglement curve on the swept faces, one row for each strength.

        Columns: success, disentanglement, their harmonic mean (which peaks at the strength to show
        images of), and in standard deviations the mean change of the target's score towards the
        other side and the side effects.

        Raises UnknownNameError when the method has no editor for the target.
        """
        edits = self._edits(method, target)
        rows = [changes_of(self.data, target, each, self.data.swept, self.independent)
                for each in edits.swept]  # fmt: skip
        once = torch.ones(1, len(self.data.swept), dtype=torch.float64)
        success, kept = (torch.cat(v) for v in zip(*(r.point(once) for r in rows), strict=True))
        columns = {
            "success": success,
            "disentanglement": kept,
            "harmonic mean": harmonic_mean(success, kept),
            "target's change": torch.stack([r.own.mean() for r in rows]),
            "side effects": torch.stack([r.others.mean() for r in rows]),
        }
        frame = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
        return frame.set_index(pd.Index(edits.strengths.tolist(), name="strength"))

    def mds(self) -> pd.DataFrame:
        """`intervals("mds")`."""
        return self.intervals("mds")

    def intervals(self, measure: str) -> pd.DataFrame:
        """A measure with its interval; rows (method, target), and (method, "mean").

        The ends are NaN for fewer than FEWEST faces.
        """
        rows = {}
        for method in self.data.methods:
            values = {t: self.values(measure, method, t) for t in self.data.targets}
            there = {t: value for t, value in values.items() if not value[0].isnan()}
            few = {t: self.faces(measure, method, t) < FEWEST for t in self.data.targets}
            for target, value in values.items():
                rows[method, target] = _ends(value, few[target])
            mean = torch.stack(list(there.values())).mean(0) if there else self._nothing
            rows[method, "mean"] = _ends(mean, any(few[t] for t in there))
        frame = pd.DataFrame.from_dict(rows, "index", columns=[measure, "low", "high"])
        return frame.set_index(pd.MultiIndex.from_tuples(rows, names=["method", "target"]))

    def difference(self, first: str, second: str, measure: str = "mds") -> pd.DataFrame:
        """A measure of `first` less that of `second`, both on the same resamples of the faces.

        One row for each target and one for their mean. Targets that one of the two has no editor
        for, or (for all but "mds") where it does not reach the level that is equal, are NaN and
        not in the mean. `significant`: the interval excludes 0.
        """
        pairs = {t: self._pair(measure, first, second, t) for t in self.data.targets}
        rows = {target: _ends(*pair) for target, pair in pairs.items()}
        there = [pair for pair in pairs.values() if not pair[0][0].isnan()]
        mean = torch.stack([value for value, _ in there]).mean(0) if there else self._nothing
        rows["mean"] = _ends(mean, any(few for _, few in there))
        frame = pd.DataFrame.from_dict(rows, "index", columns=["difference", "low", "high"])
        frame["significant"] = (frame["low"] > 0) | (frame["high"] < 0)
        return frame.rename_axis("target")

    def _pair(self, measure: str, first: str, second: str, target: str) -> tuple[Tensor, bool]:
        few = min(self.faces(measure, m, target) for m in (first, second)) < FEWEST
        values = [self.values(measure, method, target) for method in (first, second)]
        fair = all(measure == "mds" or self.reached(m, target) for m in (first, second))
        return (values[0] - values[1] if fair else self._nothing), few

    def at_level(self) -> pd.DataFrame:
        """Every method at the strength for the level that is equal; rows (target, method).

        Columns: strength; reached, whether any strength has that level on the calibration faces;
        the measures on the judged faces, each with the ends of its interval; seconds an edit.
        """
        intervals = {measure: self.intervals(measure) for measure in MEASURES if measure != "mds"}
        rows = {}
        for target in self.data.targets:
            for method in self.data.methods:
                edits = self.data.edits.get((method, target))
                row = {"strength": edits.strength if edits else torch.nan}
                row["reached"] = self.reached(method, target)
                for measure, frame in intervals.items():
                    ends = (measure, f"{measure} low", f"{measure} high")
                    row |= dict(zip(ends, frame.loc[(method, target)], strict=True))
                rows[target, method] = row | {"seconds": edits.seconds if edits else torch.nan}
        return pd.DataFrame.from_dict(rows, "index").rename_axis(["target", "method"])

    def side_effects(self) -> pd.DataFrame:
        """Side effects on each score that counts, rows (target, method); the target's own is NaN.

        Mean absolute change of the score in its standard deviations, per standard deviation that
        the target's score moves towards its other side (Niu et al. 2023, Fig. 5).
        """
        rows, names = {}, list(self.data.counted)
        for target in self.data.targets:
            for method in self.data.methods:
                found = self._judged(method, target)
                rows[target, method] = dict.fromkeys(names, torch.nan)
                if found is not None and found.own.mean() > 0:
                    effects = found.others.mean(0) / found.own.mean()
                    rows[target, method] |= dict(zip(found.names, effects.tolist(), strict=True))
        frame = pd.DataFrame.from_dict(rows, "index", columns=names)
        frame = frame.set_index(pd.MultiIndex.from_tuples(rows, names=["target", "method"]))
        return frame.assign(mean=frame.mean(axis=1))

    def cost(self) -> pd.DataFrame:
        """Seconds an edit, methods × targets and their mean: editing alone, without images and
        scores, in batches."""
        rows = {
            method: {
                t: self.data.edits[method, t].seconds if (method, t) in self.data.edits
                else torch.nan for t in self.data.targets
            } for method in self.data.methods
        }  # fmt: skip
        frame = pd.DataFrame.from_dict(rows, "index", columns=list(self.data.targets))
        return frame.assign(mean=frame.mean(axis=1)).rename_axis("method")

    def table(self) -> pd.DataFrame:
        """One row for each method, means over the targets, as text to print; "—" where missing.

        "targets" says on how many the method has an editor that reaches the level that is equal:
        the measures are comparable where that is all of them.
        """
        columns = {m: self.intervals(m).xs("mean", level="target") for m in MEASURES}
        rows, cost = {}, self.cost()["mean"]
        for method in self.data.methods:
            reached = sum(self.reached(method, target) for target in self.data.targets)
            rows[method] = {m: text(*frame.loc[method]) for m, frame in columns.items()} | {
                "targets": f"{reached} of {len(self.data.targets)}",
                "ms an edit": "—" if cost[method] != cost[method] else f"{1e3 * cost[method]:.2g}",
            }
        return pd.DataFrame.from_dict(rows, "index").rename_axis("method")

    def changes_most(self, method: str, target: str) -> str:
        """Which other score changes most; empty where nothing was judged."""
        found = self._judged(method, target)
        return found.names[int(found.others.mean(0).argmax())] if found is not None else ""

    def faces(self, measure: str, method: str, target: str) -> int:
        """How many a measure is of."""
        edits = self.data.edits.get((method, target))
        if edits is None:
            return 0
        if (measure == "mds" and self._everywhere) or not len(edits.judged):
            return len(self.data.swept) if len(edits.swept) else 0
        return len(edits.judged)

    def values(self, measure: str, method: str, target: str) -> Tensor:
        """(1 + resamples,), float64: the measure, and the same on every resample of the faces.

        Of a method without hope, success is that of the swept faces, and the others are NaN.
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
        edits = self.data.edits.get((method, target))
        if edits is None or target not in self.scores:
            return self._nothing
        if measure not in _OF_THE_TARGET and set(self.scores) & set(self.data.counted) <= {target}:
            return self._nothing  # there is no other score
        if measure == "mds":
            return self._mds(edits, target)
        changes, times = self._judged(method, target), self._times(True)
        if changes is None and measure == "success" and edits.reason and len(edits.swept):
            nearest = int((edits.strengths - edits.strength).abs().argmin())
            changes, times = self._swept(edits, target, nearest), self._times(False)
        if changes is None:
            return self._nothing
        return changes.measure(measure, times[:, : len(changes.own)])

    def _mds(self, edits: Edits, target: str) -> Tensor:
        """Of the swept faces where they are all; else of the judged ones, and of the swept ones at
        higher strengths."""
        points = []
        if not self._everywhere and len(edits.judged):
            rows = self.data.judged[: len(edits.judged)]
            judged = changes_of(self.data, target, edits.judged, rows, self.independent)
            points.append(judged.point(self._times(True)[:, : len(rows)]))
        for k, strength in enumerate(edits.strengths.tolist()):
            few = self._everywhere or not len(edits.judged)
            if few or strength > _STRONGER * edits.strength:
                points.append(self._swept(edits, target, k).point(self._times(False)))
        if not points:
            return self._nothing
        accuracy, kept = (torch.stack(v, -1) for v in zip(*points, strict=True))
        return running_trapezoid(accuracy, kept).amax(-1)

    def _swept(self, edits: Edits, target: str, k: int) -> Changes:
        return changes_of(self.data, target, edits.swept[k], self.data.swept, self.independent)

    def _judged(self, method: str, target: str) -> Changes | None:
        edits = self.data.edits.get((method, target))
        if edits is None or not len(edits.judged) or target not in self.scores:
            return None
        rows = self.data.judged[: len(edits.judged)]
        return changes_of(self.data, target, edits.judged, rows, self.independent)

    def _edits(self, method: str, target: str) -> Edits:
        if (method, target) not in self.data.edits:
            raise unknown("edit", f"{method}: {target}", [f"{m}: {t}" for m, t in self.data.edits])
        return self.data.edits[method, target]

    def reached(self, method: str, target: str) -> bool:
        """Whether the judged faces were edited at the level that is equal."""
        edits = self.data.edits.get((method, target))
        return edits is not None and edits.reached and len(edits.judged) > 0

    def _times(self, judged: bool) -> Tensor:
        """(1 + resamples, n): each face once, then how often it is in each resample."""
        n = len(self.data.judged if judged else self.data.swept)
        other = not judged and not self._everywhere  # than those that are judged
        counts = resample_counts(n, self.resamples, self.seed + other)
        return torch.cat([torch.ones(1, n, dtype=torch.float64), counts])

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


def text(estimate: float, low: float, high: float) -> str:
    """An estimate with its interval, to print; "—" where there is none."""
    ends = "" if low != low else f" [{low:.2f}, {high:.2f}]"
    return "—" if estimate != estimate else f"{estimate:.2f}{ends}"


def _ends(values: Tensor, few: bool) -> tuple[float, float, float]:
    """Estimate and interval of `Comparison.values`; NaN where there is no estimate."""
    if values[0].isnan():
        return (torch.nan,) * 3
    if few:
        return float(values[0]), torch.nan, torch.nan
    low, high = percentile_interval(values[1:])
    return float(values[0]), float(low), float(high)
