"""Pivotal tuning: the generator bent a little, so that one latent gives one photograph.

Roich et al., Pivotal Tuning for Latent-based Editing of Real Images (2021): the one that inversion
found stays, and a few steps of Adam change the weights of the synthesis network around it. What
the latent could not show (an ear-ring, a logo) is learned by the weights; the styles, through which
edits work, are left alone.
"""

from __future__ import annotations

import copy
import math
import threading

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.errors import check_images
from facenb.generators.mobilestylegan import MobileStyleGAN
from facenb.latents import Latents
from facenb.photos.budget import Spent, spend
from facenb.photos.losses import ImageLoss, Weights
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor, sha256_tensors

SIZE, RATE = 512, 1e-3
_WEIGHTS = Weights(pixels=1.0, vgg=0.4, identity=0.0, landmarks=0.0)
_LEARNED = ("convs", "rgb")
_LEFT = ("style", "noise")
_VERSION = 1  # raise when a change here alters the weights


def tune(
    generator: MobileStyleGAN,
    image: Tensor,
    pivot: Latents,
    seconds: float | None = None,
    steps: int | None = None,
    rate: float = RATE,
    stop: threading.Event | None = None,
    quiet: bool = False,
) -> MobileStyleGAN:
    """A generator whose image of `pivot` is nearer to `image`; the one given stays as it is.

    Z and W are the same, so that editors of the one work on the other.

    Args:
        image: (1, 3, S, S) in [−1, 1], S a multiple of 512.
        pivot: one latent, of w or w+.
        seconds, steps: one of them, the budget.
        rate: of Adam.
        stop: ends it early when set, as Ctrl-C does; what was learned so far is kept.

    Raises:
        ValueError: several images or latents, or another size.
    """
    best = _weights(generator, image, pivot, seconds, steps, rate, stop, quiet)
    return _with_weights(generator, best)


def tuned(generator: MobileStyleGAN, image: Tensor, pivot: Latents, steps: int) -> MobileStyleGAN:
    """`tune(steps=…)`, whose weights are kept in the cache."""
    inputs = {"version": _VERSION, "generator": generator.fingerprint, "steps": steps}
    inputs |= {"image": sha256_tensor(image), "code": sha256_tensor(pivot.values)}
    best = cached("tune", inputs, lambda: _weights(generator, image, pivot, steps=steps))
    return _with_weights(generator, best)


def _weights(
    generator: MobileStyleGAN,
    image: Tensor,
    pivot: Latents,
    seconds: float | None = None,
    steps: int | None = None,
    rate: float = RATE,
    stop: threading.Event | None = None,
    quiet: bool = False,
) -> dict[str, Tensor]:
    """The best weights of those that learn, by name."""
    check_images(image)
    if len(image) != 1 or len(pivot) != 1 or image.shape[-1] % SIZE:
        raise ValueError(
            f"tune: expected one image of a multiple of {SIZE} pixels a side and one latent, given "
            f"images {tuple(image.shape)} and {len(pivot)} latents."
        )
    target = F.avg_pool2d(image.float(), image.shape[-1] // SIZE)
    loss = ImageLoss(target, _WEIGHTS, vgg_size=SIZE // 2)
    values = generator.map(pivot, "w+").values.detach()
    network = _learning(generator)
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, rate, betas=(0.9, 0.99))
    best, lowest = {}, math.inf

    def step(done: float) -> float:
        nonlocal best, lowest
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 10 * done + 0.1) * (1 - 0.9 * done)
        error = loss(network.synthesize(values, size=SIZE).clamp(-1, 1))[0].sum()
        value = float(error.detach())
        if value < lowest:
            lowest = value
            best = {name: p.detach().clone() for name, p in network.named_parameters()
                    if p.requires_grad}  # fmt: skip
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        return value

    spend("tuning", step, Spent(), seconds, steps, stop, quiet=quiet)
    return best


def _learning(generator: MobileStyleGAN) -> torch.nn.Module:
    """A copy of the network whose convolutions learn; its maps in bfloat16, weights in float32."""
    network = copy.deepcopy(generator.network).float()
    network.blocks, network.precision = None, torch.bfloat16
    for name, parameter in network.named_parameters():
        inside = name.startswith(_LEARNED) and not any(part in name for part in _LEFT)
        parameter.requires_grad_(inside)
    return network


def _with_weights(generator: MobileStyleGAN, changed: dict[str, Tensor]) -> MobileStyleGAN:
    network = _learning(generator)
    network.load_state_dict(changed, strict=False)
    other = copy.copy(generator)
    other._modules = dict(generator._modules)
    other.network = network.freeze(generator.network.precision)
    other._weights = f"{generator._weights}-tuned-{sha256_tensors(changed)[:16]}"
    return other.variant()
