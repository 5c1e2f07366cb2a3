"""The five experiments of Niu et al. (2023), §4.1, and how each is trained in each profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from facenb.errors import unknown
from facenb.generators import Generator
from facenb.methods.two_stage.discovery import Task
from facenb.penalties import REDUCTIONS, hessian_penalty, orojar


@dataclass(frozen=True)
class Method:
    """What an experiment trains with; a second stage starts from stage one's A."""

    discovers: bool = False
    penalty: Callable[..., Tensor] | None = None
    second_stage: bool = False


METHODS = {
    "SDD": Method(discovers=True),
    "SHP": Method(penalty=hessian_penalty),
    "HDP": Method(discovers=True, penalty=hessian_penalty),
    "DTJ": Method(penalty=orojar, second_stage=True),
    "DTH": Method(penalty=hessian_penalty, second_stage=True),
}


@dataclass(frozen=True)
class Config:
    """How one experiment is trained; what is left out is the paper's.

    Args:
        method: "SDD", "SHP", "HDP", "DTJ" or "DTH".
        steps: of the optimiser (10⁵ in the paper).
        batch: latents to a step (32 SDD; 18 SHP, DTJ and DTH; 12 HDP).
        count: m directions (256).
        space: the latent space that is moved in ("w").
        truncation: ψ of the latents of a style-based generator.
        size: pixels a side of the images, one of the generator's sizes; None for its resolution.
        bfloat16: precision of a style-based generator's feature maps; not with a penalty, whose
            second differences divide the rounding by ε².
        matrix: how A is kept in shape, one of `direction_matrix.KINDS`.
        matrix_rate: Adam's learning rate for A (code: 1e-4, and 0.01 where the penalty is alone).
        reconstructor: "resnet18" or "lenet", with `reconstructor_width` times its channels, learned
            at `reconstructor_rate` (1e-4).
        normalise: show the reconstructor images whose channels have mean 0 and standard deviation
            1, so that neither light nor colour tells it the direction.
        shift_scale, min_shift: of discovery's shifts and of the penalty's base points (6, 0.5).
        regression_weight: λ of Eq. 1 and 8 (0.25).
        penalty_weight: γ of Eq. 8 (0.5); of no consequence where the penalty is alone. It suits
            the code's mean: on the embedded generator the maximum is some 150 times the mean, and
            half of it some 25 times the rest of Eq. 8.
        draws: k, the penalty's Rademacher vectors (2).
        epsilon: size of their perturbation (0.1).
        reduction: of the penalty over the image: "max" (paper, Eq. 4) or "mean" (code).
        held_out_batches: of 32 pairs each, to measure discovery on when it is done (100).
        seed: of everything random.

    Raises:
        UnknownNameError: no such method.
        ValueError: a size or a rate that is not positive, or an impossible range of shifts.
    """

    method: str
    steps: int
    batch: int
    count: int = 256
    space: str = "w"
    truncation: float = 1.0
    size: int | None = None
    bfloat16: bool = False
    matrix: str = "gram-schmidt"
    matrix_rate: float = 1e-4
    reconstructor: str = "resnet18"
    reconstructor_width: float = 1.0
    reconstructor_rate: float = 1e-4
    normalise: bool = False
    shift_scale: float = 6.0
    min_shift: float = 0.5
    regression_weight: float = 0.25
    penalty_weight: float = 1.0
    draws: int = 2
    epsilon: float = 0.1
    reduction: str = "max"
    held_out_batches: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        for field in ("steps", "batch", "matrix_rate", "reconstructor_rate", "held_out_batches"):
            given = getattr(self, field)
            if not given > 0:
                raise ValueError(f"{self.method}: expected {field} > 0, given {given}.")
        if METHODS[self.method].discovers and self.batch < 2:
            raise ValueError(
                f"{self.method}: expected batch ≥ 2, for the reconstructor's batch normalisation, "
                f"given {self.batch}."
            )
        if self.bfloat16 and METHODS[self.method].penalty is not None:
            raise ValueError(f"{self.method}: its penalty needs float32, given bfloat16=True.")
        if self.draws < 2 or not self.epsilon > 0 or self.reduction not in REDUCTIONS:
            raise ValueError(
                f"{self.method}: expected draws ≥ 2, epsilon > 0 and reduction one of "
                f"{', '.join(REDUCTIONS)}, given {self.draws}, {self.epsilon}, {self.reduction!r}."
            )
        self.task()

    def task(self) -> Task:
        """The questions of discovery, whose shifts are also where the penalty is measured."""
        return Task(self.count, self.space, self.shift_scale, self.min_shift)


_PAPER = {
    "SDD": Config("SDD", steps=100_000, batch=32),
    "SHP": Config("SHP", steps=100_000, batch=18, matrix_rate=0.01),
    "HDP": Config("HDP", steps=100_000, batch=12, penalty_weight=0.5),
    "DTJ": Config("DTJ", steps=100_000, batch=18, matrix="free", matrix_rate=0.01),
    "DTH": Config("DTH", steps=100_000, batch=18, matrix="free", matrix_rate=0.01),
}


def _scaled(steps: dict[str, int], **changes: object) -> dict[str, Config]:
    """The paper's configurations at other sizes, in Z unless said, every rate at 1e-3.

    That is faster than the paper for discovery, which has less time, and slower than the public
    code for the penalties: on the embedded generator a second stage at 0.01 turns the directions
    by 30° within 40 steps and the penalty rises; it forgets what stage one found.
    """
    return {
        name: replace(
            config,
            steps=steps[name],
            **{"space": "z", "matrix_rate": 1e-3, "reconstructor_rate": 1e-3} | changes,
        )
        for name, config in _PAPER.items()
    }


# fmt: off
CONFIGS = {
    "smoke": _scaled({"SDD": 12, "SHP": 6, "HDP": 6, "DTJ": 6, "DTH": 6}, count=8,
                     reconstructor_width=0.125, held_out_batches=2),
    "smoke-w": _scaled({"SDD": 3, "SHP": 2, "HDP": 2, "DTJ": 2, "DTH": 2}, count=4,
                       space="w", truncation=0.7, size=64, normalise=True, batch=2,
                       reconstructor_width=0.125, held_out_batches=2),
    "laptop": _scaled({"SDD": 1500, "SHP": 300, "HDP": 3000, "DTJ": 300, "DTH": 300}, count=32,
                      reconstructor_width=0.25, held_out_batches=32),
    "laptop-w": _scaled({"SDD": 1000, "SHP": 150, "HDP": 200, "DTJ": 150, "DTH": 150}, count=32,
                        space="w", truncation=0.7, size=64, normalise=True,
                        reconstructor_width=0.25, held_out_batches=16),
    "gpu": _scaled({"SDD": 20_000, "SHP": 5_000, "HDP": 20_000, "DTJ": 2_000, "DTH": 2_000},
                   count=64),
    "gpu-w": _scaled({"SDD": 20_000, "SHP": 5_000, "HDP": 20_000, "DTJ": 2_000, "DTH": 2_000},
                     count=64, space="w", truncation=0.7, size=128, normalise=True),
    "paper": _PAPER,
}
_W = CONFIGS["laptop-w"]
_W["SDD"] = replace(_W["SDD"], batch=24, bfloat16=True)
_W |= {name: replace(_W[name], batch=9) for name in ("SHP", "DTJ", "DTH")}
# fmt: on


# Where text and public code part, and what the text leaves open, one choice at a time. The DTH
# variants are all of {Gram-Schmidt, expm, free} × {maximum, mean} but the first, DTH itself, which
# is free × maximum; "dth-expm-mean" is the public code's. "sdd-batch-12" is the control of Figure
# 6: discovery alone on as many pairs, in batches as small, as HDP has.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "dth-mean": ("DTH", {"reduction": "mean"}),
    "dth-gram-schmidt": ("DTH", {"matrix": "gram-schmidt"}),
    "dth-gram-schmidt-mean": ("DTH", {"matrix": "gram-schmidt", "reduction": "mean"}),
    "dth-expm": ("DTH", {"matrix": "expm"}),
    "dth-expm-mean": ("DTH", {"matrix": "expm", "reduction": "mean"}),
    "hdp-mean": ("HDP", {"reduction": "mean"}),
    "sdd-batch-12": ("SDD", {"batch": _PAPER["HDP"].batch}),
}


def profile_for(generator: Generator, profile: str) -> str:
    """The key of `CONFIGS` for that generator: one with W and small images has sizes of its own."""
    own = f"{profile}-w" in CONFIGS and {64, 128} <= {*generator.sizes}
    return f"{profile}-w" if own and "w" in generator.spaces else profile


def load_config(name: str, profile: str = "laptop", **changes: object) -> Config:
    """The configuration of a method or of one of its `VARIANTS` in `profile`, with `changes`.

    UnknownNameError lists the profiles, or the methods and variants, that there are.
    """
    if profile not in CONFIGS:
        raise unknown("profile", profile, CONFIGS)
    if name not in METHODS and name not in VARIANTS:
        raise unknown("method", name, [*METHODS, *VARIANTS])
    method, variation = VARIANTS.get(name, (name, {}))
    configs = CONFIGS[profile]
    if name == "sdd-batch-12":
        variation = variation | {"steps": configs["HDP"].steps}
    return replace(configs[method], **variation | changes)
