"""MobileStyleGAN (Belousov, 2021) for FFHQ: 1024 × 1024, with StyleGAN2's own Z and W.

`generator` is the generator, `network` its networks by definition (`layers`), `cpu`, `strips` and
`stages` the same numbers fast on a CPU, `heads` its small images.
"""

from facenb.generators.mobilestylegan.generator import NAME, MobileStyleGAN
from facenb.generators.mobilestylegan.heads import LAYOUTS, Head
from facenb.generators.mobilestylegan.layers import inverse_haar
from facenb.generators.mobilestylegan.network import Layout, MobileStyleGANNetwork

__all__ = [
    "LAYOUTS",
    "NAME",
    "Head",
    "Layout",
    "MobileStyleGAN",
    "MobileStyleGANNetwork",
    "inverse_haar",
]
