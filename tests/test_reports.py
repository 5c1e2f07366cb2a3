"""What users of this field reported, tried here: each kind of fault stays mended."""

from __future__ import annotations

import ast
import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import filelock
import nbformat
import numpy as np
import pytest
import torch
from tiny import DIM, LAYERS, NAMES, StyledGenerator, TinyGenerator
from torch import Tensor

from facenb import assets, lab
from facenb.assets.pins import Member
from facenb.editors import Editors, LinearEditor, load_editors
from facenb.errors import AssetError, SpaceError, UnknownNameError, check_images, plain_streams
from facenb.executed import clean
from facenb.generators import zoo
from facenb.latents import Latents
from facenb.methods.ganspace import GANSpace
from facenb.methods.interfacegan import Boundary, InterFaceGAN
from facenb.methods.sgf.mapping import AuxiliaryMapping, SpectralStack
from facenb.sampling import ScoredSamples
from facenb.seeds import seeded
from facenb.storage import cache, files
from facenb.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- 1. what ships is written on purpose ---------------------------------------------------------


def test_no_script_writes_into_the_package_unasked(repository):
    """No path of facenb/data is made where something is written: --out names the place."""
    for path in [*(repository / "scripts").glob("*.py"), *(repository / "facenb").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "atomic_write":
                place = ast.unparse(node.args[0])
                assert "data_path" not in place and "MEANS_PATH" not in place, path
                assert "PROBES" not in place, path
        text = path.read_text()
        if path.name not in ("collection.py",):  # which lists what ships
            assert 'data_path("__init__.py").parent' not in text, path


def test_a_trial_of_the_training_leaves_the_package_as_it_was(repository, monkeypatch, capsys):
    from scripts import train_directions

    data = repository / "facenb" / "data"
    before = {p.name: p.stat().st_mtime_ns for p in data.iterdir()}
    monkeypatch.setattr(train_directions, "load_generator", lambda *_: TinyGenerator())
    monkeypatch.setattr(train_directions, "train_all", lambda *_: {})
    train_directions.main(["--profile", "smoke"])
    assert "The checkpoints are kept" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in data.iterdir()} == before
    with pytest.raises(SystemExit):
        train_directions.main(["SDD", "--out", str(data)])


# --- 2. one door for seeds, arrays and names -----------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.0, "1"])
def test_seeds_outside_of_the_range_are_refused(seed):
    for draw in (seeded, lambda s: TinyGenerator().sample(1, s)):
        with pytest.raises(ValueError, match=r"from 0 to 2\*\*63 - 1"):
            draw(seed)


def test_seeds_that_differ_by_a_power_of_two_are_two():
    for a, b in ((5, 5 + 2**32), (0, 2**62), (7, 7 + 2**40)):
        assert not torch.equal(
            torch.randn(4, generator=seeded(a)), torch.randn(4, generator=seeded(b))
        )
    expected = torch.randn(4, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.randn(4, generator=seeded(5)), expected)


def test_names_are_never_read_letter_by_letter():
    editors = Editors.from_vectors(NAMES, torch.eye(3, DIM), "w")
    assert editors.select("age").names == ("age",)
    one, several = editors.condition("smile", on="age"), editors.condition(["smile"], on=["age"])
    assert torch.equal(one.vectors, several.vectors)
    assert torch.equal(editors.condition("smile", on=[]).vectors, editors.select("smile").vectors)
    assert Editors.from_vectors("age", torch.ones(1, DIM)).names == ("age",)
    for call in (lambda: editors.select(3), lambda: editors.condition("age", on=[1])):
        with pytest.raises(TypeError, match="expected"):
            call()


def test_arrays_come_in_as_numpy_or_torch_and_whole_numbers_do_not():
    row = np.ones((1, DIM), np.float64)
    assert Editors.from_vectors(("a",), row, "w").vectors.dtype == torch.float32
    for wrong in (torch.ones(1, DIM).long(), row.astype(int), [[1.0] * DIM]):
        with pytest.raises(TypeError, match=r"Editors: vectors: .*floating numbers, given"):
            Editors.from_vectors(("a",), wrong, "w")
        with pytest.raises(TypeError, match=r"latents: .*floating numbers, given"):
            Latents(wrong, "w")
    with pytest.raises(UnknownNameError, match="latent space 'W'"):
        Editors.from_vectors(("a",), row, "W")


def test_a_path_is_no_name_of_a_set():
    with pytest.raises(ValueError, match=r"Editors\.load\(path\)"):
        load_editors("/somewhere/age.pt")
    with pytest.raises(UnknownNameError) as caught:
        load_editors("nothing")
    listed = str(caught.value)
    assert "interfacegan (digiface-dcgan-64)" in listed and "probes" not in listed


def test_methods_name_the_way_out_of_w_plus():
    codes = Latents(torch.randn(400, LAYERS, DIM), "w+")
    samples = ScoredSamples(codes, torch.arange(400.0)[:, None], ("age",))
    with pytest.raises(SpaceError, match=r"space='w'"):
        InterFaceGAN(0.1).fit(StyledGenerator(), samples)
    with pytest.raises(ValueError, match=r"of 'w\+'"):
        Boundary(0.1).fit(codes, torch.arange(400.0))
    with pytest.raises(SpaceError, match="in_layers"):
        GANSpace(components=2, space="w+", n=320).fit(StyledGenerator())
    with pytest.raises(TypeError, match=r"InterFaceGAN: expected fit\(generator, samples\)"):
        InterFaceGAN(0.1).fit(np.zeros((400, DIM)), np.arange(400.0))


# --- 3. a direction of W on codes of W+ ----------------------------------------------------------


def test_a_direction_of_w_edits_codes_of_w_plus_in_every_layer():
    codes = Latents(torch.randn(2, LAYERS, DIM, generator=torch.Generator().manual_seed(0)), "w+")
    age = LinearEditor("age", torch.eye(DIM)[1], "w")
    strengths = torch.tensor([1.0, -2.0])
    edited = age.edit(codes, strengths)
    assert edited.space == "w+"
    expected = codes.values.clone()
    expected[:, :, 1] += strengths[:, None]
    assert torch.equal(edited.values, expected)
    with pytest.raises(SpaceError, match=r"editors\.in_layers\(0, L\)"):
        age.distance(codes)
    with pytest.raises(SpaceError, match="no way back"):
        LinearEditor("age", torch.eye(DIM)[1], "z").edit(codes, 1.0)


# --- 5. the cache is a help ----------------------------------------------------------------------


def refuse(code: int):
    def call(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_what_cannot_be_kept_is_returned_all_the_same(own_cache, code):
    with (
        mock.patch("facenb.storage.cache.atomic_write", refuse(code)),
        pytest.warns(UserWarning, match="FACENB_CACHE"),
    ):
        found = cache.cached("step", {"n": 1}, lambda: {"x": torch.ones(2)})
    assert found["x"].tolist() == [1, 1]
    with (
        mock.patch("facenb.storage.checkpoints.atomic_write", refuse(code)),
        pytest.warns(UserWarning, match="cannot be resumed"),
    ):
        save_checkpoint(own_cache / "a", {}, {})


@pytest.mark.parametrize(
    "place",
    [mock.patch("filelock._unix.os.open", refuse(errno.EROFS)),
     mock.patch("filelock._unix.fcntl.flock", refuse(errno.ENOLCK)),
     mock.patch.object(filelock.FileLock, "acquire", side_effect=NotImplementedError)],
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_without_locks_work_goes_on(tmp_path, place):
    done = []
    with place, pytest.warns(UserWarning, match="going on without"), files.locked(tmp_path / "l"):
        done.append(1)
    assert done
    with files.locked(tmp_path / "l"):  # and where there are locks, one holds
        other = filelock.FileLock(tmp_path / "l", is_singleton=False)
        with pytest.raises(filelock.Timeout):
            other.acquire(timeout=0.01)


def test_weights_at_hand_are_read_from_a_cache_that_cannot_be_locked(own_cache, tmp_path):
    (tmp_path / "mine.bin").write_bytes(b"weights")
    url = (tmp_path / "mine.bin").as_uri()
    with mock.patch.object(zoo, "converted"):
        path = zoo.fetched_file(url)
        with mock.patch.object(zoo, "locked", side_effect=OSError):
            assert zoo.fetched_file(url) == path


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"x" * 64, b"\n", b"abc  file"])
def test_a_damaged_note_of_a_hash_says_so(own_cache, tmp_path, note):
    (tmp_path / "mine.bin").write_bytes(b"weights")
    with mock.patch.object(zoo, "converted"):
        path = zoo.fetched_file((tmp_path / "mine.bin").as_uri())
        path.with_name(f"{path.name}.sha256").write_bytes(note)
        with pytest.raises(AssetError, match=r"\.sha256 is damaged"):
            zoo.fetched_file((tmp_path / "mine.bin").as_uri())


def test_a_folder_in_place_of_a_file_says_so(own_cache, tmp_path):
    assert not assets.is_intact(tmp_path, Member("a", "0" * 64, tmp_path.stat().st_size))
    name = "sface/face_recognition_sface_2021dec_int8bq.onnx"
    package, _ = assets._find(name)
    (assets.package_folder(package) / name.partition("/")[2]).mkdir(parents=True)
    with pytest.raises(AssetError, match="given a folder"):
        assets.asset_path(name)
    with pytest.raises(CheckpointError, match="given a folder"):
        load_checkpoint(tmp_path, {})


def test_what_a_killed_process_left_is_swept_and_what_a_running_one_writes_is_not(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    here = files._here()
    gone = tmp_path / f".a-{here}-{ended}-01234567.tmp.png"
    folder = tmp_path / f".work-{here}-{ended}-01234567.tmp"
    kept = tmp_path / f".a-{here}-{os.getpid()}-01234567.tmp.png"
    elsewhere = tmp_path / f".a-other-{ended}-01234567.tmp.png"
    old = tmp_path / f".a-other-{ended}-76543210.tmp.png"
    for path in (gone, kept, elsewhere, old):
        path.write_text("half")
    folder.mkdir()
    (folder / "x").write_text("half")
    os.utime(old, (0, 0))
    files.atomic_write(tmp_path / "b", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"b", kept.name, elsewhere.name}


# --- 6. other machines ---------------------------------------------------------------------------


def cleaned(root: Path) -> str:
    text = f"see https://example.org/a, 7 // 2, {root}/a.py\n"
    output = nbformat.v4.new_output("stream", name="stdout", text=text)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    return clean(notebook, root).cells[0].outputs[0].text


def test_a_user_without_a_home_keeps_slashes_and_errors():
    expected = "see https://example.org/a, 7 // 2, a.py\n"
    with mock.patch.dict(os.environ, {"HOME": "/"}):
        assert cleaned(Path("/srv/checkout")) == expected
        assert "https://example.org" in cleaned(Path("/"))
    nobody = mock.patch("pathlib.Path.home", side_effect=RuntimeError("no home directory"))
    with nobody:
        assert cleaned(Path("/srv/checkout")) == expected
    with nobody, mock.patch.dict(os.environ):
        os.environ.pop("FACENB_CACHE", None)
        assert cache.cache_dir().name == "facenb"


def test_the_lab_starts_where_the_environment_is_read_only(tmp_path, capsys):
    with (
        mock.patch("facenb.lab.atomic_write", refuse(errno.EROFS)),
        mock.patch("facenb.lab.install_settings.__defaults__", (tmp_path,)),
        mock.patch("jupyterlab.labapp.LabApp.launch_instance") as started,
    ):
        lab.main([])
    assert started.called and "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"])
def test_consoles_of_other_encodings(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    plain_streams()
    print("1024 × 1024, ψ", flush=True)
    expected = "1024 × 1024, ψ\n".encode(encoding, "replace")
    assert stream.buffer.getvalue().replace(b"\r\n", b"\n") == expected


def test_no_float64_on_a_device_that_has_none():
    stack = SpectralStack(2, 8, 8, torch.Generator()).eval()
    with mock.patch.object(Tensor, "double", side_effect=TypeError("no float64")):
        norms = torch.linalg.matrix_norm(stack(), 2)
    torch.testing.assert_close(norms, torch.ones(2))


# --- 7. life in a notebook and in a larger model -------------------------------------------------


def test_images_of_0_to_1_are_scored_with_a_warning():
    images = torch.rand(2, 3, 8, 8)
    with pytest.warns(UserWarning, match="2 \\* images - 1"):
        check_images(images)
    check_images(2 * images - 1)
    check_images(torch.ones(1, 3, 8, 8))  # blank


def test_a_mapping_that_was_frozen_follows_casts_and_new_weights():
    mapping, other = AuxiliaryMapping(8, 3, seed=0).eval(), AuxiliaryMapping(8, 3, seed=1).eval()
    z, c = torch.randn(2, 8), torch.randn(2, 3)
    expected = mapping(z, c)
    torch.testing.assert_close(mapping.double()(z.double(), c.double()).float(), expected)
    mapping.float().load_state_dict(other.state_dict())
    assert torch.equal(mapping(z, c), other(z, c)) and not torch.equal(mapping(z, c), expected)
