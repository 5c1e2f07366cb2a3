"""TensorFlow Lite files: read exactly, or refused with a reason; graphs run as they say."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from facenb.assets import asset_path
from facenb.assets.converters import tflite
from facenb.assets.converters.flatbuffers import Table
from facenb.errors import AssetError, UnknownNameError
from facenb.scorers.nets.layers import Conv, Sum
from facenb.scorers.nets.litenet import LiteNet

# ---- a writer of small FlatBuffers, front to back -----------------------------------------------


@dataclass
class Node:
    """A table: by field number a Node, a list of Nodes, a numpy vector, text, or (kind, number)."""

    fields: dict[int, object] = field(default_factory=dict)


def flatbuffer(root: Node, identifier: bytes = b"TFL3") -> bytes:
    out = bytearray(8)
    out[4:8] = identifier

    def reserve(size: int) -> int:
        out.extend(bytes(-len(out) % 8))
        out.extend(bytes(size))
        return len(out) - size

    def write(value: object) -> int:
        if isinstance(value, Node):
            return table(value.fields)
        items = value.encode() if isinstance(value, str) else value
        if isinstance(items, list):
            at = reserve(4 + 4 * len(items))
            struct.pack_into("<I", out, at, len(items))
            for i, item in enumerate(items):
                place = at + 4 + 4 * i
                struct.pack_into("<I", out, place, write(item) - place)
            return at
        content = items if isinstance(items, bytes) else items.tobytes()
        count = len(content) if isinstance(items, bytes) else items.size
        at = reserve(4 + len(content))
        struct.pack_into("<I", out, at, count)
        out[at + 4 : at + 4 + len(content)] = content
        return at

    def table(fields: dict[int, object]) -> int:
        count = max(fields, default=-1) + 1
        vtable = reserve(4 + 2 * count)
        at = reserve(4 + 8 * count)
        struct.pack_into("<HH", out, vtable, 4 + 2 * count, 4 + 8 * count)
        struct.pack_into("<i", out, at, at - vtable)
        for number, value in fields.items():
            place = at + 4 + 8 * number
            struct.pack_into("<H", out, vtable + 4 + 2 * number, place - at)
            if isinstance(value, tuple):
                struct.pack_into("<" + value[0], out, place, value[1])
            else:
                struct.pack_into("<I", out, place, write(value) - place)
        return at

    struct.pack_into("<I", out, 0, write(root))
    return bytes(out)


def vector(*numbers: int) -> np.ndarray:
    return np.array(numbers, "<i4")


CONV, RELU, DEQUANTIZE, ADD, RESHAPE = 3, 19, 6, 0, 22
CONV_OPTIONS = {0: ("b", 1), 1: ("i", 1), 2: ("i", 1)}  # VALID, strides 1 and 1


def model(options: dict[int, object] | None = None, code: int = RELU) -> Node:
    """x (1, 2, 2, 1) → convolution by a kernel of 2 and 3, kept as halves, plus .5, −1 → `code`."""
    kernel, bias = np.array([2, 3], "<f2"), np.array([0.5, -1], "<f4")
    shapes = {"x": (1, 2, 2, 1), "half": (2, 1, 1, 1), "kernel": (2, 1, 1, 1), "bias": (2,),
              "conv": (1, 2, 2, 2), "y": (1, 2, 2, 2)}  # fmt: skip
    buffers = {"half": 1, "bias": 2}
    tensors = [
        Node({0: vector(*shape), 1: ("b", name == "half"), 2: ("I", buffers.get(name, 0)), 3: name})
        for name, shape in shapes.items()
    ]
    conv = {**CONV_OPTIONS, **(options or {})}
    operators = [
        Node({0: ("I", 0), 1: vector(1), 2: vector(2)}),
        Node({0: ("I", 1), 1: vector(0, 2, 3), 2: vector(4), 3: ("B", 1), 4: Node(conv)}),
        Node({0: ("I", 2), 1: vector(4), 2: vector(5)}),
    ]
    codes = [Node({0: ("b", min(c, 127)), 3: ("i", c)}) for c in (DEQUANTIZE, CONV, code)]
    graph = Node({0: tensors, 1: vector(0), 2: vector(5), 3: operators})
    data = [Node(), Node({0: kernel.view("u1")}), Node({0: bias.view("u1")})]
    return Node({0: ("I", 3), 1: codes, 2: [graph], 4: data})


def graph_of(root: Node) -> Node:
    return root.fields[2][0]


# ---- files --------------------------------------------------------------------------------------


def test_a_small_model_by_hand():
    tensors, text = tflite.convert(flatbuffer(model()), "small")
    graph = json.loads(text)
    # the halves stand for what only widens them
    assert {name: t.flatten().tolist() for name, t in tensors.items()} == {
        "half": [2, 3],
        "bias": [0.5, -1],
    }
    assert tensors["half"].dtype == torch.float32
    assert graph["inputs"] == ["x"] and graph["outputs"] == ["y"]
    assert graph["steps"] == [
        {"op": "CONV_2D", "inputs": ["x", "half", "bias"], "output": "conv",
         "padding": "valid", "stride": 1},
        {"op": "RELU", "inputs": ["conv"], "output": "y"},
    ]  # fmt: skip
    net = LiteNet(tensors, graph, ["y"])
    assert [type(step) for step in net.steps] == [Conv]
    (y,) = net(torch.tensor([[[[1.0, -1.0], [0.0, 2.0]]]]))
    assert y.tolist() == [[[[2.5, 0], [0.5, 4.5]], [[2, 0], [0, 5]]]]


def test_numbers_text_and_vectors_by_hand():
    data = flatbuffer(Node({0: ("i", -5), 2: "Grüße", 3: vector(1, 2, 3), 4: [Node(), Node()]}))
    table = Table.root(data, "x", b"TFL3")
    assert table.number(0, "i") == -5 and table.number(1, "i", 7) == 7 == table.number(9, "b", 7)
    assert table.text(2) == "Grüße" and table.text(8) == ""
    assert table.array(3, "<i4").tolist() == [1, 2, 3] and table.array(8, "<i4").size == 0
    assert len(table.tables(4)) == 2 and table.tables(8) == [] and table.table(8) is None


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL2 and so on"])
def test_other_files_are_refused(content):
    with pytest.raises(AssetError, match=r"x: expected a file marked b'TFL3', given"):
        tflite.convert(content, "x")


def test_an_offset_outside_of_the_file_is_refused():
    data = bytearray(flatbuffer(model()))
    struct.pack_into("<I", data, 0, 1_000_000)
    with pytest.raises(AssetError, match="x is damaged: it points to bytes 1,000,000 to 1,000,004"):
        tflite.convert(bytes(data), "x")


def refused(root: Node, reason: str) -> None:
    with pytest.raises(AssetError, match=reason):
        tflite.convert(flatbuffer(root), "small")


def test_unknown_operations_and_options_are_refused():
    refused(model(code=105), "operation 105, which makes 'y', is unknown")
    refused(model({3: ("b", 1)}), "CONV_2D for 'conv' is unsupported: an activation of its own")
    refused(model({4: ("i", 2)}), r"CONV_2D for 'conv' is unsupported: dilations \{1, 2\}")
    refused(model({2: ("i", 2)}), "unsupported: strides 2 and 1")
    refused(model({0: ("b", 9)}), "unsupported: padding 9")


def test_what_does_not_fit_together_is_refused():
    root = model()
    root.fields[0] = ("I", 4)
    refused(root, "expected one graph in version 3 of the format, given 1 in version 4")
    root = model()
    root.fields[4][1] = Node({0: np.zeros(3, "u1")})
    refused(root, r"constant 'half' of shape \[2, 1, 1, 1\] and 2 bytes an element has 3 bytes")
    root = model()
    root.fields[4] = root.fields[4][:2]
    refused(root, "buffer 2, but there are 2")
    root = model()
    graph_of(root).fields[0][1].fields[1] = ("b", 9)
    refused(root, "constant 'half' has type 9, which is unsupported")
    root = model()
    graph_of(root).fields[0][1].fields[3] = "x"
    refused(root, "two tensors have the same name")
    root = model()
    graph_of(root).fields[3].reverse()
    refused(root, "lacks inputs, or comes before them")
    root = model()
    graph_of(root).fields[3][2].fields[1] = vector(-3)
    refused(root, r"tensors \[-3\], but there are 6")
    root = model()
    graph_of(root).fields[2] = vector(5, 4, 2, 0, 7)
    refused(root, "tensors .* but there are 6")


@pytest.fixture(scope="module")
def detector() -> bytes:
    path = asset_path("face-landmarker/face_landmarker_v2.task")
    with zipfile.ZipFile(path) as archive:
        return archive.read("face_detector.tflite")


def test_a_file_cut_short_is_refused_wherever_it_ends(detector):
    for size in (*range(12), *range(12, len(detector), len(detector) // 60), len(detector) - 200):
        with pytest.raises(AssetError):
            tflite.convert(detector[:size], "x")


def test_a_damaged_file_is_refused_or_read(detector):
    # one byte, mostly among the tables at the file's end: never another kind of error
    dice = random.Random(0)
    refusals = 0
    for i in range(300):
        data = bytearray(detector)
        data[dice.randrange(8 if i % 5 == 0 else len(data) - 25_000, len(data))] ^= 1 << i % 8
        try:
            tflite.convert(bytes(data), "x")
        except AssetError:
            refusals += 1
    assert 30 < refusals < 300


def test_a_task_without_the_model_is_refused(tmp_path):
    path = tmp_path / "x.task"
    path.write_bytes(b"no zip")
    with pytest.raises(AssetError, match=r"expected a zip with face_detector\.tflite"):
        tflite.face_detector([path])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.tflite", b"")
    with pytest.raises(AssetError, match=r"expected a zip with face_landmarks_detector\.tflite"):
        tflite.face_mesh([path])


# ---- graphs -------------------------------------------------------------------------------------


def step(op: str, inputs: list[str], output: str, **options: object) -> dict[str, object]:
    return {"op": op, "inputs": inputs, "output": output, **options}


def conv(value: str, output: str) -> dict[str, object]:
    return step("CONV_2D", [value, "k", "b"], output, padding="same", stride=1)


CONSTANTS = {
    "k": torch.full((1, 1, 1, 1), 2.0),
    "b": torch.tensor([1.0]),
    "slope": torch.tensor([[[0.5]]]),
}


def graph(*steps: dict[str, object]) -> dict[str, object]:
    return {"inputs": ["x"], "outputs": [steps[-1]["output"]], "steps": list(steps)}


IMAGE = torch.tensor([[[[-2.0, 3.0]]]])


def test_sums_and_activations_are_folded():
    net = LiteNet(
        CONSTANTS,
        graph(
            conv("x", "a"),
            step("PRELU", ["a", "slope"], "p"),
            conv("p", "c"),
            step("ADD", ["c", "p"], "s"),
            step("RELU", ["s"], "y"),
        ),
        ["y"],
    )
    assert [type(step) for step in net.steps] == [Conv, Conv, Sum]
    assert net.steps[2].in_place and net.steps[2].activation == "relu"
    # 2x + 1 → −3, 7 → prelu −1.5, 7 → 2p + 1 = −2, 15 → plus p = −3.5, 22 → relu
    assert net(IMAGE)[0].tolist() == [[[[0.0, 22.0]]]]


def test_a_value_with_two_readers_is_neither_folded_nor_overwritten():
    steps = [conv("x", "a"), step("RELU", ["a"], "r"), step("ADD", ["a", "r"], "y")]
    net = LiteNet(CONSTANTS, graph(*steps), ["y", "a"])
    y, a = net(IMAGE)
    assert y.tolist() == [[[[-3.0, 14.0]]]] and a.tolist() == [[[[-3.0, 7.0]]]]


def test_the_input_is_not_overwritten_and_may_be_added():
    image = IMAGE.clone()
    (y,) = LiteNet(CONSTANTS, graph(step("ADD", ["x", "x"], "y")), ["y"])(image)
    assert y.tolist() == [[[[-4.0, 6.0]]]] and torch.equal(image, IMAGE)
    (y,) = LiteNet(CONSTANTS, graph(step("RELU", ["x"], "y")), ["y"])(image)
    assert y.tolist() == [[[[0.0, 3.0]]]] and torch.equal(image, IMAGE)


def test_what_the_outputs_do_not_need_is_left_out():
    net = LiteNet(CONSTANTS, graph(conv("x", "a"), step("WHAT", ["a"], "y")), ["a"])
    assert net(IMAGE)[0].tolist() == [[[[-3.0, 7.0]]]]
    with pytest.raises(AssetError, match="graph value 'y': operation WHAT"):
        LiteNet(CONSTANTS, graph(conv("x", "a"), step("WHAT", ["a"], "y")), ["y"])
    with pytest.raises(UnknownNameError, match="unknown graph value 'z'"):
        LiteNet(CONSTANTS, graph(conv("x", "a")), ["z"])


def test_rearranged_values_are_in_the_order_of_tensorflow():
    joined = step("CONCATENATION", ["r", "r"], "y", axis=1)
    steps = [step("RESHAPE", ["x"], "r", shape=[4, 1]), joined]
    image = torch.arange(4.0).view(1, 2, 1, 2)  # channel 0: 0 1, channel 1: 2 3
    (y,) = LiteNet({}, graph(*steps), ["y"])(image)
    assert y.shape == (1, 8, 1) and y.flatten().tolist() == [0, 2, 1, 3] * 2
    with pytest.raises(AssetError, match="only rearranged values can be joined"):
        steps = [conv("x", "a"), step("CONCATENATION", ["a", "a"], "y", axis=1)]
        LiteNet(CONSTANTS, graph(*steps), ["y"])


def test_a_transposed_convolution_makes_patches():
    kernel = torch.arange(4.0).view(1, 2, 2, 1)
    constants = {"k": kernel, "b": torch.tensor([10.0])}
    net = LiteNet(constants, graph(step("TRANSPOSE_CONV", ["x", "k", "b"], "y", stride=2)), ["y"])
    assert net(torch.tensor([[[[1.0, 2.0]]]]))[0].tolist() == [
        [[[10, 11, 10, 12], [12, 13, 14, 16]]]
    ]


def test_padding_by_one_more_at_the_end_is_tensorflow_s():
    # SAME, a kernel of 5 and stride 2 on a side of 8: one before and two after
    kernel = torch.ones(1, 5, 5, 1)
    steps = step("CONV_2D", ["x", "k", "b"], "y", padding="same", stride=2)
    net = LiteNet({"k": kernel, "b": torch.zeros(1)}, graph(steps), ["y"])
    (y,) = net(torch.arange(64.0).view(1, 1, 8, 8))
    expected = torch.nn.functional.pad(torch.arange(64.0).view(8, 8), (1, 2, 1, 2))
    expected = expected.unfold(0, 5, 2).unfold(1, 5, 2).sum((2, 3))
    assert torch.equal(y[0, 0], expected)


def test_feature_maps_are_freed():
    steps = [conv("x", "a0")]
    for i in range(6):
        steps += [conv(f"a{i}", f"c{i}"), step("ADD", [f"c{i}", f"a{i}"], f"a{i + 1}")]
    net = LiteNet(CONSTANTS, graph(*steps), ["a6"])
    alive = 1
    for _, _, dead in net._plan:
        alive += 1 - len(dead)
        assert alive <= 2
    assert alive == 1
