"""One comparison of editing methods: all of them on the same faces, by the same scores.

    thresholds = label_thresholds(samples.scores, scorers.attributes)
    comparison = compare(
        generator, scorers, {"InterFaceGAN": boundaries.editors(), "SGF": fields.editors()},
        generator.sample(64, seed=1), targets=["smile", "age"],
        strengths={"InterFaceGAN": [1, 2, 4], "SGF": [2, 4, 8]},
        thresholds=thresholds, deviations=samples.scores.std(0), identity=identity,
    )
    comparison.table()                        # one row for each method
    comparison.curve("SGF", "smile")          # one row for each strength
    comparison.difference("SGF", "InterFaceGAN")

The measures, each with a 95 % bootstrap interval over faces, the same resamples for all methods:

    mds            area under the manipulation disentanglement curve, on all faces (Li et al. 2021)
    success        fraction of the faces whose attribute is on its other side after the edit;
                   the papers' accuracy
    identity       fraction of the successes that show the same person (Yao et al. 2021, Table 1)
    attributes     of the successes, the mean fraction of other attributes that did not change
    side effects   mean absolute change of the other scores in their standard deviations, per
                   standard deviation of the target's score

Strengths of two methods mean different things. The last four are therefore measured at each
method's own strength for a given success rate. That strength is found on some of the faces, the
calibration faces, and judged on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from facenb.editors import Editor
from facenb.errors import unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.compare_table import Comparison
from facenb.metrics.faces import Faces
from facenb.metrics.trials import Trials
from facenb.scorers import IdentityScorer, ScorerSuite
from facenb.seeds import seeded

CHANGES = ("deviation", "label")


def compare(
    generator: Generator,
    scorers: ScorerSuite,
    methods: Mapping[str, Mapping[str, Editor]],
    latents: Latents,
    targets: Sequence[str],
    strengths: Sequence[float] | Mapping[str, Sequence[float]],
    thresholds: Tensor,
    deviations: Tensor,
    identity: IdentityScorer | None = None,
    counted: Sequence[str] | None = None,
    change: str = "deviation",
    calibration: float = 0.5,
    curves: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Edit the same N faces with every method, towards the other side of every target attribute.

    Scores are cached by the edited latents, so that an interrupted comparison goes on where it
    stopped, and a further method costs its own edits alone. No image is kept.

    Args:
        methods: for each method its editors by target. Positive strengths raise the target's score.
            Targets that a method has no editor for are missing in its results.
        latents: the faces, which no method has learned from; in "z" or "w". They are mapped to each
            editor's space.
        targets: names of scores.
        strengths: weak to strong, above 0; the same for all methods, or for each its own.
        thresholds: (A,), the score above which an attribute counts as present.
        deviations: (A,), the standard deviation of each score over the generator's samples.
        identity: with its `threshold` set; None leaves identity out.
        counted: scores that count as other attributes; by default all but those of kind "quality".
        change: another attribute has changed when its score moved by more than a standard
            deviation ("deviation"), or when its label turned over ("label": Yao et al. 2021).
        calibration: the fraction of the faces that strengths are found on.
        curves: try the strengths on all faces. Otherwise they are tried on the calibration faces
            alone, which saves most of the time where no curve is asked for; `curve` and the
            measure "mds" are then of those few.
        seed: of the resamples, and of which faces are calibration faces.

    Raises:
        UnknownNameError: a target or a counted name that is not among the scores.
        TypeError: editors that are not a mapping by name.
        ValueError: strengths that are not increasing numbers above 0, a calibration fraction that
            leaves no face on one side, NaN anywhere, and what `Faces.of` refuses.
        SpaceError: an editor of a space that the generator cannot map the latents to.
    """
    targets = (targets,) if isinstance(targets, str) else tuple(dict.fromkeys(targets))
    if counted is None:
        counted = [a.name for a in scorers.attributes if a.kind != "quality"]
    for name in (*targets, *counted):
        if name not in scorers.names:
            raise unknown("score", name, scorers.names)
    if not targets or not methods or change not in CHANGES:
        raise ValueError(
            "compare: expected at least one method, at least one target, and a change among "
            f"{', '.join(CHANGES)}; given {list(methods)}, {list(targets)} and {change!r}."
        )
    for method, editors in methods.items():
        if not isinstance(editors, Mapping):
            raise TypeError(
                f"{method}: expected a mapping of editors by name, given "
                f"{type(editors).__name__}. Of a method take .editors()."
            )
    tried = {m: _strengths(m, strengths) for m in methods}
    spaces = [e[target].space for e in methods.values() for target in targets if target in e]
    faces = Faces.of(generator, scorers, latents, spaces, thresholds, deviations, identity)
    order = torch.randperm(len(faces), generator=seeded(seed))
    parts = [part.sort().values for part in order.tensor_split([int(len(faces) * calibration)])]
    if not all(map(len, parts)):
        raise ValueError(
            f"calibration: expected a fraction that leaves faces on both sides, given "
            f"{calibration} of {len(faces)} faces."
        )
    swept = torch.arange(len(faces)) if curves else parts[0]
    trials = Trials(faces, methods, targets, tuple(counted), change == "label", swept, *parts)
    return Comparison(trials, trials.sweep(tried), resamples, seed)


def _strengths(
    method: str, strengths: Sequence[float] | Mapping[str, Sequence[float]]
) -> list[float]:
    if isinstance(strengths, Mapping):
        if method not in strengths:
            raise unknown("method of strengths", method, strengths)
        strengths = strengths[method]
    found = [float(strength) for strength in strengths]
    steps = torch.tensor([0.0, *found], dtype=torch.float64).diff()
    if not found or not (steps > 0).all() or not steps.isfinite().all():
        raise ValueError(
            f"strengths of {method}: expected increasing numbers above 0, given {found}."
        )
    return found
