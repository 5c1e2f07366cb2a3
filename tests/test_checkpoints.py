"""Other people's files: the same pictures as their networks show, and nothing of them run."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import foreign
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from facenb.generators import pretrained as checkpoints
from facenb.generators.pretrained import WeightsError
from facenb.generators.stylegan2 import StyleGAN2
from facenb.latents import Latents

LIMIT = 1e-4  # of the picture's range; what is asked for is 1e-3


def codes(n: int, d: int, *layers: int) -> Tensor:
    return torch.randn(n, *layers, d, generator=torch.Generator().manual_seed(7))


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    span = expected.max() - expected.min()
    assert span > 0.5  # a picture of one colour would prove nothing
    assert (found - expected).abs().max() < LIMIT * span


# --- the same pictures ---------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_rosinality_shows_the_same_picture(tmp_path: Path, legacy: bool) -> None:
    state = foreign.rosinality()
    path = foreign.save_rosinality(
        tmp_path / "000100.pt", state, legacy, args=argparse.Namespace(size=32), ada_aug_p=0.0
    )
    generator = checkpoints.load(path)
    assert isinstance(generator, StyleGAN2)
    assert (generator.name, generator.resolution, generator.w_layers) == ("000100", 32, 8)
    z = codes(3, foreign.W)
    expected = foreign.rosinality_shows(state, z).float()
    assert_same(generator.network.synthesize(generator.network.map(z)), expected)
    assert_same(generator.synthesize(Latents(z, "z")), expected.clamp(-1, 1))
    wide = codes(2, foreign.W, 8)
    shown = foreign.rosinality_shows(state, w=wide).float()
    assert_same(generator.network.synthesize(wide), shown)


def test_rosinality_files_without_noise_or_mean_get_them_from_a_seed(tmp_path: Path) -> None:
    state = foreign.rosinality(noises=False)
    path = foreign.save_rosinality(tmp_path / "550000.pt", state)
    torch.manual_seed(1)
    one = checkpoints.load(path)
    torch.manual_seed(2)
    two = checkpoints.load(path)
    z = Latents(codes(2, foreign.W), "z")
    assert torch.equal(one.synthesize(z), two.synthesize(z))
    noises = {f"noises.noise_{i}": n.cpu() for i, n in enumerate(one.network.stored_noise())}
    expected = foreign.rosinality_shows({**state, **noises}, z.values).float()
    assert_same(one.synthesize(z), expected.clamp(-1, 1))
    mean = one.sample(20_000, seed=3, space="w").values.mean(0)
    assert (one.network.w_avg - mean).abs().max() < 0.1 * mean.abs().max()


@pytest.mark.parametrize("shape", [(foreign.W,), (1, foreign.W)])
def test_rosinality_mean_of_w_is_taken(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mean = codes(1, foreign.W).reshape(shape)
    path = foreign.save_rosinality(tmp_path / "a.pt", foreign.rosinality(), latent_avg=mean)
    assert torch.equal(checkpoints.load(path).network.w_avg, mean.flatten())


@pytest.mark.parametrize(("rate", "clamp"), [(0.01, None), (0.01, 2.0), (0.1, 256)])
def test_nvidia_shows_the_same_picture(tmp_path: Path, rate: float, clamp: float | None) -> None:
    state = foreign.nvidia(rate=rate)
    path = foreign.save_nvidia(tmp_path / "network-snapshot.pkl", state, rate, clamp)
    generator = checkpoints.load(path)
    assert generator.network.layout.clamp == clamp
    z, bound = codes(3, foreign.Z), clamp or float("inf")
    expected = foreign.nvidia_shows(state, z, rate, bound).float()
    if clamp == 2.0:
        free = foreign.nvidia_shows(state, z, rate).float()
        assert (free - expected).abs().max() > 0.1  # the bound is at work
    w = generator.network.map(z)
    assert_same(generator.network.synthesize(w), expected)
    assert_same(generator.synthesize(Latents(z, "z")), expected.clamp(-1, 1))
    truncated = foreign.nvidia_shows(state, z, rate, bound, psi=0.6).float()
    half = generator.variant(truncation=0.6)
    assert_same(half.synthesize(Latents(z, "z")), truncated.clamp(-1, 1))


def test_nvidia_without_noise(tmp_path: Path) -> None:
    state = {key: value for key, value in foreign.nvidia().items() if "noise" not in key}
    generator = checkpoints.load(foreign.save_nvidia(tmp_path / "a.pkl", state))
    z = codes(2, foreign.Z)
    expected = foreign.nvidia_shows(state, z).float()
    assert_same(generator.synthesize(Latents(z, "z")), expected.clamp(-1, 1))


def test_a_state_dictionary_of_nvidias_network_is_known_too(tmp_path: Path) -> None:
    state = foreign.nvidia()
    torch.save(state, tmp_path / "a.pt")
    z = codes(2, foreign.Z)
    found = checkpoints.load(tmp_path / "a.pt").synthesize(Latents(z, "z"))
    assert_same(found, foreign.nvidia_shows(state, z).float().clamp(-1, 1))


def test_our_own_weights_come_back_from_safetensors(tmp_path: Path) -> None:
    first = checkpoints.load(foreign.save_nvidia(tmp_path / "a.pkl", foreign.nvidia()))
    state = {k: v.contiguous() for k, v in first.network.state_dict().items()}
    save_file(state, tmp_path / "ours.safetensors")
    second = checkpoints.load(tmp_path / "ours.safetensors", "mine")
    z = first.sample(2)
    assert second.name == "mine" and torch.equal(first.synthesize(z), second.synthesize(z))


def test_fingerprints_follow_the_file(tmp_path: Path) -> None:
    state = foreign.rosinality()
    one = checkpoints.load(foreign.save_rosinality(tmp_path / "a.pt", state))
    state["to_rgb1.bias"] = state["to_rgb1.bias"] + 1
    two = checkpoints.load(foreign.save_rosinality(tmp_path / "a.pt", state))
    assert one.fingerprint != two.fingerprint and len(one.fingerprint) == 64


# --- nothing is run ------------------------------------------------------------------------------


class Payload:
    """Unpickled in the usual way, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def crafted(kind: str, path: Path, target: Path) -> Path:
    payload, state = Payload(target), foreign.rosinality()
    if kind == "pkl":
        with foreign.their_modules():
            network = foreign.module(foreign.nvidia(), "Generator", extra=payload)
            path.write_bytes(pickle.dumps({"G_ema": network}))
    elif kind == "protocol 0":
        path.write_bytes(b"\x80\x02" + pickle.dumps(payload, protocol=0))
    else:
        foreign.save_rosinality(path, state, kind == "legacy", args=payload)
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "pkl", "protocol 0"])
def test_code_in_a_pickle_is_refused_by_name_and_does_not_run(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "made by the file"
    path = crafted(kind, tmp_path / "crafted.pt", target)
    for use in (checkpoints.load, checkpoints.describe):
        with pytest.raises(WeightsError) as caught:
            use(path)
        assert f"{os.mkdir.__module__}.mkdir" in str(caught.value)
        assert "Nothing of it was run" in str(caught.value)
    assert not target.exists()
    with path.open("rb") as stream:  # the payload is a real one: elsewhere it would run
        if kind == "pkl":
            with foreign.their_modules(), pytest.raises(SystemExit):
                pickle.load(stream)
        elif kind == "protocol 0":
            pickle.load(stream)
        else:
            torch.load(path, weights_only=False)
    assert target.exists()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94\x93.", "builtins.eval"),
        (b"\x80\x02cos\nsystem\n.", "os.system"),
        (b"\x80\x02(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "OrderedDict.__init__"),
        (b"\x80\x02cdnnlib.tflib.network\nNetwork\n.", "convert it with legacy.py"),
    ],
)
def test_every_way_to_ask_for_a_name_is_refused(tmp_path: Path, code: bytes, name: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(code)
    with pytest.raises(WeightsError, match=name):
        checkpoints.load(path)


def test_code_inside_a_tensor_of_a_pickle_is_refused(tmp_path: Path) -> None:
    """A tensor's storage is bytes that hold a torch file: a second pickle within the first."""
    target = tmp_path / "made by the file"
    inner = io.BytesIO()
    torch.save(Payload(target), inner, _use_new_zipfile_serialization=False)

    class Hidden:
        def __reduce__(self) -> tuple:
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Hidden()}))
    with pytest.raises(WeightsError, match="mkdir"):
        checkpoints.load(path)
    assert not target.exists()


def test_source_code_in_nvidias_files_is_not_run(tmp_path: Path) -> None:
    path = foreign.save_nvidia(tmp_path / "a.pkl", foreign.nvidia())
    assert foreign.SOURCE.encode() in path.read_bytes()
    checkpoints.load(path)  # SystemExit otherwise


# --- bombs and damage ----------------------------------------------------------------------------


def test_compressed_entries_are_refused_before_they_unpack(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2), zipfile.ZIP_STORED)
        archive.writestr("a/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="50,000,000 bytes; expected entries as torch"):
        checkpoints.load(path)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """A thousand entries of the directory that all point at the same megabyte."""
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data/0", bytes(1_000_000))
        only = archive.infolist()[0]
        for i in range(1, 1000):
            twin = zipfile.ZipInfo(f"a/data/{i}")
            twin.file_size = twin.compress_size = only.file_size
            twin.header_offset, twin.CRC = only.header_offset, only.CRC
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    with pytest.raises(WeightsError, match="declare 1,000,000,000 bytes, and it has 1,0"):
        checkpoints.load(path)


class Huge:
    """A tensor of 2^40 numbers over a storage of four: by its strides, or by its size."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __reduce__(self) -> tuple:
        untyped = torch.ones(4).untyped_storage()
        storage = torch.storage.TypedStorage(
            wrap_storage=untyped, dtype=torch.float32, _internal=True
        )
        arguments = (storage, 0, (2**40,), (self.stride,), False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


@pytest.mark.parametrize("stride", [0, 1])
@pytest.mark.parametrize("kind", ["zip", "legacy", "pkl"])
def test_tensors_larger_than_their_storage_are_refused(
    tmp_path: Path, stride: int, kind: str
) -> None:
    path = tmp_path / "a.pt"
    if kind == "pkl":
        path.write_bytes(pickle.dumps({"G_ema": Huge(stride)}))
    else:
        foreign.save_rosinality(path, {"input.input": Huge(stride)}, kind == "legacy")
    with pytest.raises(WeightsError, match=r"\(1099511627776,\) over a storage of 4 numbers"):
        checkpoints.load(path)


def test_storages_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    path = foreign.save_rosinality(tmp_path / "a.pt", {"a": torch.ones(1000)}, legacy=True)
    content = path.read_bytes()
    larger = content.replace(b"M\xe8\x03", b"J\x00\x00\x00\x70")  # 1,000 as 1,879,048,192
    path.write_bytes(larger)
    with pytest.raises(WeightsError, match="asks for more memory than a file of its size may"):
        checkpoints.load(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pkl", "safetensors"])
def test_truncated_files_say_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pt"
    if kind == "pkl":
        foreign.save_nvidia(path, foreign.nvidia())
    elif kind == "safetensors":
        save_file(foreign.rosinality(), path)
    else:
        foreign.save_rosinality(path, foreign.rosinality(), kind == "legacy")
    content = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(WeightsError, match=r"a\.pt is refused: .*truncated"):
            checkpoints.load(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pkl", "safetensors"])
def test_damage_is_an_error_whatever_it_hits(tmp_path: Path, kind: str) -> None:
    path, widths = tmp_path / "a.pt", (4, 3)
    if kind == "pkl":
        foreign.save_nvidia(path, foreign.nvidia(widths))
    elif kind == "safetensors":
        save_file(foreign.rosinality(widths), path)
    else:
        foreign.save_rosinality(path, foreign.rosinality(widths), kind == "legacy")
    content, random, refusals = path.read_bytes(), torch.Generator().manual_seed(0), 0
    for _ in range(60):
        damaged = bytearray(content)
        at, byte = torch.randint(2**20, (2,), generator=random).tolist()
        damaged[at % len(content)] = byte % 256
        damaged[-1 - at % 6000] = byte % 256  # a zip has its directory at the end
        path.write_bytes(damaged)
        try:
            checkpoints.load(path)  # a number may have changed and nothing else
        except WeightsError:
            refusals += 1
    assert refusals


# --- files of another network --------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_first_key_that_differs_is_named(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pt", foreign.rosinality()
    wrong = {**state, "convs.2.activate.bias": torch.zeros(7)}
    said = refused(foreign.save_rosinality(path, wrong))
    assert "first key that differs is convs.2.activate.bias: expected (6,), given (7,)" in said
    assert "StyleGAN2 of rosinality" in said
    missing = {key: value for key, value in state.items() if key != "conv1.noise.weight"}
    said = refused(foreign.save_rosinality(path, missing))
    assert "differs is conv1.noise.weight: expected (1,), given nothing" in said
    more = {**state, "extra.weight": torch.zeros(2, 2)}
    said = refused(foreign.save_rosinality(path, more))
    assert "differs is extra.weight: expected nothing, given (2, 2)" in said


def test_another_filter_is_another_network(tmp_path: Path) -> None:
    state = foreign.rosinality()
    state["convs.0.conv.blur.kernel"] = torch.full((4, 4), 0.25)
    said = refused(foreign.save_rosinality(tmp_path / "a.pt", state))
    assert "convs.0.conv.blur.kernel" in said and "another network" in said


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    state = foreign.rosinality()
    state["to_rgb1.bias"][0, 1] = float("nan")
    assert "to_rgb1.bias holds NaN" in refused(foreign.save_rosinality(tmp_path / "a.pt", state))


def test_nvidias_other_networks_are_told_apart(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pkl", foreign.nvidia()
    residual = {**state, "synthesis.b8.skip.weight": torch.zeros(8, 9, 1, 1)}
    said = refused(foreign.save_nvidia(path, residual))
    assert "architecture is 'resnet', expected 'skip'" in said
    orig = {key: value for key, value in state.items() if "b32.torgb" in key or "torgb" not in key}
    assert "architecture is 'orig'" in refused(foreign.save_nvidia(path, orig))
    conditional = {**state, "mapping.embed.weight": torch.zeros(10, 4)}
    assert "class-conditional" in refused(foreign.save_nvidia(path, conditional))
    for kernel, title in ((3, "StyleGAN3-t"), (1, "StyleGAN3-r")):
        stylegan3 = {
            "synthesis.input.weight": torch.zeros(4, 4),
            "synthesis.L0_36_512.weight": torch.zeros(4, 4, kernel, kernel),
        }
        assert title in refused(foreign.save_nvidia(path, stylegan3))
    later = {"mapping.dense0.weight": torch.zeros(4, 4), "synthesis.layer0.weight": torch.zeros(4)}
    torch.save({"generator_smooth": later}, path)
    assert "later layout of genforce/genforce" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"fc.weight": torch.zeros(2, 2)}, "given 1 tensors that begin with ['fc.weight']"),
        ({"epoch": 3}, "a dictionary of 'epoch'"),
        ([1, 2], "given a list"),
    ],
)
def test_files_of_something_else_say_what_was_found(
    tmp_path: Path, content: object, said: str
) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert said in refused(tmp_path / "a.pt")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "page.pkl"
    path.write_bytes(b"<!DOCTYPE html><html>Sign in to download</html>")
    assert "it begins with b'<!DOCTYP'" in refused(path)
    path.write_bytes(b"")
    assert "begins with b''" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday/photo.jpg", b"...")
    assert "no data.pkl" in refused(path)
    with pytest.raises(FileNotFoundError):
        checkpoints.load(tmp_path / "nothing.pt")


# --- describe, and the size of the real ones -----------------------------------------------------


def test_describe(tmp_path: Path) -> None:
    path = foreign.save_nvidia(tmp_path / "net.pkl", foreign.nvidia(), clamp=256)
    said = checkpoints.describe(path)
    for part in (
        "StyleGAN2 of NVlabs", "kind pickle", "resolution  32", "4: 9, 8: 8, 16: 6, 32: 5",
        "z 12, w 10, w+ (8, 10)", "±256", "up16", "rgb32", "weight (6, 8, 3, 3)",
    ):  # fmt: skip
        assert part in said, said


def test_numbers_that_a_checksum_does_not_fit_are_refused(tmp_path: Path) -> None:
    zipped = foreign.save_rosinality(tmp_path / "net.pt", foreign.rosinality())
    content = bytearray(zipped.read_bytes())
    with zipfile.ZipFile(zipped) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith("/data/0"))
    start = entry.header_offset + 30 + len(entry.filename)
    content[start + 100] ^= 1  # one bit of one number
    zipped.write_bytes(content)
    assert "net/data/0 is damaged: its checksum differs" in refused(zipped)


MEASURED = """
import sys, torch
torch.set_num_threads(1)
from benchmarks import peak_mebibytes
from facenb.generators import pretrained
print(pretrained.load(sys.argv[1]).resolution, peak_mebibytes())
"""
slow = pytest.mark.skipif(
    os.environ.get("FACENB_SLOW") != "1", reason="files of 0.1 to 0.8 GB: FACENB_SLOW=1 runs it"
)


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("nvidia", 256),
        pytest.param("nvidia", 1024, marks=slow),
        pytest.param("rosinality", 1024, marks=slow),
        pytest.param("rosinality legacy", 1024, marks=slow),
        pytest.param("stylegan", 1024, marks=slow),
        pytest.param("pggan", 1024, marks=slow),
    ],
)
def test_full_networks_load_within_3_gib(tmp_path: Path, kind: str, side: int) -> None:
    """FFHQ's layouts, in files as large as training leaves them: three networks, two optimisers."""
    sides = [4 << r for r in range(side.bit_length() - 2)]
    widths = tuple(min(512, 32768 // side) for side in sides)
    narrow = tuple(min(512, 16384 // side) for side in sides)  # of the first two generations
    path = tmp_path / "ffhq.pt"
    if kind == "nvidia":
        state = foreign.nvidia(widths, 512, 512, depth=8)
        foreign.save_nvidia(path, state, snapshots=2 if side == 1024 else 0)
    elif kind.startswith("rosinality"):
        state = foreign.rosinality(widths, 512, 512, depth=8)
        others = {name: {k: v.clone() for k, v in state.items()} for name in ("g", "d", "m", "v")}
        foreign.save_rosinality(path, state, kind.endswith("legacy"), **others)
    else:
        state = foreign.pggan(narrow, 512)
        if kind == "stylegan":
            state = foreign.stylegan(narrow, 512, 512)
        torch.save(state, path, _use_new_zipfile_serialization=False)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True
    )
    resolution, peak = map(float, done.stdout.split())
    print(f"{kind} {side}: {path.stat().st_size / 2**20:.0f} MiB on disk, peak {peak:.0f} MiB")
    assert resolution == side and peak < 3 * 1024
