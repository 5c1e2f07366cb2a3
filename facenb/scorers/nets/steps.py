"""A frozen net as a list of steps; an intermediate result is freed after its last use.

Graphs of foreign formats (tfjs.py, litenet.py) are turned into steps once, at load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Steps(nn.Module):
    """Differentiable with respect to its input.

    Args:
        steps: by the name of what it makes, each step and the names of its inputs, in an order in
            which every input has been made before.
        source: the name of the net's own input.
        outputs: what to return; a name may be there twice.
    """

    def __init__(
        self,
        steps: Mapping[str, tuple[nn.Module, Sequence[str]]],
        source: str,
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(step for step, _ in steps.values())
        self._source, self._outputs = source, list(outputs)
        last = {i: name for name, (_, inputs) in steps.items() for i in inputs}
        self._plan = [
            (list(inputs), name, [i for i in set(inputs) if last[i] == name and i not in outputs])
            for name, (_, inputs) in steps.items()
        ]
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One tensor per output."""
        values = {self._source: x}
        del x  # so that the input can be freed, too, where the caller does not keep it
        for step, (inputs, name, dead) in zip(self.steps, self._plan, strict=True):
            values[name] = step(*[values[i] for i in inputs])
            for i in dead:
                del values[i]
        return tuple(values[name] for name in self._outputs)
