"""The edits of one method towards one target: strengths tried, one chosen, test faces edited.

    protocol = Protocol("success", 0.75)
    edits = measure(faces, editor, "smile", [1, 2, 4], protocol, faces.calibration)

Strengths of two methods mean different things. Two methods are compared at the strengths at which
both have the same success rate, or the same side effects: the mean absolute change of the other
scores in their standard deviations. That strength is found on the calibration faces, and the
test faces are edited at it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.editors.storage import pack
from facenb.latents import Latents
from facenb.metrics.faces import Faces, finite
from facenb.sampling import score_once
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor, sha256_tensors

EQUAL = ("success", "side effects")
PROBED = 4  # calibration faces that the first guess of a strength is tried on
_WALKS = 8  # faces that an interruption of walks costs


@dataclass(frozen=True)
class Protocol:
    """What is equal when methods are compared.

    Attributes:
        equal: one of `EQUAL`, or None: strengths are only swept.
        level: the success rate, or the side effects.
        least_success: the success rate on the calibration faces, at the best strength, up to which
            the test faces are not drawn; a negative one draws them always.
    """

    equal: str | None = "success"
    level: float = 0.75
    least_success: float = -1.0

    def __post_init__(self) -> None:
        most = 1 if self.equal == "success" else float("inf")
        if self.equal is not None and (self.equal not in EQUAL or not 0 < self.level <= most):
            raise ValueError(
                f"Protocol: expected {' or '.join(EQUAL)} and a level above 0, of success up to 1; "
                f"given {self.equal!r} and {self.level}."
            )


@dataclass(frozen=True)
class Edits:
    """The edits of one method towards one target.

    Attributes:
        strength: at which the test faces were edited; NaN where each had its own.
        reached: whether any strength has the protocol's level on the calibration faces.
        strengths: (S,) tried.
        swept: (S, n, C) columns of the faces that they were tried on.
        test: (m, C) columns of the first m test faces; m = 0 where none was drawn.
        seconds: per edit, without image and scores; NaN where none was made.
        reason: why no test face was edited; empty where one was.
    """

    strength: float
    reached: bool
    strengths: Tensor
    swept: Tensor
    test: Tensor
    seconds: float
    reason: str = ""


def measure(
    faces: Faces,
    editor: Editor,
    target: str,
    strengths: Sequence[float],
    protocol: Protocol,
    swept: Tensor,
    test: int | None = None,
) -> Edits:
    """Try the strengths on the faces at `swept`, and edit test faces at the one to compare at.

    Args:
        swept: rows, the calibration faces among them.
        test: how many of the test faces, all by default.
    """
    tried = [faces.edit(editor, target, strength, swept) for strength in strengths]
    columns = torch.stack([each for each, _ in tried])
    seconds = float(torch.tensor([spent for _, spent in tried]).median())
    steps = torch.tensor(strengths, dtype=torch.float64)
    nothing = columns.new_zeros(0, columns.shape[-1])
    if protocol.equal is None:
        return Edits(torch.nan, False, steps, columns, nothing, seconds)
    rows, known = faces.calibration, columns[:, torch.isin(swept, faces.calibration)]
    success = [float(faces.turned(target, each, rows).double().mean()) for each in known]
    effects = [float(faces.side_effects(target, each, rows).mean()) for each in known]
    values = success if protocol.equal == "success" else effects
    strength, reached = strength_for(protocol.level, strengths, values)
    if max(success) <= protocol.least_success:
        reason = (
            f"turns over {round(max(success) * len(rows))} of {len(rows)} faces at most, at side "
            f"effects of up to {max(effects):.2g} sd"
        )
        return Edits(strength, reached, steps, columns, nothing, seconds, reason)
    rows = faces.test if test is None else faces.test[:test]
    if not len(rows):
        return Edits(strength, reached, steps, columns, nothing, seconds)
    found, seconds = faces.edit(editor, target, strength, rows, person=True)
    return Edits(strength, reached, steps, columns, found, seconds)


def strengths_around(
    faces: Faces, editor: Editor, target: str, guess: float, level: float
) -> list[float]:
    """Two strengths: that for side effects of about `level`, and twice that.

    Args:
        guess: a strength with a side effect of any size; less than sixteen times off.
    """
    few = faces.calibration[:PROBED]
    first, _ = faces.edit(editor, target, guess, few)
    effect = float(faces.side_effects(target, first, few).mean())
    start = guess * min(max(level / max(effect, 1e-6), 1 / 16), 16)
    return [start, 2 * start]


def strength_for(
    level: float, strengths: Sequence[float], values: Sequence[float]
) -> tuple[float, bool]:
    """Where `values` first reach `level`, linear between the strengths (S,) and 0.

    Returns:
        the strength, and whether the level was reached; where it was not, the strength tried that
        has the highest value.
    """
    before, low = 0.0, 0.0
    for strength, value in zip(strengths, values, strict=True):
        if value >= level:
            return before + (strength - before) * (level - low) / (value - low), True
        before, low = strength, value
    return strengths[max(range(len(values)), key=values.__getitem__)], False


def measure_iterative(faces: Faces, editor: Editor, target: str, test: int) -> Edits:
    """The edits of an iterative editor, on the first test faces.

    Each face has its own strength, to one standard deviation beyond the threshold. A walk draws an
    image at every step: its end is kept in the cache.
    """
    if test < 1:
        return no_edits(faces, "iterative: left out of this run")
    rows, ends, seconds = faces.test[:test], [], 0.0
    strengths = (faces.signs(target) * faces.own_strengths(target))[rows]
    start, learned = faces.latents(editor.space)[rows], _digest(editor)
    for part, asked in zip(start.values.split(_WALKS), strengths.split(_WALKS), strict=True):
        inputs = {
            "version": 2,
            "generator": faces.generator.fingerprint,
            "scorers": faces.scorers.fingerprint,
            "editor": learned,
            "codes": sha256_tensor(part),
            "strengths": sha256_tensor(asked),
        }

        def walked(part: Tensor = part, asked: Tensor = asked) -> dict[str, Tensor]:
            begin = time.perf_counter()
            values = editor.edit(start.with_values(part), asked.to(part)).values
            return {"values": values, "seconds": torch.tensor(time.perf_counter() - begin)}

        end = cached("walks", inputs, walked)
        ends.append(end["values"])
        seconds += float(end["seconds"])
    scored = score_once(faces.generator, faces.scorers, Latents(torch.cat(ends), editor.space))
    found = faces.columns(finite(scored, f"the edits of {editor.name}"), rows)
    nothing = found.new_zeros(0, len(faces.calibration), found.shape[1])
    return Edits(torch.nan, False, torch.zeros(0), nothing, found, seconds / len(rows))


def _digest(editor: Editor) -> str:
    """Of all that the editor knows."""
    tensors, structure = pack({"": editor})
    return sha256_tensors(tensors) + json.dumps(structure, sort_keys=True)


def no_edits(faces: Faces, reason: str) -> Edits:
    """Those of a method without an editor for a target."""
    width = len(faces.names)
    nothing = torch.zeros(0, len(faces.calibration), width)
    none = torch.zeros(0, width)
    return Edits(torch.nan, False, torch.zeros(0), nothing, none, torch.nan, reason)
