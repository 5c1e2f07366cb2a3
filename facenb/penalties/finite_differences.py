"""Running a function on many points around each sample: one batch or pieces, and what may go wrong.

The function takes points (B, …) for any B, each row on its own, and after them the rows of the
context that belong to the same samples. It returns a tensor (B, …), or a list or tuple of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from facenb.errors import check_finite
from facenb.seeds import seeded

Outputs = Tensor | Sequence[Tensor]


def evaluate(
    f: Callable[..., Outputs],
    points: Tensor,
    context: Sequence[Tensor] = (),
    chunk: int | None = None,
    recompute: bool = False,
    check_deterministic: bool = True,
) -> list[Tensor]:
    """Each activation of f at the points, (P·N, …), the samples in order and fastest.

    Args:
        f: see the module.
        points: (P, N, …): P points for each of N samples.
        context: tensors of N rows.
        chunk: points that go through f at a time; None for all at once.
        recompute: keep no activations of a piece for the backward pass, but compute them again.
        check_deterministic: run f on one point more, alone and without gradients, and compare.

    Raises:
        TypeError, ValueError: f returns something else than such tensors, another number of rows,
            or other values for the same point; a context of another number of rows.
    """
    flat, samples = points.flatten(0, 1), points.shape[1]
    _check_context(context, samples)
    pieces = []
    for start in range(0, len(flat), chunk or len(flat)):
        piece = flat[start : start + (chunk or len(flat))]
        rows = [c[(start + torch.arange(len(piece), device=c.device)) % samples] for c in context]
        if recompute and torch.is_grad_enabled():
            # f is deterministic: no random state to put back
            values = checkpoint(f, piece, *rows, use_reentrant=False, preserve_rng_state=False)
        else:
            values = f(piece, *rows)
        pieces.append(listed(values, len(piece)))
    parts = list(zip(*pieces, strict=True))  # of each activation
    outputs = [torch.cat(part) if len(part) > 1 else part[0] for part in parts]
    if check_deterministic:
        with torch.no_grad():
            alone = listed(f(flat[:1], *(c[:1] for c in context)), 1)
        _check_same([values[:1].detach() for values in outputs], alone)
    return outputs


def rademacher(k: int, x: Tensor, seed: int | torch.Generator | None = None) -> Tensor:
    """k directions for each row of x, (k, *x.shape), entries ±1; the same on every device."""
    if isinstance(seed, int):
        seed = seeded(seed)
    elif seed is not None and not isinstance(seed, torch.Generator):
        raise TypeError(
            f"seed: expected an int, a torch.Generator or None, given {type(seed).__name__}."
        )
    device = seed.device if seed else "cpu"
    bits = torch.randint(2, (k, *x.shape), generator=seed, device=device)
    return (2 * bits - 1).to(x)


def listed(values: Outputs, rows: int) -> list[Tensor]:
    """What f returned for `rows` points, as a list of tensors with that many rows each."""
    found = list(values) if isinstance(values, (list, tuple)) else [values]
    for value in found:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            given = getattr(value, "dtype", type(value).__name__)
            raise TypeError(
                f"f: expected a floating tensor (B, …) or a list or tuple of them, given {given}."
            )
        if value.ndim == 0 or len(value) != rows:
            raise ValueError(
                f"f: expected {rows} rows for {rows} points, given shape {tuple(value.shape)}. "
                "f must take a batch of any size, row by row; tensors that belong to the samples "
                "go in `context`."
            )
    if not found:
        raise ValueError("f: expected a tensor or a list of tensors, given an empty list.")
    return found


def check_arguments(x: Tensor, k: int, epsilon: float, chunk: int | None) -> None:
    """TypeError or ValueError unless x is (N, …), finite, and the numbers are in their ranges."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        given = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x: expected a floating torch.Tensor (N, …), given {given}.")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x: expected shape (N, …) with N ≥ 1 samples, given {tuple(x.shape)}.")
    check_finite(x, "x")
    if not isinstance(k, int) or k < 2:
        raise ValueError(f"k: expected an int ≥ 2, as a variance needs two draws; given {k}.")
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon: expected a number > 0 (0.1 in the papers), given {epsilon}.")
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk: expected an int ≥ 1 or None for one batch, given {chunk}.")


def check_values(values: Sequence[Tensor], what: str) -> None:
    """ValueError at the first NaN or infinity, naming the activation where there are several."""
    for i, value in enumerate(values):
        check_finite(value.detach(), what if len(values) == 1 else f"{what}, activation {i}")


def _check_context(context: Sequence[Tensor], samples: int) -> None:
    for i, tensor in enumerate(context):
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) != samples:
            given = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"context[{i}]: expected a tensor with {samples} rows, one for each sample of x, "
                f"given {given}."
            )


def _check_same(batched: Sequence[Tensor], alone: Sequence[Tensor]) -> None:
    """One point's values in the batch and alone: the same but for rounding."""
    for first, second in zip(batched, alone, strict=True):
        # Another batch size can take another order of summation. Noise that is worth the name is
        # larger than the square root of the resolution.
        resolution = torch.finfo(first.dtype).eps
        if first.is_cuda and torch.backends.cudnn.allow_tf32:
            resolution = max(resolution, 2**-10)
        gap, scale = (first - second).abs().max(), first.abs().max()
        if gap > scale * resolution**0.5:
            raise ValueError(
                f"f: expected the same values for the same point, given values up to "
                f"{float(scale):.3g} that differ by {float(gap):.3g} between the batch and the "
                "point alone. f must be deterministic and treat each row on its own: put networks "
                "in evaluation mode (dropout, batch normalisation), fix noise inputs, and pass "
                "what belongs to a sample in `context`."
            )
