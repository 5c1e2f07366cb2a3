"""Edit the face in a photograph from the command line; nothing leaves the machine.

python -m facenb.photos edit PHOTO --age 3 --hold glasses --out OUT.jpg
python -m facenb.photos faces PHOTO                    # which faces there are

Every editor has an option of its name: --smile, --age, --grey-hair, … ; --list names them. The
photograph's latent is kept in facenb's cache, so that a second edit of it takes seconds; what
is interrupted goes on next time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from facenb.editors import Editors, load_editors
from facenb.errors import FacenbError
from facenb.generators import load_generator
from facenb.photos.align import Aligner
from facenb.photos.photograph import Photograph, save_image
from facenb.photos.reading import read_photo
from facenb.storage.cache import cache_dir
from facenb.storage.files import sha256_tensor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 and a line on standard error where the photograph cannot be used."""
    editors = load_editors("interfacegan")
    options = _parser(editors).parse_args(arguments)
    try:
        if options.command == "faces":
            return _faces(options)
        return _edit(options, editors)
    except (FacenbError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser(editors: Editors) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m facenb.photos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    faces = commands.add_parser("faces", help="list the faces of a photograph")
    faces.add_argument("photo", type=Path)
    edit = commands.add_parser("edit", help="edit a face and put it back into the photograph")
    edit.add_argument("photo", type=Path)
    edit.add_argument("--out", type=Path, required=True, help=".jpg, .png or .webp")
    edit.add_argument("--crop", type=Path, help="write the edited face alone as well, 1024 pixels")
    edit.add_argument("--hold", nargs="*", default=[], choices=editors.names, metavar="NAME",
                      help="what the edits should leave as it is")  # fmt: skip
    edit.add_argument("--face", type=int, default=0, help="which face, 0 the largest")
    edit.add_argument("--seconds", type=float, default=60, help="for the inversion (60)")
    edit.add_argument("--tune", type=float, default=0, metavar="SECONDS",
                      help="tune the generator to the photograph for so long")  # fmt: skip
    for name in editors:
        edit.add_argument(f"--{name.replace('_', '-')}", dest=f"edit_{name}", type=float,
                          metavar="STRENGTH", help=argparse.SUPPRESS)  # fmt: skip
    edit.epilog = "editors, each an option with a strength of some -6 to 6: " + ", ".join(
        f"--{name.replace('_', '-')}" for name in editors
    )
    return parser


def _faces(options: argparse.Namespace) -> int:
    photo = read_photo(options.photo)
    for i, face in enumerate(Aligner().find(photo)):
        x, y = face.square.centre
        cut = f", cut by the {' and '.join(face.cut_by)} edge" if face.cut_by else ""
        print(f"face {i}: around ({x:.0f}, {y:.0f}), {face.square.side:.0f} pixels, turned by "
              f"{face.square.roll:.0f}°{cut}")  # fmt: skip
    return 0


def _edit(options: argparse.Namespace, editors: Editors) -> int:
    strengths = {name: getattr(options, f"edit_{name}") for name in editors}
    strengths = {name: s for name, s in strengths.items() if s is not None}
    photograph = Photograph(load_generator(), options.photo, options.face)
    kept = cache_dir() / "photos" / f"{sha256_tensor(photograph.aligned.image)[:24]}.ckpt"
    inversion = photograph.inversion
    inversion.resume(kept)
    if inversion.spent < options.seconds:
        photograph.invert(seconds=options.seconds)
        inversion.save(kept)
    if options.tune:
        photograph.tune(seconds=options.tune)
    with torch.no_grad():
        face = photograph.edited(strengths, options.hold, editors)
    if options.crop:
        save_image(options.crop, face)
    photograph.save(options.out, face)
    print(f"{options.out}: " + (", ".join(f"{n} {s:+g}" for n, s in strengths.items())
                                or "no edit") + ".")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
