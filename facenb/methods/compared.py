"""Methods × targets on one bench: what is measured for the table of notebook 11.

bench = bench_of(generator, samples)
line = LineUp(bench.generator, samples, TARGETS)
judged = compare_all(bench, line, population(generator, bench.panel))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.generators import Generator
from facenb.methods.entry import Entry
from facenb.methods.latent_transformer import label_thresholds
from facenb.methods.lineup import LineUp
from facenb.metrics.bench import (
    HOPELESS,
    Bench,
    Cell,
    calibrate,
    conditions_of,
    judge,
    judge_walk,
    missing,
)
from facenb.metrics.judged import Judged, JudgedError
from facenb.metrics.panel import Panel, load_panel
from facenb.metrics.preservation import false_acceptance_threshold
from facenb.sampling import ScoredSamples, score_once

TARGETS = ("smile", "age", "gender", "glasses", "beard", "yaw", "fringe")
SEED = 11_000  # of the faces
CALIBRATING, JUDGED = 8, 204
PSI = 0.8  # of all faces that are edited
POPULATION = 400  # faces at ψ = 1, for what no samples ship for
POPULATION_SEED = 12_000


@dataclass(frozen=True)
class Sizes:
    """How many judged faces each kind of edit gets.

    Attributes:
        judged: of all editors but those that walk.
        walked: of editors that draw images at every step.
        again: of further trainings.
    """

    judged: int = JUDGED
    walked: int = 8
    again: int = 24


def bench_of(
    generator: Generator,
    samples: ScoredSamples,
    judged: Judged | None = None,
    faces: int = CALIBRATING + JUDGED,
    calibrating: int = CALIBRATING,
) -> Bench:
    """The faces that all methods edit.

    Args:
        samples: of the generator, in any space, with all scores of the suite.
        judged: edits measured before, to be made again: in single precision where they were drawn
            in bfloat16, and each towards the same side.
    """
    drawn = generator
    if "w" in generator.spaces:
        precision = torch.bfloat16 if judged is None else torch.float32
        drawn = generator.variant(truncation=PSI, precision=precision)
    panel = load_panel(drawn)
    attributes = panel.scorers.attributes
    return Bench.of(
        drawn,
        panel,
        drawn.sample(faces, seed=SEED),
        label_thresholds(samples.scores, attributes),
        samples.scores.std(0),
        conditions_of(samples.names),
        calibrating,
        None if judged is None else judged.before[:, : len(attributes)],
    )


@dataclass(frozen=True)
class Population:
    """What is known of random faces at ψ = 1.

    Attributes:
        thresholds, deviations: (B,) of the independent scores.
        same_person: the cosine that one pair of different faces in a thousand exceeds.
    """

    thresholds: Tensor
    deviations: Tensor
    same_person: float


def population(generator: Generator, panel: Panel, n: int = POPULATION) -> Population:
    """Measured on `n` faces, 46 or more."""
    drawn = generator
    if "w" in generator.spaces:
        drawn = generator.variant(truncation=1.0, precision=torch.bfloat16)
    raw = score_once(drawn, panel, drawn.sample(n, seed=POPULATION_SEED))
    same = false_acceptance_threshold(panel.people(raw))
    if panel.others is None:
        return Population(torch.zeros(0), torch.zeros(0), same)
    others = panel.independent(raw)
    return Population(label_thresholds(others, panel.others.attributes), others.std(0), same)


def compare_all(
    bench: Bench,
    line: LineUp,
    known: Population,
    sizes: Sizes = Sizes(),
    entries: Iterable[str] | None = None,
    said: Callable[[str], None] = lambda text: None,
    provenance: Mapping[str, object] | None = None,
) -> Judged:
    """Every method's edits of every target; what was scored before comes from the cache.

    Args:
        entries: names of methods, all by default.
        said: told of each cell.
    """
    makers = line.entries()
    names = list(makers) if entries is None else list(entries)
    cells, again, facts = {}, {}, {}
    for name in names:
        entry = makers[name]()
        for target in line.targets:
            cell, editor = judge_entry(bench, name, entry, target, sizes)
            cells[name, target] = cell
            label = _told(editor)
            facts.setdefault(name, facts_of(entry))["editors"][target] = label
            said(f"{name}, {target}: {label} {cell.reason or len(cell.judged)}")
            if sizes.again and not cell.reason and len(cell.judged):
                rows = bench.rows(sizes.again)
                for editors in entry.trainings():
                    found, _ = bench.edit(editors[target], target, cell.strength, rows)
                    again.setdefault((name, target), []).append(found)
    suite = bench.panel.scorers.names
    others = bench.panel.others.names if bench.panel.others else ()
    return Judged(
        tuple(names),
        line.targets,
        (*suite, *(f"independent {name}" for name in others), "person"),
        bench.before(),
        torch.cat([bench.thresholds, known.thresholds]),
        torch.cat([bench.deviations, known.deviations]),
        known.same_person,
        cells,
        again,
        facts,
        dict(provenance or {}),
    )


def editors_of(line: LineUp, judged: Judged) -> dict[tuple[str, str], Editor]:
    """The editors behind the judged cells, by method and target; those that walk are left out."""
    found = {}
    for name, make in line.entries().items():
        if name not in judged.methods:
            continue
        entry = make()
        for target in judged.targets:
            cell = judged.cells[name, target]
            if entry.walks or target not in entry.editors or cell.strength != cell.strength:
                continue
            label = judged.facts[name]["editors"][target]
            choice = [entry.editors[target], *entry.layers.get(target, {}).values()]
            editor = next((each for each in choice if _told(each) == label), None)
            if editor is None:
                raise JudgedError(
                    f"{name}, {target}: the edits that ship are of {label!r}, given "
                    f"{', '.join(map(_told, choice))}. Make them again: "
                    f"{judged.provenance.get('command')}."
                )
            found[name, target] = editor
    return found


def with_method(judged: Judged, bench: Bench, name: str, entry: Entry, sizes: Sizes) -> Judged:
    """`judged` and one more method, or another entry in its place."""
    cells = {k: v for k, v in judged.cells.items() if k[0] != name}
    facts = facts_of(entry)
    for target in judged.targets:
        cells[name, target], editor = judge_entry(bench, name, entry, target, sizes)
        facts["editors"][target] = _told(editor)
    methods = tuple(dict.fromkeys((*judged.methods, name)))
    return replace(judged, methods=methods, cells=cells, facts={**judged.facts, name: facts})


def facts_of(entry: Entry) -> dict[str, object]:
    """What is said of a method beside its measures."""
    return {"labels": entry.labels, "seconds": entry.seconds, "told": entry.told, "editors": {}}


def judge_entry(
    bench: Bench, name: str, entry: Entry, target: str, sizes: Sizes
) -> tuple[Cell, Editor | None]:
    """The cell of a method and a target, and the editor that was judged."""
    if target not in entry.editors:
        return missing(bench, entry.reasons.get(target, "has no editor for it")), None
    editor = entry.editors[target]
    if entry.walks:
        return judge_walk(bench, name, editor, target, sizes.walked), editor
    if target in entry.layers:
        editor = best_layers(bench, entry, target)
    return judge(bench, editor, target, entry.guess, sizes.judged), editor


def best_layers(bench: Bench, entry: Entry, target: str) -> Editor:
    """All layers, or the range of them that turns over most calibration faces at LEVEL."""
    found = {}
    for editor in (entry.editors[target], *entry.layers[target].values()):
        cell = calibrate(bench, editor, target, entry.guess)
        found.setdefault(success_at_level(bench, cell, target), editor)
    return found[max(found)]


def success_at_level(bench: Bench, cell: Cell, target: str) -> float:
    """Of the calibration faces, linear between the strengths tried; below 0 without hope."""
    rows = torch.arange(bench.calibrating)
    rates = [float(bench.turned(target, each, rows).double().mean()) for each in cell.calibration]
    if max(rates) <= HOPELESS:
        return max(rates) - 1
    x, y = [0.0, *cell.strengths.tolist()], [0.0, *rates]
    for left in range(len(x) - 1):
        if x[left] <= cell.strength <= x[left + 1]:
            part = (cell.strength - x[left]) / (x[left + 1] - x[left])
            return y[left] + part * (y[left + 1] - y[left])
    return y[-1]


def _told(editor: Editor | None) -> str:
    if editor is None:
        return ""
    inner = editor
    while hasattr(inner, "editor"):
        inner = inner.editor
    layers = getattr(inner, "layers", None)
    name = editor.name.split(" | ")[0]
    return f"{name}, layers {layers[0]} to {layers[1] - 1}" if layers else name
