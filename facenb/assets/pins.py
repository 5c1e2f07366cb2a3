"""The outside files that facenb uses: which package they come from, and the sha256 of each.

A package is pinned three times over: by its version, by the sha256 of its archive, and by the
sha256 of every member that is kept. Nothing else of the archive is unpacked. The pins themselves
are in facenb/data/pins.toml, one table a package.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from facenb.data import data_path


@dataclass(frozen=True)
class Member:
    """One file of a package: its exact name inside the archive, its sha256 and its bytes."""

    inside: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Package:
    """One pinned archive of a package registry ("pip" or "npm") and the members kept from it.

    `members` has them by the names that they get in the cache. `options` are further words for
    the tool: pip takes the wheel of a named platform by them, whatever the machine is.
    """

    name: str
    tool: str
    project: str
    version: str
    archive: str
    sha256: str
    size: int
    licence: str
    members: Mapping[str, Member]
    options: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For messages: "face-api (npm package @vladmandic/face-api 1.7.15)"."""
        registry = "PyPI" if self.tool == "pip" else "npm"
        return f"{self.name} ({registry} package {self.project} {self.version})"


def _read() -> dict[str, Package]:
    packages = {}
    for name, table in tomllib.loads(data_path("pins.toml").read_text(encoding="utf-8")).items():
        members = {file: Member(**member) for file, member in table.pop("members").items()}
        options = tuple(table.pop("options", ()))
        packages[name] = Package(name=name, members=members, options=options, **table)
    return packages


PACKAGES: dict[str, Package] = _read()
