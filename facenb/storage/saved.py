"""What is learned and kept under names: tensors and where they came from, in one safetensors file.

The file's metadata has "format" (facenb-KIND-1), "names" and "provenance" as JSON, and "space";
"structure" is JSON as well, where a kind has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from safetensors import SafetensorError, safe_open
from torch import Tensor

from facenb.errors import FacenbError, printable
from facenb.storage.files import sha256_tensors, write_tensors

SPACES = ("z", "w", "w+")


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
        metadata["sha256"] = digest(metadata, tensors)
        write_tensors(path, tensors, metadata)

    @staticmethod
    def kind_of(path: str | PathLike[str]) -> str | None:
        """The kind of a file; None for one that has none."""
        with safe_open(path, "pt") as stored:
            form = (stored.metadata() or {}).get("format", "")
        known = form.startswith("facenb-") and form.endswith("-1")
        return form.removeprefix("facenb-").removesuffix("-1") if known else None

    @staticmethod
    def read(path: str | PathLike[str], *kinds: str) -> Saved:
        """Read a file of one of these kinds; FacenbError when it is another or is damaged."""
        try:
            with safe_open(path, "pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        except (SafetensorError, RuntimeError, ValueError, IsADirectoryError) as error:
            said = printable(str(error), 300)
            raise FacenbError(f"{path}: expected safetensors of {kinds[0]}: {said}") from error
        known = {f"facenb-{kind}-1": kind for kind in kinds}
        if metadata.get("format") not in known:
            raise FacenbError(
                f"{path}: expected {kinds[0]} in format {', '.join(map(repr, known))}, given "
                f"{metadata.get('format')!r:.80} with {len(tensors)} tensors."
            )
        kind = known[metadata["format"]]
        try:
            names, provenance = json.loads(metadata["names"]), json.loads(metadata["provenance"])
            structure = json.loads(metadata.get("structure", "null"))
            _check(names, metadata.get("space"), provenance, structure, tensors)
            expected = metadata.get("sha256")  # files had none at first
            if expected not in (None, digest(metadata, tensors)):
                raise ValueError("its sha256 differs")
        except (ValueError, KeyError, RecursionError) as error:
            said = printable(str(error), 200)
            raise FacenbError(f"{path} is damaged: {type(error).__name__}: {said}") from error
        return Saved(tuple(names), tensors, metadata["space"], provenance, kind, structure)


def _check(
    names: object, space: object, provenance: object, structure: object, tensors: dict[str, Tensor]
) -> None:
    """Raise ValueError unless each is of the kind that `Saved` has."""
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("expected names")
    if len(set(names)) != len(names):
        raise ValueError("expected different names")
    if space not in SPACES:
        raise ValueError(f"expected a latent space among {', '.join(SPACES)}, given {space!r}")
    if not isinstance(provenance, dict) or not isinstance(structure, dict | None):
        raise ValueError("expected provenance and structure as JSON objects")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")


def digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of all that such a file says, in hex."""
    said = {key: value for key, value in metadata.items() if key != "sha256"}
    text = json.dumps([said, sha256_tensors(tensors)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
