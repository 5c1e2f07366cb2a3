"""StyleGAN2 (Karras et al., 2020) as a frozen generator with the spaces z, w and w+.

`stylegan2_network` holds the networks and says how their weights are laid out and named.
"""

from __future__ import annotations

from torch import nn

from facenb.generators.style_based import StyleBased
from facenb.generators.stylegan2_network import StyleGAN2Network


class StyleGAN2(StyleBased):
    """z (N, z) → w (N, w) → w+ (N, L, w) → images (N, 3, R, R), bounded to [−1, 1].

    The L layers of w+ are conv4, up8, conv8, …, rgbR; the latent of an `up` layer drives the ToRGB
    before it as well. Settings are those of `StyleBased`.

    Args:
        network: with its weights loaded; it is frozen and belongs to this generator from now on.
        name, fingerprint: as of every `Generator`.
    """

    def __init__(self, network: StyleGAN2Network, name: str, fingerprint: str) -> None:
        layout = network.layout
        names = (*_conv_names(len(layout.channels)), f"rgb{layout.resolution}")
        super().__init__(network, names, name, fingerprint)

    def layers(self) -> dict[str, nn.Module]:
        """map1, map2, …, then conv4, rgb4, up8, conv8, rgb8, … in the order in which they run."""
        named = {f"map{i + 1}": layer for i, layer in enumerate(self.network.mapping)}
        names = _conv_names(len(self.network.rgbs))
        for i, (name, conv) in enumerate(zip(names, self.network.convs, strict=True)):
            named[name] = conv
            if i % 2 == 0:
                named[f"rgb{4 << (i // 2)}"] = self.network.rgbs[i // 2]
        return named


def _conv_names(resolutions: int) -> list[str]:
    sides = [4 << r for r in range(1, resolutions)]
    return ["conv4"] + [f"{kind}{side}" for side in sides for kind in ("up", "conv")]
