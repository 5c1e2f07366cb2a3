"""SeFa (Shen & Zhou, 2021): directions in closed form from the first weights, without a sample.

The first step of a generator is affine, y = Az + b. A step n changes y by An whatever z is, so that
the directions that change it most are the unit vectors of largest ‖An‖²: the eigenvectors of AᵀA,
AᵀA n = λ n, for λ from the highest down.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facenb.editors import Editors, LinearEditor
from facenb.errors import check_finite
from facenb.generators import Generator
from facenb.generators.style_based import StyleBased
from facenb.methods.base import Method
from facenb.sampling import ScoredSamples


class SeFa(Method):
    """Closed-form factorisation of weights A (outputs, d).

    Args:
        components: how many directions.
        normalise: give every output's weight vector, a row of A, length 1 first. The paper's text
            does not; its published code does.
        layers: of a style-based generator, the half-open range of "w+" whose weights are taken and
            which the edits move; all by default, as edits of "w".

    Attributes:
        directions_: (K, d) orthonormal, highest eigenvalue first, the entry of largest magnitude
            positive; float64. (The published code's numpy.linalg.eig leaves its eigenvalues
            unsorted, so that its first directions need not be the strongest.)
        space_: of the latents that they move: "w" when fitted to a style-based generator, else "z".
        layers_: names of those whose weights were taken.
        eigenvalues_: (K,) ‖An‖², what a step of length 1 changes in the first output, squared.
        share_: (K,) of the sum of all d eigenvalues.
    """

    def __init__(
        self,
        components: int = 20,
        normalise: bool = False,
        layers: tuple[int, int] | None = None,
    ) -> None:
        self.components = components
        self.normalise = normalise
        self.layers = layers

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> SeFa:
        """Factorise the generator's first weights; no sample is looked at.

        A style-based generator has no first layer in the paper's sense: what is affine in w is the
        style of every layer, and all of them are taken, one on top of another, or those in
        `layers`.

        Raises:
            ValueError: more components than d, or `layers` that the generator does not have.
            TypeError: a generator whose first layer is neither linear nor a transposed convolution.
        """
        self.fit_weights(first_weights(generator, self.layers))
        self.space_ = "w" if isinstance(generator, StyleBased) else "z"
        return self._fitted_to(generator)

    def fit_weights(self, weights: Tensor | Mapping[str, Tensor]) -> SeFa:
        """Factorise one matrix (outputs, d), or several by name, which are stacked, as of "z".

        Raises ValueError for matrices that do not fit each other, NaN, or more components than d.
        """
        if isinstance(weights, Tensor):
            weights = {"weight": weights}
        self.space_, self.layers_ = "z", tuple(weights)
        matrix = _stack(weights)
        if self.normalise:
            norms = matrix.norm(dim=1, keepdim=True)
            matrix = matrix / torch.where(norms > 0, norms, 1)  # an output without weights stays 0
        d = matrix.shape[1]
        if not 1 <= self.components <= d:
            raise ValueError(f"SeFa: expected 1 to {d} components, given {self.components}.")
        values, vectors = torch.linalg.eigh(matrix.T @ matrix)  # ascending
        values = values.flip(0).clamp(min=0)
        self.eigenvalues_ = values[: self.components]
        self.share_ = self.eigenvalues_ / values.sum()
        self.directions_ = _fix_signs(vectors.flip(1)[:, : self.components].T)
        return self._fitted_to(None)

    def editors(self) -> Editors:
        """The edits along SeFa1, SeFa2, …; a strength of 1 moves a latent by 1."""
        lines = {
            f"SeFa{i + 1}": LinearEditor(f"SeFa{i + 1}", direction, self.space_)
            for i, direction in enumerate(self.directions_.float())
        }
        share = [round(float(share), 6) for share in self.share_]
        found = self._named(lines, weights=list(self.layers_), share=share)
        return found if self.layers is None else found.in_layers(*self.layers)


def first_weights(generator: Generator, layers: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """{layer: A (outputs, d)}: of the first layer, affine in z, or of every style, affine in w.

    A transposed convolution of a 1 × 1 input is the matrix of its kernel, (d, out, k, k) as
    (out·k·k, d). Our DCGAN has its batch normalisation folded into that kernel: channel c is scaled
    by γ_c/√(σ_c² + ε). That is the A of the paper's argument, as the scaled output is what the
    network goes on with; the raw kernel weighs each channel by a factor that the normalisation then
    takes out. With `normalise` the two agree, since every row then has length 1.
    """
    if isinstance(generator, StyleBased):
        return generator.style_weights(layers)
    if layers is not None:
        raise ValueError(f"SeFa: {generator.name} has no space 'w+', given layers {layers}.")
    name, layer = next(iter(generator.layers().items()))
    if isinstance(layer, nn.ConvTranspose2d):
        matrix = layer.weight.flatten(1).T
    elif isinstance(layer, nn.Linear):
        matrix = layer.weight
    else:
        raise TypeError(
            f"SeFa: {generator.name} begins with {type(layer).__name__}, expected a linear layer "
            "or a transposed convolution. Give its weights as {layer: (outputs, d)}."
        )
    return {name: matrix}


def _stack(weights: Mapping[str, Tensor]) -> Tensor:
    """One matrix (outputs of all, d), float64, on the CPU."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if not shapes or any(len(shape) != 2 or shape[1:] != next(iter(shapes.values()))[1:]
                         for shape in shapes.values()):  # fmt: skip
        raise ValueError(f"SeFa: expected weights (outputs, d) of one d, given {shapes}.")
    for name, weight in weights.items():
        check_finite(weight, f"weights of {name!r}")
    return torch.cat([weight.detach().cpu().double() for weight in weights.values()])


def _fix_signs(vectors: Tensor) -> Tensor:
    """The vectors (K, d), each with the sign that makes its entry of largest magnitude positive."""
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * largest.sign()
