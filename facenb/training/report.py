"""The curves of a training, for the model card."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from facenb.storage.files import atomic_write
from facenb.training.configs import Config

_WINDOW = 100  # steps to a point


def draw_curves(
    history: Mapping[str, Sequence[float]], config: Config, floor: float, path: Path
) -> None:
    """Write a PNG: recognition distance, losses and logits over steps.

    Args:
        history: as `Trainer.history`.
        floor: the distance between two halves of the training pictures.
    """
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    distance, losses, logits = figure.subplots(1, 3)
    distance.plot(history["distance_step"], history["distance"], marker="o", markersize=3)
    distance.axhline(floor, linestyle=":", color="grey", label="training pictures, other half")
    distance.set(title="Fréchet distance, recognition features", yscale="log")
    distance.legend()
    for axes, title, names in (
        (losses, "losses", ("generator", "discriminator")),
        (logits, "logits", ("logit_real", "logit_fake")),
    ):
        for name in names:
            points = smoothed(history[name])
            axes.plot([(i + 1) * _WINDOW for i in range(len(points))], points, label=name)
        axes.set(title=f"{title}, means over {_WINDOW} steps")
        axes.legend()
    for axes in (distance, losses, logits):
        axes.set_xlabel(f"steps of {config.batch} pictures")
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    atomic_write(path, buffer.getvalue())


def smoothed(values: Sequence[float]) -> list[float]:
    """Means over successive windows; the last one may be shorter."""
    return [float(part.mean()) for part in torch.tensor(values).split(_WINDOW)]
