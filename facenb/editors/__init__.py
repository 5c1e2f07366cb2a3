"""Editors: (latents, strength) → latents, however they were made.

`base` has the interface and the linear ones, `directions` named editors with provenance,
`direction_files` and `vector_files` read other people's.
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
from facenb.editors.direction_files import (
    LayerwiseEditor,
    layer_count,
    read_directions,
    read_editors,
)
from facenb.editors.directions import Directions, load_directions

__all__ = [
    "Directions",
    "Editor",
    "HeldEditor",
    "LayerEditor",
    "LayerwiseEditor",
    "LinearEditor",
    "Strength",
    "apply",
    "compose",
    "condition",
    "hold",
    "layer_count",
    "load_directions",
    "per_code",
    "read_directions",
    "read_editors",
    "strip",
    "unit",
]
