"""What is wanted of a file: the state of its generator, or its arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as brief  # what a file holds may be long

import torch
from pickles import Record, Unpickler
from torch import Tensor, nn
from torch_files import LEGACY_START, Refused, check_zip, filled, load_torch, sizes

_PLACES = ("g_ema", "G_ema", "generator_smooth", "generator_ema", "params_ema", "g", "generator",
           "state_dict")  # fmt: skip
# A key of each known layout; whatever stands before it is a wrapper's prefix.
_MARKS = ("input.input", "synthesis.b4.conv1.weight", "synthesis.layer0.first_layer",
          "layer1.conv.weight", "convs.0.style.weight", "synthesis.input.weight",
          "synthesis.early_layer.const")  # fmt: skip


def read(path: Path) -> tuple[str, object]:
    """The kind of a file, told by its content, and its root object."""
    with path.open("rb") as stream:
        start = stream.read(16)
        if start[:4] == b"PK\x03\x04":
            check_zip(path)
            return "zip", load_torch(path, mapped=True)
        if start.startswith(LEGACY_START):
            return "legacy", load_torch(path)
        if start[:1] == b"\x80":
            stream.seek(0)
            return "pickle", Unpickler(stream).load()
    raise Refused(
        f"it begins with {start[:8]!r}; expected a torch file (.pt, .pth), a network of "
        "stylegan2-ada-pytorch (.pkl) or safetensors"
    )


def find_state(root: object) -> tuple[dict[str, object], dict[str, object]]:
    """The generator's tensors by name, and the attributes of NVIDIA's modules.

    The moving average of the weights comes first, and prefixes of wrappers are taken off: module.,
    decoder. (e4e, pSp), generator., g_ema. (Lightning), _orig_mod. (torch.compile).
    """
    if isinstance(root, Record) or (
        isinstance(root, dict) and isinstance(root.get("G_ema"), Record)
    ):
        record = root if isinstance(root, Record) else root["G_ema"]
        found = list(of_module(record, set()))
        attributes = {name: value for name, value in found if isinstance(value, dict)}
        return {name: value for name, value in found if isinstance(value, Tensor)}, attributes
    if not isinstance(root, dict):
        raise Refused(f"expected a dictionary of tensors, given {summary(root)}")
    place = next((key for key in _PLACES if isinstance(root.get(key), dict)), None)
    inner = root if place is None else root[place]
    state = {
        key: value
        for key, value in inner.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        raise Refused(f"expected a dictionary of tensors, given {summary(root)}")
    prefixes = {
        key.removesuffix(mark)
        for key in state for mark in _MARKS
        if key == mark or key.endswith(f".{mark}")
    }  # fmt: skip
    if prefixes:
        best = min(prefixes, key=lambda prefix: ("ema" not in prefix, len(prefix), prefix))
        state = {k.removeprefix(best): v for k, v in state.items() if k.startswith(best)}
    if isinstance(root.get("latent_avg"), Tensor):
        state.setdefault("latent_avg", root["latent_avg"])
    return state, {}


def find_arrays(root: object) -> dict[str, object]:
    """A tensor under "", or the tensors of a dictionary, which has nothing else."""
    found = root if isinstance(root, dict) else {"": root}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise Refused(
                "expected a tensor, or a dictionary of names and tensors, given "
                f"{type(value).__name__}{f' as {brief(name)}' if name else ''}"
            )
    return found


def checked(state: dict[str, object], size: int, copied: bool) -> dict[str, Tensor]:
    """The tensors as they came, in order and dense: plain ones, within the file's own size.

    `copied`: whether torch copied their numbers, so that all of them must have come.
    """
    out, total = {}, 0
    for name, value in state.items():
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided:
            raise Refused(f"its {name} is a {type(value).__name__} of a special kind")
        if value.device.type != "cpu" or value.is_quantized:
            raise Refused(f"its {name} is a tensor of a special kind")
        storage = value.untyped_storage()
        if sizes.get(storage._cdata, (-1, None))[0] != storage.nbytes():
            raise Refused(f"its {name} was given another shape than its numbers have")
        if copied and storage.nbytes() and storage._cdata not in filled:
            raise Refused(f"its {name} has no numbers in the file: truncated")
        total += value.numel() * value.element_size()
        if total > size:
            raise Refused(f"its tensors have more numbers than its {size:,} bytes")
        out[name] = value.detach().clone(memory_format=torch.contiguous_format)
    return out


def summary(root: object) -> str:
    """A few words about an object that is not what was expected."""
    if isinstance(root, Record):
        return f"an object of class {root.class_name}"
    if isinstance(root, dict):
        return f"a dictionary of {', '.join(map(brief, list(root)[:6])) or 'nothing'}"
    return f"a {type(root).__name__}"


def of_module(record: Record, seen: set[int], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Names with tensors, and names of modules with the plain values among their attributes."""
    if not isinstance(record, Record) or id(record) in seen:  # no cycles, no towers of sharing
        raise Refused(f"its {prefix or 'network'} is not a module, but {summary(record)}")
    seen.add(id(record))
    state = record.state
    plain = {key: value for key, value in state.items() if _plain(key) and _plain(value)}
    for key in _DECISIVE & state.keys() - plain.keys():  # not to be taken for absent
        plain[key] = f"{type(state[key]).__name__}, and not a plain one"
    yield prefix.removesuffix("."), {"class": record.class_name} | plain
    for part in ("_parameters", "_buffers"):
        for name, value in entries(state, part):
            if value is not None:
                yield f"{prefix}{name}", value
    for name, child in entries(state, "_modules"):
        if child is not None:
            yield from of_module(child, seen, f"{prefix}{name}.")


_DECISIVE = {"activation", "architecture", "bias_gain", "conv_clamp"}


def _plain(value: object) -> bool:
    if type(value) is str:
        return len(value) <= 100
    return type(value) in (bool, float, type(None)) or (type(value) is int and abs(value) < 2**53)


def entries(state: dict, part: str) -> list[tuple[object, object]]:
    found = state.get(part)
    return list(found.items()) if isinstance(found, dict) else []
