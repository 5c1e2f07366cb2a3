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

The measures (`metrics.changes`) each have a 95 % bootstrap interval over faces, with the same
resamples for all methods. MDS is the area under the manipulation disentanglement curve over all
strengths (Li et al. 2021). Strengths of two methods mean different things: all other measures are
taken at each method's own strength for the success rate, or for the side effects, that is to be
equal. That strength is found on some of the faces, the calibration faces; at it the edits of the
others, the test faces, are measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.editors import Editor
from facenb.errors import unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.metrics.compare_table import Comparison
from facenb.metrics.faces import Faces
from facenb.metrics.measurements import Measurements
from facenb.metrics.trials import Protocol, measure
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
    equal: str | None = "success",
    level: float = 0.75,
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
        equal: what is the same for all methods where they are compared: "success" or "side
            effects", at `level`; None for curves and MDS alone, which takes half of the time.
        calibration: the fraction of the faces that strengths are found on.
        curves: try the strengths on all faces. Otherwise they are tried on the calibration faces
            alone, which saves most of the time where no curve is asked for; `curve` is then of
            those few, and MDS of few strengths.
        seed: of the resamples, and of which faces are calibration faces.

    Raises:
        UnknownNameError: a target or a counted name that is not among the scores.
        TypeError: editors that are not a mapping by name.
        ValueError: strengths that are not increasing numbers above 0, a calibration fraction that
            leaves no face on one side, NaN anywhere, and what `Faces.of` and `Protocol` refuse.
        SpaceError: an editor of a space that the generator cannot map the latents to.
    """
    targets = (targets,) if isinstance(targets, str) else tuple(dict.fromkeys(targets))
    for name in targets:
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
    protocol = Protocol(equal, level)
    tried = {m: _strengths(m, strengths) for m in methods}
    order = torch.randperm(len(latents), generator=seeded(seed))
    found = order[: int(len(latents) * calibration)].sort().values
    faces = Faces.of(generator, scorers, latents, thresholds, deviations, found, counted,
                     change == "label", identity)  # fmt: skip
    for target in targets:
        if set(faces.counted) <= {target}:
            raise ValueError(
                f"compare: expected a score beside {target!r} that counts, given {faces.counted}."
            )
    cells = [(m, t) for m, editors in methods.items() for t in targets if t in editors]
    for method, target in cells:
        faces.latents(methods[method][target].space)  # or an error before the long work
    swept = torch.arange(len(faces)) if curves else faces.calibration
    edits = {
        (m, t): measure(faces, methods[m][t], t, tried[m], protocol, swept)
        for m, t in tqdm(cells, "comparing", unit="edit", leave=False)
    }
    data = Measurements.of(faces, protocol, swept, methods, targets, edits)
    return Comparison(data, resamples=resamples, seed=seed)


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
