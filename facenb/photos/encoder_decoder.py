"""An encoder and a decoder trained together, small: images of 64 pixels and a latent space of 128.

Zhu et al., LIA: Latently Invertible Autoencoder with Adversarial Learning (2019), whose generator
InterFaceGAN edits in its Figure 11: the encoder is no afterthought, and an invertible map leads
from what it gives to normally distributed latents. Here that map is linear (z = A (y − ȳ), with A
from y's covariance, in closed form), and images are compared by pixels, without an adversary: the
idea at a size that learns in minutes on a CPU. The result is a `Generator` with one space, z, so
that boundaries, strips and the Explorer take it as they take any other.

    model = train_together(images, steps=1000)
    latents = model.encode(images)
    other = encoder_afterwards(model, steps=250)      # the same decoder, another encoder
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.drawing import images_of
from facenb.errors import check_images
from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.photos.budget import learn
from facenb.storage.cache import cached
from facenb.storage.files import sha256_tensor, sha256_tensors

SIDE, DIM = 64, 128
BATCH, RATE = 24, 2e-3
_VERSION = 1  # raise when a change here alters what is learned
_CHANNELS = (128, 96, 64, 40)  # of the decoder's maps of 4, 8, 16 and 32 pixels


class EncoderDecoder(Generator):
    """z (N, 128) → images (N, 3, 64, 64) in [−1, 1], and back by `encode`.

    Args:
        state: the weights, as `state_dict` gives them; by default untrained ones from torch's
            random numbers.
    """

    name = "encoder-decoder-64"
    resolution = SIDE
    latent_dim = DIM
    spaces = ("z",)
    framing = "ffhq"

    def __init__(self, state: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder = _encoder(), _decoder()
        self.register_buffer("mean", torch.zeros(DIM))
        self.register_buffer("whiten", torch.eye(DIM))
        self.register_buffer("colour", torch.eye(DIM))
        if state is not None:
            self.load_state_dict(state)
        self._seal()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Latents:
        """z of images (N, 3, S, S) in [−1, 1], framed as FFHQ's, S a multiple of 64."""
        y = torch.cat([self.encoder(part) for part in _small(images).split(256)])
        return Latents((y - self.mean) @ self.whiten.T, "z")

    def _synthesize(self, latents: Latents) -> Tensor:
        return self.decoder(latents.values @ self.colour.T + self.mean)

    @torch.no_grad()
    def _whiten(self, images: Tensor) -> None:
        """Set the invertible map so that z of `images` has mean 0 and covariance 1."""
        y = torch.cat([self.encoder(part) for part in images.split(256)])
        variances, axes = torch.linalg.eigh(torch.cov(y.T).double())
        # a direction that is hardly used is not blown up to 1
        deviations = variances.clamp(min=1e-6 * float(variances[-1])).sqrt()
        self.mean.copy_(y.mean(0))
        self.whiten.copy_((axes / deviations) @ axes.T)
        self.colour.copy_((axes * deviations) @ axes.T)

    def _seal(self) -> None:
        """Weights that learn no more, and their name."""
        self.freeze()
        self.fingerprint = f"{self.name}-{sha256_tensors(dict(self.state_dict()))[:16]}"


def train_together(
    images: Tensor, steps: int = 1000, seed: int = 0, quiet: bool = False
) -> EncoderDecoder:
    """An encoder and a decoder learned together from images (N, 3, S, S), S a multiple of 64.

    Adam on the absolute error of pixels and the squared error of 16-px averages, with a rate that
    rises and falls once; each image is mirrored at random.
    """
    images = _small(images)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = EncoderDecoder()

    def loss(random: torch.Generator) -> Tensor:
        batch = _batch(images, random)
        return _error(model.decoder(model.encoder(batch)), batch)

    learned = [*model.encoder.parameters(), *model.decoder.parameters()]
    learn("encoder-decoder", _free(learned), loss, steps, RATE, seed, quiet)
    model._whiten(images)
    model._seal()
    return model


def encoder_afterwards(
    model: EncoderDecoder, steps: int = 250, seed: int = 0, quiet: bool = False
) -> EncoderDecoder:
    """The decoder of `model` with an encoder that was learned afterwards, from its own images.

    z ~ N(0, I) are drawn and decoded, and the encoder learns to give them back, as encoders of
    generators that have none are learned.
    """
    other = EncoderDecoder({k: v.clone() for k, v in model.state_dict().items()})
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        other.encoder = _encoder()

    def loss(random: torch.Generator) -> Tensor:
        z = torch.randn(BATCH, DIM, generator=random)
        with torch.no_grad():
            images = model.synthesize(Latents(z, "z"))
            y = z @ other.colour.T + other.mean  # in z, noise would weigh as much as what matters
        return (other.encoder(images) - y).square().mean()

    learn("encoder", _free(list(other.encoder.parameters())), loss, steps, RATE, seed, quiet)
    other._seal()
    return other


def learn_from(
    generator: Generator, latents: Latents, steps: int = 1000, seed: int = 0
) -> tuple[EncoderDecoder, EncoderDecoder, Latents]:
    """From the images of a generator's latents, kept in the cache.

    Returns:
        the encoder and decoder trained together, the same decoder with an encoder learned
        afterwards in a quarter of the steps, and z (N, 128) of the latents' images by the first.
    """
    inputs = {"version": _VERSION, "generator": generator.fingerprint, "steps": steps, "seed": seed}
    inputs |= {"latents": sha256_tensor(latents.values)}

    def both_learned() -> dict[str, Tensor]:
        images = images_of(generator, latents, SIDE)
        model = train_together(images, steps, seed)
        return model.state_dict() | {"codes": model.encode(images).values}

    found = cached("encoder-decoder", inputs, both_learned)
    codes = Latents(found.pop("codes"), "z")
    together = EncoderDecoder(found)
    inputs = {"version": _VERSION, "model": together.fingerprint, "steps": steps // 4, "seed": seed}
    afterwards = cached(
        "encoder-afterwards",
        inputs,
        lambda: encoder_afterwards(together, steps // 4, seed).state_dict(),
    )
    return together, EncoderDecoder(afterwards), codes


def _free(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def _batch(images: Tensor, random: torch.Generator) -> Tensor:
    batch = images[torch.randint(len(images), (BATCH,), generator=random)]
    mirrored = torch.rand(BATCH, generator=random) < 0.5
    return torch.where(mirrored[:, None, None, None], batch.flip(3), batch)


def _error(images: Tensor, targets: Tensor) -> Tensor:
    coarse = F.avg_pool2d(images - targets, 4)
    return (images - targets).abs().mean() + coarse.square().mean()


def _small(images: Tensor) -> Tensor:
    check_images(images)
    if images.shape[2] != images.shape[3] or images.shape[-1] % SIDE:
        raise ValueError(
            f"images: expected (N, 3, S, S), S a multiple of {SIDE}, given {tuple(images.shape)}."
        )
    return F.avg_pool2d(images.float(), images.shape[-1] // SIDE)


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = []
    for narrow, wide in ((3, 32), (32, 64), (64, 96), (96, 128)):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, DIM))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(DIM, _CHANNELS[0] * 16)]
    layers += [nn.Unflatten(1, (_CHANNELS[0], 4, 4)), nn.LeakyReLU(0.2)]
    for wide, narrow in pairwise(_CHANNELS):
        layers += [nn.Conv2d(wide, 4 * narrow, 3, padding=1), nn.PixelShuffle(2)]
        layers += [nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(_CHANNELS[-1], 48, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(48, 12, 3, padding=1), nn.PixelShuffle(2), nn.Tanh())
