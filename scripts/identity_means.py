"""Measure the mean identity vectors: they are subtracted from identities.

    python -m scripts.identity_means --out facenb/data/identity_means.safetensors

load_identity() subtracts what ships. About two minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from facenb.assets import asset_sha256
from facenb.generators import load_generator
from facenb.scorers.identity import MEANS_PATH, NETS
from facenb.storage.files import write_tensors

SAMPLES, SEED = 2000, 0


def main() -> None:
    """Write the mean vector of each identity net over the first 2,000 samples of seed 0."""
    parser = argparse.ArgumentParser(prog="python -m scripts.identity_means")
    parser.add_argument("--out", type=Path, required=True, help=f"{MEANS_PATH.name} ships")
    out = parser.parse_args().out
    generator = load_generator("digiface-dcgan-64")
    latents = generator.sample(SAMPLES, seed=SEED)
    means, batch = {}, 16
    for name in ("face_recognition", "faceres"):
        net = NETS[name]()
        with torch.no_grad():
            vectors = torch.cat(
                [
                    net(generator.synthesize(latents[i : i + batch]))
                    for i in range(0, SAMPLES, batch)
                ]
            )
        means[name] = vectors.double().mean(0).float()
    provenance = {
        "samples": SAMPLES,
        "seed": SEED,
        "generator_sha256": asset_sha256("digiface-dcgan-64/weights.tar"),
    }
    write_tensors(out, means, {"provenance": json.dumps(provenance)})
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
