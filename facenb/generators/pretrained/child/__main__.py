"""The process that opens other people's files: one file of torch or NVIDIA in, safetensors out.

    python -P …/child SOURCE TARGET what budget seconds     (`convert` runs this folder)
    python -P …/child IDLE                                  (one such process for each line)

It imports torch and nothing of facenb, and reads one file in its life: whatever a file does to a
class, a table, the memory or the clock of this process ends with it. With IDLE, in seconds, it
reads none itself: it forks for each request, so that torch is imported once. Before the file is
opened the process gives up what it does not need: memory beyond `budget` bytes and `seconds` of
processor time (where the system knows such limits), the network, other programs, and writing to
other files than TARGET. Exit code 0: TARGET is there. 3: refused, and the reason is on the standard
output.

`what` is "generator" (the state of its network, by the names in its file) or "arrays" (a tensor, or
a dictionary of them).
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import sys
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # facenb itself stays unimported

from safetensors.torch import save_file
from states import checked, find_arrays, find_state, read
from torch_files import Refused, watch_torch

LIMITS = runpy.run_path(str(Path(__file__).parents[3] / "storage" / "limits.py"))
REFUSED = 3
NOTES = "notes"  # of safetensors' metadata: what is known beside the tensors, as JSON


def main(source: str, target: str, what: str, budget: str, seconds: str) -> int:
    path, out = Path(source), Path(target)
    sys.dont_write_bytecode = True
    watch_torch()
    LIMITS["give_up"](int(budget), int(seconds), out, Refused)
    try:
        container, root = read(path)
        state, attributes = (find_arrays(root), {}) if what == "arrays" else find_state(root)
        tensors = checked(state, path.stat().st_size, copied=container != "zip")
        # safetensors keeps no order
        notes = {"container": container, "names": list(tensors), "attributes": attributes}
        save_file(tensors, out, {NOTES: json.dumps(notes)})
        return 0
    except Refused as error:
        said = str(error)
    except (zipfile.BadZipFile, EOFError) as error:
        said = f"it is truncated or damaged ({error})"
    except MemoryError:
        said = "it asks for more memory than a file of its size may"
    except Exception as error:  # a damaged file can raise anything; none of it is ours
        said = f"it is truncated or damaged ({type(error).__name__}: {error})"
        if "alloc" in said or "memory" in said:
            said = "it asks for more memory than a file of its size may"
    print(said[:2000])
    return REFUSED


def serve(idle: float) -> None:
    """A request is a line of JSON, `main`'s arguments and the file for what it says; the answer is
    its exit code in a line. Ends with its input, or after `idle` seconds without a request.
    """
    while select.select([sys.stdin], [], [], idle)[0] and (line := sys.stdin.readline()):
        *arguments, log, patience = json.loads(line)
        process = os.fork()
        if process == 0:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
            os.dup2(1, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(os.path.dirname(log))
            _finish(main(*arguments))
        deadline, pause = time.monotonic() + patience, 0.002
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
            time.sleep(pause := min(1.5 * pause, 0.1))
        print(os.waitstatus_to_exitcode(ended[1]), flush=True)


def _finish(code: int) -> None:
    sys.stdout.flush()
    os._exit(code)  # nothing of the file's is left to run at the end, either


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(float(sys.argv[1]))
    else:
        _finish(main(*sys.argv[1:]))
