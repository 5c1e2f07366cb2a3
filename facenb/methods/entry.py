"""A method in the table of all methods; names for directions that have none, and your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

from facenb.editors import Editor, Editors, read_editors, reverse
from facenb.generators import Generator
from facenb.metrics.linear_probe import LinearProbe


@dataclass(frozen=True)
class Entry:
    """A method in the table.

    Attributes:
        editors: by target; positive strengths raise the target's score.
        labels: how many scored samples it learns from; 0 for none.
        guess: a strength to begin with.
        seconds: that its training took here, for all targets; None where it ships.
        training_time: how long the training of what ships took, in words.
        reasons: why a target has no editor.
        layers: other editors of a target, for ranges of layers, of which the calibration faces
            choose one.
        iterative: each edit draws images at every step, and goes to an end of its own.
        trainings: the same trained again, on other samples or from another seed.
    """

    editors: Mapping[str, Editor]
    labels: int
    guess: float
    seconds: float | None = None
    training_time: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Editor]] = field(default_factory=dict)
    iterative: bool = False
    trainings: Callable[[], Sequence[Mapping[str, Editor]]] = tuple


def best_labelled(editors: Editors, probe: LinearProbe, column: int) -> tuple[Editor, float]:
    """The linear editor along which a score changes most relative to the mean other one.

    Returns:
        the editor, turned so that the score rises; that ratio.
    """
    change = probe.change(editors.vectors.to(probe.weight_))
    others = (change.abs().sum(1) - change[:, column].abs()) / (change.shape[1] - 1)
    ratio = change[:, column].abs() / others
    row = int(ratio.argmax())
    editor = list(editors.values())[row]
    turned = editor if change[row, column] >= 0 else reverse(editor)
    return turned, float(ratio[row])


def own_directions(
    files: Mapping[str, str | PathLike[str]], generator: Generator, targets: Sequence[str]
) -> dict[str, Editor]:
    """Editors by target from a file of one direction each (.npy, .pt, or what facenb saved).

    Raises ValueError for another target, or for a file of several directions.
    """
    found = {}
    for target, path in files.items():
        if target not in targets:
            raise ValueError(
                f"directions of your own: expected targets among {', '.join(targets)}, given "
                f"{target!r}."
            )
        editors = read_editors(path, generator)
        if len(editors) != 1:
            raise ValueError(f"{path}: expected one direction, given {', '.join(editors)}.")
        (found[target],) = editors.values()
    return found
