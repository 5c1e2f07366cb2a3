"""Names, paths and URLs of generators, against a server on this machine."""

from __future__ import annotations

import dataclasses
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import foreign
import pytest
import torch

import facenb
from facenb.errors import AssetError, UnknownNameError
from facenb.generators import EMBEDDED, zoo
from facenb.generators import __main__ as command_line
from facenb.generators.pretrained import WeightsError
from facenb.generators.stylegan import StyleGAN
from facenb.generators.zoo import ZOO
from facenb.storage.files import sha256_file

NAME = "stylegan2-ffhq-256"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file in versions, with ranges; may break off or not know the file."""

    content, tag = b"", '"first"'
    asked: list[tuple[str | None, str | None]]
    broken, missing = False, False

    def do_GET(self) -> None:
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        self.asked.append((wanted, version))
        if self.missing:
            self.send_error(404)
            return
        start = int(re.search(r"\d+", wanted)[0]) if wanted and version in (None, self.tag) else 0
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("ETag", self.tag)
        self.end_headers()
        body = self.content[start:]
        self.wfile.write(body[: len(body) // 2] if self.broken else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "generators"


@pytest.fixture
def server(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    content = foreign.save_nvidia(tmp_path / "made.pkl", foreign.nvidia()).read_bytes()
    handler = type("OneServer", (Server,), {"content": content, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{service.server_port}/files/{ZOO[NAME].file}?dl=1"
        here = dataclasses.replace(ZOO[NAME], url=handler.url)
        monkeypatch.setitem(ZOO, NAME, here)
        yield handler
        service.shutdown()


def test_a_name_is_fetched_once_and_its_hash_is_kept(server: type[Server], cache: Path) -> None:
    generator = facenb.load_generator(NAME)
    assert (generator.name, generator.resolution) == (NAME, 32)
    file = cache / ZOO[NAME].file
    assert file.read_bytes() == server.content
    record = file.with_name(f"{file.name}.sha256")
    assert record.read_text() == f"{sha256_file(file)}  {file.name}\n"
    assert facenb.load_generator(NAME).fingerprint == generator.fingerprint
    assert server.asked == [(None, None)]
    left = {path.name for path in cache.iterdir() if not path.name.startswith(".lock-")}
    assert left == {file.name, record.name}


def test_a_broken_download_goes_on(server: type[Server], cache: Path) -> None:
    server.broken = True
    with pytest.raises(AssetError, match="goes on from there"):
        facenb.load_generator(NAME)
    assert not (cache / ZOO[NAME].file).exists()
    server.broken = False
    assert facenb.load_generator(NAME).resolution == 32
    half = len(server.content) // 2
    assert server.asked == [(None, None), (f"bytes={half}-", server.tag)]


def test_a_file_that_changed_meanwhile_is_begun_anew(server: type[Server], cache: Path) -> None:
    server.broken = True
    with pytest.raises(AssetError):
        facenb.load_generator(NAME)
    server.broken, server.tag = False, '"second"'
    server.content = server.content[:-1] + b"."
    facenb.load_generator(NAME)
    assert (cache / ZOO[NAME].file).read_bytes() == server.content
    assert server.asked[1][1] == '"first"'


def test_a_download_killed_after_its_last_byte_is_complete(
    server: type[Server], cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / f".{ZOO[NAME].file}.part").write_bytes(server.content)
    assert facenb.load_generator(NAME).resolution == 32


def test_another_file_than_that_of_the_first_use_is_refused(
    server: type[Server], cache: Path
) -> None:
    facenb.load_generator(NAME)
    file = cache / ZOO[NAME].file
    first = sha256_file(file)
    foreign.save_nvidia(file, foreign.nvidia(widths=(4, 4)))
    with pytest.raises(AssetError) as caught:
        facenb.load_generator(NAME)
    assert first in str(caught.value) and sha256_file(file) in str(caught.value)
    file.unlink()
    assert facenb.load_generator(NAME).resolution == 32


def test_without_the_server_the_error_says_where_from_and_where_to(
    server: type[Server], cache: Path, tmp_path: Path
) -> None:
    server.missing = True
    with pytest.raises(AssetError) as caught:
        facenb.load_generator(NAME)
    said = str(caught.value)
    for part in (NAME, "404", server.url, "github.com/NVlabs/stylegan3", str(cache)):
        assert part in said
    (cache / ZOO[NAME].file).write_bytes(server.content)  # as the message asks
    assert facenb.load_generator(NAME).resolution == 32
    assert (cache / f"{ZOO[NAME].file}.sha256").exists()


def test_offline(cache: Path) -> None:
    with pytest.raises(AssetError, match=r"could not be fetched from http://127\.0\.0\.1:1/a\.pt"):
        facenb.load_generator("http://127.0.0.1:1/a.pt")


def test_a_page_in_place_of_the_file_is_not_kept(server: type[Server], cache: Path) -> None:
    server.content = b"<!DOCTYPE html><title>Sign in</title>"
    with pytest.raises(AssetError, match=r"\(37 bytes\) is no file of weights"):
        facenb.load_generator(NAME)
    assert not [path for path in cache.iterdir() if not path.name.startswith(".lock-")]


def test_paths_and_urls(server: type[Server], cache: Path, tmp_path: Path) -> None:
    torch.save(foreign.stylegan(), tmp_path / "mine.pth")
    generator = facenb.load_generator(tmp_path / "mine.pth")
    assert isinstance(generator, StyleGAN) and generator.name == "mine"
    assert facenb.load_generator(str(tmp_path / "mine.pth")).fingerprint == generator.fingerprint
    fetched = facenb.load_generator(server.url)
    again = facenb.load_generator(server.url)
    assert fetched.fingerprint == again.fingerprint and len(server.asked) == 1
    local = facenb.load_generator((tmp_path / "made.pkl").as_uri())
    assert local.fingerprint == fetched.fingerprint
    half = facenb.load_generator(tmp_path / "mine.pth", dtype=torch.bfloat16)
    assert half.fingerprint != generator.fingerprint
    z = generator.sample(1)
    assert half.synthesize(z).dtype == torch.float32


def test_what_is_neither(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{NAME}'"):
        facenb.load_generator("stylegan2-ffhq-265")
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.pt"):
        facenb.load_generator("nowhere.pt")
    with pytest.raises(FileNotFoundError):
        facenb.load_generator(tmp_path / "nowhere")
    with pytest.raises(AssetError, match="ftp"):
        facenb.load_generator("ftp://host/a.pt")
    (tmp_path / "a.txt").write_text("notes")
    with pytest.raises(WeightsError, match=r"a\.txt is refused"):
        facenb.load_generator(str(tmp_path / "a.txt"))


def test_the_command_line(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(foreign.pggan(), tmp_path / "mine.pth")
    assert command_line.main(["describe", str(tmp_path / "mine.pth")]) == 0
    assert "resolution  32" in capsys.readouterr().out
    assert command_line.main(["describe", str(tmp_path / "nothing.pth")]) == 1
    assert "error: there is no file" in capsys.readouterr().err
    assert command_line.main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ZOO) and "not fetched" in said and "licence" not in said
    assert EMBEDDED in said


def test_every_entry_is_whole() -> None:
    assert {"stylegan2-ffhq-256", "stylegan2-celebahq-256", "pggan-celebahq-1024"} <= set(ZOO)
    for published in ZOO.values():
        assert published.url.startswith("https://") and published.file in published.url
        assert published.home.startswith("https://github.com/")
    assert len({published.file for published in ZOO.values()}) == len(ZOO)
    assert zoo.folder().name == "generators"
