"""What is learned and kept under names: tensors and where they came from, in one safetensors file.

The file's metadata has "format" (facenb-KIND-1), "names" and "provenance" as JSON, and "space".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facenb.errors import FacenbError
from facenb.storage.files import atomic_write


@dataclass(frozen=True)
class Saved:
    """The content of such a file.

    Args:
        names: of the rows of the tensors.
        tensors: whatever its kind has.
        space: of the latents that they are for.
        provenance: how they were made; plain JSON values.
    """

    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    space: str
    provenance: dict

    def write(self, path: str | PathLike[str], kind: str) -> None:
        """Write it as a file of `kind`, such as "directions", whole or not at all."""
        metadata = {
            "format": f"facenb-{kind}-1",
            "names": json.dumps(self.names),
            "space": self.space,
            "provenance": json.dumps(self.provenance, sort_keys=True),
        }
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self.tensors.items()}
        atomic_write(path, save(tensors, metadata))

    @staticmethod
    def read(path: str | PathLike[str], kind: str) -> Saved:
        """Read what `write` wrote; FacenbError when the file is of another kind or is damaged."""
        try:
            with safe_open(path, "pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        except SafetensorError as error:
            raise FacenbError(f"{path}: expected safetensors of {kind}: {error}") from error
        expected, given = f"facenb-{kind}-1", metadata.get("format")
        if given != expected:
            raise FacenbError(
                f"{path}: expected {kind} in format {expected!r}, given {given!r} with tensors "
                f"{sorted(tensors)}."
            )
        names, provenance = json.loads(metadata["names"]), json.loads(metadata["provenance"])
        return Saved(tuple(names), tensors, metadata["space"], provenance)
