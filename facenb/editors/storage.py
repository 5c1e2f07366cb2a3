"""Editors as one safetensors file: tensors, and the structure that they stand in as JSON.

    @savable("bent")
    @dataclass(frozen=True)
    class BentEditor: …            # nothing else is needed for an editor of tensors and numbers

Never pickle: a file names the kinds of its objects, and only classes that were registered under
these names are made of them. Objects and tensors that several editors share are written once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol

from torch import Tensor

from facenb.errors import FacenbError, unknown

_CLASSES: dict[str, type] = {}
# Kinds of the rooms above this one, whose modules register them when a file asks for them.
_MODULES = {
    "transformer": "facenb.methods.latent_transformer.editors",
    "sgf": "facenb.methods.sgf.editors",
    "sgf field": "facenb.methods.sgf.estimator",
    "optimisation": "facenb.methods.latent_optimization",
}


class Savable(Protocol):
    """What a registered class may have where its fields are not all tensors, numbers and editors.

    `to_fields` gives values that can be saved; `from_fields` makes the object of them again, with
    the generator and the scorers of the `Context`.
    """

    def to_fields(self) -> dict[str, object]: ...

    @classmethod
    def from_fields(cls, values: dict[str, object], context: Context) -> Savable: ...


@dataclass(frozen=True)
class Context:
    """What a file is loaded with.

    Args:
        source: the file, for errors.
        generator, scorers: that observe what editors have to observe; None where nobody gave them.
        shared: what several editors of the file make once, by a key of their own.
    """

    source: str
    generator: object = None
    scorers: object = None
    shared: dict[object, object] = field(default_factory=dict)


def savable(kind: str):
    """Register a dataclass as `kind`, the name that files have for it."""

    def register(cls: type) -> type:
        _CLASSES[kind] = cls
        return cls

    return register


def pack(editors: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The tensors and the JSON of editors by name; `unpack` makes the editors of them again.

    Raises:
        FacenbError: an editor of a class that is not registered, or with a value that no file has.
    """
    packer = _Packer()
    places = {name: packer.add(editor, name) for name, editor in editors.items()}
    return packer.tensors, {"objects": packer.objects, "editors": places}


def unpack(
    tensors: Mapping[str, Tensor], structure: Mapping[str, object], context: Context
) -> dict[str, object]:
    """The editors that `pack` was given.

    Raises:
        FacenbError: a kind that nobody has registered, or what its class refuses.
    """
    made: list[object] = []

    def value(stored: object) -> object:
        if isinstance(stored, list):
            return tuple(map(value, stored))
        if isinstance(stored, dict):
            ((tag, content),) = stored.items()
            if tag == "tensor":
                return tensors[content]
            if tag == "object":
                return made[content]
            return {key: value(each) for key, each in content.items()}
        return stored

    for entry in structure["objects"]:
        cls = _class_of(entry["kind"], context)
        values = {name: value(stored) for name, stored in entry["fields"].items()}
        make = getattr(cls, "from_fields", None)
        made.append(make(values, context) if make else cls(**values))
    return {name: made[place] for name, place in structure["editors"].items()}


class _Packer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.objects: list[dict[str, object]] = []
        self._places: dict[int, int] = {}
        self._keys: dict[tuple[object, ...], str] = {}
        self._alive: list[object] = []  # or another object could come to have the same identity

    def add(self, given: object, prefix: str) -> int:
        """The place of an object among `objects`, where those that it is made of come first."""
        if id(given) in self._places:
            return self._places[id(given)]
        kind = next((kind for kind, cls in _CLASSES.items() if type(given) is cls), None)
        if kind is None:
            raise FacenbError(
                f"{prefix}: a {type(given).__name__} cannot be saved. Decorate the class, a "
                'dataclass, with facenb.editors.savable("a name for files").'
            )
        if hasattr(given, "to_fields"):
            values = given.to_fields()
        else:
            values = {each.name: getattr(given, each.name) for each in fields(given)}
        stored = {name: self._value(each, f"{prefix}/{name}") for name, each in values.items()}
        self._alive.append(given)
        self.objects.append({"kind": kind, "fields": stored})
        self._places[id(given)] = len(self.objects) - 1
        return self._places[id(given)]

    def _value(self, given: object, prefix: str) -> object:
        if isinstance(given, Tensor):
            return {"tensor": self._tensor(given, prefix)}
        if given is None or isinstance(given, bool | int | float | str):
            return given
        if isinstance(given, tuple | list):
            return [self._value(each, f"{prefix}/{i}") for i, each in enumerate(given)]
        if isinstance(given, Mapping):
            return {"mapping": {k: self._value(v, f"{prefix}/{k}") for k, v in given.items()}}
        return {"object": self.add(given, prefix)}

    def _tensor(self, given: Tensor, prefix: str) -> str:
        tensor = given.detach()
        same = tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device
        if same not in self._keys:
            self._alive.append(tensor)
            self._keys[same] = prefix
            self.tensors[prefix] = tensor.cpu().clone().contiguous()
        return self._keys[same]


def _class_of(kind: str, context: Context) -> type:
    if kind not in _CLASSES and kind in _MODULES:
        importlib.import_module(_MODULES[kind])
    if kind not in _CLASSES:
        raise unknown(f"kind of editor in {context.source}:", kind, {**_CLASSES, **_MODULES})
    return _CLASSES[kind]
