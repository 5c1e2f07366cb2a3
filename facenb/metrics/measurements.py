"""The scores of every method's edits, as they ship: what the tables of a comparison are made of.

    data = load_measurements("mobilestylegan-ffhq-1024")
    data.edits["SGF", "smile"].test        # (m, C): scores, independent scores, the person

`python -m scripts.compare_methods` measures them. Whoever takes them draws and scores 64 of the
edits again, and stops where they differ (`check`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.data import data_path
from facenb.editors import Editor
from facenb.errors import FacenbError
from facenb.metrics.faces import Faces
from facenb.metrics.trials import Edits, Protocol
from facenb.storage.files import write_tensors

CHECKED = 64
# What bfloat16's rounding makes of the scores of an edit, in their standard deviations: of single
# ones, and in the mean. Another face, strength or direction is five times as far away in the mean.
TOLERANCE = 1.0
MEAN_TOLERANCE = 0.05
_FORMAT = "facenb-measurements-2"
_TENSORS = ("before", "thresholds", "deviations", "swept", "calibration", "test")
_TEXTS = ("methods", "targets", "names", "counted", "labels", "same_person", "facts", "provenance")


class MeasurementsError(FacenbError):
    """Shipped scores that are not those of these faces, scorers or editors."""


@dataclass(frozen=True)
class Measurements:
    """Methods × targets on the same N faces.

    Attributes:
        methods, targets: in the order of the tables.
        names: of the C columns: A scores, B independent ones ("independent smile"), "person".
        before: (N, C) of the unedited faces.
        thresholds, deviations: (A + B,) above which an attribute counts as present; of a score.
        counted, labels: what counts as a change, as of `Faces`.
        same_person: the cosine above which two images show one person; NaN where none was measured.
        protocol: what is equal when the methods are compared.
        swept, calibration, test: rows of the faces, as of `measure`.
        edits: by (method, target); those that a method has no editor for may be missing.
        again: further trainings of a (method, target): test columns (m, C), at its strength.
        facts: of each method: "labels", "seconds" (to learn), "training_time" (in words),
            "iterative", "editors" (by target).
        provenance: how all this was measured.
    """

    methods: tuple[str, ...]
    targets: tuple[str, ...]
    names: tuple[str, ...]
    before: Tensor
    thresholds: Tensor
    deviations: Tensor
    counted: tuple[str, ...]
    labels: bool
    same_person: float
    protocol: Protocol
    swept: Tensor
    calibration: Tensor
    test: Tensor
    edits: Mapping[tuple[str, str], Edits]
    again: Mapping[tuple[str, str], Sequence[Tensor]] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)

    @staticmethod
    def of(
        faces: Faces,
        protocol: Protocol,
        swept: Tensor,
        methods: Sequence[str],
        targets: Sequence[str],
        edits: Mapping[tuple[str, str], Edits],
        **others: object,
    ) -> Measurements:
        """Edits of these faces; the other fields as they are, by name."""
        own = {
            "thresholds": faces.thresholds,
            "deviations": faces.deviations,
            "same_person": torch.nan if faces.identity is None else faces.identity.threshold,
        }
        return Measurements(
            methods=tuple(methods),
            targets=tuple(targets),
            names=faces.names,
            before=faces.before(),
            counted=faces.counted,
            labels=faces.labels,
            protocol=protocol,
            swept=swept,
            calibration=faces.calibration,
            test=faces.test,
            edits=edits,
            **(own | others),
        )

    @property
    def most(self) -> int:
        """The largest number of test faces that a method has edited towards a target."""
        return max((len(edits.test) for edits in self.edits.values()), default=0)

    def write(self, path: str | PathLike[str]) -> None:
        """One file: scores of edits in half precision, all else as it is."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        rows = []
        for (method, target), edits in self.edits.items():
            key = f"{method}/{target}"
            tensors[f"{key}/swept"] = edits.swept.half()
            tensors[f"{key}/test"] = edits.test.half()
            more = self.again.get((method, target), ())
            for k, columns in enumerate(more):
                tensors[f"{key}/again {k}"] = columns.half()
            rows.append([method, target, edits.strength, edits.reached, edits.strengths.tolist(),
                         edits.seconds, edits.reason, len(more)])  # fmt: skip
        facts = {name: getattr(self, name) for name in _TEXTS}
        facts |= {"protocol": asdict(self.protocol), "edits": rows}
        about = {"format": _FORMAT, "measurements": json.dumps(facts)}
        apart = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        write_tensors(path, apart, about)


def read_measurements(path: str | PathLike[str]) -> Measurements:
    """What `Measurements.write` wrote; MeasurementsError for another or a damaged file."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise MeasurementsError(f"{path}: cannot be read: {error}") from error
    if about.get("format") != _FORMAT:
        given = about.get("format")
        raise MeasurementsError(f"{path}: expected a file of {_FORMAT}, given {given}.")
    try:
        facts = json.loads(about["measurements"])
        edits, again = {}, {}
        for method, target, strength, reached, strengths, seconds, reason, count in facts["edits"]:
            key = f"{method}/{target}"
            edits[method, target] = Edits(
                strength,
                reached,
                torch.tensor(strengths, dtype=torch.float64),
                tensors[f"{key}/swept"].float(),
                tensors[f"{key}/test"].float(),
                seconds,
                reason,
            )
            if count:
                again[method, target] = [tensors[f"{key}/again {k}"].float() for k in range(count)]
        listed = {name: facts[name] for name in _TEXTS}
        listed |= {name: tuple(facts[name]) for name in ("methods", "targets", "names", "counted")}
        return Measurements(
            **listed,
            **{name: tensors[name] for name in _TENSORS},
            protocol=Protocol(**facts["protocol"]),
            edits=edits,
            again=again,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementsError(f"{path}: incomplete: {error}") from error


def load_measurements(generator: str) -> Measurements:
    """What ships for a generator; UnknownNameError lists the files there are."""
    return read_measurements(data_path(f"comparison_{generator}.safetensors"))


def check(
    data: Measurements,
    faces: Faces,
    editors: Mapping[tuple[str, str], Editor],
    count: int = CHECKED,
) -> float:
    """The mean difference of up to `count` edits, drawn and scored again, from what is kept.

    In standard deviations of a score (of the cosine: as it is); which edits differs from call to
    call. They are of a quarter as many faces. 0 where no test face was edited.

    Args:
        faces: the same; they may be drawn in another precision.
        editors: by (method, target); those that are not here are not checked.

    Raises:
        MeasurementsError: other faces or scorers, or differences above the two tolerances.
    """
    random = torch.Generator()
    random.seed()
    scorers = data.provenance.get("scorers", faces.scorers.fingerprint)
    if len(data.before) != len(faces) or scorers != faces.scorers.fingerprint:
        raise MeasurementsError(
            f"the edits that ship are of {len(data.before)} faces, by the scorers {scorers}; given "
            f"{len(faces)} faces, and the scorers {faces.scorers.fingerprint}."
        )
    scale = torch.cat([data.deviations, torch.ones(1)])
    asked: dict[tuple[str, str], list[int]] = {}
    pairs = [pair for pair in editors if len(data.edits[pair].test)]
    if not pairs:
        return 0.0
    shown = torch.randperm(data.most, generator=random)[: max(count // 4, 1)].tolist()
    for _ in range(count):
        pair = pairs[int(torch.randint(len(pairs), (), generator=random))]
        face = shown[int(torch.randint(len(shown), (), generator=random))]
        asked.setdefault(pair, []).append(face)
    faces.before(data.test[shown])  # all at once
    worst, what, means = 0.0, "", []
    for (method, target), chosen in asked.items():
        edits = data.edits[method, target]
        kept = torch.tensor(sorted({face for face in chosen if face < len(edits.test)}))
        if not len(kept):
            continue
        rows = data.test[kept]
        fresh, _ = faces.edit(editors[method, target], target, edits.strength, rows)
        away = (fresh - edits.test[kept]).abs() / scale
        means.append(float(away.mean()))
        away = away.amax(0)
        if float(away.max()) > worst:
            worst = float(away.max())
            what = f"{data.names[int(away.argmax())]!r} of {method}, {target}"
    mean = sum(means) / len(means)
    if not (worst <= TOLERANCE and mean <= MEAN_TOLERANCE):  # NaN, too
        raise MeasurementsError(
            f"{count} of the edits were drawn and scored again: {what} differs by "
            f"{worst:.3g} standard deviations, expected at most {TOLERANCE}; the mean difference "
            f"is {mean:.3g}, expected at most {MEAN_TOLERANCE}. Make them again: "
            f"{data.provenance.get('command', 'python -m scripts.compare_methods')}."
        )
    return mean
