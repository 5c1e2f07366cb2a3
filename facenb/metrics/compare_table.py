"""Tables of a comparison: measures with intervals, differences, strengths, side effects, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from facenb.errors import unknown
from facenb.metrics.mds import curve, harmonic_mean, resampled, running_trapezoid
from facenb.metrics.statistics import percentile_interval, resample_counts
from facenb.metrics.trials import AtSuccess, Sweep, Trials, ratio

RATE = 0.75
MEASURES = ("mds", "success", "identity", "attributes", "side effects")


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns: measures of methods × targets.

    A method without an editor for a target has NaN there, and in its mean over the targets.

    Attributes:
        trials: the methods, the targets and the faces.
        sweeps: for each (method, target) that has an editor, the scores at every strength.
    """

    trials: Trials
    sweeps: Mapping[tuple[str, str], Sweep]
    resamples: int
    seed: int
    _rates: dict[float, dict[tuple[str, str], AtSuccess]] = field(default_factory=dict, repr=False)

    def curve(self, method: str, target: str) -> pd.DataFrame:
        """The manipulation disentanglement curve on the swept faces, one row for each strength.

        Columns: success, disentanglement, their harmonic mean (which peaks at the strength to show
        images of), the mean change of the target's score towards the other side and the mean
        absolute change of the others, both in standard deviations, and seconds per edit.

        Raises UnknownNameError when the method has no editor for the target.
        """
        if (method, target) not in self.sweeps:
            raise unknown("edit", f"{method}: {target}", [f"{m}: {t}" for m, t in self.sweeps])
        sweep, rows = self.sweeps[method, target], self.trials.swept
        success, kept = curve(self.trials.outcomes(target, sweep.scores, rows))
        own, others = self.trials.moves(target, sweep.scores, rows)
        columns = {
            "success": success,
            "disentanglement": kept,
            "harmonic mean": harmonic_mean(success, kept),
            "target's change": own.mean(0),
            "others' change": others.nanmean((0, 2)),
            "seconds": sweep.seconds,
        }
        frame = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
        return frame.set_index(pd.Index(sweep.strengths.tolist(), name="strength"))

    def mds(self) -> pd.DataFrame:
        """MDS with its 95 % interval, of every method and target and of the mean over targets."""
        return self.intervals("mds")

    def intervals(self, measure: str, rate: float = RATE) -> pd.DataFrame:
        """A measure with its 95 % interval; rows (method, target), and (method, "mean").

        Args:
            measure: one of `MEASURES`.
            rate: the success rate at whose strength all measures but "mds" are taken.
        """
        rows = {}
        for method in self.trials.methods:
            values = [self._values(measure, method, target, rate) for target in self.trials.targets]
            values.append(torch.stack(values).mean(0))
            for target, value in zip((*self.trials.targets, "mean"), values, strict=True):
                rows[method, target] = _interval(value)
        frame = pd.DataFrame.from_dict(rows, "index", columns=[measure, "low", "high"])
        return frame.set_index(pd.MultiIndex.from_tuples(rows, names=["method", "target"]))

    def difference(
        self, first: str, second: str, measure: str = "mds", rate: float = RATE
    ) -> pd.DataFrame:
        """A measure of `first` less that of `second`, both on the same resamples of the faces.

        One row for each target and one for their mean. Targets that one of the two has no editor
        for, or (for measures at a success rate) does not reach the rate on, are NaN and not in the
        mean. `significant`: the 95 % interval excludes 0.
        """
        rows, shared = {}, []
        for target in self.trials.targets:
            pair = [self._values(measure, method, target, rate) for method in (first, second)]
            fair = all(self._comparable(measure, m, target, rate) for m in (first, second))
            value = pair[0] - pair[1] if fair else torch.full_like(pair[0], torch.nan)
            shared += [value] if fair else []
            rows[target] = _interval(value)
        mean = torch.stack(shared).mean(0) if shared else torch.full((2,), torch.nan)
        rows["mean"] = _interval(mean)
        frame = pd.DataFrame.from_dict(rows, "index", columns=["difference", "low", "high"])
        frame["significant"] = (frame["low"] > 0) | (frame["high"] < 0)
        return frame.rename_axis("target")

    def at_success(self, rate: float = RATE) -> pd.DataFrame:
        """Every method at its strength for a success rate; rows (target, method), as Yao's Table 1.

        Columns: strength; reached, whether any strength has that rate on the calibration faces;
        the measures on the other faces, each with the ends of its interval; seconds per edit.
        """
        found, rows = self._at_success(rate), {}
        intervals = {measure: self.intervals(measure, rate) for measure in MEASURES[1:]}
        for target in self.trials.targets:
            for method in self.trials.methods:
                one = found.get((method, target))
                row = {"strength": one.strength if one else torch.nan}
                row["reached"] = bool(one and one.reached)
                for measure, frame in intervals.items():
                    ends = (measure, f"{measure} low", f"{measure} high")
                    row |= dict(zip(ends, frame.loc[(method, target)], strict=True))
                rows[target, method] = row | {"seconds": one.seconds if one else torch.nan}
        return pd.DataFrame.from_dict(rows, "index").rename_axis(["target", "method"])

    def side_effects(self, rate: float = RATE) -> pd.DataFrame:
        """Side effects on each other score, rows (target, method); the target's own is NaN.

        Mean absolute change of the score in its standard deviations, per standard deviation that
        the target's score moves towards its other side (Niu et al. 2023, Fig. 5).
        """
        rows = {}
        for target in self.trials.targets:
            for method in self.trials.methods:
                one = self._at_success(rate).get((method, target))
                missing = [torch.nan] * len(self.trials.counted)
                rows[target, method] = one.effects.tolist() if one else missing
        frame = pd.DataFrame.from_dict(rows, "index", columns=list(self.trials.counted))
        frame = frame.set_index(pd.MultiIndex.from_tuples(rows, names=["target", "method"]))
        return frame.assign(mean=frame.mean(axis=1))

    def cost(self) -> pd.DataFrame:
        """Seconds per edit, methods × targets and their mean: editing alone, without images and
        scores, in batches of all faces, the median over the strengths tried."""
        rows = {
            method: [
                float(self.sweeps[method, target].seconds.median())
                if (method, target) in self.sweeps
                else torch.nan
                for target in self.trials.targets
            ]
            for method in self.trials.methods
        }
        frame = pd.DataFrame.from_dict(rows, "index", columns=list(self.trials.targets))
        return frame.assign(mean=frame.mean(axis=1, skipna=False)).rename_axis("method")

    def table(self, rate: float = RATE) -> pd.DataFrame:
        """One row for each method, means over the targets, as text to print; "—" where missing.

        "reached" says for how many targets the method has the success rate: the measures at it are
        comparable where that is all of them.
        """
        frames = {measure: self.intervals(measure, rate) for measure in MEASURES}
        found, rows = self._at_success(rate), {}
        for method in self.trials.methods:
            cells = [
                found[method, target] for target in self.trials.targets if (method, target) in found
            ]
            row = {m: _text(*frame.loc[(method, "mean")]) for m, frame in frames.items()}
            row["reached"] = f"{sum(cell.reached for cell in cells)} of {len(self.trials.targets)}"
            seconds = torch.tensor([cell.seconds for cell in cells]).mean()
            complete = len(cells) == len(self.trials.targets)
            row["seconds per edit"] = f"{seconds:.2g}" if complete else "—"
            rows[method] = row
        return pd.DataFrame.from_dict(rows, "index").rename_axis("method")

    def _at_success(self, rate: float) -> dict[tuple[str, str], AtSuccess]:
        if rate not in self._rates:
            self._rates[rate] = self.trials.at_success(self.sweeps, rate)
        return self._rates[rate]

    def _values(self, measure: str, method: str, target: str, rate: float) -> Tensor:
        """The measure, then the same of every resample of the faces: (1 + resamples,), float64."""
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES)
        if method not in self.trials.methods:
            raise unknown("method", method, self.trials.methods)
        if (method, target) not in self.sweeps:
            return torch.full((1 + self.resamples,), torch.nan, dtype=torch.float64)
        if measure == "mds":
            scores = self.sweeps[method, target].scores
            found = self.trials.outcomes(target, scores, self.trials.swept)
            curves = zip(curve(found), resampled(found, self.resamples, self.seed), strict=True)
            return running_trapezoid(*(torch.cat([c[None], r]) for c, r in curves)).amax(-1)
        sums = self._at_success(rate)[method, target].sums[measure]
        counts = resample_counts(len(sums), self.resamples, self.seed)
        return ratio(*(torch.cat([torch.ones(1, len(sums)), counts]) @ sums).unbind(-1))

    def _comparable(self, measure: str, method: str, target: str, rate: float) -> bool:
        if (method, target) not in self.sweeps or measure == "mds":
            return (method, target) in self.sweeps
        return self._at_success(rate)[method, target].reached


def _interval(values: Tensor) -> tuple[float, float, float]:
    """Estimate and 95 % interval of `Comparison._values`; NaN where there is no estimate."""
    if values[0].isnan():
        return (torch.nan,) * 3
    low, high = percentile_interval(values[1:])
    return float(values[0]), float(low), float(high)


def _text(estimate: float, low: float, high: float) -> str:
    return "—" if estimate != estimate else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"
