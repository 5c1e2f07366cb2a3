"""How much work each notebook does: `smoke` for tests, `laptop` by default, `paper` on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from facenb.errors import unknown


@dataclass(frozen=True)
class Profile:
    """Sizes for every notebook, in one place.

    Args:
        samples: scored samples that the methods learn from.
        confident: share of them taken from each end for a boundary (InterFaceGAN).
        fresh: unseen samples, to test what was learned and to pick faces from.
        edited: how many of those an edit is measured on.
        rows: faces shown in a strip.
        activations: samples that principal components are taken of (GANSpace).
        paths: samples that every direction of a set is traversed on (200 in Niu et al.).
        path_steps: images along each of those paths.
        bootstrap: draws for an interval.
    """

    name: str
    samples: int
    confident: float
    fresh: int
    edited: int
    rows: int
    activations: int
    paths: int
    path_steps: int
    bootstrap: int


# fmt: off
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", samples=512, confident=0.1, fresh=64, edited=16, rows=3,
                activations=256, paths=2, path_steps=3, bootstrap=100),
        # 1,560 confident samples a side for 100 dimensions, near the paper's 10,000 for 512
        Profile("laptop", samples=12_000, confident=0.13, fresh=512, edited=128, rows=5,
                activations=2_000, paths=16, path_steps=5, bootstrap=1000),
        Profile("paper", samples=500_000, confident=0.02, fresh=4_000, edited=500, rows=5,
                activations=100_000, paths=200, path_steps=21, bootstrap=1000),
    )
}
# fmt: on


def load_profile(name: str) -> Profile:
    """The profile called `name`; UnknownNameError lists the known ones."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]
