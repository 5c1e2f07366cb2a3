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

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from tqdm.auto import tqdm

from facenb.editors import Directions, LinearEditor, Strength, unit
from facenb.errors import unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.streaming_pca import PrincipalComponents, StreamingPCA

# Latents are drawn in multiples of this many rows: torch fills normals in blocks of 16 numbers, so
# that batches drawn so join to what one draw of all of them gives.
_ROWS = 16


@dataclass(frozen=True)
class SigmaEditor:
    """A linear edit counted in standard deviations of the codes along it, as the paper's σ."""

    editor: LinearEditor
    sigma: float

    @property
    def name(self) -> str:
        return self.editor.name

    @property
    def space(self) -> str:
        return self.editor.space

    def edit(self, latents: Latents, strength: Strength) -> Latents:
        return self.editor.edit(latents, strength * self.sigma)


class GANSpace(BaseEstimator):
    """Principal components of latents, or of a layer's activations, as latent directions.

    Args:
        components: how many (80 in the published code).
        layer: a name in `generator.layers()`; its output, before whatever follows it, is analysed.
            None takes what the paper does: the first layer's where latents are in "z", and the
            latents themselves in "w". (The latents of "z" themselves: `fit(latents)`.)
        space: of the latents, "z" or "w".
        n: samples. Up to D, a layer's number of dimensions, the cost is n²·D, beyond it n·D².
        batch: samples to a forward pass, in multiples of 16; it changes nothing but memory.
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

    def fit(self, source: Generator | Tensor, activations: Tensor | None = None) -> GANSpace:
        """Learn from samples of a generator, or from latents (N, d) and activations (N, …).

        Raises:
            UnknownNameError: no such layer; the message lists the known ones.
            ValueError: too many components for the dimensions, the samples or the rank; NaN;
                tensors that do not fit; a layer too large for `streaming_pca.MAX_BYTES`.
        """
        if isinstance(source, Generator):
            self.layer_ = self._layer_of(source)
            batches: Iterator[tuple[Tensor, Tensor | None]] = self._sampled(source)
            pca, self._generator = StreamingPCA(self.n), source.name
        else:
            self.layer_, self._generator = None, None
            if activations is not None and len(activations) != len(source):
                raise ValueError(
                    f"GANSpace: expected as many activations as latents, given {len(activations)} "
                    f"and {len(source)}."
                )
            flat = None if activations is None else activations.flatten(1)
            batches, pca = iter([(source, flat)]), StreamingPCA(len(source))
        direct = True
        for latents, batch in batches:
            direct = batch is None
            pca.update(latents if direct else batch, None if direct else latents)
        found = pca.solve(self.components)
        self.mean_, self.components_ = found.mean, found.components
        self.variance_, self.variance_ratio_ = found.variance, found.variance / found.total
        if direct:
            self.latent_mean_, self.directions_ = found.mean, found.components
            self.sigma_, self.linear_share_ = found.variance.sqrt(), torch.ones_like(found.variance)
        else:
            self._carry_back(pca, found)
        return self

    def editor(self, component: int, layers: tuple[int, int] | None = None) -> SigmaEditor:
        """The edit along a component (0 is the first), strength in standard deviations.

        With `layers` (first, last) it edits that half-open range in "w+", written E(v, a–b) in the
        paper.
        """
        if not 0 <= component < len(self.directions_):
            raise IndexError(
                f"GANSpace: expected a component from 0 to {len(self.directions_) - 1}, "
                f"given {component}."
            )
        direction, space = self.directions_[component].float(), "w+" if layers else self.space
        linear = LinearEditor(f"PC{component + 1}", direction, space, layers)
        return SigmaEditor(linear, float(self.sigma_[component]))

    def directions(self, **provenance: object) -> Directions:
        """All components as PC1, PC2, …, their distances counted from the mean latent.

        `directions["PC1"].move_to(z, s)` is the published code's "centred" strip, which first sets
        the coordinate to that of the mean.
        """
        facts = {"method": "GANSpace", "generator": self._generator, "layer": self.layer_}
        learned = {
            "variance_ratio": [round(float(share), 6) for share in self.variance_ratio_],
            "sigma": [round(float(sigma), 6) for sigma in self.sigma_],
        }
        return Directions(
            tuple(f"PC{i + 1}" for i in range(len(self.directions_))),
            self.directions_.float(),
            self.space,
            -(self.directions_ @ self.latent_mean_).float(),
            {**facts, **self.get_params(), "layer": self.layer_, **learned, **provenance},
        )

    def _carry_back(self, pca: StreamingPCA, found: PrincipalComponents) -> None:
        """Directions in latent space from components of activations: U = argmin Σ ‖Ux − z‖²."""
        regression = pca.regress(found)
        self.latent_mean_, covariance = pca.target_moments()
        self.directions_ = unit(regression)
        self.sigma_ = ((self.directions_ @ covariance) * self.directions_).sum(dim=1).sqrt()
        cross = regression * found.variance[:, None]  # cov(x_k, z)
        explained = (cross @ torch.linalg.pinv(covariance, hermitian=True) * cross).sum(dim=1)
        self.linear_share_ = explained / found.variance

    def _layer_of(self, generator: Generator) -> str | None:
        known = generator.layers()
        if self.layer is not None and self.layer not in known:
            raise unknown("layer", self.layer, known)
        return next(iter(known)) if self.layer is None and self.space == "z" else self.layer

    def _sampled(self, generator: Generator) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Batches of latents (B, d) and activations (B, D), with a progress bar."""
        if self.n < 2 or self.batch < 1:
            raise ValueError(
                f"GANSpace: expected n ≥ 2 and batch ≥ 1, given {self.n} and {self.batch}."
            )
        random = torch.Generator().manual_seed(self.seed)
        rows = -(-self.batch // _ROWS) * _ROWS
        what = f"GANSpace of {self.layer_ or self.space}"
        with tqdm(total=self.n, desc=what, unit="code", leave=False) as bar:
            for start in range(0, self.n, rows):
                z = torch.randn(rows, generator.latent_dim, generator=random)[: self.n - start]
                latents = generator.map(Latents(z.to(generator.device), "z"), self.space)
                if self.layer_ is None:
                    yield latents.values, None
                else:
                    yield latents.values, activations_of(generator, self.layer_, latents)
                bar.update(len(z))


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
