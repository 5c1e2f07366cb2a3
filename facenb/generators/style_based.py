"""What StyleGAN and StyleGAN2 share as frozen generators: the spaces z, w and w+, and settings."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from facenb.errors import SpaceError
from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.seeds import seeded

STORED = "stored"


class StyleBased(Generator):
    """z (N, z) → w (N, w) → w+ (N, L, w) → images (N, 3, R, R), bounded to [−1, 1].

    Sub-classes implement `layers`.

    Args:
        network: with its weights loaded; it is frozen and belongs to this generator from now on. It
            has a `layout`, the mean `w_avg`, `map`, `synthesize`, `stored_noise` and `freeze`.
        w_names: the L layers that the latents of w+ drive, each a kind and a side, for ranges.
        name, fingerprint: as of every `Generator`.

    Attributes:
        network: the networks; `network.synthesize` gives images before they are bounded.
        w_layers: L, the number of latents in w+.
        truncation, noise: what `variant` was asked for.
    """

    spaces = ("z", "w", "w+")
    _other_layers = ""  # what to do with latents of another number of layers

    def __init__(
        self, network: nn.Module, w_names: Sequence[str], name: str, fingerprint: str
    ) -> None:
        super().__init__()
        layout = network.layout
        self.name, self.fingerprint = name, fingerprint
        self._weights = self._space = fingerprint  # of images; of latents
        self.network = network
        self.resolution, self.latent_dim = layout.resolution, layout.z_dim
        self.w_layers, self.w_names = layout.w_layers, tuple(w_names)
        self.truncation, self.noise = 1.0, STORED
        self._noise: list[Tensor | None] | None = None
        self.freeze()
        network.freeze(network.precision)

    def variant(
        self,
        truncation: float | None = None,
        noise: int | str | None = None,
        precision: torch.dtype | None = None,
    ) -> Self:
        """This generator with other settings (what is None stays), under another fingerprint.

        Args:
            truncation: ψ of w ← w̄ + ψ·(w − w̄) on the way from z; 1 changes nothing. Latents given
                in w or w+ are taken as they are; `truncate` is for them.
            noise: "stored", "none", or a seed. It is the same for every image in all three
                cases, so that images are a function of their latents.
            precision: of the feature maps. torch.bfloat16 is for looking at many images.
        """
        other = copy.copy(self)
        other._modules = dict(self._modules)  # shares the network, not what names it
        if truncation is not None:
            other.truncation = check_psi(truncation)
        if noise is not None:
            other.noise = noise
            other._noise = self._draw(noise)
        if precision is not None and precision != self.network.precision:
            other.network = copy.deepcopy(self.network).freeze(precision)
        settings = (other.truncation, other.noise, str(other.network.precision))
        plain = (1.0, STORED, str(torch.float32))
        other.fingerprint = self._weights
        if settings != plain:  # other images, so other entries in every cache
            other.fingerprint += "-" + "-".join(map(str, settings))
        return other

    @property
    def space_fingerprint(self) -> str:
        """Of the weights, the same for every `variant`."""
        return self._space

    def truncate(
        self, latents: Latents, psi: float, layers: tuple[int, int] | None = None
    ) -> Latents:
        """w̄ + ψ·(w − w̄) of latents in w, or in w+ for the half-open range `layers` (default: all).

        Raises:
            SpaceError: latents in z, which have no mean to go to.
        """
        if latents.space == "z":
            raise SpaceError(
                f"{self.name}: expected latents in space 'w' or 'w+' to truncate, given 'z'. "
                "Map them first: generator.map(latents, 'w')."
            )
        psi = check_psi(psi)
        values, mean = latents.values, self.network.w_avg
        truncated = torch.lerp(mean.to(values), values, psi)
        if layers is None:
            return latents.with_values(truncated)
        inside = torch.zeros(self.w_layers, 1, dtype=torch.bool, device=values.device)
        inside[slice(*layers)] = True
        return latents.with_values(torch.where(inside, truncated, latents.require("w+")))

    def layer_range(self, first: int, last: int) -> tuple[int, int]:
        """The half-open range of w+ layers that work at sides `first` to `last` in pixels, both in.

        (4, 8) is (0, 3): conv4, up8, conv8.
        """
        sides = [int(re.search(r"\d+", name)[0]) for name in self.w_names]
        if first not in sides or last not in sides or first > last:
            raise ValueError(
                f"{self.name}: expected sides among {sorted(set(sides))}, the first not above the "
                f"last, given {first} and {last}."
            )
        return sides.index(first), len(sides) - sides[::-1].index(last)

    def layer_groups(self) -> dict[str, tuple[int, int]]:
        """Half-open ranges of w+ layers by name, as StyleGAN has them: coarse, middle and fine.

        At 1024 pixels coarse layers work at sides up to 16, middle ones at 32 and 64.
        """
        first, second = round(0.3 * self.w_layers), round(0.56 * self.w_layers)
        return {"coarse": (0, first), "middle": (first, second), "fine": (second, self.w_layers)}

    def style_weights(self, layers: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """{layer: A (in, w)} for SeFa: w changes the styles of that layer by A·w.

        Args:
            layers: half-open range of w+ layers, all by default. As in SeFa's published code, each
                stands for its convolution, and the last of all for the last ToRGB.
        """
        modules = self.layers()
        names = self.w_names[slice(*(layers or (0, None)))]
        if not names:
            raise ValueError(
                f"{self.name}: expected a range within 0 to {self.w_layers}, given {layers}."
            )
        return {n: modules[n].style.weight * modules[n].style.scale for n in names}

    def dim(self, space: str) -> int:
        """z or w, as of the network's layout."""
        self._check_space(space)
        return self.latent_dim if space == "z" else self.network.layout.w_dim

    def _map(self, latents: Latents, space: str) -> Latents:
        if latents.space == "z" and space != "z":
            w = self.network.map(latents.values.to(self.network.w_avg.dtype))
            mapped = Latents(w, "w")
            if self.truncation != 1:
                mapped = self.truncate(mapped, self.truncation)
            return self.map(mapped, space)
        if (latents.space, space) == ("w", "w+"):
            return Latents(latents.values[:, None].repeat(1, self.w_layers, 1), "w+")
        return super()._map(latents, space)

    def _synthesize(self, latents: Latents) -> Tensor:
        return self.network.synthesize(self._codes(latents), self._noise_maps()).clamp(-1, 1)

    def _codes(self, latents: Latents) -> Tensor:
        """What `network.synthesize` takes: w (N, w) or w+ (N, L, w)."""
        if latents.space == "w+" and latents.values.shape[1] != self.w_layers:
            raise ValueError(
                f"{self.name}: expected {self.w_layers} layers in space 'w+', "
                f"given shape {tuple(latents.values.shape)}.{self._other_layers}"
            )
        w = self.map(latents, "w") if latents.space == "z" else latents
        return w.values.to(self.network.w_avg.dtype)  # styles are in single precision

    def _noise_maps(self) -> list[Tensor | None] | None:
        return self._noise and [n if n is None else n.to(self.device) for n in self._noise]

    def _draw(self, noise: int | str) -> list[Tensor | None] | None:
        """What `synthesize` takes for that setting."""
        stored = self.network.stored_noise()
        if noise == STORED:
            return None
        if noise == "none":
            return [None] * len(stored)
        if isinstance(noise, bool) or not isinstance(noise, int):
            raise ValueError(f"noise: expected 'stored', 'none' or a seed, given {noise!r}.")
        random = seeded(noise)
        drawn = [torch.randn(n.shape, generator=random).to(n) for n in stored]
        return [d * s for d, s in zip(drawn, self.network.noise_scales(), strict=True)]


def check_psi(psi: float) -> float:
    """ψ, when it makes sense: from −2, the opposite face, to 2. ValueError otherwise."""
    if not -2 <= psi <= 2:
        raise ValueError(
            f"truncation ψ: expected a number from -2 to 2 (0 the mean face, 1 no truncation), "
            f"given {psi!r}."
        )
    return float(psi)
