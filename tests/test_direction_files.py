"""Directions in other people's files: shapes, names, layers, and files that are refused."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import DIM, LAYERS, StyledGenerator, TinyGenerator

from facenb.editors import LayerwiseEditor, LinearEditor, read_directions, read_editors
from facenb.errors import FacenbError, UnknownNameError
from facenb.latents import Latents

RNG = np.random.default_rng(0)


class Converting(StyledGenerator):
    """Takes 18 rows, as a generator with StyleGAN2's W does: the first of every five."""

    def from_stylegan2(self, codes: torch.Tensor) -> torch.Tensor:
        assert codes.shape[-2:] == (18, DIM)
        return codes[..., [0, 5, 10, 15], :]


def kept(path, values):
    """Save as the suffix says."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        torch.save(torch.from_numpy(np.asarray(values)), path)
    return path


def normals(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("shape", [(DIM,), (1, DIM), (1, 1, DIM)])
def test_one_direction(tmp_path, suffix, shape):
    values = 5 * normals(*shape)
    found = read_directions(kept(tmp_path / f"age{suffix}", values), "z")
    assert found.names == ("age",) and found.space == "z"
    unit = values.reshape(-1) / np.linalg.norm(values)
    np.testing.assert_allclose(found.vectors[0].numpy(), unit, rtol=0, atol=1e-6)
    lengths = found.provenance["lengths"]
    assert lengths == {"age": pytest.approx(np.linalg.norm(values), abs=1e-3)}
    assert found.provenance["file"] == f"age{suffix}"
    (editor,) = read_editors(tmp_path / f"age{suffix}", TinyGenerator()).values()
    assert editor.space == "z" and torch.equal(editor.direction, found.vectors[0])


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_several_directions_and_their_names(tmp_path, suffix):
    path = kept(tmp_path / f"pca{suffix}", normals(3, DIM))
    assert read_directions(path).names == ("pca 1", "pca 2", "pca 3")
    assert read_directions(path, names=["a", "b", "c"]).names == ("a", "b", "c")
    for names in (["a", "b"], ["a", "a", "b"], "abc"):
        with pytest.raises(ValueError, match="expected 3 different names"):
            read_directions(path, names=names)
    assert read_directions(kept(tmp_path / f"x{suffix}", normals(DIM)), names="smile").names == (
        "smile",
    )


def test_a_dictionary_of_directions(tmp_path):
    path = tmp_path / "all.pt"
    tensors = {"age": torch.randn(DIM), "pose": torch.randn(1, DIM), "hair": torch.randn(2, DIM)}
    torch.save(tensors, path)
    assert read_directions(path).names == ("age", "pose", "hair 1", "hair 2")
    assert read_directions(path, names=["pose", "age"]).names == ("pose", "age")
    with pytest.raises(UnknownNameError, match="Did you mean 'pose'"):
        read_directions(path, names=["posed"])
    torch.save({"a": torch.randn(2, DIM), "a 1": torch.randn(DIM)}, path)
    with pytest.raises(ValueError, match="two of its directions would be called 'a 1'"):
        read_directions(path)
    torch.save({"a": torch.randn(4), "b": torch.randn(5)}, path)
    with pytest.raises(ValueError, match=r"one dimension, given \{'a': 4, 'b': 5\}"):
        read_directions(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floating_numbers(tmp_path, dtype):
    values = normals(2, DIM)
    found = read_directions(kept(tmp_path / "a.npy", np.asfortranarray(values.astype(dtype))))
    assert found.vectors.dtype == torch.float32
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors.numpy(), unit, rtol=0, atol=2e-3)


def test_the_legacy_format_of_torch(tmp_path):
    values = torch.randn(1, DIM)
    torch.save(values, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert torch.allclose(read_directions(tmp_path / "a.pt").vectors * values.norm(), values)


# --- a row for each layer


def test_rows_that_differ_move_their_layers(tmp_path):
    rows = normals(1, LAYERS, DIM)
    path = kept(tmp_path / "a.npy", rows)
    editor = read_editors(path, StyledGenerator())["a"]
    assert isinstance(editor, LayerwiseEditor)
    codes = Latents(torch.randn(2, LAYERS, DIM), "w+")
    shift = (editor.edit(codes, torch.tensor([1.0, -2.0])) - codes).values
    expected = torch.from_numpy(rows)
    expected /= np.sqrt((np.linalg.norm(rows[0], axis=1) ** 2).mean())
    torch.testing.assert_close(shift, torch.cat([expected, -2 * expected]))
    with pytest.raises(ValueError, match=r"rows? for each of 4 layers, and they differ"):
        read_directions(path)


def test_rows_that_are_alike_are_a_direction_of_w(tmp_path):
    row = normals(DIM)
    path = kept(tmp_path / "a.npy", np.tile(row, (1, LAYERS, 1)))
    editor = read_editors(path, StyledGenerator())["a"]
    assert isinstance(editor, LinearEditor) and editor.space == "w"
    assert torch.equal(read_directions(path).vectors[0], editor.direction)
    # the unit is the same, whichever way it is read
    rows = LayerwiseEditor("a", torch.from_numpy(np.tile(row, (LAYERS, 1))))
    torch.testing.assert_close(rows.directions, editor.direction.expand(LAYERS, -1))


def test_rows_of_some_layers_are_a_layered_edit(tmp_path):
    rows = np.zeros((1, LAYERS, DIM), np.float32)
    rows[:, 1:3] = normals(DIM)
    editor = read_editors(kept(tmp_path / "a.npy", rows), StyledGenerator())["a"]
    assert isinstance(editor, LinearEditor) and editor.layers == (1, 3)
    rows[:, 1] *= 2
    editor = read_editors(kept(tmp_path / "a.npy", rows), StyledGenerator())["a"]
    lengths = editor.directions.norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([0.0, 2.0, 1.0, 0.0]) / 2.5**0.5)


def test_rows_of_stylegan2_are_converted(tmp_path):
    rows = normals(2, 18, DIM)
    path = kept(tmp_path / "a.npy", rows)
    first, second = read_editors(path, Converting()).values()
    expected = torch.from_numpy(rows[1, [0, 5, 10, 15]])
    scale = expected.norm(dim=1).square().mean().sqrt()
    torch.testing.assert_close(second.directions, expected / scale)
    with pytest.raises(ValueError, match="each of 18 layers, and styled has 4 layers"):
        read_editors(path, StyledGenerator())
    with pytest.raises(ValueError, match=r"each of 18 layers, and tiny has no space 'w\+'"):
        read_editors(path, TinyGenerator())
    assert first.name == "a 1"


def test_what_n_rows_are(tmp_path):
    as_many = kept(tmp_path / "a.npy", normals(LAYERS, DIM))
    assert list(read_editors(as_many, StyledGenerator())) == ["a"]
    assert len(read_editors(as_many, StyledGenerator(), per_layer=False)) == LAYERS
    assert len(read_directions(as_many)) == LAYERS
    other = kept(tmp_path / "b.npy", normals(18, DIM))
    assert len(read_editors(other, StyledGenerator())) == 18
    assert list(read_editors(other, Converting())) == ["b"]
    with pytest.raises(ValueError, match="say per_layer=False"):
        read_editors(other, StyledGenerator(), per_layer=True)


def test_another_dimension_or_space(tmp_path):
    path = kept(tmp_path / "a.npy", normals(512))
    with pytest.raises(ValueError, match="'a' has 512 dimensions, and styled has 6 in 'w'"):
        read_editors(path, StyledGenerator())
    with pytest.raises(UnknownNameError, match="unknown latent space 'W'"):
        read_directions(path, "W")
    with pytest.raises(UnknownNameError, match="unknown latent space 'W'"):
        read_editors(path, StyledGenerator(), space="W")
    with pytest.raises(FacenbError, match="tiny has the spaces 'z'"):
        read_editors(path, TinyGenerator(), space="w")
    assert read_editors(kept(path, normals(DIM)), StyledGenerator(), "z")["a"].space == "z"


# --- files that are refused


class Rude:
    def __reduce__(self):
        return os.mkdir, ("rude",)


def _object_array(path):
    np.save(path, np.array([Rude()], dtype=object), allow_pickle=True)


def _cut(path):
    np.save(path, normals(4, DIM))
    path.write_bytes(path.read_bytes()[:-5])


def _longer_than_it_says(path):
    np.save(path, normals(4, DIM))
    path.write_bytes(path.read_bytes() + b"more")


def _huge_header(path):
    with path.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**40)}
        np.lib.format.write_array_header_1_0(stream, header)


def _no_header(path):
    path.write_bytes(b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': __import__('os')}".ljust(64))


def _odd_version(path):
    path.write_bytes(b"\x93NUMPY\x07\x00\x40\x00" + b" " * 64)


def _words(path):
    np.save(path, np.array(["a", "b"]))


def _pickle(path):
    path.write_bytes(pickle.dumps({"age": [1.0, 2.0]}))


def _running(path):
    torch.save({"age": torch.randn(3), "x": Rude()}, path)


def _zip_of_words(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")


def _cut_zip(path):
    torch.save(torch.randn(100), path)
    path.write_bytes(path.read_bytes()[:-40])


def _repeated(path):
    torch.save({"age": torch.zeros(1).expand(2**20, 512)}, path)


def _grown(path):
    """A tensor that becomes larger after it was made."""

    class Grown:
        def __reduce__(self):
            build, arguments, *_ = torch.zeros(512).__reduce_ex__(2)
            return build, arguments, (arguments[0], 0, (2**20, 512), (0, 1))

    torch.save({"age": Grown()}, path)


def _nested(path):
    torch.save({"age": {"w": torch.randn(3)}}, path)


def _numbered(path):
    torch.save({1: torch.randn(3)}, path)


def _escape(path):
    torch.save({"\x1b[2J": torch.randn(3)}, path)


def _sparse(path):
    torch.save({"age": torch.eye(3).to_sparse()}, path)


def _empty_dictionary(path):
    torch.save({}, path)


def _text(path):
    path.write_text("1.0, 2.0")


def _empty(path):
    path.write_bytes(b"")


def _safetensors(path):
    save_file({"age": torch.randn(3)}, path)


def _folder(path):
    path.mkdir()


def _large(path):
    with path.open("wb") as stream:
        stream.truncate(65 << 20)


REFUSED = {
    _object_array: "npy file of numbers",
    _cut: "has 91 bytes",
    _longer_than_it_says: "has 100 bytes",
    _huge_header: "it declares",
    _no_header: "npy file of numbers",
    _odd_version: "npy file of numbers",
    _words: "npy file of numbers",
    _pickle: "expected a tensor, or a dictionary of names and tensors",
    _running: "mkdir",
    _zip_of_words: "no data.pkl",
    _cut_zip: "truncated or damaged",
    _repeated: r"shape \(1048576, 512\) over a storage of 1",
    _grown: "age",
    _nested: "given dict as 'age'",
    _numbered: "given Tensor as 1",
    _escape: r"letters, given '\\x1b\[2J'",
    _sparse: "refused|given Tensor as 'age'",
    _empty_dictionary: "an empty dictionary",
    _text: "begins with b'1.0, 2.0'",
    _empty: "begins with b''",
    _safetensors: "read by Editors.load",
    _folder: "given a folder",
    _large: "up to 64 MiB, given 68,157,440 bytes",
}


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__.strip("_"))
def test_other_files_are_refused(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "age.npy"
    with path.parent.joinpath("x").open("w"):
        write(path)
    for read in (read_directions, lambda path: read_editors(path, TinyGenerator())):
        with pytest.raises(FacenbError, match=REFUSED[write]) as refusal:
            read(path)
        assert "age.npy" in str(refusal.value) and len(str(refusal.value)) < 500
    assert not (tmp_path / "rude").exists()


WRONG = {
    "no numbers": (np.zeros((0, DIM), np.float32), r"has shape \(0, 6\)"),
    "a number": (np.float32(1), r"has shape \(\)"),
    "four dimensions": (np.ones((1, 1, 1, DIM), np.float32), r"has shape \(1, 1, 1, 6\)"),
    "whole numbers": (np.ones((2, DIM), int), "has torch.int64"),
    "complex numbers": (np.ones((2, DIM), complex), "has torch.complex128"),
    "NaN": (np.full((2, DIM), np.nan, np.float32), "12 NaN or infinite"),
    "zeros": (np.zeros((1, DIM), np.float32), "length > 0"),
    "zeros in layers": (np.zeros((1, LAYERS, DIM), np.float32), "length > 0|no space"),
}


@pytest.mark.parametrize("values, message", WRONG.values(), ids=WRONG)
def test_arrays_that_are_no_directions_are_refused(tmp_path, values, message):
    path = tmp_path / "a.npy"
    np.save(path, values)
    for generator in (TinyGenerator(), StyledGenerator()):
        with pytest.raises(ValueError, match=message):
            read_editors(path, generator)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_directions(tmp_path / "a.npy")
