"""TensorFlow Lite graphs as torch modules, for any batch.

The graph and its constants come from facenb.assets.converted (the format is told in
facenb/assets/converters/tflite.py). Activations are folded into the convolutions and sums before
them, sums are made in place, and an intermediate result is freed after its last use.

    net = LiteNet(*load_net("face-mesh"), outputs=["Identity", "Identity_1"])
    mesh, flag = net(images)        # images (N, 3, 256, 256)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from facenb.errors import AssetError, unknown
from facenb.scorers.nets import layers
from facenb.scorers.nets.steps import Steps

_ACTIVATIONS = {"RELU": "relu", "HARD_SWISH": "hardswish", "PRELU": "prelu"}


class LiteNet(Steps):
    """A frozen net, differentiable with respect to its input.

    Args:
        tensors: the graph's constants by name.
        graph: the graph as JSON has it.
        outputs: names of the values to compute. What they do not need is left out.

    forward: images (N, 3, H, W) of the size that the graph is for → a tuple of one tensor per
    output; feature maps are (N, C, H, W) where TensorFlow has (N, H, W, C).

    Raises:
        UnknownNameError: an output is no value of the graph.
        AssetError: an operation that is not supported, or a use of one.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], graph: Mapping[str, Any], outputs: Sequence[str]
    ) -> None:
        made = {step["output"]: step for step in graph["steps"]}
        for name in outputs:
            if name not in made:
                raise unknown("graph value", name, made)
        needed = set(outputs)
        for name in reversed(made):
            needed.update(made[name]["inputs"] if name in needed else ())
        order = [name for name in made if name in needed]
        uses = Counter(i for name in order for i in made[name]["inputs"])
        uses.update(outputs)

        # value: a step's result; a step that was folded into an earlier one is another name for it
        value = {name: name for name in graph["inputs"]}
        steps: dict[str, tuple[nn.Module, list[str]]] = {}
        for name in order:
            step = made[name]
            constants = [tensors[i] for i in step["inputs"] if i not in value]
            values = [value[i] for i in step["inputs"] if i in value]
            alone = [uses[i] == 1 and value[i] in steps for i in step["inputs"] if i in value]
            value[name] = name
            before = steps[values[0]][0] if alone[0] else None
            if step["op"] in _ACTIVATIONS and _linear(before):
                before.activation = _ACTIVATIONS[step["op"]]
                before.slope = constants[0].flatten().clone() if constants else None
                value[name] = values[0]
            elif step["op"] == "ADD":
                fresh = [ok and _linear(steps[v][0]) for ok, v in zip(alone, values, strict=True)]
                order_of_terms = values[::-1] if fresh[0] and not fresh[1] else values
                steps[name] = layers.Sum(in_place=any(fresh)), order_of_terms
            elif step["op"] == "CONCATENATION" and any(made[i]["op"] != "RESHAPE" for i in values):
                raise AssetError(f"graph value {name!r}: only rearranged values can be joined.")
            else:
                steps[name] = _step(step, constants), values
        super().__init__(steps, graph["inputs"][0], [value[name] for name in outputs])


def _linear(step: nn.Module | None) -> bool:
    """Whether it is a convolution or a sum, with no activation yet."""
    return isinstance(step, layers.Conv | layers.Sum) and step.activation is None


def _step(step: Mapping[str, Any], constants: Sequence[Tensor]) -> nn.Module:
    match step["op"]:
        case "CONV_2D":
            kernel, bias = constants
            kernel = kernel.permute(1, 2, 3, 0)
            return layers.Conv(kernel, bias, stride=step["stride"], padding=step["padding"])
        case "DEPTHWISE_CONV_2D":
            kernel, bias = constants
            kernel = kernel.permute(1, 2, 3, 0)
            options = {"stride": step["stride"], "padding": step["padding"]}
            return layers.Conv(kernel, bias, depthwise=True, **options)
        case "TRANSPOSE_CONV":
            return layers.TransposedConv(*constants)
        case "PRELU":
            return layers.Prelu(constants[0])
        case "RELU":
            return nn.ReLU()
        case "HARD_SWISH":
            return nn.Hardswish()
        case "LOGISTIC":
            return nn.Sigmoid()
        case "MUL":
            return layers.Product()
        case "MAX_POOL_2D":
            return nn.MaxPool2d(step["stride"])
        case "AVERAGE_POOL_2D":
            return nn.AvgPool2d(step["stride"])
        case "PAD":
            return layers.ChannelPad(*step["channels"])
        case "RESIZE_BILINEAR":
            return layers.Enlarged(step["size"])
        case "RESHAPE":
            return layers.Rearranged(step["shape"])
        case "CONCATENATION" if step["axis"] == 1:
            return layers.Joined()
    raise AssetError(
        f"graph value {step['output']!r}: operation {step['op']} is not one that the packaged "
        "nets use; LiteNet does not support it."
    )
