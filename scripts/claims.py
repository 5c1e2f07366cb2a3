"""The ledger of the papers' claims: docs/claims.md and its short form in the README.

    python -m scripts.claims          # writes both from figures/*/numbers.json
    python -m scripts.claims --check  # exit status 1 where they are not what these numbers give

Every claim names the number that tests it, and two thresholds: from the second on it holds, between
the two it holds in part. They are set by what the paper says, before the number is looked at.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from facenb.storage.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
LEDGER, README = ROOT / "docs" / "claims.md", ROOT / "README.md"
BEGIN, END = "<!-- claims: begin -->", "<!-- claims: end -->"
HOLDS, PART, NOT = "holds", "holds in part", "does not hold here"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper and the number of a notebook that tests it.

    Attributes:
        published: the paper's own figure, as text; "–" where it gives none or its text lost it.
        number: the keys in the notebook's numbers.json; a dict there has its interval, too.
        measure: what the number is.
        part, holds: thresholds. Where `holds` is the smaller, low numbers support the claim. With
            an interval, "holds" asks that all of it be on the right side.
    """

    paper: str
    text: str
    published: str
    notebook: str
    number: tuple[str, ...]
    measure: str
    part: float
    holds: float

    def value(self) -> tuple[float, float, float]:
        """The number and the ends of its interval, which are the number where it has none."""
        found = numbers(self.notebook)
        for key in self.number:
            found = found[key]
        if not isinstance(found, dict):
            return found, found, found
        estimate = next(found[k] for k in ("value", "estimate", "mean", "difference") if k in found)
        return estimate, found["low"], found["high"]

    def verdict(self) -> str:
        """HOLDS, PART or NOT."""
        sign = 1 if self.holds >= self.part else -1
        estimate, *ends = (sign * v for v in self.value())
        if min(estimate, *ends) >= sign * self.holds:
            return HOLDS
        return PART if estimate >= sign * self.part else NOT


@cache
def numbers(notebook: str) -> dict:
    """The numbers of a notebook's last laptop run."""
    return json.loads((ROOT / "figures" / notebook / "numbers.json").read_text())["numbers"]


def ledger() -> str:
    """docs/claims.md."""
    lines = [
        "# The papers' claims, and what was found here",
        "",
        "Written by `python -m scripts.claims` from the numbers of the notebooks' laptop runs.",
        "`make figures NOTEBOOK=NN` makes a row's number again. A claim holds where the number",
        "reaches the second threshold of the last column (the whole interval, where it has one),",
        "and holds in part where it reaches the first.",
        "",
        "| paper | claim | published | here | measure | verdict | notebook | thresholds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        sign = "≥" if claim.holds >= claim.part else "≤"
        cells = [claim.paper, claim.text, claim.published, _text(claim), claim.measure,
                 f"**{claim.verdict()}**", claim.notebook[:2],
                 f"{sign} {claim.part:g}; {sign} {claim.holds:g}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary() -> str:
    """The README's part: counts, and one line for each claim."""
    verdicts = [claim.verdict() for claim in CLAIMS]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in (HOLDS, PART, NOT))
    lines = [f"Of {len(CLAIMS)} claims: {counts} ([docs/claims.md](docs/claims.md)).", "",
             "| paper | claim | published | here | verdict |", "|---|---|---|---|---|"]  # fmt: skip
    for claim, verdict in zip(CLAIMS, verdicts, strict=True):
        row = [claim.paper, claim.text, claim.published, _text(claim), verdict]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _text(claim: Claim) -> str:
    estimate, low, high = claim.value()
    text = f"{estimate:.3g}"
    return text if low == high else f"{text} ({low:.3g} to {high:.3g})"


CLAIMS = tuple(
    Claim(**entry | {"number": tuple(entry["number"])})
    for entry in tomllib.loads((ROOT / "scripts" / "claims.toml").read_text())["claim"]
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    before, rest = README.read_text().split(BEGIN)
    readme = f"{before}{BEGIN}\n{summary()}\n{END}{rest.split(END)[1]}"
    if options.check:
        fresh = LEDGER.read_text() == ledger() and README.read_text() == readme
        raise SystemExit(0 if fresh else "claims: run python -m scripts.claims")
    atomic_write(LEDGER, ledger())
    atomic_write(README, readme)


if __name__ == "__main__":
    main()
