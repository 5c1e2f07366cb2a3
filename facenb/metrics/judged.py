"""The measured scores of every method's edits, as they ship: what tables are made of.

    judged = load_judged("mobilestylegan-ffhq-1024")
    judged.cells["SGF", "smile"].judged        # (n, C): scores, independent scores, the person

`python -m scripts.compare_methods` measures them. Whoever takes them draws and scores 64 of the
edits again, and stops where they differ (`check`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from facenb.data import data_path
from facenb.editors import Editor
from facenb.errors import FacenbError
from facenb.metrics.bench import Bench, Cell
from facenb.storage.files import atomic_write

CHECKED = 64
# What bfloat16's rounding makes of the scores of an edit, in their standard deviations: of single
# ones, and in the mean. Another face, strength or direction is five times as far away in the mean.
TOLERANCE = 1.0
MEAN_TOLERANCE = 0.05
_FORMAT = "facenb-judged-1"


class JudgedError(FacenbError):
    """Shipped scores that are not those of these generator, scorers or editors."""


@dataclass(frozen=True)
class Judged:
    """Methods × targets on the same K calibration faces and N judged faces.

    Attributes:
        methods, targets: in the order of the tables.
        names: of the C columns: A scores, B independent ones ("independent smile"), "person".
        before: (K + N, C) of the unedited faces.
        thresholds, deviations: (A + B,) above which an attribute counts as present; of a score.
        same_person: the cosine above which two images show one person.
        cells: for every (method, target).
        again: further trainings of a (method, target): their judged columns (m, C), m ≤ N.
        facts: of each method: "labels", "seconds" (to learn), "told", "editors" (by target).
        provenance: how all this was measured.
    """

    methods: tuple[str, ...]
    targets: tuple[str, ...]
    names: tuple[str, ...]
    before: Tensor
    thresholds: Tensor
    deviations: Tensor
    same_person: float
    cells: Mapping[tuple[str, str], Cell]
    again: Mapping[tuple[str, str], Sequence[Tensor]]
    facts: Mapping[str, Mapping[str, object]]
    provenance: Mapping[str, object]

    @property
    def calibrating(self) -> int:
        """K."""
        return next(iter(self.cells.values())).calibration.shape[1]

    @property
    def faces(self) -> int:
        """How many judged faces the editors that do not walk have edited, at most."""
        return max(len(c.judged) for c in self.cells.values())

    def write(self, path: str | PathLike[str]) -> None:
        """One file: scores in half precision, all else as JSON."""
        tensors = {"before": self.before, "thresholds": self.thresholds,
                   "deviations": self.deviations}  # fmt: skip
        cells = []
        for (method, target), cell in self.cells.items():
            key = f"{method}/{target}"
            tensors[f"{key}/calibration"] = cell.calibration.half()
            tensors[f"{key}/judged"] = cell.judged.half()
            more = self.again.get((method, target), ())
            for k, columns in enumerate(more):
                tensors[f"{key}/again {k}"] = columns.half()
            cells.append([method, target, _number(cell.strength), cell.strengths.tolist(),
                          _number(cell.seconds), cell.reason, len(more)])  # fmt: skip
        facts = {
            "methods": self.methods,
            "targets": self.targets,
            "names": self.names,
            "same_person": self.same_person,
            "cells": cells,
            "facts": self.facts,
            "provenance": self.provenance,
        }
        about = {"format": _FORMAT, "judged": json.dumps(facts)}
        atomic_write(Path(path), save({k: t.contiguous() for k, t in tensors.items()}, about))


def _number(value: float) -> float | None:
    return None if value != value else value


def read_judged(path: str | PathLike[str]) -> Judged:
    """What `Judged.write` wrote; JudgedError for another or a damaged file."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, ValueError, RuntimeError) as error:
        raise JudgedError(f"{path}: cannot be read: {error}") from error
    except Exception as error:  # SafetensorError has no public name
        raise JudgedError(f"{path}: damaged: {error}") from error
    if about.get("format") != _FORMAT:
        raise JudgedError(f"{path}: expected a file of {_FORMAT}, given {about.get('format')}.")
    facts = json.loads(about["judged"])
    cells, again = {}, {}
    for method, target, strength, strengths, seconds, reason, count in facts["cells"]:
        key = f"{method}/{target}"
        cells[method, target] = Cell(
            torch.nan if strength is None else strength,
            torch.tensor(strengths),
            tensors[f"{key}/calibration"].float(),
            tensors[f"{key}/judged"].float(),
            torch.nan if seconds is None else seconds,
            reason,
        )
        if count:
            again[method, target] = [tensors[f"{key}/again {k}"].float() for k in range(count)]
    return Judged(
        tuple(facts["methods"]),
        tuple(facts["targets"]),
        tuple(facts["names"]),
        tensors["before"],
        tensors["thresholds"],
        tensors["deviations"],
        facts["same_person"],
        cells,
        again,
        facts["facts"],
        facts["provenance"],
    )


def load_judged(generator: str) -> Judged:
    """What ships for a generator; UnknownNameError lists the files there are."""
    return read_judged(data_path(f"judged_{generator}.safetensors"))


def check(
    judged: Judged, bench: Bench, editors: Mapping[tuple[str, str], Editor], count: int = CHECKED
) -> float:
    """The mean difference of `count` edits, drawn and scored again, from what is kept.

    In standard deviations of a score (of the cosine: as it is); which edits differs from call to
    call. They are of a quarter as many faces.

    Args:
        bench: of the same faces; it may draw in another precision.
        editors: by (method, target); those that are not here are not checked.

    Raises:
        JudgedError: other faces, columns or scorers, or differences above the two tolerances.
    """
    random = torch.Generator()
    random.seed()
    if len(judged.before) != len(bench) or judged.provenance.get("scorers") not in (
        None,
        bench.panel.fingerprint,
    ):
        raise JudgedError(
            f"the edits that ship are of {len(judged.before)} faces, by the scorers "
            f"{judged.provenance.get('scorers')}; given a bench of {len(bench)} faces, by the "
            f"scorers {bench.panel.fingerprint}."
        )
    scale = torch.cat([judged.deviations, torch.ones(1)])
    asked: dict[tuple[str, str], list[int]] = {}
    pairs = [pair for pair in editors if len(judged.cells[pair].judged)]
    faces = torch.randperm(judged.faces, generator=random)[: max(count // 4, 1)].tolist()
    for _ in range(count):
        pair = pairs[int(torch.randint(len(pairs), (), generator=random))]
        face = faces[int(torch.randint(len(faces), (), generator=random))]
        asked.setdefault(pair, []).append(face)
    bench.unedited(torch.tensor(faces) + judged.calibrating)  # all at once
    worst, what, means = 0.0, "", []
    for (method, target), faces in asked.items():
        cell = judged.cells[method, target]
        rows = torch.tensor(sorted({face for face in faces if face < len(cell.judged)}))
        if not len(rows):
            continue
        fresh, _ = bench.edit(
            editors[method, target], target, cell.strength, rows + judged.calibrating
        )
        away = (fresh - cell.judged[rows]).abs() / scale
        means.append(float(away.mean()))
        away = away.amax(0)
        if float(away.max()) > worst:
            worst = float(away.max())
            what = f"{judged.names[int(away.argmax())]!r} of {method}, {target}"
    mean = sum(means) / len(means)
    if worst > TOLERANCE or mean > MEAN_TOLERANCE:
        raise JudgedError(
            f"{count} of the edits that ship were drawn and scored again: {what} differs by "
            f"{worst:.3g} standard deviations, expected at most {TOLERANCE}; the mean difference "
            f"is {mean:.3g}, expected at most {MEAN_TOLERANCE}. Make them again: "
            f"{judged.provenance.get('command', 'python -m scripts.compare_methods')}."
        )
    return mean
