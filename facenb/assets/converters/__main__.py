"""The process that reads the files of an outside net: they go in, safetensors come out.

    python -m facenb.assets.converters MODULE:FUNCTION TARGET BUDGET SECONDS FILE…

`facenb.assets.converted` starts one for each net. It has limits (`facenb.storage.limits`) once the
converter and its libraries are imported. Exit code 0: TARGET is there. 3: refused, and the reason
is the last line of the standard output.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from facenb.assets.converters import GRAPH, REFUSED
from facenb.errors import AssetError
from facenb.storage.limits import give_up


def main(converter: str, target: str, budget: str, seconds: str, *files: str) -> int:
    module, _, function = converter.partition(":")
    convert = getattr(importlib.import_module(module), function)
    sys.dont_write_bytecode = True
    give_up(int(budget), int(seconds), Path(target), AssetError)
    try:
        tensors, graph = convert([Path(file) for file in files])
    except AssetError as error:
        print(" ".join(str(error).split()))
        return REFUSED
    except Exception as error:  # a file that is not as expected can raise anything in a library
        print(f"it is damaged, or of another layout ({type(error).__name__}: {error})")
        return REFUSED
    if graph:
        text = torch.frombuffer(bytearray(graph.encode()), dtype=torch.uint8)
        tensors = tensors | {GRAPH: text}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
