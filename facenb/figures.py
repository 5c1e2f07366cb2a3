"""Grids, strips and charts in one style; images and the numbers behind them saved together."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from torch import Tensor

from facenb.drawing import images_of
from facenb.editors import Editor, traversal
from facenb.generators import DEFAULT, Generator, label, record
from facenb.latents import Latents
from facenb.storage.checkout import current_commit
from facenb.storage.files import atomic_write

DPI = 110
CELL = 192  # pixels of a face in a grid, where it has so many
_QUALITY = 88  # of JPEG


def _set_style() -> None:
    """The look of every chart: quiet grid, colours that colour-blind readers can tell apart."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.bbox": "tight",
            "axes.titlesize": "medium",
            "svg.hashsalt": "facenb",  # the same chart gives the same file
            "svg.fonttype": "none",
        }
    )
    if get_ipython():  # the notebook's own copies: a tenth of the size, the files stay PNG
        set_matplotlib_formats("jpeg", pil_kwargs={"quality": 72})


class FigureFolder:
    """figures/<slug>/: what one notebook regenerates, with numbers.json beside the images.

    Args:
        slug: the notebook's name, such as "02_interfacegan".
        parameters: profile, seed, generator, device; they are recorded with every image, a
            generator's file by its name and sha256 instead of its path.
    """

    def __init__(self, slug: str, **parameters: object) -> None:
        self.slug = slug
        _set_style()
        self.path = _place(slug, parameters)
        if "generator" in parameters:
            parameters["generator"] = record(str(parameters["generator"]))
        self.record = {
            "notebook": slug,
            **parameters,
            "commit": current_commit(),
            "figures": {},
            "tables": {},
            "numbers": {},
        }
        self._before = _read_json(self.path / "numbers.json")
        head = {key: value for key, value in self.record.items() if not isinstance(value, dict)}
        self._changed = any(self._before.get(k) != v for k, v in head.items() if k != "commit")

    def save(
        self, figure: Figure, name: str, caption: str, vector: bool = False, photo: bool = False
    ) -> None:
        """Write name.png; for charts (`vector`) name.svg too; for large faces (`photo`) name.jpg.

        The caption goes to numbers.json. What varies between runs stays out of the images.
        """
        facts = {k: str(v) for k, v in self.record.items() if not isinstance(v, dict)}
        facts.pop("commit")
        for kind in ("jpg",) if photo else ("png", "svg") if vector else ("png",):
            buffer = io.BytesIO()
            description = f"{caption} ({', '.join(f'{k} {v}' for k, v in facts.items())})"
            extra: dict = {"metadata": {"Description": description}}
            if kind == "svg":
                extra["metadata"]["Date"] = None
            if kind == "jpg":
                extra = {"pil_kwargs": {"quality": _QUALITY, "optimize": True}}
            figure.savefig(buffer, format=kind, **extra)
            figure.set_layout_engine("none")  # it is laid out: doing so again takes seconds
            self._write(f"{name}.{kind}", buffer.getvalue())
        self._note("figures", name, caption)

    def table(self, frame: pd.DataFrame, name: str, caption: str) -> pd.DataFrame:
        """Write name.csv, three decimals; returns the frame so that a cell can end with it."""
        frame = frame.infer_objects()  # a transposed frame of numbers and words has no numbers
        self._write(f"{name}.csv", frame.to_csv(float_format="%.3f").encode())
        self._note("tables", name, caption)
        return frame.round(3)

    def number(self, name: str, value: float | dict[str, float]) -> None:
        """Record a number, or a row of them, under `name`."""
        self._note("numbers", name, _rounded(value))

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        if path.is_file() and path.read_bytes() == content:
            return
        self._changed = True
        atomic_write(path, content)

    def _note(self, kind: str, name: str, value: object) -> None:
        """Record it; the commit is that of the run that made anything here other than it was."""
        self.record[kind][name] = json.loads(json.dumps(value))
        self._changed |= self._before.get(kind, {}).get(name, ...) != self.record[kind][name]
        shown = self.record if self._changed else self.record | {"commit": self._before["commit"]}
        atomic_write(self.path / "numbers.json", json.dumps(shown, indent=1) + "\n")


def image_grid(
    images: Tensor,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    cell: float | None = None,
) -> Figure:
    """A grid of images with labelled rows and columns.

    Args:
        images: (R, C, 3, H, W), or (N, 3, H, W) with `columns`, in [−1, 1].
        cell: inches an image; by default CELL pixels, or 0.72 inches of smaller images.
    """
    if images.ndim == 4:
        rows = -(-len(images) // columns)
        blank = images.new_ones(rows * columns - len(images), *images.shape[1:])
        images = torch.cat([images, blank]).unflatten(0, (rows, columns))
    rows, columns, height, width = *images.shape[:2], *images.shape[-2:]
    gap = max(1, height // 32)
    cell = max(0.72, min(height, CELL) / DPI) if cell is None else cell
    mosaic = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    pixels = ((images.detach().cpu().clamp(-1, 1) + 1) / 2).permute(0, 1, 3, 4, 2).numpy()
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            mosaic[top : top + height, left : left + width] = pixels[row, column]

    # room for the words beside the images, or the layout would shrink the images for it
    beside = 0.085 * max((len(label) for label in row_labels), default=0)
    above = 0.17 * max((label.count("\n") + 1 for label in column_labels), default=0)
    above += 0.3 * bool(title)
    size = (cell * columns + beside, cell * rows + above)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.imshow(mosaic, interpolation="lanczos", aspect="equal")
    axes.set_yticks([r * (height + gap) + height / 2 for r in range(len(row_labels))], row_labels)
    ticks = [c * (width + gap) + width / 2 for c in range(len(column_labels))]
    axes.set_xticks(ticks, column_labels)
    axes.tick_params(length=0, labelsize="small", top=False, labeltop=True, labelbottom=False)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def strip_images(
    generator: Generator, editor: Editor, latents: Latents, strengths: Sequence[float]
) -> Tensor:
    """(N, S, 3, size, size): every latent at every strength, images to look at (`images_of`)."""
    images = images_of(generator, traversal(editor, latents, strengths))
    return images.unflatten(0, (len(latents), len(strengths)))


def heatmap(
    ax: Axes,
    frame: pd.DataFrame,
    low: float = -1.0,
    high: float = 1.0,
    cmap: str = "vlag",
    digits: int | None = 2,
    size: float = 7,
    square: bool = False,
) -> None:
    """A matrix as colours from `low` to `high`; `digits` of its numbers in the cells, or None.

    Seaborn's draws the whole figure once for each of its maps, which takes ten seconds for ten.
    """
    values = frame.to_numpy(dtype=float)
    colours = ax.pcolormesh(values, vmin=low, vmax=high, cmap=cmap, edgecolors="white", lw=0.5)
    ax.set(xlim=(0, values.shape[1]), ylim=(values.shape[0], 0))
    ax.set_xticks(np.arange(values.shape[1]) + 0.5, frame.columns, rotation=90, size="small")
    ax.set_yticks(np.arange(values.shape[0]) + 0.5, frame.index, size="small")
    ax.tick_params(length=0)
    ax.grid(False)
    if square:
        ax.set_aspect("equal")
    if digits is None:
        return
    luma = colours.cmap(colours.norm(values))[..., :3] @ (0.299, 0.587, 0.114)
    for (row, column), value in np.ndenumerate(values):
        ink = "0.15" if luma[row, column] > 0.55 else "white"
        place = {"ha": "center", "va": "center", "size": size, "color": ink}
        ax.text(column + 0.5, row + 0.5, f"{value:.{digits}f}", **place)


def heatmaps(matrices: dict[str, pd.DataFrame], title: str = "") -> Figure:
    """Matrices of correlations or cosines side by side, on one scale from −1 to 1."""
    size = max(2.6, 0.42 * max(len(frame) for frame in matrices.values()))
    figure, axes = plt.subplots(
        1,
        len(matrices),
        figsize=((size + 0.9) * len(matrices), size + 0.8),
        layout="constrained",
        squeeze=False,
    )
    for ax, (name, frame) in zip(axes[0], matrices.items(), strict=True):
        heatmap(ax, frame, square=True)
        ax.set_title(name)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def written_for(source: Path) -> str | None:
    """The generator in a notebook's parameter cell, or None where it names none."""
    found = re.search(r'^generator = "(.+)"$', source.read_text(), flags=re.MULTILINE)
    return found[1] if found else None


def output_folder(profile: str, generator: str | None, own: str | None) -> Path:
    """Where a notebook's NN_slug folder goes, relative to the root.

    figures/ is for the laptop profile on the generator that the notebook is written for.

    Args:
        generator: the one that was asked for, or None for the notebook's own.
        own: the one that the notebook is written for, or None for any.
    """
    build = Path("build") if profile == "laptop" else Path("build") / profile
    if None not in (generator, own) and generator != own:
        return build / label(generator)
    return Path("figures") if profile == "laptop" else build


def _place(slug: str, parameters: Mapping[str, object]) -> Path:
    """$FACENB_FIGURES/slug; else where `python -m facenb.run` would write, from any folder there.

    The root is the first folder above that has notebooks/; none of it leads to this one.
    """
    if given := os.environ.get("FACENB_FIGURES"):
        return Path(given) / slug
    here = Path.cwd()
    root = next((f for f in (here, *here.parents) if (f / "notebooks").is_dir()), here)
    source = root / "notebooks" / f"{slug}.py"
    own = written_for(source) if source.is_file() else DEFAULT
    generator = parameters.get("generator")
    profile = str(parameters.get("profile", "laptop"))
    return root / output_folder(profile, None if generator is None else str(generator), own) / slug


def _read_json(path: Path) -> dict:
    """The record of the run before; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "commit" in found else {}


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return round(float(value), 4) if not isinstance(value, str | int) else value
