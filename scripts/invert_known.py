"""Invert generated faces whose code is known in every way, and measure all of it.

    python -m scripts.invert_known [--faces 16]        # one core: a minute a face

Writes facenb/data/inversions_mobilestylegan-ffhq-1024.safetensors, which notebook 10 shows. What is
done is kept face by face when it is stopped.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from facenb.generators import load_generator
from facenb.generators.mobilestylegan import NAME, MobileStyleGAN
from facenb.photos.known import PSI, SEED, SPACES, STEPS, TUNING, invert_known
from facenb.storage.cache import cached
from facenb.storage.files import write_tensors

OUT = Path(__file__).resolve().parent.parent / "facenb" / "data" / f"inversions_{NAME}.safetensors"
_VERSION = 2  # raise when a change alters the codes or what is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    generator = load_generator(NAME)
    faces = [inverted(generator, i) for i in tqdm(range(args.faces), mininterval=30)]
    tensors = {name: torch.cat([face[name] for face in faces]) for name in faces[0]}
    provenance = {
        "command": f"python -m scripts.invert_known --faces {args.faces}",
        "generator": generator.fingerprint,
        "faces": {"seed": SEED, "psi": PSI, "count": args.faces},
        "steps": STEPS,
        "steps of tuning": TUNING,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    write_tensors(args.out, tensors, {"provenance": json.dumps(provenance)})


def inverted(generator: MobileStyleGAN, index: int) -> dict[str, Tensor]:
    """Face `index`: codes in half precision and measures, from the cache when it was done before.

    The true latent and the encoder's are not kept: they are there in no time.
    """
    inputs = {"version": _VERSION, "generator": generator.fingerprint, "index": index}
    inputs |= {"steps": STEPS, "tuning": TUNING}

    def compute() -> dict[str, Tensor]:
        codes, measured = invert_known(generator, index)
        kept = {f"codes/{way}": codes[way].half() for way in SPACES}
        return kept | {
            f"measured/{way}/{name}": value
            for way, values in measured.items() for name, value in values.items()
        }  # fmt: skip

    return cached("known-inversion", inputs, compute)


if __name__ == "__main__":
    main()
