"""TensorFlow.js weights and graphs as torch tensors and modules, with no JavaScript at run time.

A packaged net is a list of tensors (the weights manifest), one binary file, and for graph models a
list of standard operations. `read_weights` reads the tensors, `GraphNet` turns the operations into
torch steps once, at load: batch normalisation and activations are folded into the convolutions,
and an intermediate result is freed after its last use.

    weights = read_weights(json.loads(...)["weightsManifest"], data, "faceres.bin")
    net = GraphNet(model, weights, outputs=["global_pooling/Mean", "gender_pred/BiasAdd"])
    embedding, gender = net(images)          # images (N, 3, 224, 224)

Sources: the tfjs converter's weights-manifest and graph-model formats; TensorFlow's definition of
SAME padding.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facenb.errors import AssetError, unknown
from facenb.scorers.nets.layers import (
    ChannelPad,
    Conv,
    Dense,
    Flatten,
    Prelu,
    SpatialMean,
    Sum,
)
from facenb.scorers.nets.steps import Steps

STORED = {"uint8": np.uint8, "float16": np.dtype("<f2"), "float32": np.dtype("<f4"),
          "int32": np.dtype("<i4")}  # fmt: skip


def read_weights(manifest: Sequence[dict[str, Any]], data: bytes, source: str) -> dict[str, Tensor]:
    """The tensors that a weights manifest describes, dequantised.

    Args:
        manifest: the groups of a weights manifest; each entry has name, shape, dtype and
            perhaps a quantisation. uint8: value = q·scale + min. float16: the half itself.
        data: the bytes of all the groups' files, in order.
        source: what to call `data` in an error, usually the file's name.

    Returns:
        name → tensor of the manifest's shape, float32 or int32.

    Raises:
        AssetError: a type that is not supported; fewer or more bytes than the manifest needs.
    """
    weights: dict[str, Tensor] = {}
    offset = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        quantisation = entry.get("quantization", {})
        stored = quantisation.get("dtype", entry["dtype"])
        if stored not in STORED or entry["dtype"] not in ("float32", "int32"):
            raise AssetError(
                f"{source}: tensor {entry['name']!r} is {entry['dtype']} stored as {stored}; "
                f"supported are float32 and int32 stored as {', '.join(STORED)}."
            )
        kind = np.dtype(STORED[stored])
        count = math.prod(entry["shape"])
        end = offset + count * kind.itemsize
        if end > len(data):
            raise AssetError(
                f"{source} is cut short: tensor {entry['name']!r} needs bytes {offset} to {end}, "
                f"the file has {len(data)}. Delete it from the cache and fetch it again."
            )
        values = np.frombuffer(data, kind, count, offset)
        if "scale" in quantisation:
            # tfjs multiplies in doubles and rounds once, to float32
            values = values.astype(np.float64) * quantisation["scale"] + quantisation["min"]
        # a copy: frombuffer's arrays are read-only
        values = values.astype(entry["dtype"]).reshape(entry["shape"])
        weights[entry["name"]] = torch.from_numpy(np.array(values))
        offset = end
    if offset != len(data):
        raise AssetError(
            f"{source}: the manifest describes {offset} bytes, the file has {len(data)}. "
            "Manifest and weights are not of the same model."
        )
    return weights


class GraphNet(Steps):
    """A tfjs graph model as a frozen torch module, differentiable with respect to its input.

    Args:
        model: the parsed model JSON (its `modelTopology` is read).
        weights: the constants by node name, from `read_weights`.
        outputs: names of the nodes to compute. What they do not need is left out.
        source: the node whose result `forward` is given, in place of the graph's own input.

    forward: images (N, 3, H, W) → a tuple of one tensor per output; feature maps are
    (N, C, H, W) where tfjs has (N, H, W, C).

    Raises:
        UnknownNameError: an output or the source is no node of the graph.
        AssetError: an operation, or a use of one, that the nets of this package do not have.
    """

    def __init__(
        self,
        model: dict[str, Any],
        weights: Mapping[str, Tensor],
        outputs: Sequence[str],
        source: str | None = None,
    ) -> None:
        nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        for name in (*outputs, *([source] if source else [])):
            if name not in nodes:
                raise unknown("graph node", name, nodes)
        if source:
            nodes[source] = {"name": source, "op": "Placeholder"}
        order = _topological(nodes, outputs)
        uses = Counter(i for name in order for i in _inputs(nodes[name]))
        uses.update(outputs)

        # value: a step's result, called by the node that made it; a node that was folded into
        # an earlier step is another name for that step's value
        value: dict[str, str] = {}
        graph_input = ""
        steps: dict[str, tuple[nn.Module, list[str]]] = {}
        for name in order:
            node, inputs = nodes[name], _inputs(nodes[name])
            if node["op"] == "Const":
                continue
            constants = [weights[i] for i in inputs if i not in value]
            values = [value[i] for i in inputs if i in value]
            # the convolution just before, if this node is the only one to look at its result
            before = steps.get(values[0], (None,))[0] if values and uses[inputs[0]] == 1 else None
            value[name] = name
            if node["op"] == "Placeholder":
                graph_input = name
            elif node["op"] == "Identity" or (
                isinstance(before, Conv) and _fold(node["op"], constants, before)
            ):
                value[name] = values[0]
            elif node["op"] in ("Add", "AddV2") and len(values) == 2:
                # in place on the second term, where that is a fresh linear result
                second = steps[values[1]][0] if uses[inputs[1]] == 1 else None
                fresh = isinstance(second, Conv) and second.activation is None
                steps[name] = Sum(in_place=fresh), values
            else:
                steps[name] = _step(node, constants), values

        super().__init__(steps, graph_input, [value[name] for name in outputs])


def _inputs(node: dict[str, Any]) -> list[str]:
    return [name.split(":")[0] for name in node.get("input", [])]


def _topological(nodes: Mapping[str, dict[str, Any]], outputs: Sequence[str]) -> list[str]:
    """The nodes that the outputs need, each after its inputs."""
    order: dict[str, None] = {}
    stack = [(name, False) for name in reversed(outputs)]
    while stack:
        name, ready = stack.pop()
        if ready:
            order.setdefault(name)
        elif name not in order:
            stack.append((name, True))
            stack += [(i, False) for i in reversed(_inputs(nodes[name]))]
    return list(order)


def _fold(op: str, constants: Sequence[Tensor], conv: Conv) -> bool:
    """Take the node into the convolution before it; False if that cannot be done."""
    linear, rectified = conv.activation is None, conv.activation in ("relu", "relu6")
    if op == "Mul" and constants and linear:
        conv.scale_(constants[0])
    elif op in ("Add", "AddV2") and constants and linear:
        conv.shift_(constants[0])
    elif op == "Relu" and linear:
        conv.activation = "relu"
    elif op == "Minimum" and rectified and constants and constants[0].item() == 6:
        conv.activation = "relu6"
    elif op == "Maximum" and rectified and constants and constants[0].item() == 0:
        pass  # already non-negative
    else:
        return False
    return True


def _step(node: dict[str, Any], constants: Sequence[Tensor]) -> nn.Module:
    """The torch step for one node; `constants` are its constant inputs, in order."""
    op, attr = node["op"], node.get("attr", {})
    padding = _text(attr["padding"]["s"]).lower() if "padding" in attr else "valid"
    stride = int(attr["strides"]["list"]["i"][1]) if "strides" in attr else 1
    fused = [_text(s) for s in attr.get("fused_ops", {}).get("list", {}).get("s", [])]
    if op in ("Conv2D", "DepthwiseConv2dNative") and not fused:
        depthwise = op == "DepthwiseConv2dNative"
        return Conv(constants[0], stride=stride, padding=padding, depthwise=depthwise)
    if op == "_FusedConv2D" and fused == ["BiasAdd"]:
        return Conv(*constants, stride=stride, padding=padding)
    if op == "_FusedConv2D" and fused == ["BiasAdd", "Prelu"]:
        kernel, bias, slope = constants
        return Conv(kernel, bias, stride=stride, padding=padding, activation="prelu", slope=slope)
    if op == "_FusedMatMul" and fused in (["BiasAdd"], ["BiasAdd", "Relu"]):
        return Dense(*constants, relu=fused[-1] == "Relu")
    if op == "Prelu":
        return Prelu(constants[0])
    if op == "MaxPool" and padding == "valid":
        return nn.MaxPool2d(int(attr["ksize"]["list"]["i"][1]), stride)
    if op == "Pad" and not constants[0][:3].any():
        return ChannelPad(*constants[0][3].tolist())
    if op == "Mean" and constants[0].tolist() == [1, 2]:
        return SpatialMean()
    if op == "Reshape" and len(constants[0]) == 2:
        return Flatten()
    if op in ("Sigmoid", "Softmax"):
        return nn.Sigmoid() if op == "Sigmoid" else nn.Softmax(-1)
    raise AssetError(
        f"graph node {node['name']!r}: operation {op} {fused or ''} with {padding!r} padding and "
        "these constants is not one that the packaged nets use; GraphNet does not support it."
    )


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
