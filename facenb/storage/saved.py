"""What is learned and kept under names: tensors and where they came from, in one safetensors file.

The file's metadata has "format" (facenb-KIND-1), "names" and "provenance" as JSON, and "space";
"structure" is JSON as well, where a kind has one.
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
        names: of what it has.
        tensors: whatever its kind has.
        space: of the latents that they are for.
        provenance: how they were made; plain JSON values.
        kind: such as "editors".
        structure: how the tensors belong together, plain JSON values; None where that is known.
    """

    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    space: str
    provenance: dict
    kind: str
    structure: dict | None = None

    def write(self, path: str | PathLike[str]) -> None:
        """Write it whole or not at all."""
        metadata = {
            "format": f"facenb-{self.kind}-1",
            "names": json.dumps(self.names),
            "space": self.space,
            "provenance": json.dumps(self.provenance, sort_keys=True),
        }
        if self.structure is not None:
            metadata["structure"] = json.dumps(self.structure)
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self.tensors.items()}
        atomic_write(path, save(tensors, metadata))

    @staticmethod
    def read(path: str | PathLike[str], *kinds: str) -> Saved:
        """Read a file of one of these kinds; FacenbError when it is another or is damaged."""
        try:
            with safe_open(path, "pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        except SafetensorError as error:
            raise FacenbError(f"{path}: expected safetensors of {kinds[0]}: {error}") from error
        known = {f"facenb-{kind}-1": kind for kind in kinds}
        if metadata.get("format") not in known:
            raise FacenbError(
                f"{path}: expected {kinds[0]} in format {', '.join(map(repr, known))}, given "
                f"{metadata.get('format')!r} with tensors {sorted(tensors)[:8]}."
            )
        names, provenance = json.loads(metadata["names"]), json.loads(metadata["provenance"])
        structure = json.loads(metadata.get("structure", "null"))
        kind = known[metadata["format"]]
        return Saved(tuple(names), tensors, metadata["space"], provenance, kind, structure)
