"""The packaged nets in torch: the formats by hand, and the outputs against TensorFlow.js itself."""

import base64
import json

import pytest
import torch
from safetensors.torch import load_file

from facenb.assets import asset_path
from facenb.errors import AssetError, UnknownNameError
from facenb.scorers.nets import faceapi
from facenb.scorers.nets.human import FaceEmbedding, Facemesh
from facenb.scorers.nets.layers import Conv, same_padding
from facenb.scorers.nets.tfjs import GraphNet, read_weights


@pytest.fixture(scope="module")
def reference(repository):
    """TensorFlow.js 4.22's inputs and outputs (scripts/references/make_tfjs_reference.py)."""
    return load_file(repository / "tests" / "fixtures" / "tfjs_reference.safetensors")


def native_input(reference: dict[str, torch.Tensor], size: int) -> torch.Tensor:
    """The reference's images with pixels repeated to `size`, (4, 3, size, size) in 0..255."""
    index = torch.arange(size) * 64 // size
    return reference["images"][:, index][:, :, index].permute(0, 3, 1, 2).float()


# ---- weights ------------------------------------------------------------------------------------

QUANTISED = {
    "name": "a",
    "shape": [2, 2],
    "dtype": "float32",
    "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
}
HALF = {
    "name": "b",
    "shape": [2],
    "dtype": "float32",
    "quantization": {"dtype": "float16", "original_dtype": "float32"},
}
INTEGER = {"name": "c", "shape": [1], "dtype": "int32"}


def test_dequantisation_by_hand():
    # 0x3C00 is 1.0 as a half, 0xC000 is -2.0
    data = bytes([0, 1, 2, 255]) + bytes([0x00, 0x3C, 0x00, 0xC0]) + (7).to_bytes(4, "little")
    weights = read_weights([{"weights": [QUANTISED]}, {"weights": [HALF, INTEGER]}], data, "x.bin")
    assert weights["a"].tolist() == [[-1.0, -0.5], [0.0, 126.5]]
    assert weights["b"].tolist() == [1.0, -2.0]
    assert weights["a"].dtype == weights["b"].dtype == torch.float32
    assert weights["c"].tolist() == [7] and weights["c"].dtype == torch.int32


def test_truncated_weights_name_the_file_and_the_tensor():
    with pytest.raises(AssetError, match=r"x\.bin is cut short: tensor 'b' needs bytes 4 to 8.* 7"):
        read_weights([{"weights": [QUANTISED, HALF]}], bytes(7), "x.bin")


def test_surplus_bytes_and_unknown_types_are_errors():
    with pytest.raises(AssetError, match="describes 4 bytes, the file has 5"):
        read_weights([{"weights": [QUANTISED]}], bytes(5), "x.bin")
    odd = QUANTISED | {"quantization": {"dtype": "uint2", "scale": 1, "min": 0}}
    with pytest.raises(AssetError, match="uint2"):
        read_weights([{"weights": [odd]}], bytes(4), "x.bin")


# ---- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(4, 3, 1, (1, 1)), (4, 3, 2, (0, 1)), (5, 3, 2, (1, 1)), (224, 3, 2, (0, 1)),
     (4, 2, 1, (0, 1)), (6, 1, 2, (0, 0))],
)  # fmt: skip
def test_same_padding_by_hand(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


def test_same_convolution_by_hand():
    # a sum over 3 × 3 windows; on a side of 4 with stride 2 the only padding is after the end, so
    # that the windows start at 0 and 2: rows 0-2 and 2-3
    image = torch.arange(16.0).view(1, 1, 4, 4)
    summed = Conv(torch.ones(3, 3, 1, 1), stride=2)(image)
    rows = [image[0, 0, :3, :3].sum(), image[0, 0, :3, 2:].sum(),
            image[0, 0, 2:, :3].sum(), image[0, 0, 2:, 2:].sum()]  # fmt: skip
    assert summed.flatten().tolist() == torch.stack(rows).tolist()


# ---- graphs -------------------------------------------------------------------------------------


def tiny_graph() -> tuple[dict, dict[str, torch.Tensor]]:
    """x → 1 × 1 convolution (×2) → ×3 → +1 → relu → min 6 → max 0 → mean over the picture."""

    def text(value: str) -> dict:
        return {"s": base64.b64encode(value.encode()).decode()}

    conv = {"strides": {"list": {"i": ["1", "1", "1", "1"]}}, "padding": text("VALID")}
    rows = [
        ("x", "Placeholder", [], {}),
        ("conv", "Conv2D", ["x", "k"], conv),
        ("scaled", "Mul", ["conv", "three"], {}),
        ("shifted", "Add", ["scaled", "one"], {}),
        ("relu", "Relu", ["shifted"], {}),
        ("least", "Minimum", ["relu", "six"], {}),
        ("most", "Maximum", ["least", "zero"], {}),
        ("mean", "Mean", ["most", "axes"], {}),
        ("odd", "Erf", ["mean"], {}),
    ]
    constants = {
        "k": torch.full((1, 1, 1, 1), 2.0),
        "three": torch.tensor([3.0]),
        "one": torch.tensor([1.0]),
        "six": torch.tensor(6.0),
        "zero": torch.tensor(0.0),
        "axes": torch.tensor([1, 2], dtype=torch.int32),
    }
    nodes = [{"name": name, "op": "Const"} for name in constants]
    nodes += [{"name": n, "op": op, "input": i, "attr": a} for n, op, i, a in rows]
    return {"modelTopology": {"node": nodes}}, constants


def test_chain_folds_into_one_convolution():
    model, constants = tiny_graph()
    net = GraphNet(model, constants, ["mean"])
    assert [type(step).__name__ for step in net.steps] == ["Conv", "SpatialMean"]
    image = torch.tensor([[-1.0, 0.0], [0.5, 9.0]]).view(1, 1, 2, 2)
    (mean,) = net(image)
    assert mean.item() == (0 + 1 + 4 + 6) / 4  # relu6(6x + 1)


def test_a_value_that_is_also_asked_for_is_not_folded_away():
    # with the product an output, the sum has no convolution of its own to fold into: refused
    # rather than added to the product as well
    model, constants = tiny_graph()
    with pytest.raises(AssetError, match="'shifted': operation Add"):
        GraphNet(model, constants, ["scaled", "mean"])


def test_a_graph_cut_in_two_is_the_graph():
    model, constants = tiny_graph()
    image = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    first, rest = (
        GraphNet(model, constants, ["most"]),
        GraphNet(model, constants, ["mean"], source="most"),
    )
    assert [len(part.steps) for part in (first, rest)] == [1, 1]
    assert torch.equal(rest(*first(image))[0], GraphNet(model, constants, ["mean"])(image)[0])


def test_graph_errors_name_the_node():
    model, constants = tiny_graph()
    with pytest.raises(UnknownNameError, match=r"'mots'.*most"):
        GraphNet(model, constants, ["mean"], source="mots")
    with pytest.raises(UnknownNameError, match=r"'maen'.*mean"):
        GraphNet(model, constants, ["maen"])
    with pytest.raises(AssetError, match="'odd': operation Erf"):
        GraphNet(model, constants, ["odd"])


# ---- parity with TensorFlow.js ------------------------------------------------------------------


def test_facemesh_matches_tensorflow_js(reference):
    with torch.no_grad():
        mesh, flag = Facemesh().net(native_input(reference, 192) / 255)
    # points are in pixels of a 192-pixel picture, flags are logits up to 25: 1e-4 of that range
    assert (mesh - reference["facemesh/mesh"]).abs().max() < 1e-4 * 192
    assert (flag.flatten() - reference["facemesh/flag"]).abs().max() < 1e-4 * 25


def test_faceres_matches_tensorflow_js(reference):
    with torch.no_grad():
        embedding, gender, age = FaceEmbedding().net(native_input(reference, 224))
    assert (embedding - reference["faceres/embedding"]).abs().max() < 1e-4
    assert (gender.flatten() - reference["faceres/gender"]).abs().max() < 1e-4
    assert (age - reference["faceres/age"]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("face_landmark_68", faceapi.DenseNet),
        ("face_expression", faceapi.DenseNet),
        ("face_recognition", faceapi.Recognition),
    ],
)
def test_face_api_matches_tensorflow_js(reference, name, build):
    net = build(faceapi.load_weights(name))
    with torch.no_grad():
        output = net(native_input(reference, net.native))
    assert (output - reference[f"{name}/output"]).abs().max() < 1e-4


def test_a_graph_frees_what_no_later_step_needs():
    model = json.loads(asset_path("human/facemesh.json").read_text())
    data = asset_path("human/facemesh.bin").read_bytes()
    net = GraphNet(model, read_weights(model["weightsManifest"], data, "facemesh"), ["Identity_2"])
    alive, most = 1, 0
    for _, _, dead in net._plan:
        alive += 1
        most = max(most, alive)
        alive -= len(dead)
    assert alive == 1 and most <= 4  # only the result is left; a handful at any time
