"""Penalties on how a function's inputs act together: the Hessian penalty and OroJaR.

The Hessian penalty (Peebles et al., 2020; Niu et al., 2023, Eq. 2–7) is zero when no input changes
what another does to any output; OroJaR (Wei et al., 2021) is zero when the inputs change the output
in orthogonal ways. Of the whole Hessian or Jacobian they take the off-diagonal part:

    Hessian penalty   2 Σ_{i≠j} H_ij²           for each output element
    OroJaR            2 Σ_{i≠j} (JᵀJ)_ij²       for each sample

Both are variances over Rademacher directions v (each entry ±1), of vᵀHv and of ‖Jv‖², which finite
differences estimate without bias from k ≥ 2 draws, but for a term that vanishes with ε.

The function f maps a batch of points (B, …), for any B and row by row, to a tensor (B, …) or to a
list or tuple of them (activations of several layers; their penalties add up, as in the published
latent). What is perturbed is what f is given, so f also chooses the space. For directions A (d, m):

    def f(coefficients, z):  # (B, m), (B, d)
        return generator.synthesize(Latents(z + coefficients @ A.T, "z"))

    hessian_penalty(f, coefficients, context=(z,))

Niu et al. (Eq. 7) take coefficients = strength · e_k, ε = 0.1 (their γ), and move all coefficients.

Everything is differentiable with respect to x, the context, and the tensors inside f. Where the
parameters of a network inside f need no gradient, freeze them: theirs is a third of the work. On
CUDA, convolutions round to ten bits (TF32) unless torch.backends.cudnn.allow_tf32 is False, and
second differences divide that rounding by ε².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.func import jvp

from facenb.errors import unknown
from facenb.penalties.finite_differences import (
    Outputs,
    check_arguments,
    check_values,
    evaluate,
    listed,
    rademacher,
)
from facenb.penalties.kernels import over_outputs, variance, variance_over_draws

REDUCTIONS = ("max", "mean")


def hessian_penalty(
    f: Callable[..., Outputs],
    x: Tensor,
    k: int = 2,
    epsilon: float = 0.1,
    reduction: str = "max",
    *,
    context: Sequence[Tensor] = (),
    seed: int | torch.Generator | None = None,
    chunk: int | None = None,
    recompute: bool = False,
    check_deterministic: bool = True,
) -> Tensor:
    """The Hessian penalty of f at x by central differences, a scalar.

    For each output element, the unbiased variance over k draws of the second difference along v
    (Niu Eq. 5 and 6); then the largest ("max", Eq. 4) or the mean over the elements of a sample;
    then the mean over the batch. The published code takes its maximum over the batch as well, which
    for a batch of one is the same; a mean is the same for any.

    The second difference is [f(x + εv) − 2 f(x) + f(x − εv)] / ε², and its middle does not depend
    on v. A variance does not see a term that all draws share: with s_j = f(x + εv_j) + f(x − εv_j),

        Σ_j [(s_j − 2f) − mean(s − 2f)]² = Σ_j [s_j − 2f − mean(s) + 2f]² = Σ_j [s_j − mean(s)]².

    So f(x) is never evaluated: 2k points, not 2k + 1, for the same value and the same gradient. A
    sum of functions of one input each has s_j = Σ_i g_i(x_i + ε) + g_i(x_i − ε) whatever the signs
    in v_j: its penalty is 0 for every draw and every ε, beyond rounding.

    The bias of a smooth f is of order ε². A kink (ReLU) within reach of the step counts with the
    change of its slope over ε, while the exact Hessian passes it by: on a ReLU network the estimate
    grows as ε shrinks, and ε says at what distance the inputs are to act independently.

    Args:
        f: see the module; deterministic, each row on its own.
        x: (N, …) floating.
        k: draws. ε: the distance moved in each coordinate, in units of x.
        context: tensors with N rows that f takes after the points, such as latents or labels; the
            rows of each point's sample come with it.
        seed: an int gives the same directions in each call; training passes a torch.Generator,
            which moves on (and whose state a checkpoint keeps); None draws from torch's own.
        chunk: points that go through f at a time; all 2kN by default. Enough to bound memory where
            no gradient is wanted, and on a CPU faster when a piece fits the cache.
        recompute: drop a piece's activations and compute them again in the backward pass: memory
            as of one piece, for one more forward pass (and, once, the 150 MiB of torch's own
            machinery for that).
        check_deterministic: run f once more, without gradients, on one point alone. On by default:
            it costs one row of 2kN, and what it finds (dropout or batch normalisation in training
            mode, fresh noise) enters the penalty multiplied by 1/ε⁴ and looks like a signal.

    Raises:
        TypeError, ValueError, UnknownNameError: an argument out of its range; f that is not
            deterministic or returns another number of rows; NaN or infinity in x or from f.
    """
    check_arguments(x, k, epsilon, chunk)
    _check_reduction(reduction)
    steps = epsilon * rademacher(k, x, seed)
    points = torch.cat([x + steps, x - steps])  # (2k, N, …)
    outputs = evaluate(f, points, context, chunk, recompute, check_deterministic)
    variances = [
        variance_over_draws(values.reshape(2, k, len(x), -1), reduction) for values in outputs
    ]
    return _checked(_total(variances) / epsilon**4, outputs, "hessian_penalty")


def orojar(
    f: Callable[..., Outputs],
    x: Tensor,
    k: int = 2,
    epsilon: float = 0.1,
    *,
    context: Sequence[Tensor] = (),
    seed: int | torch.Generator | None = None,
    chunk: int | None = None,
    recompute: bool = False,
    check_deterministic: bool = True,
) -> Tensor:
    """Orthogonal Jacobian regularisation of f at x by forward differences, a scalar.

    The unbiased variance over k draws of ‖[f(x + εv) − f(x)] / ε‖², then the mean over the batch
    (Wei et al., 2021, and the published code). The norm runs over all elements of an activation, so
    that there is one number a sample and nothing to reduce within it. f(x) does not cancel in a
    squared length: k + 1 points. Arguments and errors as for `hessian_penalty`.
    """
    check_arguments(x, k, epsilon, chunk)
    points = torch.cat([x[None], x + epsilon * rademacher(k, x, seed)])  # (1 + k, N, …)
    outputs = evaluate(f, points, context, chunk, recompute, check_deterministic)
    variances = []
    for values in outputs:
        rows = _widened(values).reshape(k + 1, len(x), -1)
        variances.append((rows[1:] - rows[:1]).square().sum(dim=2).var(dim=0))
    return _checked(_total(variances) / epsilon**4, outputs, "orojar")


def hessian_penalty_limit(
    f: Callable[..., Outputs],
    x: Tensor,
    k: int = 2,
    reduction: str = "max",
    *,
    context: Sequence[Tensor] = (),
    seed: int | torch.Generator | None = None,
) -> Tensor:
    """What `hessian_penalty` with the same seed tends to as ε → 0: vᵀHv exactly, by jvp of jvp."""
    check_arguments(x, k, 1.0, None)
    _check_reduction(reduction)
    draws = [_second_derivative(f, x, v, v, context) for v in rademacher(k, x, seed)]
    outputs = [torch.stack(values) for values in zip(*draws, strict=True)]  # (k, N, …) each
    variances = [
        over_outputs(variance(_widened(values)).reshape(len(x), -1), reduction)
        for values in outputs
    ]
    return _checked(_total(variances), outputs, "hessian_penalty_limit")


def exact_hessian_penalty(
    f: Callable[..., Outputs],
    x: Tensor,
    reduction: str = "max",
    *,
    context: Sequence[Tensor] = (),
) -> Tensor:
    """2 Σ_{i≠j} H_ij² of each output element, reduced as in `hessian_penalty`.

    Forward-mode derivatives, one pair of the d inputs at a time: d (d − 1) / 2 evaluations of
    about four times the cost of f, and the memory of one. For small d.
    """
    check_arguments(x, 2, 1.0, None)
    _check_reduction(reduction)
    squares: list[Tensor] = []
    for one, other in combinations(_basis(x), 2):
        entries = [_widened(h).square() for h in _second_derivative(f, x, one, other, context)]
        squares = [sum(pair) for pair in zip(squares, entries, strict=True)] if squares else entries
    if not squares:  # a single input has nothing beside the diagonal
        squares = [torch.zeros_like(y) for y in listed(f(x, *context), len(x))]
    # each pair stands for H_ij and H_ji, and the formula has a factor of 2
    penalties = [over_outputs(4 * total.reshape(len(x), -1), reduction) for total in squares]
    return _checked(_total(penalties), squares, "exact_hessian_penalty")


def exact_orojar(f: Callable[..., Outputs], x: Tensor, *, context: Sequence[Tensor] = ()) -> Tensor:
    """2 Σ_{i≠j} (JᵀJ)_ij² of each sample, and the mean over the batch; d forward derivatives."""
    check_arguments(x, 2, 1.0, None)
    columns = [_derivative(f, x, direction, context) for direction in _basis(x)]
    penalties = []
    outputs = [torch.stack(values) for values in zip(*columns, strict=True)]  # (d, N, …) each
    for values in outputs:
        rows = _widened(values).reshape(len(columns), len(x), -1)
        products = torch.einsum("inm,jnm->nij", rows, rows)
        diagonal = products.diagonal(dim1=1, dim2=2).square().sum(dim=1)
        penalties.append(2 * (products.square().sum(dim=(1, 2)) - diagonal))
    return _checked(_total(penalties), outputs, "exact_orojar")


def _derivative(
    f: Callable[..., Outputs], x: Tensor, direction: Tensor, context: Sequence[Tensor]
) -> list[Tensor]:
    """J·direction for each activation of f."""

    def listed_f(point: Tensor) -> list[Tensor]:
        return listed(f(point, *context), len(x))

    # an expanded x shares memory between rows, which forward mode cannot write tangents beside
    return jvp(listed_f, (x.contiguous(),), (direction,))[1]


def _second_derivative(
    f: Callable[..., Outputs], x: Tensor, one: Tensor, other: Tensor, context: Sequence[Tensor]
) -> list[Tensor]:
    """oneᵀ·H·other for each output element of each activation of f."""

    def slope(point: Tensor) -> list[Tensor]:
        return _derivative(f, point, one, context)

    return jvp(slope, (x.contiguous(),), (other,))[1]


def _basis(x: Tensor) -> Tensor:
    """(d, N, …): each of the d coordinates of a row, as a direction for every row."""
    shape, d = x.shape[1:], x[0].numel()
    return (
        torch.eye(d, dtype=x.dtype, device=x.device)
        .view(d, 1, *shape)
        .repeat(1, len(x), *[1] * len(shape))
    )


def _widened(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _total(penalties: Sequence[Tensor]) -> Tensor:
    """Per-sample penalties (N,) of each activation → mean over the batch, sum over activations."""
    return torch.stack([values.mean() for values in penalties]).sum()


def _checked(penalty: Tensor, values: Sequence[Tensor], name: str) -> Tensor:
    """The penalty, unless it is NaN or infinite: then an error that says where that came from."""
    if not torch.isfinite(penalty.detach()):
        check_values(values, f"{name}: values of f")
        raise ValueError(
            f"{name}: expected a finite penalty, given {float(penalty.detach())} from finite "
            f"values of f, too large for {penalty.dtype}. Scale f down, or use float64."
        )
    return penalty


def _check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
