"""MobileStyleGAN, FFHQ, 1024 × 1024: real-looking faces with StyleGAN2-FFHQ's own Z and W.

Belousov (2021), arXiv:2104.04767. The synthesis network is the author's, from the PyPI package
random-face (Apache-2.0); it was trained to show what StyleGAN2 shows. The mapping network is
StyleGAN2-FFHQ's (config F), so that directions and latents published for that W work here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets.converted import converted_path, load_net
from facenb.errors import AssetError, UnknownNameError
from facenb.generators.mobilestylegan.heads import Head, Heads, heads_file, load_heads
from facenb.generators.mobilestylegan.network import MobileStyleGANNetwork
from facenb.generators.style_based import StyleBased
from facenb.latents import Latents
from facenb.storage.files import sha256_file

NAME = "mobilestylegan-ffhq-1024"
_SIDES = [4 << block for block in range(1, 8)]
_W_NAMES = (
    "conv4",
    *(layer for side in _SIDES for layer in (f"up{side}", f"conv{side}_1", f"conv{side}_2")),
    "rgb1024",
)
# The latent of StyleGAN2-1024's 18 that each of the 23 layers takes; the last takes 15, 16 and 17.
_FROM_STYLEGAN2 = [0, *(code for k in range(1, 8) for code in (2 * k - 1, 2 * k - 1, 2 * k))]
_STYLEGAN2_LAYERS = 18


class MobileStyleGAN(StyleBased):
    """z (N, 512) → w (N, 512) → w+ (N, 23, 512) → images (N, 3, 1024, 1024) in [−1, 1].

    The 23 layers of w+ are conv4, up8, conv8_1, conv8_2, …, conv512_2, rgb1024. Settings are those
    of `StyleBased`; noise seeds draw maps as strong as the stored ones.

    `synthesize(latents, size=…)`: 1024 and 512 are the network's own. 256, 128 and 64 are made by
    small learned networks on its inner feature maps (`heads`), in less than half the time;
    `preview` makes 256 in a sixth.

    Args:
        network: with its weights loaded; it is frozen and belongs to this generator from now on.
        heads: what makes the small sizes; None where there are none yet.
    """

    _other_layers = " Latents of StyleGAN2-1024, with 18 layers: generator.from_stylegan2(latents)."

    def __init__(
        self, network: MobileStyleGANNetwork, heads: Heads | None, name: str, fingerprint: str
    ) -> None:
        super().__init__(network, _W_NAMES, name, fingerprint)
        self.heads = heads

    @property
    def sizes(self) -> tuple[int, ...]:
        return (*(self.heads.sizes if self.heads else ()), 512, 1024)

    @property
    def scoring_size(self) -> int:
        """256, which is all that the scorers' nets look at; 512 where there are no heads."""
        return 256 if 256 in self.sizes else 512

    def layers(self) -> dict[str, nn.Module]:
        """map1, …, map8, then the 23 layers of w+ in the order in which they run."""
        network = self.network
        named = {f"map{i + 1}": layer for i, layer in enumerate(network.mapping)}
        named["conv4"] = network.convs[0]
        for block, side in enumerate(_SIDES):
            named[f"up{side}"] = network.ups[block]
            named[f"conv{side}_1"] = network.convs[2 * block + 1]
            named[f"conv{side}_2"] = network.convs[2 * block + 2]
        return named | {"rgb1024": network.rgb}

    def from_stylegan2(self, codes: Tensor) -> Tensor:
        """Latents (…, 18, 512) of StyleGAN2-1024, or shifts → (…, 23, 512) of this network.

        Latent 2k − 1 of block k goes to `up` and `conv_1`, latent 2k to `conv_2`, the mean of the
        last three to `rgb1024`. An approximation: StyleGAN2's last latents drive layers that are
        not here.

        Raises:
            ValueError: another number of layers.
        """
        if codes.ndim < 2 or codes.shape[-2:] != (_STYLEGAN2_LAYERS, self.dim("w")):
            raise ValueError(
                f"{self.name}: expected latents of StyleGAN2-1024 of shape (…, 18, 512), given "
                f"{tuple(codes.shape)}."
            )
        last = codes[..., 15:, :].mean(-2, keepdim=True)
        return torch.cat([codes[..., _FROM_STYLEGAN2, :], last], dim=-2)

    def features(self, latents: Latents, side: int) -> Tensor:
        """The feature maps (N, C, side, side) after the block of that side, 4, 8, …, 512."""
        return self.network.features(self._codes(latents), side, self._noise_maps())

    def preview(self, latents: Latents) -> Tensor:
        if self.heads is None or self.heads.preview is None:
            return super().preview(latents)
        self._check_latents(latents)
        return self._small(latents, self.heads.preview)

    def _synthesize(self, latents: Latents) -> Tensor:
        return self._synthesize_at(latents, self.resolution)

    def _synthesize_at(self, latents: Latents, size: int) -> Tensor:
        if size >= 512:
            codes, noise = self._codes(latents), self._noise_maps()
            return self.network.synthesize(codes, noise, size).clamp(-1, 1)
        images = self._small(latents, self.heads.head_for(size))
        return images if images.shape[-1] == size else F.avg_pool2d(images, 2)

    def _small(self, latents: Latents, head: Head) -> Tensor:
        codes, noise = self._codes(latents), self._noise_maps()
        features = self.network.features(codes, head.layout.side, noise)
        noise = self.network.stored_noise() if noise is None else noise
        return head(features, codes, noise).clamp(-1, 1)


def load(name: str = NAME) -> MobileStyleGAN:
    """The generator from the converted file in the cache, with the heads that ship.

    Raises:
        AssetError: its files are not cached and cannot be fetched, or are of another network.
    """
    state, _ = load_net(name)
    network = MobileStyleGANNetwork()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise AssetError(
            f"{name}: the converted weights are of another network: {error}"
        ) from error
    try:
        heads, version = load_heads(name), sha256_file(heads_file(name))
    except UnknownNameError:
        heads, version = None, "none"
    fingerprint = "-".join([converted_path(name).stem, version[:16]])
    return MobileStyleGAN(network, heads, name, fingerprint)
