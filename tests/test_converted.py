"""Outside nets in the cache: converted once, whole or not at all; then without their files."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from safetensors import safe_open
from torch import Tensor

from facenb import assets
from facenb.assets import __main__ as command_line
from facenb.assets import converted
from facenb.assets.converted import converted_path, load_net
from facenb.assets.converters import CONVERSIONS, Conversion
from facenb.assets.pins import PACKAGES, Member, Package
from facenb.errors import AssetError, UnknownNameError

CONTENT = bytes(range(10))


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The only known net is "toy"; its converter counts how often it is called."""
    archive = tmp_path / "mirror" / "toy.whl"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("inside/toy.bin", CONTENT)
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    member = Member("inside/toy.bin", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    package = Package(
        "toy", "pip", "toy-net", "1.0", "toy.whl", digest, len(content), "MIT", {"toy.bin": member}
    )
    for table in (PACKAGES, CONVERSIONS):
        for name in list(table):
            monkeypatch.delitem(table, name)
    monkeypatch.setitem(PACKAGES, "toy", package)
    monkeypatch.setitem(CONVERSIONS, "toy", Conversion(("toy/toy.bin",), "toy_reader:convert", 1))
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FACENB_ASSETS_FROM", str(archive.parent))

    toy = Toy(tmp_path / "lib" / "toy_reader.py")
    toy.says("return {'weight': torch.tensor(list(path.read_bytes()))}, '{\"steps\": [\"é\"]}'")
    monkeypatch.setenv(
        "PYTHONPATH", f"{toy.module.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    )

    def counted(name: str, conversion: Conversion) -> dict[str, Tensor]:
        toy.calls += 1
        return convert(name, conversion)

    convert = converted._convert
    monkeypatch.setattr(converted, "_convert", counted)
    return toy


class Toy:
    """The converter of "toy", a module that another process imports; `calls` counts its runs."""

    def __init__(self, module: Path) -> None:
        self.module, self.calls = module, 0
        module.parent.mkdir()

    def says(self, body: str) -> None:
        self.module.write_text(
            "import os, socket, torch\nfrom facenb.errors import AssetError\n\n\n"
            f"def convert(paths):\n    (path,) = paths\n    {body}\n"
        )


def test_a_net_is_converted_once(converter: Toy) -> None:
    for _ in range(2):
        tensors, graph = load_net("toy")
        assert list(tensors) == ["weight"] and tensors["weight"].tolist() == list(CONTENT)
        assert graph == {"steps": ["é"]}
    assert converter.calls == 1
    with safe_open(converted_path("toy"), "pt") as file:
        notes = file.metadata()
    assert notes["toy/toy.bin"] == assets.asset_sha256("toy/toy.bin")
    assert notes["net"] == "toy" and notes["version"] == "1" and len(notes["sha256"]) == 64


def test_a_net_without_a_graph(converter: Toy) -> None:
    converter.says("return {'weight': torch.zeros(2)}, ''")
    assert load_net("toy")[1] == {} == load_net("toy")[1]


def test_a_converted_net_needs_no_files_and_no_network(
    converter: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_net("toy")
    assets.asset_path("toy/toy.bin").unlink()
    monkeypatch.setenv("FACENB_ASSETS_FROM", "/nowhere")
    assert load_net("toy")[0]["weight"].tolist() == list(CONTENT)


def test_without_both_the_message_says_what_to_do(
    converter: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENB_ASSETS_FROM", "/nowhere")
    with pytest.raises(AssetError, match=r"toy-net 1\.0.*/nowhere"):
        load_net("toy")
    assert not converted_path("toy").exists()


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_conversion_is_made_again(converter: Toy, damage: str) -> None:
    load_net("toy")
    path = converted_path("toy")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-3:]
    else:
        content[-3] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        tensors, graph = load_net("toy")
    assert tensors["weight"].tolist() == list(CONTENT) and graph == {"steps": ["é"]}
    assert converter.calls == 2


def test_a_cache_that_cannot_be_written_is_a_warning(converter: Toy) -> None:
    assets.asset_path("toy/toy.bin")
    converted_path("toy").parent.write_bytes(b"in the way")
    with pytest.warns(UserWarning, match=r"cannot be written .* FACENB_CACHE"):
        tensors, graph = load_net("toy")
    assert tensors["weight"].tolist() == list(CONTENT) and graph == {"steps": ["é"]}


def test_a_new_version_or_another_file_is_converted_anew(
    converter: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_net("toy")
    first = converted_path("toy")
    newer = Conversion(("toy/toy.bin",), "toy_reader:convert", 2)
    monkeypatch.setitem(CONVERSIONS, "toy", newer)
    load_net("toy")
    assert converter.calls == 2 and first.exists() and converted_path("toy") != first
    other = Member("inside/toy.bin", "0" * 64, len(CONTENT))
    monkeypatch.setitem(PACKAGES["toy"].members, "toy.bin", other)
    assert converted_path("toy") not in (first, *first.parent.iterdir())


def test_the_command_line_converts_what_it_fetches(
    converter: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main([]) == 0
    assert "not yet" in capsys.readouterr().out
    assert command_line.main(["fetch"]) == 0
    assert "toy: converted" in capsys.readouterr().out
    assert converter.calls == 1 and converted_path("toy").exists()
    assert command_line.main(["fetch", "toy"]) == command_line.main([]) == 0
    assert "not yet" not in capsys.readouterr().out and converter.calls == 1


def test_a_converter_that_fails_leaves_nothing(converter: Toy) -> None:
    converter.says("raise AssetError('toy.bin: not a toy')")
    with pytest.raises(AssetError, match="not a toy"):
        load_net("toy")
    assert not converted_path("toy").exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return {'weight': torch.zeros(1 << 40)}, ''", "memory"),
        ("os.kill(os.getpid(), 9)", "asked the system for os.kill"),
        ("socket.create_connection(('127.0.0.1', 9))", "asked the system for socket"),
        ("open('elsewhere', 'w')", "asked the system for open"),
        ("os._exit(7)", "ended by code 7"),
        ("return {'weight': path.read_bytes()[99]}, ''", "of another layout"),
    ],
)
def test_a_converter_has_limits(converter: Toy, body: str, reason: str) -> None:
    converter.says(body)
    with pytest.raises(AssetError, match=f"toy cannot be converted: .*{reason}"):
        load_net("toy")
    assert not converted_path("toy").exists()


def test_an_unknown_net_is_named(converter: Toy) -> None:
    with pytest.raises(UnknownNameError, match=r"outside net 'tow'\. Did you mean 'toy'\?"):
        load_net("tow")


def test_every_net_of_the_table_has_pinned_files_and_a_converter() -> None:
    for name, conversion in CONVERSIONS.items():
        module, _, function = conversion.converter.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), name
        assert all(assets.asset_sha256(source) for source in conversion.sources)


def test_readers_of_foreign_formats_are_imported_to_convert_only() -> None:
    code = "import sys, json, facenb.assets.converted as c; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    readers = {conversion.converter.partition(":")[0] for conversion in CONVERSIONS.values()}
    assert not set(loaded) & (readers | {"h5py", "onnx"})
