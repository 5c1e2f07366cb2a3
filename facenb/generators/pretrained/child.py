"""The process that opens other people's files: one file of torch or NVIDIA in, safetensors out.

    python -P child.py SOURCE TARGET what budget seconds         (`convert` runs this)
    python -P child.py IDLE                                      (one such process for each line)

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

import io
import json
import os
import pickle
import re
import select
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as brief  # what a file holds may be long

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

REFUSED = 3
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch before 1.6
NOTES = "notes"  # of safetensors' metadata: what is known beside the tensors, as JSON
_PLACES = ("g_ema", "G_ema", "generator_smooth", "generator_ema", "params_ema", "g", "generator",
           "state_dict")  # fmt: skip
# A key of each known layout; whatever stands before it is a wrapper's prefix.
_MARKS = ("input.input", "synthesis.b4.conv1.weight", "synthesis.layer0.first_layer",
          "layer1.conv.weight", "convs.0.style.weight", "synthesis.input.weight",
          "synthesis.early_layer.const")  # fmt: skip


class Refused(Exception):
    """What the file is not."""


# --- what the process gives up ------------------------------------------------------------------


def give_up(budget: int, seconds: int, target: Path) -> None:
    """Limits of this process, for good."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        spent = int(sum(os.times()[:2])) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 1))
        status = Path("/proc/self/statm")
        if status.exists():
            mapped = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (mapped + budget, mapped + budget))

    def deny(event: str, arguments: tuple) -> None:
        what = event.partition(".")[0]
        writes = event == "open" and (
            set("wax+") & set(arguments[1] or "") or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and os.path.abspath(os.fsdecode(arguments[0])) == str(target):
            return
        if writes or what in ("socket", "subprocess", "ctypes", "shutil") or event in _DENIED:
            raise Refused(f"reading it asked the system for {event}")

    sys.addaudithook(deny)


_DENIED = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.kill", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.putenv",
}  # fmt: skip


# --- torch's files ------------------------------------------------------------------------------


class Ignored:
    """Stands for a value that no weight depends on: a NumPy number, a path, parsed arguments."""

    def __new__(cls, *given: object, **named: object) -> Ignored:
        return super().__new__(cls)

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _dictionary(*given: object) -> dict:
    return {}


_HARMLESS = (
    "_codecs.encode", "argparse.Namespace", "types.SimpleNamespace", "numpy.dtype",
    "numpy.ndarray", "numpy.bool_", "numpy.random._pickle.__randomstate_ctor",
    *(f"numpy.{core}.{name}" for core in ("core", "_core")
      for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in
      ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__")
      for name in ("list", "dict", "tuple", "set", "int", "float", "str", "bool", "complex")),
    *(f"datetime.{name}" for name in ("datetime", "date", "timedelta", "timezone")),
)  # fmt: skip
# Of storages, by address, which stays theirs as long as they are kept here:
_sizes: dict[int, tuple[int, object]] = {}  # the bytes of those that tensors were made of
_filled: dict[int, object] = {}  # those whose numbers came from the file
_mapped: list[torch.UntypedStorage] = []  # a whole zip, of which its storages are slices
_entries: dict[int, int] = {}  # where the content of its entries begins, and how long it is


def _watch_torch() -> None:
    """Let torch say which storages it filled, and refuse tensors that go beyond theirs.

    `set_` enlarges a storage without a word where a shape asks for it, by whatever is in memory.
    """
    rebuild, fill = torch._utils._rebuild_tensor, torch.UntypedStorage._set_from_file

    def within(storage: object, offset: int, size: tuple, stride: tuple) -> Tensor:
        untyped = storage._untyped_storage
        nbytes, _ = _sizes.setdefault(untyped._cdata, (untyped.nbytes(), untyped))
        if _mapped and nbytes:  # a slice may go on into the entry behind
            there = _entries.get(untyped.data_ptr() - _mapped[0].data_ptr(), 0)
            if there != nbytes:
                raise Refused(f"a storage declares {nbytes:,} bytes, and {there:,} are there")
        if len(size) != len(stride) or len(size) > 8 or min((offset, *size, *stride)) < 0:
            raise Refused(f"it has a tensor of shape {tuple(size)} and stride {tuple(stride)}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        numbers = nbytes // storage.dtype.itemsize
        count = 1
        for n in size:
            count *= n
        if count > numbers or (count and last >= numbers):
            raise Refused(
                f"it has a tensor of shape {tuple(size)} over a storage of {numbers} numbers"
            )
        return rebuild(storage, offset, size, stride)

    def from_file(storage: torch.UntypedStorage, *given: object) -> object:
        _filled[storage._cdata] = storage
        return fill(storage, *given)

    def mapped(*given: object, **named: object) -> torch.UntypedStorage:
        _mapped.append(whole(*given, **named))
        return _mapped[-1]

    whole = torch.UntypedStorage.from_file
    torch._utils._rebuild_tensor = within
    torch.UntypedStorage._set_from_file = from_file
    torch.UntypedStorage.from_file = staticmethod(mapped)


def load_torch(file: Path | io.BytesIO, mapped: bool = False) -> object:
    """What torch reads with `weights_only=True`, with passive values for a few harmless names."""
    names = [(Ignored, name) for name in _HARMLESS]
    try:
        with torch.serialization.safe_globals([*names, (_dictionary, "collections.defaultdict")]):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise Refused(_foreign(asked[1])) from error
        raise Refused(f"its pickle is truncated or damaged ({error})") from error


def _foreign(name: str) -> str:
    said = f"it asks for {name}, which is neither a tensor nor a plain container"
    if name.startswith("dnnlib.tflib"):
        said += " (a TensorFlow network: convert it with legacy.py of NVlabs/stylegan3 first)"
    return f"{said}. Nothing of it was run"


def check_zip(path: Path) -> None:
    """Raise for an archive that is ambiguous, would unpack to more than its size, or is damaged."""
    with zipfile.ZipFile(path) as archive:
        entries, size = archive.infolist(), path.stat().st_size
        names = [entry.filename.casefold() for entry in entries]
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise Refused(
                    f"its entry {entry.filename} unpacks from {entry.compress_size:,} to "
                    f"{entry.file_size:,} bytes; expected entries as torch writes them, not "
                    "compressed"
                )
        declared = sum(entry.file_size for entry in entries)
        if declared > size:
            raise Refused(f"its entries declare {declared:,} bytes, and it has {size:,}")
        if len(set(names)) < len(names):
            raise Refused("two of its entries have the same name, but for capitals")
        if sum(name.endswith("/data.pkl") and name.count("/") == 1 for name in names) != 1:
            raise Refused("it is a zip, but not one of torch's: it has no data.pkl")
        if damaged := archive.testzip():
            raise Refused(f"its entry {damaged} is damaged: its checksum differs")
        for entry in entries:
            archive.fp.seek(entry.header_offset + 26)  # its header ends with two lengths
            name, extra = struct.unpack("<HH", archive.fp.read(4))
            _entries[entry.header_offset + 30 + name + extra] = entry.file_size


# --- NVIDIA's pickles ---------------------------------------------------------------------------


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
            "collections.OrderedDict": Attributed, "collections.defaultdict": _dictionary,
            "torch.Size": tuple, "torch.device": Ignored,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": _parameter,
            "torch.storage._load_from_bytes": _storage,
            "torch_utils.persistence._reconstruct_persistent_obj": Record,
            "dnnlib.util.EasyDict": Attributed,
            **dict.fromkeys(_HARMLESS, Ignored),
        }  # fmt: skip
        if f"{module}.{name}" not in known:
            raise Refused(_foreign(f"{module}.{name}"))
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: object) -> object:
        raise Refused("it refers to a storage outside of it")


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


# --- what is wanted -----------------------------------------------------------------------------


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


def checked(state: dict[str, object], size: int, filled: bool) -> dict[str, Tensor]:
    """The tensors as they came, in order and dense: plain ones, within the file's own size.

    `filled`: whether torch copied their numbers, so that all of them must have come.
    """
    out, total = {}, 0
    for name, value in state.items():
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided:
            raise Refused(f"its {name} is a {type(value).__name__} of a special kind")
        if value.device.type != "cpu" or value.is_quantized:
            raise Refused(f"its {name} is a tensor of a special kind")
        storage = value.untyped_storage()
        if _sizes.get(storage._cdata, (-1, None))[0] != storage.nbytes():
            raise Refused(f"its {name} was given another shape than its numbers have")
        if filled and storage.nbytes() and storage._cdata not in _filled:
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


def main(source: str, target: str, what: str, budget: str, seconds: str) -> int:
    path, out = Path(source), Path(target)
    sys.dont_write_bytecode = True
    _watch_torch()
    give_up(int(budget), int(seconds), out)
    try:
        container, root = read(path)
        state, attributes = (find_arrays(root), {}) if what == "arrays" else find_state(root)
        tensors = checked(state, path.stat().st_size, filled=container != "zip")
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
