"""The command line of the outside files.

python -m facenb.assets                                  what is cached, and is it intact?
python -m facenb.assets fetch [PACKAGE …]                fetch what is missing or damaged
python -m facenb.assets fetch PACKAGE --from PATH-OR-URL
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from facenb.assets import cache_dir, fetch, is_intact, package_folder
from facenb.assets.pins import PACKAGES
from facenb.errors import AssetError, unknown
from facenb.files import sha256_file


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
    if damaged:
        print(f"\n{damaged} damaged; `python -m facenb.assets fetch` replaces them.")
    return int(damaged > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
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
            for name in options.packages or PACKAGES:
                if name not in PACKAGES:
                    raise unknown("package", name, PACKAGES)
                fetch(PACKAGES[name], options.source)
                print(f"{PACKAGES[name].title}: verified in {package_folder(PACKAGES[name])}")
            return 0
        return report()
    except (AssetError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
