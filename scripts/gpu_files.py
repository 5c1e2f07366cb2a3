"""The cached files that `scripts.gpu` reads: a GPU machine may have no network to fetch them by."""

from __future__ import annotations

from pathlib import Path

from facenb.assets import is_intact, package_folder
from facenb.assets.converted import converted_path
from facenb.assets.converters import CONVERSIONS
from facenb.assets.pins import PACKAGES
from facenb.generators import EMBEDDED
from facenb.storage.cache import cache_dir

_DCGAN = "digiface-dcgan-64/weights.tar"


def needs(generator: str) -> dict[Path, bool]:
    """The files that everything here reads, and whether each is there and intact.

    A net that has been converted does not need the files that it was converted from.
    """
    found = dict([_asset(_DCGAN)])
    if generator in CONVERSIONS:
        net = converted_path(generator)
        sources = dict(map(_asset, CONVERSIONS[generator].sources))
        here = not net.is_file() and all(sources.values())
        found |= sources if here else {net: net.is_file()}
    elif generator != EMBEDDED:
        found[Path(generator)] = Path(generator).is_file()
    return found


def _asset(name: str) -> tuple[Path, bool]:
    package, _, member = name.partition("/")
    path = package_folder(PACKAGES[package]) / member
    return path, is_intact(path, PACKAGES[package].members[member])


def told(files: dict[Path, bool]) -> str:
    """What is needed, what of it is missing, and what to do then."""
    lines = [f"FACENB_CACHE is {cache_dir()}; these files are needed, and nothing else:"]
    for path, there in files.items():
        size = f"{path.stat().st_size / 1e6:5.1f} MB" if there else "MISSING "
        lines.append(f"  {size}  {path}")
    if not all(files.values()):
        lines.append(
            "On a machine with a network, `make assets` fetches and converts them. Copy them to "
            "the same places in a folder here, and name it: FACENB_CACHE=FOLDER."
        )
    return "\n".join(lines)
