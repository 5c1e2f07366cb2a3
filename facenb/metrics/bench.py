"""The faces on which every method is measured once, and the edits of them: drawn, scored, kept.

    facts = thresholds, deviations, counted, 8          # of the scores; 8 calibration faces
    bench = Bench.of(generator, load_panel(generator), generator.sample(212), *facts)
    cell = judge(bench, editors["smile"], "smile", guess=2.0)

Strengths of two methods mean different things. Here they are made comparable by what an edit
costs: the side effect, the mean absolute change of the other scores in their standard deviations.
On the calibration faces it is measured at two strengths, about one and two times that for `LEVEL`;
the strength for `LEVEL` itself follows, and at this one all other faces are edited, each towards
the other side of its target attribute.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import check_finite
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.mds import towards_other_side
from facenb.metrics.panel import Panel
from facenb.sampling import score_once
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor

LEVEL = 0.4  # standard deviations; of two faces that have nothing in common the mean is 1.1
RELATIVE = (1.0, 2.0)  # strengths tried, in that for LEVEL
PROBED = 4  # calibration faces that the first guess of a strength is tried on
HOPELESS = 1 / 6  # success at the largest strength up to which the other faces are not drawn
BLOCK = 25  # edits that an interruption costs


@dataclass(frozen=True)
class Cell:
    """The edits of one method towards one target.

    Attributes:
        strength: at which the judged faces were edited; NaN where each had its own.
        strengths: (S,) tried on the calibration faces.
        calibration: (S, K, C) their columns, float32.
        judged: (n, C) columns of the first n judged faces; n = 0 where there is a reason.
        seconds: an edit, without image and scores; NaN where none was made.
        reason: why there is nothing to judge; empty where there is.
    """

    strength: float
    strengths: Tensor
    calibration: Tensor
    judged: Tensor
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Bench:
    """K calibration faces and N judged ones, of no use to any method, and how edits are scored.

    Columns (C) of an unedited or edited face are the A scores, the B independent ones, and the
    cosine of the person with that of the unedited face.

    Attributes:
        latents: the K + N faces in every space of the generator.
        sides: (K + N, A) scores of the unedited faces, which say on which side of its target each
            is: this bench's own, or those of an earlier one that drew in another precision.
        thresholds, deviations: (A,) of the scores: above which an attribute counts as present, and
            one standard deviation.
        counted: columns that count as other attributes.
    """

    generator: Generator
    panel: Panel
    latents: dict[str, Latents]
    thresholds: Tensor
    deviations: Tensor
    counted: tuple[int, ...]
    calibrating: int
    sides: Tensor
    _drawn: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(
        generator: Generator,
        panel: Panel,
        faces: Latents,
        thresholds: Tensor,
        deviations: Tensor,
        counted: Sequence[str],
        calibrating: int,
        sides: Tensor | None = None,
    ) -> Bench:
        """The bench of `faces` in "z"; the first `calibrating` find strengths."""
        if not 1 <= calibrating < len(faces):
            raise ValueError(
                f"Bench: expected 1 to {len(faces) - 1} calibration faces of {len(faces)}, "
                f"given {calibrating}."
            )
        spaces = {s: generator.map(faces.to(generator.device), s).to("cpu")
                  for s in generator.spaces}  # fmt: skip
        drawn = {}
        if sides is None:
            raw = torch.cat([score_once(generator, panel, part) for part in _blocks(faces, 50)])
            check_finite(raw, "scores of the unedited faces")
            sides, drawn = panel.suite(raw), dict(enumerate(raw))
        columns = tuple(panel.scorers.names.index(name) for name in counted)
        facts = thresholds, deviations, columns, calibrating, sides, drawn
        return Bench(generator, panel, spaces, *facts)

    def __len__(self) -> int:
        return len(self.sides)

    def unedited(self, rows: Tensor) -> Tensor:
        """(n, …) what the panel says of the faces at `rows`, each drawn when first asked for."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._drawn]
        if new:
            raw = score_once(self.generator, self.panel, self.latents["z"][new])
            check_finite(raw, "scores of the unedited faces")
            self._drawn.update(zip(new, raw, strict=True))
        return torch.stack([self._drawn[row] for row in rows.tolist()])

    def before(self, rows: Tensor | None = None) -> Tensor:
        """(n, C) columns of the unedited faces at `rows`, or of all."""
        rows = torch.arange(len(self)) if rows is None else rows
        return self.columns(self.unedited(rows), rows)

    def columns(self, raw: Tensor, rows: Tensor) -> Tensor:
        """(n, C) of what the panel says of edits of the faces at `rows`."""
        people = self.panel.people(self.unedited(rows))
        same = (self.panel.people(raw) * people).sum(1, keepdim=True)
        return torch.cat([self.panel.suite(raw), self.panel.independent(raw), same], dim=1)

    def column(self, target: str) -> int:
        return self.panel.scorers.names.index(target)

    def signs(self, target: str) -> Tensor:
        """(K + N,): +1 where the score has to rise, −1 where it has to fall."""
        i = self.column(target)
        return towards_other_side(self.sides[:, i], self.thresholds[i])

    def rows(self, n: int | None = None) -> Tensor:
        """Of the first n judged faces, or of all of them."""
        last = len(self) if n is None else min(self.calibrating + n, len(self))
        return torch.arange(self.calibrating, last)

    def effect(self, target: str, columns: Tensor, rows: Tensor) -> Tensor:
        """(n,) mean absolute change of the other scores, in standard deviations."""
        others = [i for i in self.counted if i != self.column(target)]
        change = columns[:, others] - self.panel.suite(self.unedited(rows))[:, others]
        return (change / self.deviations[others]).abs().mean(1)

    def turned(self, target: str, columns: Tensor, rows: Tensor) -> Tensor:
        """(n,) whether the target is on its other side."""
        i = self.column(target)
        cut = self.thresholds[i]
        return (columns[:, i] > cut) != (self.unedited(rows)[:, i] > cut)

    def own_strengths(self, target: str) -> Tensor:
        """(K + N,): standard deviations to one beyond the threshold, for editors that walk."""
        i = self.column(target)
        return 1 + ((self.sides[:, i] - self.thresholds[i]) / self.deviations[i]).abs()

    def edit(
        self, editor: Editor, target: str, strength: float | Tensor, rows: Tensor
    ) -> tuple[Tensor, float]:
        """(n, C) of the faces at `rows` edited to their other side, and seconds an edit."""
        strengths = (self.signs(target) * strength)[rows]
        start, found, seconds = self.latents[editor.space][rows], [], []
        for part, asked in zip(_blocks(start), strengths.split(BLOCK), strict=True):
            edited, spent = self._edited(editor, part, asked)
            seconds.append(spent)
            found.append(score_once(self.generator, self.panel, edited))
        raw = torch.cat(found)
        check_finite(raw, f"scores of {editor.name}")
        return self.columns(raw, rows), sum(seconds) / len(rows)

    def _edited(self, editor: Editor, start: Latents, asked: Tensor) -> tuple[Latents, float]:
        begin = time.perf_counter()
        edited = editor.edit(start, asked.to(start.values))
        return edited, time.perf_counter() - begin


def judge(bench: Bench, editor: Editor, target: str, guess: float, n: int | None = None) -> Cell:
    """The cell of an editor: its strength for LEVEL, and n judged faces (all by default) at it.

    Args:
        guess: a strength with a side effect of any size; less than sixteen times off.
    """
    found = calibrate(bench, editor, target, guess)
    if found.reason or n == 0:
        return found
    judged, seconds = bench.edit(editor, target, found.strength, bench.rows(n))
    return replace(found, judged=judged, seconds=seconds)


def calibrate(bench: Bench, editor: Editor, target: str, guess: float) -> Cell:
    """Strengths tried on the calibration faces, and the one for LEVEL."""
    rows = torch.arange(bench.calibrating)
    few = rows[:PROBED]
    first, _ = bench.edit(editor, target, guess, few)
    effect = float(bench.effect(target, first, few).mean())
    start = guess * min(max(LEVEL / max(effect, 1e-6), 1 / 16), 16)
    strengths = [start * part for part in RELATIVE]
    tried = [bench.edit(editor, target, strength, rows) for strength in strengths]
    columns = torch.stack([each for each, _ in tried])
    effects = [float(bench.effect(target, each, rows).mean()) for each in columns]
    best = max(float(bench.turned(target, each, rows).double().mean()) for each in columns)
    reason = ""
    if best <= HOPELESS:
        reason = (
            f"turns over {round(best * len(rows))} of {len(rows)} faces at most, at side effects "
            f"of up to {max(effects):.2g} sd"
        )
    strength = strength_at(LEVEL, strengths, effects)
    seconds = sum(spent for _, spent in tried) / len(tried)
    nothing = columns.new_zeros(0, columns.shape[-1])
    return Cell(strength, torch.tensor(strengths), columns, nothing, seconds, reason)


def conditions_of(names: Sequence[str]) -> list[str]:
    """Scores that count as attributes of their own: action units make up the expressions, and
    quality is no attribute."""
    return [name for name in names if not name.startswith("AU") and name != "quality"]


def strength_at(level: float, strengths: Sequence[float], effects: Sequence[float]) -> float:
    """Where the effect first reaches `level`, linear between strengths and 0; else the last one."""
    before, low = 0.0, 0.0
    for strength, effect in zip(strengths, effects, strict=True):
        if effect >= level:
            return before + (strength - before) * (level - low) / (effect - low)
        before, low = strength, effect
    return strengths[-1]


def judge_walk(bench: Bench, method: str, editor: Editor, target: str, n: int) -> Cell:
    """The cell of an editor that walks until the target is there, on the first n judged faces.

    Each face has its own strength, to one standard deviation beyond the threshold. A walk draws an
    image at every step: its end is kept in the cache.
    """
    if n < 1:
        return missing(bench, "walks through images: left out of this run")
    rows, ends, seconds = bench.rows(n), [], []
    strengths = (bench.signs(target) * bench.own_strengths(target))[rows]
    start = bench.latents[editor.space][rows]
    for part, asked in zip(start.values.split(8), strengths.split(8), strict=True):
        inputs = {
            "version": 1,
            "method": method,
            "target": target,
            "generator": bench.generator.fingerprint,
            "scorers": bench.panel.fingerprint,
            "codes": sha256_tensor(part),
            "strengths": sha256_tensor(asked),
        }

        def walked(part: Tensor = part, asked: Tensor = asked) -> dict[str, Tensor]:
            edited, spent = bench._edited(editor, Latents(part, editor.space), asked)
            return {"values": edited.values, "seconds": torch.tensor(spent)}

        end = cached("walks", inputs, walked)
        ends.append(end["values"])
        seconds.append(float(end["seconds"]))
    raw = score_once(bench.generator, bench.panel, Latents(torch.cat(ends), editor.space))
    columns = bench.columns(raw, rows)
    nothing = columns.new_zeros(0, bench.calibrating, columns.shape[-1])
    return Cell(torch.nan, torch.zeros(0), nothing, columns, sum(seconds) / len(rows))


def missing(bench: Bench, reason: str) -> Cell:
    """The cell of a method without an editor for a target."""
    wide = torch.zeros(1, len(bench.panel.names))
    width = bench.panel.suite(wide).shape[1] + bench.panel.independent(wide).shape[1] + 1
    nothing = torch.zeros(0, bench.calibrating, width)
    return Cell(torch.nan, torch.zeros(0), nothing, torch.zeros(0, width), torch.nan, reason)


def _blocks(latents: Latents, size: int = BLOCK) -> list[Latents]:
    return [latents.with_values(part) for part in latents.values.split(size)]
