"""Outside nets as safetensors files in the cache: each is converted once, at set-up or first use.

    tensors, graph = load_net("face-mesh")

A converter reads the pinned files of a net and returns its tensors, and its operations as JSON
where a net has so many that they are not written out as a module. The result is kept under the
sha256 of the files and the converter's version, with the sha256 of its own content; a damaged one
is made again with a warning. What is in the cache needs neither the files nor a network.

To add a net:

1. its files to facenb/data/pins.toml;
2. a line in `CONVERSIONS` of facenb/assets/converters/__init__.py, such as
   `"sface": Conversion(("sface/….onnx",), "facenb.assets.converters.onnx:sface", 1)`;
3. the function itself, in the module for the format: tflite.py, onnx.py, keras.py, torch_tar.py in
   that folder (or any other module). It is called as `convert(paths)`, with the paths of the
   verified files in the order of the line, and returns `(tensors, graph)`: a dictionary of CPU
   tensors by names that a module can use, and the JSON text of the graph, or "" for none. It raises
   AssetError for a file that is not as expected. The module is imported only to convert, so that it
   may use libraries that nothing needs afterwards;
4. the net as a module, from `load_net(name)`.

The files are trusted as far as their pinned sha256 goes: nothing else ever reaches a converter.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facenb.assets import asset_path, asset_sha256
from facenb.assets.converters import CONVERSIONS, Conversion
from facenb.errors import unknown
from facenb.storage import cache
from facenb.storage.cache import cache_dir

_GRAPH = "graph.json"  # the graph's text, kept among the tensors so that their sha256 covers it


def load_net(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a net and its parsed graph ({} if it has none), converted on first use.

    Raises UnknownNameError for a net that is not in the table, AssetError when its files cannot be
    had or read.
    """
    conversion = _find(name)
    notes = {"net": name, "version": str(conversion.version), **_sources(conversion)}
    tensors = cache.stored(converted_path(name), lambda: _convert(conversion), notes)
    text = tensors.pop(_GRAPH, None)
    return tensors, {} if text is None else json.loads(text.numpy().tobytes())


def converted_path(name: str) -> Path:
    """Where the converted net is kept; another file or converter version has another place."""
    conversion = _find(name)
    inputs = {"sources": _sources(conversion), "version": conversion.version}
    return cache_dir() / "nets" / f"{name}-{cache.key(inputs)}.safetensors"


def _find(name: str) -> Conversion:
    if name not in CONVERSIONS:
        raise unknown("outside net", name, CONVERSIONS)
    return CONVERSIONS[name]


def _sources(conversion: Conversion) -> dict[str, str]:
    """The sha256 of each source by its name."""
    return {source: asset_sha256(source) for source in conversion.sources}


def _convert(conversion: Conversion) -> dict[str, Tensor]:
    module, _, function = conversion.converter.partition(":")
    convert = getattr(importlib.import_module(module), function)
    tensors, graph = convert([asset_path(source) for source in conversion.sources])
    if graph:
        tensors = tensors | {_GRAPH: torch.frombuffer(bytearray(graph.encode()), dtype=torch.uint8)}
    return tensors
