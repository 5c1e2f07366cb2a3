"""The surrogate gradient field (Li et al., 2021): latents walk to a target condition of any size.

`mapping` is F, `training` its training, `field` Eq. 6, `search` Algorithm 1, `estimator` all of it
behind `fit`, `editors` the field as an editor.
"""

from facenb.methods.sgf.editors import SGFEditor, sgf_editors
from facenb.methods.sgf.estimator import MAX_STEPS, STEP, SurrogateGradientField
from facenb.methods.sgf.field import ORDER, Order, jacobian, spectral_radius, surrogate_field
from facenb.methods.sgf.fitting import fit_fields, fit_sgf
from facenb.methods.sgf.mapping import AuxiliaryMapping
from facenb.methods.sgf.search import (
    ALREADY_MET,
    DIVERGED,
    OUT_OF_STEPS,
    REACHED,
    Manipulation,
    walk,
)
from facenb.methods.sgf.training import CONFIGS, MappingConfig, load_config, train_mapping

__all__ = [
    "ALREADY_MET",
    "CONFIGS",
    "DIVERGED",
    "MAX_STEPS",
    "ORDER",
    "OUT_OF_STEPS",
    "REACHED",
    "STEP",
    "AuxiliaryMapping",
    "Manipulation",
    "MappingConfig",
    "Order",
    "SGFEditor",
    "SurrogateGradientField",
    "fit_fields",
    "fit_sgf",
    "jacobian",
    "load_config",
    "sgf_editors",
    "spectral_radius",
    "surrogate_field",
    "train_mapping",
    "walk",
]
