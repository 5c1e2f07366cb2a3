"""Damaged and hostile files, many of them: each loads equal or is refused by one kind of error.

A sample of them here; FACENB_SLOW=1 runs a thousand files and a hundred kills.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import foreign
import psutil
import pytest
import torch
from safetensors.torch import save_file

from facenb.editors import Editors
from facenb.errors import FacenbError
from facenb.generators import pretrained
from facenb.generators.pretrained import WeightsError, convert
from facenb.storage import cache, files

SLOW = os.environ.get("FACENB_SLOW") == "1"
FILES, KILLS = (1000, 100) if SLOW else (48, 3)
WIDTHS = (4, 3)


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def good_files(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    state = foreign.rosinality(WIDTHS)
    whole = {f"decoder.{key}": value for key, value in state.items()}
    torch.save({"state_dict": whole, "epoch": 3}, folder / "e4e.pt")
    save_file(state, folder / "state.safetensors")
    return {
        "zip": foreign.save_rosinality(folder / "zip.pt", state),
        "legacy": foreign.save_rosinality(folder / "legacy.pt", state, legacy=True),
        "pickle": foreign.save_nvidia(folder / "net.pkl", foreign.nvidia(WIDTHS)),
        "e4e": folder / "e4e.pt",
        "safetensors": folder / "state.safetensors",
    }


# --- mutations: bytes → bytes ------------------------------------------------------------------


def flip(content: bytes, r: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(r.choice((1, 1, 3))):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def end_flip(content: bytes, r: random.Random) -> bytes:
    """In the last bytes, where a zip has its directory."""
    changed = bytearray(content)
    changed[-1 - r.randrange(min(4000, len(changed)))] ^= 1 << r.randrange(8)
    return bytes(changed)


def cut(content: bytes, r: random.Random) -> bytes:
    return content[: r.randrange(len(content))]


def drop(content: bytes, r: random.Random) -> bytes:
    begin = r.randrange(len(content))
    return content[:begin] + content[begin + r.randrange(1, 200) :]


def double(content: bytes, r: random.Random) -> bytes:
    begin = r.randrange(len(content))
    return content[:begin] + content[begin : begin + 100] + content[begin:]


def opcode(content: bytes, r: random.Random) -> bytes:
    """Other opcodes in the pickle; of a zip with checksums that fit."""
    names = "BUILD REDUCE DUP POP SETITEM MARK APPENDS NEWOBJ TUPLE2 EMPTY_DICT STOP BINGET"
    ops = [getattr(pickle, name)[0] for name in [*names.split(), "LONG_BINPUT"]]
    changed = bytearray(pickled(content))
    for _ in range(r.choice((1, 2, 4))):
        changed[r.randrange(min(len(changed), 3000))] = r.choice(ops)
    return with_pickle(content, bytes(changed))


def pickled(content: bytes) -> bytes:
    if content[:2] != b"PK":
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))


def with_pickle(content: bytes, data: bytes) -> bytes:
    if content[:2] != b"PK":
        return data
    return rezipped(content, lambda name, old: [(name, data if name.endswith(".pkl") else old)])


def rezipped(content: bytes, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as new:
        for name in archive.namelist():
            for title, data in change(name, archive.read(name)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of two entries of one name
                    new.writestr(title, data)
    return out.getvalue()


def members(content: bytes, r: random.Random) -> bytes:
    """Entries doubled, but for capitals; renamed; shortened; or not there."""
    if content[:2] != b"PK":
        return flip(content, r)
    kind, chosen = r.randrange(5), f"/data/{r.randrange(8)}"

    def change(name: str, data: bytes) -> list[tuple[str, bytes]]:
        if not name.endswith(chosen):
            return [(name, data)]
        upper, noise = name.upper(), bytes(b ^ 255 for b in data)
        return [
            [(name, data), (upper, noise)],
            [(upper, noise), (name, data)],
            [(name, data), (name, noise)],
            [(name, data[: len(data) // 2])],
            [],
        ][kind]

    return rezipped(content, change)


def bomb(content: bytes, r: random.Random) -> bytes:
    """A memo of 2²⁸ entries, a tower of tuples as a key, a deep nest, a number of 10⁴ digits."""
    tower = b"\x80\x02})q\x00" + 64 * b"h\x00\x86q\x00" + b"K\x01s."
    bombs = [
        b"\x80\x02)r\x00\x00\x00\x10.",
        tower,
        b"\x80\x02" + 20_000 * b"]" + 19_999 * b"a" + b".",
        b"\x80\x02\x8b" + (5000).to_bytes(4, "little") + 5000 * b"\x7f" + b".",
        b"\x80\x02X\xff\xff\xff\x7f" + b"a" * 50 + b".",
    ]
    return with_pickle(content, r.choice(bombs))


MUTATIONS = (flip, end_flip, cut, drop, double, opcode, opcode, members, bomb)
CHECKED = ("zip", "e4e")  # those whose numbers have a checksum


def mutants(files: dict[str, Path], count: int) -> Iterator[tuple[str, str, bytes]]:
    for i in range(count):
        r = random.Random(i)
        kind = list(files)[i % len(files)]
        mutation = MUTATIONS[i // len(files) % len(MUTATIONS)]
        yield kind, mutation.__name__, mutation(files[kind].read_bytes(), r)


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return pretrained.load(path, "x").state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_each_mutant_loads_equal_or_is_refused_by_one_kind_of_error(
    own_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(convert, "SECONDS", 4)
    files = good_files(tmp_path / "good")
    expected = {kind: state_of(path) for kind, path in files.items()}
    path, refused = tmp_path / "mutant", 0
    for i, (kind, how, content) in enumerate(mutants(files, FILES)):
        path.write_bytes(content)
        begin = time.monotonic()
        try:
            found = state_of(path)
        except WeightsError as error:
            refused += 1
            said = str(error)
            assert len(said) < 800 and said.replace("\n", "").isprintable(), (i, kind, how, said)
        else:
            assert all(v.isfinite().all() for v in found.values()), (i, kind, how)
            if kind in CHECKED and how not in ("opcode", "bomb"):
                assert same(found, expected[kind]), (i, kind, how)
        assert time.monotonic() - begin < convert.PATIENCE + 60, (i, kind, how)
        if i % 10 == 9:  # and nothing of it stays in the process that reads the next one
            good = list(files)[i // 10 % len(files)]
            (copy := tmp_path / "copy").write_bytes(files[good].read_bytes() + b"")
            for entry in own_cache.rglob("*.safetensors"):
                entry.unlink()
            assert same(state_of(copy), expected[good])
    assert refused > FILES // 2
    assert not [p for p in own_cache.rglob(".*") if "lock" not in p.name]


def crafted(name: str, tmp_path: Path) -> Path:
    """Single cases, by what they are."""
    path = tmp_path / "a.pt"
    if name == "int8":
        state = {k: v.to(torch.int8) for k, v in foreign.rosinality(WIDTHS).items()}
        return foreign.save_rosinality(path, state)
    if name == "nan":
        return foreign.save_nvidia(path, foreign.nvidia(WIDTHS), rate=float("nan"))
    if name == "huge":
        return foreign.save_nvidia(path, foreign.nvidia(WIDTHS), clamp=10**400)
    if name == "no width":
        state = foreign.rosinality(WIDTHS)
        state["input.input"] = state["input.input"][:, :0]
        return foreign.save_rosinality(path, state)
    if name == "nested":
        path.write_bytes(deep_pickle())
        return path
    torch.save({"\x1b[31m" + "x" * 3_000_000: torch.ones(2)}, path)
    return path


def deep_pickle() -> bytes:
    """3,000 modules, each in the next, as NVIDIA's files have them."""
    start = b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\nq\x00"
    begin = b"h\x00}(X\x0a\x00\x00\x00class_nameX\x01\x00\x00\x00XX\x05\x00\x00\x00state}X"
    begin += b"\x08\x00\x00\x00_modules}X\x01\x00\x00\x00a"
    return start + 3000 * begin + b"N" + 3000 * b"ssu\x85R" + b"."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("int8", "expected floating numbers"),
        ("nan", "bias_gain is nan"),
        ("huge", "conv_clamp is 'int, and not a plain one'"),
        ("no width", "width at 4 × 4 pixels is 0"),
        ("nested", "Recursion"),
        ("names", "holds no generator"),
    ],
)
def test_single_cases(own_cache, tmp_path, name, said):
    path = crafted(name, tmp_path)
    with pytest.raises(WeightsError, match=said) as caught:
        pretrained.load(path)
    assert len(str(caught.value)) < 800 and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("part", ["mapping.fc0", "synthesis.b4.conv1"])
def test_another_activation_is_another_network(own_cache, tmp_path, part, monkeypatch):
    def named(state, class_name, **attributes):
        made = plain(state, class_name, **attributes)
        target = made
        for piece in part.split("."):
            target = dict(target.named_children()).get(piece) if target is not None else None
        if target is not None:
            target.activation = "relu"
        return made

    plain = foreign.module
    monkeypatch.setattr(foreign, "module", named)
    path = foreign.save_nvidia(tmp_path / "a.pkl", foreign.nvidia(WIDTHS))
    with pytest.raises(WeightsError, match=rf"its {part} has the activation 'relu', expected"):
        pretrained.load(path)


# --- our own files -----------------------------------------------------------------------------


def test_a_flipped_bit_in_a_saved_set_is_one_kind_of_error(tmp_path):
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    editors = Editors.from_vectors(("a", "b", "c"), vectors, "w", provenance={"n": [1, "x"]})
    path = tmp_path / "set.safetensors"
    editors.save(path)
    content, refused = path.read_bytes(), 0
    for i in range(len(content) * 8 if SLOW else 400):
        place = i if SLOW else random.Random(i).randrange(len(content) * 8)
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = Editors.load(path)
        except FacenbError:
            refused += 1
            continue
        assert found.names == editors.names and torch.equal(found.vectors, editors.vectors)
        assert found.provenance == editors.provenance
    assert refused > 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("names", "[0, 1, 2]"), ("names", "{}"), ("names", '["a", "a"]'), ("names", "[" * 9999),
        ("space", "q"), ("provenance", "[]"), ("provenance", "{"), ("structure", "[]"),
        ("structure", "{}"), ("structure", '{"objects": [{"kind": "linear"}], "editors": {}}'),
    ],
)  # fmt: skip
def test_metadata_that_is_none_is_refused(tmp_path, field, value):
    tensors = {"n": torch.ones(4)}
    structure = {"objects": [], "editors": {}}
    metadata = {
        "format": "facenb-editors-1", "names": '["a"]', "space": "w", "provenance": "{}",
        "structure": json.dumps(structure),
    } | {field: value}  # fmt: skip
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    with pytest.raises(FacenbError, match="damaged"):
        Editors.load(tmp_path / "a.safetensors")


def test_an_entry_that_was_copied_over_another_is_not_taken(own_cache):
    def entry(n: float) -> float:
        return float(cache.cached("step", {"n": n}, lambda: {"x": torch.tensor([n])})["x"])

    assert (entry(1.0), entry(2.0)) == (1.0, 2.0)
    one, two = (cache.folder("step", {"n": n}).with_suffix(".safetensors") for n in (1.0, 2.0))
    two.write_bytes(one.read_bytes())
    with pytest.warns(UserWarning, match=r"damaged \(expected entry"):
        assert entry(2.0) == 2.0


# --- kills -------------------------------------------------------------------------------------

KILLED = """
import os, sys
import torch
from facenb.generators.pretrained import convert
from facenb.storage import cache
print("ready", flush=True)
for line in sys.stdin:  # each line: a process that is going to be killed
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    i = 0
    while True:
        i += 1
        cache.cached("step", {"n": i}, lambda: {"x": torch.full((1_000_000,), float(i))})
        tensors, _ = convert.converted(__import__("pathlib").Path(sys.argv[1]), "generator")
        for entry in cache.cache_dir().rglob("*.safetensors"):
            entry.unlink(missing_ok=True)
"""


def test_kills_leave_nothing_behind(own_cache, tmp_path):
    path = good_files(tmp_path / "good")["zip"]
    expected = state_of(path)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=environment,
    ) as harness:  # fmt: skip
        assert harness.stdout.readline() == "ready\n"
        started = []
        for i in range(KILLS):
            harness.stdin.write("go\n")
            harness.stdin.flush()
            process = psutil.Process(int(harness.stdout.readline()))
            time.sleep(random.Random(i).uniform(0.0, 4.0))
            started += process.children(recursive=True)
            os.kill(process.pid, signal.SIGKILL)
        harness.stdin.close()
    deadline = time.monotonic() + 60
    while any(map(works, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(works, started))
    done = subprocess.run(
        [sys.executable, "-c", AFTER, str(path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert same(state_of(path), expected)
    assert not [p for p in own_cache.rglob(".*") if "lock" not in p.name]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_that_has_ended_does_not_keep_its_temporary_files(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL) as owner:
        left = tmp_path / f".entry-{files._here()}-{owner.pid}-00000000.tmp"
        left.touch()
        while psutil.Process(owner.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        files.temporary_path(tmp_path / "entry")
        assert not left.exists()


def works(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended may wait long for an init that buries it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


AFTER = """
import sys, pathlib, torch
from facenb.generators import pretrained
from facenb.storage import cache
pretrained.load(pathlib.Path(sys.argv[1]))
cache.cached("step", {"n": -1}, lambda: {"x": torch.zeros(1)})
"""
