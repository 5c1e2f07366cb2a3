"""Published generators of faces by name: where they are kept, fetched once, checked ever after.

    G = facenb.load_generator("stylegan2-ffhq-256")
    python -m facenb.generators list                    # the names, and what is at hand

The files are not ours and not pinned: the sha256 of each is written down beside it when it is first
used, and compared from then on. A file put into the folder by hand is as good as a fetched one.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path

from facenb.assets import is_intact
from facenb.assets.pins import Member
from facenb.assets.sources import download
from facenb.errors import AssetError
from facenb.generators.pretrained.convert import WeightsError, converted
from facenb.storage.cache import cache_dir
from facenb.storage.files import atomic_write, locked, sha256_file


@dataclass(frozen=True)
class Published:
    """A generator that others have trained and published.

    Attributes:
        url: the file itself.
        file: its name in the cache.
        home: the page that links to it, and to its licence; none may be used commercially.
    """

    name: str
    url: str
    file: str
    home: str


_NVIDIA = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files/"
_STYLEGAN3 = "https://github.com/NVlabs/stylegan3#additional-material"
_INTERFACEGAN = "https://github.com/genforce/interfacegan/blob/master/docs/InterFaceGAN.ipynb"


def _stylegan2(data: str, side: int) -> Published:
    file = f"stylegan2-{data}-{side}x{side}.pkl"
    return Published(f"stylegan2-{data}-{side}", _NVIDIA + file, file, _STYLEGAN3)


def _interfacegan(name: str, link: str, file: str) -> Published:
    url = f"https://www.dropbox.com/s/{link}/{file}?dl=1"
    return Published(name, url, file, _INTERFACEGAN)


# The addresses of the first group stand in the README of NVlabs/stylegan3, those of the second in
# the notebook of genforce/interfacegan that `home` names. They were read there, in stored copies of
# both repositories, and not fetched, so that a dead one is possible.
_ALL = (
    _stylegan2("ffhq", 256),
    _stylegan2("ffhq", 512),
    _stylegan2("ffhq", 1024),
    _stylegan2("celebahq", 256),
    _interfacegan("stylegan-ffhq-1024", "qyv37eaobnow7fu", "stylegan_ffhq.pth"),
    _interfacegan("stylegan-celebahq-1024", "nmo2g3u0qt7x70m", "stylegan_celebahq.pth"),
    _interfacegan("pggan-celebahq-1024", "t74z87pk3cf8ny7", "pggan_celebahq.pth"),
)
ZOO: dict[str, Published] = {published.name: published for published in _ALL}


def folder() -> Path:
    """Where the files are kept."""
    return cache_dir() / "generators"


def published_file(name: str) -> Path:
    """The file of a name in `ZOO`: fetched on first use, the same one ever after.

    Raises AssetError when it cannot be had (with where to get it and where to put it), when it is
    no file of weights, or when it is not the file of its first use.
    """
    published = ZOO[name]
    path = folder() / published.file
    advice = (
        f"What to do: get {published.file} elsewhere, from\n    {published.url}\n"
        f"which is linked on {published.home}, and put it at\n    {path}"
    )
    return _kept(published.url, path, name, advice)


def fetched_file(url: str) -> Path:
    """The file at an http, https or file URL, fetched on first use. Raises as `published_file`."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "file"):
        raise AssetError(f"expected a URL of http, https or file, given {url!r}.")
    base = re.sub(r"[^\w.-]", "_", urllib.parse.unquote(parts.path).rpartition("/")[2])
    path = folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{base or 'weights'}"
    advice = "What to do: get the file elsewhere and give its path in place of the URL."
    return _kept(url, path, base or url, advice)


def _kept(url: str, path: Path, title: str, advice: str) -> Path:
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_name(f".lock-{path.name}")):
                if not path.exists():
                    _fetch(url, path, title, advice)
        except OSError as error:
            raise AssetError(
                f"cannot write to the cache {folder()}: {error}. "
                "Set FACENB_CACHE to a folder that you may write to."
            ) from error
    _check(path)
    return path


def _fetch(url: str, path: Path, title: str, advice: str) -> None:
    part = download(url, path.with_name(f".{path.name}.part"), title, advice)
    try:
        converted(
            part, "generator"
        )  # a page that asks to sign in is not kept under the name of weights
    except WeightsError as error:
        found = f"{part.stat().st_size:,} bytes"
        part.unlink()
        raise AssetError(
            f"{title}: what came from {url} ({found}) is no file of weights: {error}\n{advice}"
        ) from error
    os.replace(part, path)


def _check(path: Path) -> None:
    """Compare with the hash of the first use, or write it down if this is the first."""
    record = path.with_name(f"{path.name}.sha256")
    if not path.is_file():
        raise AssetError(f"{path}: expected a file, given a folder. Remove it.")
    if not record.exists():
        try:  # as sha256sum --check reads it
            atomic_write(record, f"{sha256_file(path)}  {path.name}\n")
        except OSError as error:
            warnings.warn(f"{record} cannot be written ({error}).", stacklevel=2)
        return
    try:
        noted = record.read_bytes()[:64].decode()
        if not re.fullmatch("[0-9a-f]{64}", noted):
            raise ValueError(f"it begins with {noted[:20]!r}")
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise AssetError(
            f"{record} is damaged, so that {path.name} cannot be checked: expected a sha256, "
            f"{error}. Delete it if the file is the right one."
        ) from error
    if not is_intact(path, Member(path.name, noted, path.stat().st_size)):
        raise AssetError(
            f"{path} is not the file of its first use: expected sha256 {noted}, found "
            f"{sha256_file(path)}. Delete it to fetch it again, and {record.name} as well if the "
            "new file is meant."
        )
