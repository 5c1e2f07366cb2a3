"""Penalties on a generator's second derivatives, and their finite differences.

`hessian` has the Hessian penalty and OroJaR with their exact forms, `finite_differences` runs
a function on many points around each sample, `kernels` the variance of second differences as
one GPU kernel.
"""

from facenb.penalties.finite_differences import rademacher
from facenb.penalties.hessian import (
    REDUCTIONS,
    exact_hessian_penalty,
    exact_orojar,
    hessian_penalty,
    hessian_penalty_limit,
    orojar,
)
from facenb.penalties.kernels import MOST_DRAWS, use_triton, variance_over_draws

__all__ = [
    "MOST_DRAWS",
    "REDUCTIONS",
    "exact_hessian_penalty",
    "exact_orojar",
    "hessian_penalty",
    "hessian_penalty_limit",
    "orojar",
    "rademacher",
    "use_triton",
    "variance_over_draws",
]
