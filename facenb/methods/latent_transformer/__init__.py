"""The latent transformer (Yao et al., 2021): a network for each attribute that moves latents.

`latent_classifier` is the frozen classifier of §3.1, `labels` what it learns from, `losses` Eqs. 2
to 4, `transformer` the method, `editors` the trained networks as editors.
"""

from facenb.methods.latent_transformer.editors import SLOPE, TransformerEditor
from facenb.methods.latent_transformer.fitting import fit_side_by_side
from facenb.methods.latent_transformer.labels import (
    LATENTS,
    LEARNING_RATE,
    fit_classifier,
    split,
    two_sided,
)
from facenb.methods.latent_transformer.latent_classifier import LatentClassifier, label_thresholds
from facenb.methods.latent_transformer.losses import scaling_factors
from facenb.methods.latent_transformer.transformer import LatentTransformer, fit_transformers

__all__ = [
    "LATENTS",
    "LEARNING_RATE",
    "SLOPE",
    "LatentClassifier",
    "LatentTransformer",
    "TransformerEditor",
    "fit_classifier",
    "fit_side_by_side",
    "fit_transformers",
    "label_thresholds",
    "scaling_factors",
    "split",
    "two_sided",
]
