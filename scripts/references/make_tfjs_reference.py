"""Regenerate tests/fixtures/tfjs_reference.safetensors: what TensorFlow.js says the nets output.

    python scripts/references/make_tfjs_reference.py SCRATCH_FOLDER

Installs the packages below into the scratch folder with npm, runs make_tfjs_reference.mjs there on
the CPU backend (about a minute) and writes inputs and outputs to the fixture. The inputs are three
samples of the embedded generator and one of noise, 64 × 64, each repeated to the net's native size
pixel by pixel, so that they are the same numbers on every machine.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from facenb.generators import load_generator

PACKAGES = (
    "@tensorflow/tfjs@4.22.0",
    "@tensorflow/tfjs-backend-wasm@4.22.0",  # face-api's build asks for it; it stays unused
    "@vladmandic/face-api@1.7.15",
    "@vladmandic/human@3.3.6",
)
SIZES = {"facemesh": 192, "faceres": 224, "face_landmark_68": 112, "face_expression": 112,
         "face_recognition": 150}  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent


def input_images() -> torch.Tensor:
    """(4, 64, 64, 3) uint8: three samples and one image of noise."""
    generator = load_generator("digiface-dcgan-64")
    with torch.no_grad():
        images = generator.synthesize(generator.sample(3, seed=0))
    samples = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    noise = np.random.RandomState(0).randint(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    return torch.cat([samples, torch.from_numpy(noise)])


def repeat_pixels(images: torch.Tensor, size: int) -> torch.Tensor:
    """(N, 64, 64, 3) → (N, size, size, 3): pixel floor(64·i / size), values untouched."""
    index = torch.arange(size) * images.shape[1] // size
    return images[:, index][:, :, index].contiguous()


def main(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["npm", "install", "--prefix", str(scratch), "--ignore-scripts", *PACKAGES], check=True
    )
    images = input_images()
    request = {}
    for net, size in SIZES.items():
        values = repeat_pixels(images, size)
        encoded = base64.b64encode(values.numpy().tobytes()).decode()
        request[net] = {"shape": list(values.shape), "values": encoded}
    (scratch / "inputs.json").write_text(json.dumps(request))
    script = Path(__file__).with_suffix(".mjs")
    packages = scratch / "node_modules" / "@vladmandic"
    command = ["node", str(script), str(packages), "inputs.json", "outputs.json"]
    subprocess.run(command, cwd=scratch, check=True)

    tensors = {"images": images}
    for net, outputs in json.loads((scratch / "outputs.json").read_text()).items():
        for name, output in outputs.items():
            values = np.frombuffer(base64.b64decode(output["values"]), "<f4")
            tensors[f"{net}/{name}"] = torch.from_numpy(values.reshape(output["shape"]).copy())
    path = ROOT / "tests" / "fixtures" / "tfjs_reference.safetensors"
    save_file(tensors, path, metadata={"packages": " ".join(PACKAGES)})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, {', '.join(tensors)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
