"""The command line of the generators.

python -m facenb.generators describe FILE     what a file of weights holds; nothing of it is run
python -m facenb.generators list              all generators by name, and what is at hand
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from facenb.errors import FacenbError, plain_streams
from facenb.generators import DEFAULT, EMBEDDED, weights_file
from facenb.generators.pretrained import describe
from facenb.generators.zoo import ZOO, folder


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    plain_streams()
    parser = argparse.ArgumentParser(
        prog="python -m facenb.generators", description="The generators of facenb."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    describing = commands.add_parser("describe", help="what a file of weights holds")
    describing.add_argument("file", metavar="FILE", help="a path, a URL or a published name")
    commands.add_parser("list", help="all generators by name, and what is at hand")
    options = parser.parse_args(arguments)
    try:
        if options.command == "describe":
            print(describe(weights_file(options.file)))
        else:
            _list()
    except (FacenbError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _list() -> None:
    print(f"{DEFAULT}  (the default: FFHQ, 1024 × 1024, with StyleGAN2's W)")
    print(f"{EMBEDDED}  (a DCGAN, 64 × 64, with a Z and no W)")
    print(f"\nPublished by others, kept in {folder()}")
    for published in ZOO.values():
        there = "at hand" if (folder() / published.file).exists() else "not fetched"
        print(f"\n{published.name}  ({there})\n  {published.url}\n  {published.home}")


if __name__ == "__main__":
    raise SystemExit(main())
