"""What decides a training of the embedded StyleGAN2, and the two configurations that there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from facenb.errors import unknown
from facenb.generators.stylegan2_network import Layout


@dataclass(frozen=True)
class Config:
    """One training.

    Args:
        name: of the generator that it makes.
        layout: of the generator; the discriminator has the same widths.
        steps: of the optimiser, each with `batch` pictures for either network.
        pool: how many samples of the DCGAN are drawn; the quality gate keeps nine in ten.
        rate: of Adam (β 0, 0.99) for both networks.
        r1_weight: γ, applied every `r1_every` steps with that many times the weight.
        path_weight: of the path-length penalty, every `path_every` steps on half a batch.
        mixing: share of pictures whose late layers take the code of another (style mixing).
        half_life: pictures after which a weight counts half in the running mean (EMA).
        precision: dtype of feature maps, "float32" or "bfloat16"; parameters are float32.
        save_every, grid_every, distance_every: steps from one to the next.
        distance_samples: pictures on either side of the Fréchet distance.
        seed: of everything.
    """

    name: str
    layout: Layout
    steps: int
    batch: int
    pool: int
    r1_weight: float
    rate: float = 0.0025
    r1_every: int = 16
    path_weight: float = 2.0
    path_every: int = 4
    mixing: float = 0.9
    half_life: float = 10_000.0
    precision: str = "bfloat16"
    save_every: int = 500
    grid_every: int = 500
    distance_every: int = 1000
    distance_samples: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise unknown("precision", self.precision, ("float32", "bfloat16"))
        if self.batch < 2:
            raise ValueError(f"batch: expected at least 2 pictures, given {self.batch}.")

    @property
    def dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.precision]


# "gpu" is written for an H100 and has not been run. Its R1 weight is stylegan2-ada's rule,
# 0.0002·R²/batch; "cpu" takes more, as its small discriminator sees few pictures. bfloat16 is
# twenty times slower than float32 on a CPU without instructions for it, as most laptops' are.
CONFIGS = {
    "cpu": Config(
        name="facenb-stylegan2-32",
        layout=Layout((96, 96, 64, 32), z_dim=128, w_dim=128, mapping_layers=4),
        steps=20_000,
        batch=16,
        pool=16_000,
        r1_weight=0.05,
        path_every=8,
        precision="float32",
    ),
    "gpu": Config(
        name="facenb-stylegan2-64",
        layout=Layout((256, 256, 256, 256, 128), z_dim=256, w_dim=256, mapping_layers=8),
        steps=40_000,
        batch=64,
        pool=100_000,
        r1_weight=0.0128,
        half_life=20_000.0,
        save_every=1000,
        grid_every=2000,
        distance_every=2000,
        distance_samples=8192,
    ),
}


def load_config(name: str, **changes: object) -> Config:
    """The configuration "cpu" (32 × 32) or "gpu" (64 × 64), with fields changed."""
    if name not in CONFIGS:
        raise unknown("configuration", name, CONFIGS)
    return replace(CONFIGS[name], **changes)
