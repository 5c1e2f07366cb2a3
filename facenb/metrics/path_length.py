"""How smooth is a latent space? Perceptual path length (Karras et al., 2019, §4.1).

Walk from one latent to another and ask how fast the image changes to a network's eye. A space whose
factors are tangled makes images appear on the way that are in neither end, and pays for it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from tqdm.auto import tqdm

from facenb.generators import Generator
from facenb.latents import Latents
from facenb.seeds import seeded

_BATCH = 16


def perceptual_path_lengths(
    generator: Generator,
    features: Callable[[Tensor], Tensor],
    n: int,
    space: str = "z",
    ends: bool = False,
    seed: int = 0,
    size: int | None = None,
) -> Tensor:
    """‖d f(G(path(t)))/dt‖² at one t of each of `n` paths between random latents, (n,) float64.

    The published measure is the squared distance of two images ε = 10⁻⁴ apart, divided by ε²,
    in float32; forward-mode differentiation takes its limit. Its features
    f are those of a VGG net; values of another net compare with each other and with no published
    one.

    Args:
        features: images (B, 3, R, R) → (B, F).
        space: "z", where paths are arcs on the sphere (slerp), or "w", where they are straight.
        ends: t = 0 instead of t uniform in [0, 1]: only images of latents as they are drawn count,
            and none from between two latents, where W may hold no image.
        seed: of the latents and of t; the same seed gives "z" and "w" the same ends.
        size: of the images, one of `generator.sizes`; by default the largest.

    Raises:
        ValueError: fewer than one path, or a space other than "z" and "w".
        SpaceError: the generator has no "w".
    """
    if n < 1 or space not in ("z", "w"):
        raise ValueError(
            "perceptual_path_lengths: expected n ≥ 1 and space 'z' or 'w', "
            f"given {n} and {space!r}."
        )
    codes = generator.sample(2 * n, seed, space).values.unflatten(0, (n, 2))
    random = seeded(seed)
    t = torch.zeros(n) if ends else torch.rand(n, generator=random)
    path = slerp if space == "z" else torch.lerp
    found = []
    batches = list(zip(codes.split(_BATCH), t.to(codes).split(_BATCH), strict=True))
    for pair, at in tqdm(batches, desc=f"path length in {space}", unit="batch", leave=False):
        # with gradients on, networks take steps that can be differentiated; none needs a graph here
        with forward_ad.dual_level(), torch.enable_grad():
            moving = forward_ad.make_dual(at, torch.ones_like(at))
            latents = Latents(path(*pair.unbind(1), moving[:, None]), space)
            images = generator.synthesize(latents, size)
            speed = forward_ad.unpack_dual(features(images)).tangent
            found.append(speed.cpu().to(torch.float64).square().sum(dim=1))
    return torch.cat(found)


def slerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation of latents (N, d) at t (N, 1); lengths are interpolated linearly.

    N(0, I) lies near a sphere, and a straight line would leave it. (The published code puts both
    ends at length 1, which its generator then normalises anyway.)
    """
    lengths = torch.lerp(start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True), t)
    a, b = (code / code.norm(dim=1, keepdim=True) for code in (start, end))
    angle = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    return lengths * (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / angle.sin()


def trimmed_mean(lengths: Tensor, share: float = 0.01) -> Tensor:
    """Mean (…) of lengths (n, …) but for the lowest and the highest `share` (published code).

    Raises ValueError unless 0 ≤ share < 0.5.
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"trimmed_mean: expected 0 ≤ share < 0.5, given {share}.")
    cut = int(len(lengths) * share)
    return lengths.sort(dim=0).values[cut : len(lengths) - cut].mean(dim=0)
