"""Editors: (latents, strength) → latents, however they were made.

`base` has the interface and the linear ones, `derived` those that are made of others, `collection`
named sets with where they came from, `storage` how they are saved; `direction_files` and
`vector_files` read other people's.
"""

from facenb.editors.base import Editor, LinearEditor, Strength, per_code, traversal, unit
from facenb.editors.collection import Editors, load_editors
from facenb.editors.derived import (
    Composition,
    ConditionedEditor,
    EditorWrapper,
    LayerEditor,
    ScaledEditor,
    compose,
    condition,
    condition_on,
    reverse,
    unscaled,
)
from facenb.editors.direction_files import (
    LayerwiseEditor,
    read_directions,
    read_editors,
)
from facenb.editors.storage import Context, savable

__all__ = [
    "Composition",
    "ConditionedEditor",
    "Context",
    "Editor",
    "EditorWrapper",
    "Editors",
    "LayerEditor",
    "LayerwiseEditor",
    "LinearEditor",
    "ScaledEditor",
    "Strength",
    "compose",
    "condition",
    "condition_on",
    "load_editors",
    "per_code",
    "read_directions",
    "read_editors",
    "reverse",
    "savable",
    "traversal",
    "unit",
    "unscaled",
]
