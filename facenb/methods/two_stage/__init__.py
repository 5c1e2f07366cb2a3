"""Two-stage directions with the Hessian penalty (Niu et al., 2023).

`configs` has the five experiments, `direction_matrix` the matrix A and its constraints,
`reconstructors` the network that recognises a direction, `discovery` its task, `training` both
stages, `learner` all of it behind `fit`.
"""

from facenb.methods.two_stage.configs import CONFIGS, METHODS, VARIANTS, Config, load_config
from facenb.methods.two_stage.direction_matrix import (
    KINDS,
    DirectionMatrix,
    gram_schmidt,
    rotation_angles,
    smallest_angle,
)
from facenb.methods.two_stage.learner import DirectionLearner, held_out_penalty
from facenb.methods.two_stage.reconstructors import Reconstructor, make_reconstructor
from facenb.methods.two_stage.training import Training

__all__ = [
    "CONFIGS",
    "KINDS",
    "METHODS",
    "VARIANTS",
    "Config",
    "DirectionLearner",
    "DirectionMatrix",
    "Reconstructor",
    "Training",
    "gram_schmidt",
    "held_out_penalty",
    "load_config",
    "make_reconstructor",
    "rotation_angles",
    "smallest_angle",
]
