"""The surrogate gradient field of a mapping F(z, c) ≈ z (Li et al., 2021, Eq. 6), three ways.

    dz/dt = (I − ∂F/∂z)⁻¹ ∂F/∂c · dc/dt

truncated Neumann series (§3.4), exact linear solve, and either with Jacobian-vector products by
automatic or by finite differences. The series is the inverse only where the spectral radius of
∂F/∂z is below 1, which `spectral_radius` measures: the paper's argument for it (Eq. 2) leaves out
that AdaIN divides by a standard deviation and multiplies by a learned scale.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.func import jvp, vmap

from facenb.parallel import one_thread

Mapping = Callable[[Tensor, Tensor], Tensor]
"""F: z (N, d), c (N, C) → (N, d), each row by itself."""

Order = int | Literal["exact"]
ORDER = 1  # of the published code

_FEW = 256  # codes: a second thread gains nothing on so little, and loses where it waits asleep


@torch.no_grad()
def surrogate_field(
    mapping: Mapping,
    z: Tensor,
    c: Tensor,
    change: Tensor,
    order: Order = ORDER,
    difference: float | None = None,
) -> Tensor:
    """δz (N, d) for a change δc (N, C) of the conditions at (z, c): Eq. 6.

    Args:
        order: m of Σ_{k ≤ m} (∂F/∂z)^k ∂F/∂c δc, or "exact" for the linear solve.
        difference: step h of forward differences (F(x + hv) − F(x)) / h in place of automatic
            Jacobian-vector products. 1 is what one of the public re-implementations does: it takes
            the finite change itself.

    Raises:
        ValueError: a negative order, or a difference that is not positive.
    """
    if order != "exact" and (isinstance(order, bool) or not isinstance(order, int) or order < 0):
        raise ValueError(f"order: expected an integer ≥ 0 or 'exact', given {order!r}.")
    if difference is not None and not difference > 0:
        raise ValueError(f"difference: expected a step > 0 or None, given {difference}.")
    if order == "exact":
        right = _product(lambda x: mapping(z, x), c, change, difference)
        matrix = torch.eye(z.shape[1]).to(z) - jacobian(lambda x: mapping(x, c), z)
        # solve_ex: a singular matrix gives infinities, which the search stops at, and no exception
        return torch.linalg.solve_ex(matrix, right).result
    with one_thread() if len(z) <= _FEW else nullcontext():
        total = term = _product(lambda x: mapping(z, x), c, change, difference)
        for _ in range(order):
            term = _product(lambda x: mapping(x, c), z, term, difference)
            total = total + term
    return total


@torch.no_grad()
def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂f_i/∂x_j of every row, (N, outputs, inputs), for f (N, inputs) → (N, outputs)."""
    n, inputs = x.shape
    basis = torch.eye(inputs).to(x)[:, None].expand(inputs, n, inputs)
    columns = vmap(lambda v: jvp(function, (x,), (v,))[1])(basis)
    return columns.permute(1, 2, 0)


def spectral_radius(mapping: Mapping, z: Tensor, c: Tensor) -> Tensor:
    """max |eigenvalue| of ∂F/∂z at every (z, c), (N,): the series converges where it is < 1."""
    return torch.linalg.eigvals(jacobian(lambda x: mapping(x, c), z)).abs().amax(dim=-1)


def _product(
    function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, difference: float | None
) -> Tensor:
    """J·v of every row."""
    if difference is None:
        return jvp(function, (x,), (v,))[1]
    return (function(x + difference * v) - function(x)) / difference
