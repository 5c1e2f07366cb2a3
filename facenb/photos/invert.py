"""Inversion by optimisation: the latent whose image is nearest to a given one.

In Z, W or W+ (Abdal et al., Image2StyleGAN, 2019, compare them): Adam on the latent, through the
generator's 256-px image, on the loss of `losses`. In W and W+ the latent is pulled towards W's mean
in units of W's covariance, and in W+ its layers towards each other, so that edits learned in W
still apply.

    inversion = Inversion(generator, images, start=encoder(images))
    inversion.run(seconds=40)        # an interrupt ends it early and keeps the best
    inversion.run(seconds=80)        # goes on
    latents = inversion.best
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from os import PathLike

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.errors import check_images
from facenb.generators.style_based import StyleBased
from facenb.latents import Latents
from facenb.photos.budget import Spent, spend
from facenb.photos.losses import DEFAULT, ImageLoss, Weights
from facenb.storage.cache import cached
from facenb.storage.checkpoints import load_checkpoint, save_checkpoint
from facenb.storage.files import sha256_tensor

SIZE = 256
EVERY = 20  # steps between two calls of `shown`
RATES = {"z": 0.05, "w": 0.05, "w+": 0.04}
_WARM, _FALL = 0.05, 0.6  # fractions of the budget in which the rate rises; from which it falls
_VERSION = 1  # raise when a change here alters the latents
_SAMPLES = 8192  # latents of W that its mean and covariance are measured on
_MEASURED: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # of each W: mean, variance, whitening


class Inversion:
    """N images inverted together; each keeps the best of its own latents.

    Args:
        generator: style-based.
        images: (N, 3, S, S) in [−1, 1], aligned as FFHQ's, S at least 256.
        space: "z", "w" or "w+".
        start: N latents of W or W+ to begin with, such as the encoder's (their mean over the layers
            for "w"); the mean of W where there are none. For "z" another beginning is not
            possible: it is the z, of 64, whose images are nearest.
        weights: of the loss.
        size: side in pixels at which images are compared, one of the generator's.
        rate: Adam's learning rate, by default what suits the space.

    Attributes:
        losses: (N,) of the best.
        history: for each step, the mean over the images of the loss and its parts.

    Raises:
        ValueError: images of another shape or range, starts that do not fit.
    """

    def __init__(
        self,
        generator: StyleBased,
        images: Tensor,
        space: str = "w+",
        start: Latents | None = None,
        weights: Weights = DEFAULT,
        size: int = SIZE,
        rate: float | None = None,
    ) -> None:
        check_images(images)
        side = images.shape[-1]
        if images.shape[2] != side or side % size:
            raise ValueError(
                f"images: expected (N, 3, S, S), S a multiple of {size}, given "
                f"{tuple(images.shape)}."
            )
        self.generator, self.space, self.size = generator, space, size
        self.generator._check_space(space)
        self.weights = weights
        images = torch.nn.functional.avg_pool2d(images.float(), side // size)
        self.loss = ImageLoss(images, weights)
        self.rate = RATES[space] if rate is None else rate
        self._measure_w()
        values = self._start(start, images)
        self._values = values.clone().requires_grad_()
        self._best, self.losses = values.clone(), torch.full((len(values),), math.inf)
        self._optimizer = torch.optim.Adam([self._values], self.rate, betas=(0.9, 0.99))
        self._spent, self.history = Spent(), []

    @property
    def step(self) -> int:
        """Steps so far."""
        return self._spent.steps

    @property
    def spent(self) -> float:
        """Seconds that the steps so far took."""
        return self._spent.seconds

    @property
    def best(self) -> Latents:
        """The N latents with the lowest loss so far, in `space`."""
        return Latents(self._best.clone(), self.space)

    @property
    def latents(self) -> Latents:
        """The best latents in w+."""
        return self.generator.map(self.best, "w+")

    def run(
        self,
        seconds: float | None = None,
        steps: int | None = None,
        shown: Callable[[Inversion], object] | None = None,
        stop: threading.Event | None = None,
        quiet: bool = False,
    ) -> Latents:
        """Optimise until so many seconds or steps have been spent in all; returns `best`.

        The rate falls towards the end of the budget. Ctrl-C (or a notebook's stop button) and
        `stop` end it early; called again, it goes on.

        Args:
            seconds, steps: one of them; both count what was spent by earlier calls.
            shown: called with this object every 20th step and at the end.
            stop: ends it after its present step when set, from any thread.
            quiet: without a progress bar.
        """

        def after() -> None:
            if shown and self.step % EVERY == 0:
                shown(self)

        spend("inversion", self._one_step, self._spent, seconds, steps, stop, after, quiet)
        if shown:
            shown(self)
        return self.best

    def save(self, path: str | PathLike[str]) -> None:
        """Write all that `resume` needs."""
        state = {"values": self._values.detach(), "best": self._best, "losses": self.losses}
        state |= {"optimizer": self._optimizer.state_dict(), "step": self.step}
        state |= {"spent": self.spent, "history": self.history}
        save_checkpoint(path, self._identity(), state)

    def resume(self, path: str | PathLike[str]) -> bool:
        """Go on from where an inversion of the same images was saved; False where it was not.

        Raises CheckpointError for one of other images, another generator or another space.
        """
        state = load_checkpoint(path, self._identity())
        if state is None:
            return False
        with torch.no_grad():
            self._values.copy_(state["values"])
        self._best, self.losses = state["best"], state["losses"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._spent, self.history = Spent(state["step"], state["spent"]), state["history"]
        return True

    def _identity(self) -> dict[str, object]:
        return {
            "images": sha256_tensor(self.loss.targets),
            "generator": self.generator.fingerprint,
            "space": self.space,
            "weights": repr(self.weights),
        }

    def _one_step(self, done: float) -> float:
        """`done` is the fraction of the budget that is spent; returns the loss."""
        falling = (1 + math.cos(math.pi * max(0.0, (done - _FALL) / (1 - _FALL)))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, done / _WARM + 0.1) * (0.05 + 0.95 * falling)
        self._optimizer.zero_grad()
        latents = Latents(self._values, self.space)
        loss, parts = self.loss(self.generator.synthesize(latents, size=self.size))
        pull = self._pull()
        loss = loss + pull
        loss.sum().backward()
        with torch.no_grad():
            better = loss < self.losses
            self.losses = torch.where(better, loss, self.losses)
            # a new tensor: another thread may be reading the old one
            kept = better.view(-1, *[1] * (self._values.ndim - 1))
            self._best = torch.where(kept, self._values, self._best)
        self._optimizer.step()
        parts = {"loss": loss.detach(), "pull": pull.detach()} | parts
        self.history.append({name: float(part.mean()) for name, part in parts.items()})
        return self.history[-1]["loss"]

    def _pull(self) -> Tensor:
        """(N,): how unusual a latent is. In z it is the deviation of its length from √512."""
        values = self._values
        if self.space == "z":
            return self.weights.mean * (values.square().mean(1) - 1).square()
        plus = values if values.ndim == 3 else values[:, None]
        middle = plus.mean(1)
        far = ((middle - self.mean) @ self.whiten).square().mean(1)
        spread = (plus - middle[:, None]).square().mean((1, 2)) / self.variance
        return self.weights.mean * far + self.weights.layers * spread

    @torch.no_grad()
    def _measure_w(self) -> None:
        """Mean of W, a matrix that whitens it (small variances raised), and its mean variance."""
        key = self.generator.space_fingerprint
        if key not in _MEASURED:
            w = self.generator.sample(_SAMPLES, seed=15, space="w").values
            variances, axes = torch.linalg.eigh(torch.cov(w.T))
            whiten = axes * (variances + 0.1 * variances.mean()).rsqrt()
            _MEASURED[key] = w.mean(0), variances.mean(), whiten
        self.mean, self.variance, self.whiten = _MEASURED[key]

    @torch.no_grad()
    def _start(self, start: Latents | None, images: Tensor) -> Tensor:
        if self.space == "z":
            if start is not None:
                raise ValueError(
                    "start: expected none in space 'z', whose latents W has no way to."
                )
            return self._nearest(images)
        if start is None:
            start = Latents(self.mean.repeat(len(images), 1), "w")
        if len(start) != len(images):
            raise ValueError(f"start: expected {len(images)} latents, given {len(start)}.")
        if self.space == "w" and start.space == "w+":
            return start.values.mean(1)
        return self.generator.map(start, self.space).values.float()

    def _nearest(self, images: Tensor) -> Tensor:
        """For each image the z, of 64, whose image is nearest at 64 pixels."""
        z = self.generator.sample(64, seed=15)
        size = min(self.generator.sizes)
        drawn = torch.cat([self.generator.synthesize(part, size=size) for part in z])
        small = torch.nn.functional.interpolate(images, (size, size), mode="area")
        apart = torch.stack([(drawn - image).square().mean((1, 2, 3)) for image in small])
        return z.values[apart.argmin(1)]


def invert(
    generator: StyleBased,
    images: Tensor,
    space: str = "w+",
    start: Latents | None = None,
    weights: Weights = DEFAULT,
    steps: int = 100,
) -> Latents:
    """`Inversion.run(steps=…).best` of each image by itself, kept in the cache: latents in `space`.

    Of many images it is what `Inversion` of all of them together finds, in less memory.
    """
    fingerprint = "none" if start is None else sha256_tensor(start.values)
    inputs = {"version": _VERSION, "images": sha256_tensor(images), "space": space}
    inputs |= {"generator": generator.fingerprint, "start": fingerprint}
    inputs |= {"weights": repr(weights), "steps": steps}

    def compute() -> dict[str, Tensor]:
        found = []
        for i in tqdm(range(len(images)), desc="images", leave=False, disable=len(images) == 1):
            first = None if start is None else start[i]
            inversion = Inversion(generator, images[i : i + 1], space, first, weights)
            found.append(inversion.run(steps=steps, quiet=len(images) > 1).values)
        return {"codes": torch.cat(found)}

    return Latents(cached("invert", inputs, compute)["codes"], space)
