"""facenb: face editing in the latent spaces of GANs."""

from facenb.editors import Editors, load_editors
from facenb.generators import load_generator
from facenb.latents import Latents
from facenb.scorers import load_identity, load_scorers

__version__ = "0.1.0"
__all__ = [
    "Editors",
    "Latents",
    "load_editors",
    "load_generator",
    "load_identity",
    "load_scorers",
]
