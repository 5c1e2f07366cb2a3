"""Regenerate tests/fixtures/litert_reference.safetensors: what LiteRT says MediaPipe's nets output.

    python scripts/references/make_litert_reference.py SCRATCH_FOLDER

Makes an environment with the package below in the scratch folder, runs this file there (seconds)
and writes the outputs to the fixture. The inputs are not in it: `inputs` makes the same numbers on
every machine, from the astronaut's photograph and from seeded noise, by repeating and adding whole
pixels alone.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "ai-edge-litert==2.3.0"
ROOT = Path(__file__).resolve().parent.parent
MODELS = ("face_landmarks_detector", "face_detector", "selfie_segmentation")


def inputs(photograph: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs (2, S, S, 3) by model, in 0..1: a photograph and noise.

    `photograph` is the astronaut, (512, 512, 3) uint8. The mesh gets her face, 128 pixels doubled;
    the other nets the whole picture, averaged. The noise is 16 × 16 blocks.
    """
    picture = photograph.astype(np.float64) / 255
    face = picture[64:192, 160:288].repeat(2, 0).repeat(2, 1)
    noise = np.random.RandomState(0).randint(0, 256, (16, 16, 3)) / 255

    def pair(image: np.ndarray) -> np.ndarray:
        times = image.shape[0] // 16
        return np.stack([image, noise.repeat(times, 0).repeat(times, 1)]).astype(np.float32)

    def averaged(times: int) -> np.ndarray:
        side = 512 // times
        return picture.reshape(side, times, side, times, 3).mean((1, 3))

    return {
        "face_landmarks_detector": pair(face),
        "face_detector": pair(averaged(4)),
        "selfie_segmentation": pair(averaged(2)),
    }


def run(scratch: Path) -> None:
    """Inside the environment: scratch/inputs.npz and *.tflite → scratch/outputs.npz."""
    from ai_edge_litert.interpreter import Interpreter

    results = {}

    def infer(model: str, values: np.ndarray) -> None:
        interpreter = Interpreter(str(scratch / f"{model}.tflite"), num_threads=1)
        interpreter.allocate_tensors()
        for one in values:  # the graphs are for batch 1
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[None])
            interpreter.invoke()
            for output in interpreter.get_output_details():
                name = f"{model}/{output['name'].split(':')[0]}"
                results.setdefault(name, []).append(interpreter.get_tensor(output["index"]).copy())

    given = np.load(scratch / "inputs.npz")
    for model in MODELS:
        infer(model, given[model])
    meshes = np.stack(results["face_landmarks_detector/Identity"]).reshape(-1, 478, 3)
    infer("face_blendshapes", meshes[:, given["points"], :2])
    np.savez(scratch / "outputs.npz", **{name: np.stack(each) for name, each in results.items()})


def main(scratch: Path) -> None:
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    from facenb.assets import asset_path
    from facenb.scorers.nets.blendshapes import POINTS

    scratch.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(asset_path("face-landmarker/face_landmarker_v2.task")) as archive:
        archive.extractall(scratch)
    segmentation = asset_path("selfie-segmentation/selfie_segmentation.tflite")
    (scratch / segmentation.name).write_bytes(segmentation.read_bytes())
    given = inputs(np.array(Image.open(asset_path("astronaut/astronaut.png")).convert("RGB")))
    given["face_detector"] = given["face_detector"] * 2 - 1  # this one wants −1..1
    np.savez(scratch / "inputs.npz", points=np.array(POINTS), **given)

    subprocess.run([sys.executable, "-m", "venv", scratch / "environment"], check=True)
    python = scratch / "environment" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE, "numpy"], check=True)
    subprocess.run([python, Path(__file__).resolve(), scratch, "run"], check=True)

    out = {
        name: torch.from_numpy(values) for name, values in np.load(scratch / "outputs.npz").items()
    }
    tensors = {
        "mesh": out["face_landmarks_detector/Identity"].reshape(2, 478, 3),
        "flag": out["face_landmarks_detector/Identity_1"].reshape(2),
        "blendshapes": out["face_blendshapes/StatefulPartitionedCall"].reshape(2, 52),
        "detector/logits": out["face_detector/classificators"].reshape(2, 896),
        # every 28th anchor
        "detector/values": out["face_detector/regressors"].reshape(2, 896, 16)[:, ::28],
        # every 8th pixel
        "mask": out["selfie_segmentation/activation_10"].reshape(2, 256, 256)[:, 4::8, 4::8],
    }
    path = ROOT / "tests" / "fixtures" / "litert_reference.safetensors"
    save_file({name: t.contiguous() for name, t in tensors.items()}, path, {"package": PACKAGE})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, {', '.join(tensors)}")


if __name__ == "__main__":
    if sys.argv[2:] == ["run"]:
        run(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]))
