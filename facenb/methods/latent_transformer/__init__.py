"""The latent transformer (Yao et al., 2021): a network for each attribute that moves latents.

`latent_classifier` is the frozen classifier of §3.1, `transformer` the training by Eqs. 2 to 4,
`editors` the trained networks as editors.
"""

from facenb.methods.latent_transformer.editors import (
    SLOPE,
    LatentTransformers,
    TransformerEditor,
    load_transformers,
)
from facenb.methods.latent_transformer.latent_classifier import LatentClassifier, label_thresholds
from facenb.methods.latent_transformer.transformer import LatentTransformer, scaling_factors

__all__ = [
    "SLOPE",
    "LatentClassifier",
    "LatentTransformer",
    "LatentTransformers",
    "TransformerEditor",
    "label_thresholds",
    "load_transformers",
    "scaling_factors",
]
