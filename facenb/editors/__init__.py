"""Editors: (latents, strength) → latents, however they were made.

`base` has the interface and the linear ones, `conditions` what an edit is measured by, `directions`
named editors with provenance, `direction_files` and `vector_files` other people's.
"""

from facenb.editors.base import (
    Editor,
    HeldEditor,
    LayerEditor,
    LinearEditor,
    Strength,
    apply,
    compose,
    condition,
    hold,
    per_code,
    strip,
    unit,
)
from facenb.editors.conditions import ConditionRange, Landmarks, joint, observe
from facenb.editors.direction_files import (
    LayerwiseEditor,
    layer_count,
    read_directions,
    read_editors,
)
from facenb.editors.directions import Directions, load_directions

__all__ = [
    "ConditionRange",
    "Directions",
    "Editor",
    "HeldEditor",
    "Landmarks",
    "LayerEditor",
    "LayerwiseEditor",
    "LinearEditor",
    "Strength",
    "apply",
    "compose",
    "condition",
    "hold",
    "joint",
    "layer_count",
    "load_directions",
    "observe",
    "per_code",
    "read_directions",
    "read_editors",
    "strip",
    "unit",
]
