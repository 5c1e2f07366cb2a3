"""Tables of a comparison: measures with intervals, differences, strengths, side effects, cost.

    tables = Comparison(data)                         # by the scorers that methods learn from
    others = Comparison(data, independent=True)       # by those that no method has learned with
    tables.intervals("success")                       # rows (method, target) and (method, "mean")
    tables.difference("SGF", "InterFaceGAN")          # on the same resamples of the faces

All intervals are of 95 %, by a bootstrap over faces with the same resamples for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from facenb.errors import unknown
from facenb.metrics.mds import harmonic_mean
from facenb.metrics.measures import MEASURES, Measures
from facenb.metrics.statistics import percentile_interval

FEWEST = 16  # faces below which no interval is given


@dataclass(frozen=True)
class Comparison(Measures):
    """The measures as tables. Means are over the targets that have the measure."""

    def curve(self, method: str, target: str) -> pd.DataFrame:
        """The manipulation disentanglement curve on the swept faces, one row for each strength.

        Columns: success, disentanglement, their harmonic mean (which peaks at the strength to show
        images of), and in standard deviations the mean change of the target's score towards the
        other side and the side effects.

        Raises UnknownNameError where no strengths were tried, or the target has no score.
        """
        tried = [k for k, e in self.data.edits.items() if len(e.swept) and k[1] in self.scores]
        if (method, target) not in tried:
            raise unknown("curve", f"{method}: {target}", [f"{m}: {t}" for m, t in tried])
        edits = self.data.edits[method, target]
        rows = [self._swept(edits, target, k) for k in range(len(edits.swept))]
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
        the measures on the test faces, each with the ends of its interval; seconds per edit.
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
                found = self._on_test(method, target)
                rows[target, method] = dict.fromkeys(names, torch.nan)
                if found is not None and found.own.mean() > 0:
                    effects = found.others.mean(0) / found.own.mean()
                    rows[target, method] |= dict(zip(found.names, effects.tolist(), strict=True))
        frame = pd.DataFrame.from_dict(rows, "index", columns=names)
        frame = frame.set_index(pd.MultiIndex.from_tuples(rows, names=["target", "method"]))
        return frame.assign(mean=frame.mean(axis=1))

    def cost(self) -> pd.DataFrame:
        """Seconds per edit, methods × targets and their mean: editing alone, in batches, without
        images and scores but for those that an editor looks at itself."""
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

        "targets" says on how many the test faces were edited, at the level that is equal or, by
        iterative editors, to ends of their own: means are comparable where that is all of them.
        """
        columns = {m: self.intervals(m).xs("mean", level="target") for m in MEASURES}
        rows, cost = {}, self.cost()["mean"]
        for method in self.data.methods:
            edits = [self.data.edits.get((method, target)) for target in self.data.targets]
            fair = [e for e in edits if e and len(e.test) and (e.reached or not len(e.strengths))]
            rows[method] = {m: text(*frame.loc[method]) for m, frame in columns.items()} | {
                "targets": f"{len(fair)} of {len(edits)}",
                "ms per edit": "—" if cost[method] != cost[method] else f"{1e3 * cost[method]:.2g}",
            }
        return pd.DataFrame.from_dict(rows, "index").rename_axis("method")

    def changes_most(self, method: str, target: str) -> str:
        """Which other score changes most; empty where no test face was edited."""
        found = self._on_test(method, target)
        return found.names[int(found.others.mean(0).argmax())] if found is not None else ""

    def gap(self, measure: str, first: str, second: str, target: str) -> tuple[float, float, float]:
        """`difference` of one target, with its ends."""
        return _ends(*self._pair(measure, first, second, target))


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
