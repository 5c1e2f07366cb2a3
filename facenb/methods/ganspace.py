"""GANSpace (Härkönen et al., 2020): principal components of latents or activations as edits.

Where the latents have a learned distribution (the w of a StyleGAN), their own principal components
are the directions. Where they are drawn from N(0, I) every direction of z has variance 1 and PCA of
z says nothing: the components are then taken of a layer's activations, and carried back to z by
least squares.

If that layer is affine in z, y = Az + b, the covariance of y is AAᵀ and its components carried back
are the eigenvectors of AᵀA: with enough samples the first layer's GANSpace is SeFa. That holds for
the first linear layer of BigGAN, which the paper takes, as for the first transposed convolution of
a DCGAN; a later layer gives directions of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.editors import Editors, LinearEditor, unit
from facenb.errors import SpaceError, unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.base import Method
from facenb.methods.principal_components import PrincipalComponents, principal_components
from facenb.sampling import ScoredSamples
from facenb.storage.cache import cached

_VERSION = 2  # raise when a change here alters what is learned
_LEARNED = ("mean_", "components_", "variance_", "variance_ratio_", "directions_", "sigma_",
            "linear_share_", "latent_mean_")  # fmt: skip


class GANSpace(Method):
    """Principal components of latents, or of a layer's activations, as latent directions.

    Args:
        components: how many (80 in the published code).
        layer: a name in `generator.layers()`; its output, before whatever follows it, is analysed.
            None takes what the paper does: the first layer's where latents are in "z", and the
            latents themselves in "w". (The latents of "z" themselves: `fit_latents`.)
        space: of the latents, "z" or "w".
        n: samples. Where n·D numbers, D a layer's dimensions, take more than 4 GiB in float64, the
            components are taken in batches and are approximate (principal_components.py).
        batch: samples in a forward pass; where they fit it changes nothing but memory.
        seed: of the samples: the same as in `generator.sample(n, seed)`.

    Attributes:
        mean_: (D,) of what was analysed: activations as (channel, row, column), or latents, D = d.
        components_: (K, D) orthonormal principal components, highest variance first; the entry of
            largest magnitude is positive.
        variance_, variance_ratio_: (K,) variance of each, and its share of all D dimensions'.
        directions_: (K, d) unit vectors in latent space; not orthogonal where they come from a
            layer.
        sigma_: (K,) standard deviation of the latents along each direction.
        linear_share_: (K,) share of each component's variance that is linear in the latents. Near
            1, the edit moves the component and little else of it; near 0 the direction is noise.
        latent_mean_: (d,).
        layer_: the layer that was taken, or None.

    All are float64 on the CPU.
    """

    def __init__(
        self,
        components: int = 20,
        layer: str | None = None,
        space: str = "z",
        n: int = 4000,
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        self.components = components
        self.layer = layer
        self.space = space
        self.n = n
        self.batch = batch
        self.seed = seed

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> GANSpace:
        """Learn from `n` samples of the generator; labels play no part.

        Raises:
            UnknownNameError: no such layer; the message lists the known ones.
            SpaceError: a space other than "z" and "w".
            ValueError: too many components for the dimensions, the samples or the rank; NaN; a
                layer of which not even a batch fits into `principal_components.MAX_BYTES`.
        """
        self._check_space()
        self.layer_ = self._layer_of(generator)
        latents = self._sampled(generator)
        rows = partial(self._rows, generator, latents)
        return self._solve(rows, latents.values, self.layer_ is None)._fitted_to(generator)

    def fit_latents(self, latents: Tensor, activations: Tensor | None = None) -> GANSpace:
        """Learn from latents (N, d), or from activations (N, …) of theirs.

        Raises ValueError as `fit`, and for tensors that do not fit each other.
        """
        self.layer_, direct = None, activations is None
        if not direct and len(activations) != len(latents):
            raise ValueError(
                f"GANSpace: expected as many activations as latents, given {len(activations)} "
                f"and {len(latents)}."
            )
        rows = partial((latents if direct else activations.flatten(1)).split, self.batch)
        return self._solve(rows, latents, direct)._fitted_to(None)

    def editors(self) -> Editors:
        """The edits along PC1, PC2, …, in standard deviations σ of the latents along each.

        Distances count from the mean latent: `unscaled()["PC1"].move_to(z, s)` is the published
        code's "centred" traversal, which first sets the coordinate to that of the mean. In a range
        of layers, `in_layers(a, b)`, they are the paper's E(v, a–b).
        """
        centres = -(self.directions_ @ self.latent_mean_).float()
        lines = {
            f"PC{i + 1}": LinearEditor(f"PC{i + 1}", direction, self.space, None, float(centre))
            for i, (direction, centre) in enumerate(
                zip(self.directions_.float(), centres, strict=True)
            )
        }
        ratio = [round(float(ratio), 6) for ratio in self.variance_ratio_]
        found = self._named(lines, layer=self.layer_, variance_ratio=ratio)
        return found.scaled(dict(zip(lines, self.sigma_.tolist(), strict=True)))

    def _solve(self, rows: Callable[[], Iterable[Tensor]], z: Tensor, direct: bool) -> GANSpace:
        """From batches of what is analysed, and the latents z (N, d), which may be the same."""
        found = principal_components(rows, len(z), self.components)
        self.mean_, self.components_ = found.mean, found.components
        self.variance_, self.variance_ratio_ = found.variance, found.ratio
        if direct:
            self.latent_mean_, self.directions_ = found.mean, found.components
            self.sigma_, self.linear_share_ = found.variance.sqrt(), torch.ones_like(found.variance)
        else:
            self._carry_back(found, z.detach().cpu().double())
        return self

    def _carry_back(self, found: PrincipalComponents, z: Tensor) -> None:
        """Directions in latent space from components of activations: U = argmin Σ ‖Ux − z‖²."""
        # not torch.linalg.lstsq, whose last digits differ from run to run; the coordinates have no
        # mean, and therefore z may keep its own
        regression = np.linalg.lstsq(found.coordinates.numpy(), z.numpy())[0]  # (K, d)
        self.directions_ = unit(torch.from_numpy(regression))
        self.latent_mean_, covariance = z.mean(dim=0), z.T.cov()
        self.sigma_ = ((self.directions_ @ covariance) * self.directions_).sum(dim=1).sqrt()
        cross = found.coordinates.T @ z / (len(z) - 1)  # cov(x_k, z)
        explained = (cross @ torch.linalg.pinv(covariance, hermitian=True) * cross).sum(dim=1)
        self.linear_share_ = explained / found.variance

    def _layer_of(self, generator: Generator) -> str | None:
        known = generator.layers()
        if self.layer is not None and self.layer not in known:
            raise unknown("layer", self.layer, known)
        return next(iter(known)) if self.layer is None and self.space == "z" else self.layer

    def _check_space(self) -> None:
        if self.space not in ("z", "w"):
            raise SpaceError(
                f"GANSpace: expected the space 'z' or 'w', given {self.space!r}. The paper's edits "
                "of some layers of 'w+' are components of 'w': .editors().in_layers(first, last)."
            )

    def _sampled(self, generator: Generator) -> Latents:
        """All latents, mapped a batch at a time."""
        if self.n < 2 or self.batch < 1:
            raise ValueError(
                f"GANSpace: expected n ≥ 2 and batch ≥ 1, given {self.n} and {self.batch}."
            )
        z = generator.sample(self.n, self.seed).values.split(self.batch)
        mapped = [generator.map(Latents(part, "z"), self.space).values for part in z]
        return Latents(torch.cat(mapped), self.space)

    def _rows(self, generator: Generator, latents: Latents) -> Iterator[Tensor]:
        """Batches (B, D) of what is analysed, with a progress bar."""
        what = f"GANSpace of {self.layer_ or self.space}"
        with tqdm(total=self.n, desc=what, unit="sample", leave=False) as bar:
            for values in latents.values.split(self.batch):
                if self.layer_ is None:
                    yield values
                else:
                    yield activations_of(generator, self.layer_, Latents(values, self.space))
                bar.update(len(values))


def fit_ganspace(model: GANSpace, generator: Generator) -> GANSpace:
    """`model` fitted, or as it was fitted to the same generator before, from the cache."""
    inputs = {
        "version": _VERSION,
        "generator": generator.fingerprint,
        "device": generator.device.type,
        **model.get_params(),
    }

    def learned() -> dict[str, Tensor]:
        model.fit(generator)
        return {name: getattr(model, name) for name in _LEARNED}

    for name, tensor in cached("ganspace", inputs, learned).items():
        setattr(model, name, tensor)
    model.layer_ = model._layer_of(generator)
    return model._fitted_to(generator)


class _Reached(Exception):
    """Carries a layer's output out of the forward pass, so that what follows is not computed."""


@torch.no_grad()
def activations_of(generator: Generator, layer: str, latents: Latents) -> Tensor:
    """The output (N, D) of a named layer, flattened; the network after it is not run.

    Raises:
        UnknownNameError: no such layer; the message lists the known ones.
    """
    known = generator.layers()
    if layer not in known:
        raise unknown("layer", layer, known)

    def stop(_module: object, _inputs: object, output: Tensor) -> None:
        raise _Reached(output)

    hook = known[layer].register_forward_hook(stop)
    try:
        generator.synthesize(latents)
    except _Reached as reached:
        return reached.args[0].flatten(1)
    finally:
        hook.remove()
    raise RuntimeError(f"{generator.name}: the layer {layer!r} takes no part in synthesis.")
