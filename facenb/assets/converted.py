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

A converter gets no file but those whose pinned sha256 was verified, and runs in a process of its
own with limits: memory in proportion to the files, two minutes of processor time, no network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from facenb.assets import asset_path, asset_sha256
from facenb.assets.converters import CONVERSIONS, GRAPH, REFUSED, Conversion
from facenb.errors import AssetError, printable, unknown
from facenb.storage import cache
from facenb.storage.cache import cache_dir

_SECONDS = 120  # of processor time for one net
_PATIENCE = 900  # seconds on the clock, on however busy a machine
_SLACK = 1 << 30  # bytes beside what is in proportion to the files


def load_net(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a net and its parsed graph ({} if it has none), converted on first use.

    Raises UnknownNameError for a net that is not in the table, AssetError when its files cannot be
    had or read.
    """
    conversion = _find(name)
    notes = {"net": name, "version": str(conversion.version), **_sources(conversion)}
    tensors = cache.stored(converted_path(name), lambda: _convert(name, conversion), notes)
    text = tensors.pop(GRAPH, None)
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


def _convert(name: str, conversion: Conversion) -> dict[str, Tensor]:
    """What a process of its own makes of the files, with limits: facenb.assets.converters."""
    files = [asset_path(source) for source in conversion.sources]
    budget = 8 * sum(path.stat().st_size for path in files) + _SLACK
    with tempfile.TemporaryDirectory(prefix="facenb-") as folder:
        out = Path(folder).resolve() / "out.safetensors"
        limits = [str(out), str(budget), str(_SECONDS)]
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "facenb.assets.converters", conversion.converter, *limits]
                + [str(path.resolve()) for path in files],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AssetError(f"{name}: its conversion took more than {_PATIENCE} s.") from error
        if ended.returncode == 0:
            return load_file(out)
    refused = ended.returncode == REFUSED
    said = (ended.stdout if refused else ended.stderr).strip().rpartition("\n")[2]
    if not refused:
        said = f"the process that reads its files ended by code {ended.returncode} ({said})"
    raise AssetError(f"{name} cannot be converted: {printable(said, 700)}")
