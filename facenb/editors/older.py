"""The formats that sets of editors had before they had one: the files that ship are of these."""

from __future__ import annotations

from facenb.editors.base import Editor, LinearEditor
from facenb.editors.storage import Context, unpack
from facenb.storage.saved import Saved


def read_directions(found: Saved) -> dict[str, Editor]:
    """facenb-directions-1: linear editors, all normals in one matrix (K, d)."""
    rows = zip(
        found.names, found.tensors["vectors"], found.tensors["intercepts"].tolist(), strict=True
    )
    return {name: LinearEditor(name, v, found.space, None, b) for name, v, b in rows}


def read_transformers(found: Saved) -> dict[str, Editor]:
    """facenb-transformers-1: latent transformers, the weights of all K networks in each tensor."""
    tensors, objects = {}, []
    for row, name in enumerate(found.names):
        weights = {key: f"{name}/{key}" for key in found.tensors}
        tensors |= {place: found.tensors[key][row : row + 1] for key, place in weights.items()}
        mapping = {"mapping": {key: {"tensor": place} for key, place in weights.items()}}
        fields = {"name": name, "weights": mapping, "space": found.space}
        objects.append({"kind": "transformer", "fields": fields})
    structure = {"objects": objects, "editors": {name: i for i, name in enumerate(found.names)}}
    return unpack(tensors, structure, Context("transformers"))


OLDER = {"directions": read_directions, "transformers": read_transformers}
