"""NVIDIA's pickles, by an unpickler that imports nothing."""

from __future__ import annotations

import io
import pickle

import torch
from torch import Tensor
from torch_files import HARMLESS, LEGACY_START, Ignored, Refused, dictionary, foreign, load_torch


class Record:
    """An object of a class that travelled as source code: its name and its attributes."""

    def __init__(self, meta: dict) -> None:
        self.class_name, self.state = str(meta["class_name"]), meta["state"]


class Attributed(dict):
    """A dictionary that may carry attributes, as those of NVIDIA's files do."""


def _storage(content: bytes) -> object:
    """A storage that was pickled by value: a small torch file inside the pickle."""
    if not content.startswith(LEGACY_START):
        raise Refused(f"it has a tensor whose bytes begin with {content[:8]!r}")
    return load_torch(io.BytesIO(content))


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _tensor(*given: object) -> Tensor:
    return torch._utils._rebuild_tensor(*given[:4])


class Unpickler(pickle.Unpickler):
    """Imports nothing: it knows a short list of names and refuses every other by its name."""

    def find_class(self, module: str, name: str) -> object:
        known = {
            "collections.OrderedDict": Attributed, "collections.defaultdict": dictionary,
            "torch.Size": tuple, "torch.device": Ignored,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": _parameter,
            "torch.storage._load_from_bytes": _storage,
            "torch_utils.persistence._reconstruct_persistent_obj": Record,
            "dnnlib.util.EasyDict": Attributed,
            **dict.fromkeys(HARMLESS, Ignored),
        }  # fmt: skip
        if f"{module}.{name}" not in known:
            raise Refused(foreign(f"{module}.{name}"))
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: object) -> object:
        raise Refused("it refers to a storage outside of it")
