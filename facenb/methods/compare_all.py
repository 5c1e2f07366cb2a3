"""Methods × targets on the same faces: what is measured for the table of notebook 11.

faces = faces_of(generator, samples)
methods = AllMethods(faces.generator, samples, TARGETS)
data = compare_all(faces, methods, population(generator, faces.scorers))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import unknown
from facenb.generators import Generator
from facenb.methods.all_methods import AllMethods
from facenb.methods.entry import Entry
from facenb.methods.latent_transformer import label_thresholds
from facenb.metrics.faces import Faces
from facenb.metrics.measurements import Measurements, MeasurementsError
from facenb.metrics.preservation import false_acceptance_threshold
from facenb.metrics.trials import (
    Edits,
    Protocol,
    measure,
    measure_iterative,
    no_edits,
    strengths_around,
)
from facenb.sampling import ScoredSamples, score_once
from facenb.scorers import conditions_of
from facenb.scorers.joint import JointScorers, load_joint_scorers

LEVEL = 0.4  # standard deviations; of two faces that have nothing in common the mean is 1.1
# A method that turns over no more than a sixth of the calibration faces is not drawn on the others.
PROTOCOL = Protocol("side effects", LEVEL, least_success=1 / 6)
TARGETS = ("smile", "age", "gender", "glasses", "beard", "yaw", "fringe")
SEED = 11_000  # of the faces
CALIBRATING, TEST = 8, 200
PSI = 0.8  # of all faces that are edited
POPULATION = 400  # faces at ψ = 1, for what no samples ship for
POPULATION_SEED = 12_000


@dataclass(frozen=True)
class Sizes:
    """How many test faces each kind of edit gets.

    Attributes:
        test: of all editors but iterative ones.
        iterative: of editors that draw images at every step.
        again: of further trainings.
    """

    test: int = TEST
    iterative: int = 25
    again: int = 50


def faces_of(
    generator: Generator,
    samples: ScoredSamples,
    data: Measurements | None = None,
    test: int = TEST,
    calibrating: int = CALIBRATING,
) -> Faces:
    """The faces that all methods edit; the first `calibrating` find strengths.

    Args:
        samples: of the generator, in any space, with all scores of the suite.
        data: edits measured before, to be made again: of the same faces, in single precision where
            they were drawn in bfloat16, and each towards the same side.
    """
    drawn = generator
    if data is not None:
        test, calibrating = len(data.test), len(data.calibration)
    if "w" in generator.spaces:
        precision = torch.bfloat16 if data is None else torch.float32
        drawn = generator.variant(truncation=PSI, precision=precision)
    scorers = load_joint_scorers(drawn.framing, drawn.device)
    attributes = scorers.suite.attributes
    return Faces.of(
        drawn,
        scorers,
        drawn.sample(calibrating + test, seed=SEED),
        label_thresholds(samples.scores, attributes),
        samples.scores.std(0),
        torch.arange(calibrating),
        conditions_of(samples.names),
        sides=None if data is None else data.before[:, : len(attributes)],
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


def population(generator: Generator, scorers: JointScorers, n: int = POPULATION) -> Population:
    """Measured on `n` faces, 46 or more."""
    drawn = generator
    if "w" in generator.spaces:
        drawn = generator.variant(truncation=1.0, precision=torch.bfloat16)
    scored = score_once(drawn, scorers, drawn.sample(n, seed=POPULATION_SEED))
    same = false_acceptance_threshold(scorers.person(scored))
    if scorers.others is None:
        return Population(torch.zeros(0), torch.zeros(0), same)
    others = scorers.scores(scored)[:, len(scorers.suite.names) :]
    return Population(label_thresholds(others, scorers.others.attributes), others.std(0), same)


def compare_all(
    faces: Faces,
    methods: AllMethods,
    known: Population,
    sizes: Sizes = Sizes(),
    names: Iterable[str] | None = None,
    said: Callable[[str], None] = lambda text: None,
    provenance: Mapping[str, object] | None = None,
) -> Measurements:
    """Every method's edits of every target; what was scored before comes from the cache.

    Args:
        names: of methods, all by default.
        said: told of each method and target.
    """
    makers = methods.entries()
    names = list(makers) if names is None else list(names)
    for name in names:
        if name not in makers:
            raise unknown("method", name, makers)
    measured, again, facts = {}, {}, {}
    for name in names:
        entry = makers[name]()
        trainings: Sequence[Mapping[str, Editor]] | None = None
        for target in methods.targets:
            edits, editor = measure_entry(faces, entry, target, sizes)
            measured[name, target] = edits
            label = _told(editor)
            facts.setdefault(name, facts_of(entry))["editors"][target] = label
            said(f"{name}, {target}: {label} {edits.reason or len(edits.test)}")
            if sizes.again and not edits.reason and len(edits.test):
                rows = faces.test[: min(sizes.again, len(edits.test))]
                trainings = entry.trainings() if trainings is None else trainings
                for editors in trainings:
                    found, _ = faces.edit(editors[target], target, edits.strength, rows)
                    again.setdefault((name, target), []).append(found)
    return Measurements.of(
        faces,
        PROTOCOL,
        faces.calibration,
        names,
        methods.targets,
        measured,
        thresholds=torch.cat([faces.thresholds, known.thresholds]),
        deviations=torch.cat([faces.deviations, known.deviations]),
        same_person=known.same_person,
        again=again,
        facts=facts,
        provenance=dict(provenance or {}),
    )


def editors_of(methods: AllMethods, data: Measurements) -> dict[tuple[str, str], Editor]:
    """The editors of the measured edits, by method and target; iterative ones are left out."""
    found = {}
    for name, make in methods.entries().items():
        if name not in data.methods:
            continue
        entry = make()
        for target in data.targets:
            edits = data.edits[name, target]
            if entry.iterative or target not in entry.editors or edits.strength != edits.strength:
                continue
            label = data.facts[name]["editors"][target]
            choice = [entry.editors[target], *entry.layers.get(target, {}).values()]
            editor = next((each for each in choice if _told(each) == label), None)
            if editor is None:
                raise MeasurementsError(
                    f"{name}, {target}: the edits that ship are of {label!r}, given "
                    f"{', '.join(map(_told, choice))}. Make them again: "
                    f"{data.provenance.get('command')}."
                )
            found[name, target] = editor
    return found


def with_method(
    data: Measurements, faces: Faces, name: str, entry: Entry, sizes: Sizes
) -> Measurements:
    """`data` and one more method, or another entry in its place."""
    measured = {k: v for k, v in data.edits.items() if k[0] != name}
    facts = facts_of(entry)
    for target in data.targets:
        measured[name, target], editor = measure_entry(faces, entry, target, sizes)
        facts["editors"][target] = _told(editor)
    methods = tuple(dict.fromkeys((*data.methods, name)))
    again = {k: v for k, v in data.again.items() if k[0] != name}
    facts = {**data.facts, name: facts}
    return replace(data, methods=methods, edits=measured, again=again, facts=facts)


def facts_of(entry: Entry) -> dict[str, object]:
    """What is said of a method beside its measures."""
    return {
        "labels": entry.labels,
        "seconds": entry.seconds,
        "training_time": entry.training_time,
        "iterative": entry.iterative,
        "editors": {},
    }


def measure_entry(
    faces: Faces, entry: Entry, target: str, sizes: Sizes
) -> tuple[Edits, Editor | None]:
    """The edits of a method and a target, and the editor that made them."""
    if target not in entry.editors:
        return no_edits(faces, entry.reasons.get(target, "has no editor for it")), None
    editor = entry.editors[target]
    if entry.iterative:
        return measure_iterative(faces, editor, target, sizes.iterative), editor
    if target in entry.layers:
        editor = best_layers(faces, entry, target)
    return _measured(faces, editor, target, entry.guess, sizes.test), editor


def best_layers(faces: Faces, entry: Entry, target: str) -> Editor:
    """All layers, or the range of them that turns over most calibration faces at LEVEL."""
    found = {}
    for editor in (entry.editors[target], *entry.layers[target].values()):
        edits = _measured(faces, editor, target, entry.guess, 0)
        found.setdefault(success_at_level(faces, edits, target), editor)
    return found[max(found)]


def success_at_level(faces: Faces, edits: Edits, target: str) -> float:
    """Of the calibration faces, linear between the strengths tried; below 0 where hardly any is."""
    rows = faces.calibration
    rates = [float(faces.turned(target, each, rows).double().mean()) for each in edits.swept]
    if edits.reason:
        return max(rates) - 1
    x, y = [0.0, *edits.strengths.tolist()], [0.0, *rates]
    for left in range(len(x) - 1):
        if x[left] <= edits.strength <= x[left + 1]:
            part = (edits.strength - x[left]) / (x[left + 1] - x[left])
            return y[left] + part * (y[left + 1] - y[left])
    return y[-1]


def _measured(faces: Faces, editor: Editor, target: str, guess: float, test: int) -> Edits:
    strengths = strengths_around(faces, editor, target, guess, LEVEL)
    return measure(faces, editor, target, strengths, PROTOCOL, faces.calibration, test)


def _told(editor: Editor | None) -> str:
    if editor is None:
        return ""
    inner = editor
    while hasattr(inner, "editor"):
        inner = inner.editor
    layers = getattr(inner, "layers", None)
    name = editor.name.split(" | ")[0]
    return f"{name}, layers {layers[0]} to {layers[1] - 1}" if layers else name
