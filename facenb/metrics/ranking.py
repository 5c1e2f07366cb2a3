"""Which methods are better than which, where the intervals of a comparison allow a ranking.

best(tables, "smile")             # the best, and those that are not significantly below it
discoveries(tables)               # all differences by an exact test, corrected for their number
sides_changed(tables, others)     # what the independent scorers say of each difference
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd
from scipy.stats import binomtest, false_discovery_control

from facenb.metrics.changes import changes_of
from facenb.metrics.compare_table import Comparison


def ranked(tables: Comparison, target: str, measure: str = "success") -> list[str]:
    """By a measure, the methods that edited all test faces at the level that is equal."""
    data = tables.data
    values = {method: float(tables.values(measure, method, target)[0]) for method in data.methods}
    fair = [
        method
        for method, value in values.items()
        if value == value
        and tables.reached(method, target)
        and len(data.edits[method, target].test) == data.most
    ]
    return sorted(fair, key=lambda method: -values[method])


def best(tables: Comparison, target: str, measure: str = "success") -> list[str]:
    """The method of the highest value, then those that are not significantly below it."""
    fair = ranked(tables, target, measure)
    return [m for m in fair if not tables.gap(measure, fair[0], m, target)[1] > 0]


def discoveries(tables: Comparison) -> pd.DataFrame:
    """Every pair of methods that can be ranked, by an exact test of success on the same faces.

    Columns: target, better, worse, difference; p, McNemar's exact test: of the faces on which one
    of the two succeeds and the other does not, half would be either's; q, the false discovery rate
    at which the difference is called (Benjamini and Hochberg 1995, over all rows).
    """
    rows = []
    for target in tables.data.targets:
        for better, worse in combinations(ranked(tables, target), 2):
            one, two = (tables.successes(method, target) for method in (better, worse))
            alone = int((one & ~two).sum()), int((two & ~one).sum())
            p = float(binomtest(alone[0], sum(alone)).pvalue) if any(alone) else 1.0
            rows.append((target, better, worse, tables.gap("success", better, worse, target)[0], p))
    found = pd.DataFrame(rows, columns=["target", "better", "worse", "difference", "p"])
    return found.assign(q=false_discovery_control(found["p"]) if len(found) else [])


def sides_changed(first: Comparison, second: Comparison) -> pd.DataFrame:
    """Every pair of methods whose success differs significantly by `first`: what `second` says.

    Columns: target, better, worse, difference by either, and verdict: "same" where the second
    comparison has the sign with significance, "not significant", or "reversed" with significance.
    """
    rows = []
    for target in first.data.targets:
        known = ranked(second, target)
        fair = [m for m in ranked(first, target) if m in known]
        for i, better in enumerate(fair):
            for worse in fair[i + 1 :]:
                one, two = (c.gap("success", better, worse, target) for c in (first, second))
                if one[1] > 0:
                    verdict = "same" if two[1] > 0 else "reversed" if two[2] < 0 else None
                    rows.append((target, better, worse, one[0], two[0],
                                 verdict or "not significant"))  # fmt: skip
    columns = ["target", "better", "worse", "difference", "independent", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def success_of_trainings(tables: Comparison, method: str, target: str) -> list[float]:
    """Of this training and each further one, on the test faces of the latter."""
    data = tables.data
    own = data.edits[method, target].test
    further = data.again.get((method, target), ())
    found = []
    for columns in [own[: len(further[0])] if further else own, *further]:
        rows = data.test[: len(columns)]
        changes = changes_of(data, target, columns, rows, tables.independent)
        found.append(float(changes.turned.sum() / changes.weight.sum()))
    return found
