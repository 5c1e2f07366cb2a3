"""Which of two edits is better? A blind comparison in a notebook (Li et al. 2021 §4.4.2).

    study = PreferenceStudy(originals, {"SGF": ours, "InterFaceGAN": theirs},
                            goals=["smiling"] * len(originals), path="preferences.csv")
    study              # at the end of a cell: the original, two edits without names, two buttons
    study.summary()    # share of each method, with its interval

Every answer is on disk before the next question is shown. The same arguments ask the same questions
in the same order, from the first that has no answer in the file. No times are kept.
"""

from __future__ import annotations

import csv
import io
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from os import PathLike
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor

from facenb.errors import FacenbError, check_images
from facenb.seeds import seeded
from facenb.storage.files import atomic_write
from facenb.widgets.explorer import pictures
from facenb.widgets.live import classed, page, show

COLUMNS = ("item", "left", "right", "choice")
SIDES = ("left", "right")
GLANCE = 0.4  # seconds: a click sooner than this was a double click on the question before

_CSS = """
.facenb-preference { max-width: 900px; overflow: visible; }
.facenb-preference .fp-row { gap: 24px; flex-flow: row wrap; overflow: visible; }
.facenb-preference .fp-picture { overflow: visible; align-items: center; }
"""


class PreferenceStudy:
    """N questions: the original, two edits of it on random sides, and which is better.

    Args:
        originals: (N, 3, S, S) in [−1, 1].
        edits: two methods by name, (N, 3, S, S) each.
        goals: what each edit was to do, N texts such as "smiling" or "no glasses".
        path: the CSV file of the answers, with the columns of `COLUMNS`; `choice` is the name of
            the better method. It is made with the first answer, and continued where it exists.
        seed: of the order and the sides. Each method is on the left in half of the questions.
        size: pixels a side of each picture.

    Raises:
        ValueError: pictures or goals that do not fit together, or not two methods.
        FacenbError: the file holds the answers to other questions.
    """

    def __init__(
        self,
        originals: Tensor,
        edits: Mapping[str, Tensor],
        goals: Sequence[str],
        path: str | PathLike[str],
        seed: int = 0,
        size: int = 256,
    ) -> None:
        _check(originals, edits, goals)
        self._originals, self._edits, self._goals = originals, dict(edits), list(goals)
        self.path, self._size = Path(path), size
        random = seeded(seed)
        self.order = torch.randperm(len(goals), generator=random).tolist()
        turned = (torch.randperm(len(goals), generator=random) % 2).tolist()
        first, second = edits
        self.sides = [(second, first) if turn else (first, second) for turn in turned]
        self._answered = self._read()
        self._lay_out()
        self._show()

    @property
    def item(self) -> int | None:
        """The row of `originals` that is asked about; None when all are answered."""
        return next((item for item in self.order if item not in self._answered), None)

    def choose(self, side: str) -> None:
        """Answer the question with "left" or "right": to the disk first, then the next one."""
        if side not in SIDES:
            raise ValueError(f'choose: expected "left" or "right", given {side!r}.')
        if (item := self.item) is None:
            raise FacenbError(f"all {len(self.order)} questions are answered, in {self.path}.")
        left, right = self.sides[item]
        choice = left if side == "left" else right
        _append(self.path, (item, left, right, choice))
        self._answered[item] = choice
        self._show()

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """One row for each method: how often it was chosen, the share, and its interval."""
        return summarise(list(self._answered.values()), list(self._edits), level)

    def _read(self) -> dict[int, str]:
        rows = read_answers(self.path) if self.path.exists() else []
        answered: dict[int, str] = {}
        for item, left, right, choice in rows:
            asked = 0 <= item < len(self.sides) and self.sides[item] == (left, right)
            if not asked or choice not in (left, right):
                raise FacenbError(
                    f"{self.path} holds answers to other questions: item {item}, {left!r} against "
                    f"{right!r}. Give another path, or the methods and the seed it was made with."
                )
            answered.setdefault(item, choice)
        return answered

    def _lay_out(self) -> None:
        self.question, self.status = widgets.HTML(), widgets.HTML()
        self._original, *self._pair = (
            widgets.Image(format="png", width=self._size) for _ in range(3)
        )
        self.buttons = {
            side: widgets.Button(description=f"This one ({side})", icon="check") for side in SIDES
        }
        for side, button in self.buttons.items():
            button.on_click(lambda _, side=side: self._clicked(side))
        captions = (widgets.HTML("Original"), *self.buttons.values())
        columns = [
            classed(widgets.VBox([image, caption]), "fp-picture")
            for image, caption in zip((self._original, *self._pair), captions, strict=True)
        ]
        row = classed(widgets.HBox(columns), "fp-row")
        self.root = classed(page(self.question, row, self.status, css=_CSS), "facenb-preference")

    def _show(self) -> None:
        item, done, total = self.item, len(self._answered), len(self.order)
        for button in self.buttons.values():
            button.disabled = item is None
        if item is None:
            self.question.value = f"<b>All {total} questions are answered. Thank you.</b>"
            return
        self.question.value = (
            f"Asked for: <b>{escape(self._goals[item])}</b>. Which picture does that better, and "
            f"keeps the rest as it was? Question {done + 1} of {total}"
        )
        for widget, picture in zip((self._original, *self._pair), self._three(item), strict=True):
            widget.value = pictures.to_png(picture)
        self._since = time.monotonic()

    def _three(self, item: int) -> list[Image.Image]:
        shown = [self._originals, *(self._edits[name] for name in self.sides[item])]
        return [pictures.to_picture(images[item], self._size) for images in shown]

    def _clicked(self, side: str) -> None:
        if time.monotonic() - self._since < GLANCE:
            return
        try:
            self.choose(side)
            self.status.value = ""
        except (OSError, FacenbError) as error:  # the question stays
            message = f"The answer was not saved: {error}"
            self.status.value = f'<div role="alert" class="fl-wrong">{escape(message)}</div>'

    def _ipython_display_(self) -> None:
        item = self.order[0] if self.item is None else self.item
        saved = pictures.to_png(pictures.side_by_side(self._three(item)))
        show(self.root, saved, "A blind comparison: run this cell in JupyterLab.")


def read_answers(path: str | PathLike[str]) -> list[tuple[int, str, str, str]]:
    """The rows (item, left, right, choice) of an answer file.

    A last line without its end, left by a machine that stopped while it was written, is cut off
    with a warning, so that the question is asked again. Raises FacenbError for any other file.
    """
    path = Path(path)
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        warnings.warn(f"{path}: its last line is cut short and is asked again.", stacklevel=2)
        atomic_write(path, whole)
    header, *rows = list(csv.reader(io.StringIO(whole.decode(), newline=""))) or [[]]
    rows = [row for row in rows if row]
    if whole and (tuple(header) != COLUMNS or not all(_is_answer(row) for row in rows)):
        raise FacenbError(f"{path}: expected rows of {', '.join(COLUMNS)}, given another file.")
    return [(int(item), left, right, choice) for item, left, right, choice in rows]


def summarise(choices: Sequence[str], methods: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """How often each method was chosen, with the Wilson interval of its share.

    Columns: chosen, share, low, high. Without an answer the share is NaN and the interval 0 to 1.
    """
    rows = {method: (0, float("nan"), 0.0, 1.0) for method in methods}
    for method in methods if choices else ():
        found = binomtest(list(choices).count(method), len(choices))
        interval = found.proportion_ci(level, method="wilson")
        rows[method] = (found.k, found.statistic, interval.low, interval.high)
    table = pd.DataFrame.from_dict(rows, "index", columns=["chosen", "share", "low", "high"])
    return table.rename_axis("method")


def _append(path: Path, row: Sequence[object]) -> None:
    """Add one line in one write, and wait until it is on the disk."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists() or not path.stat().st_size:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.writerow(COLUMNS)
    writer.writerow(row)
    with path.open("ab", buffering=0) as file:
        file.write(text.getvalue().encode())
        os.fsync(file.fileno())


def _is_answer(row: Sequence[str]) -> bool:
    return len(row) == len(COLUMNS) and row[0].isdecimal()


def _check(originals: Tensor, edits: Mapping[str, Tensor], goals: Sequence[str]) -> None:
    if len(edits) != 2 or any("\n" in name for name in edits):
        raise ValueError(f"PreferenceStudy: expected two methods, given {list(edits)}.")
    for images in (originals, *edits.values()):
        check_images(images)
        if images.shape != originals.shape:
            raise ValueError(
                f"PreferenceStudy: expected as many pictures of each method as originals, of one "
                f"size; given {tuple(images.shape)} and {tuple(originals.shape)}."
            )
    if isinstance(goals, str) or len(goals) != len(originals):
        raise ValueError(f"goals: expected {len(originals)} texts, one a picture, given {goals!r}.")
