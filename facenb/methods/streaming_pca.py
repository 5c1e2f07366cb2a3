"""Exact principal components in one pass over batches, with least squares back to other variables.

scikit-learn's IncrementalPCA keeps k components between batches and forgets the rest, so that its
answer is approximate and depends on the order of the rows. Here all second moments are kept: the
answer is that of one SVD of all rows, in whatever batches and order they come.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from facenb.errors import check_finite

# What the second moments may take: 23,170 dimensions as a covariance. Solving takes three times it.
MAX_BYTES = 4 * 2**30
_FLOOR = 1e-12  # a variance below this share of the first is rounding, not a component
_DENSE = 1024  # up to this size every eigenvector is computed; beyond, only those asked for


@dataclass(frozen=True)
class PrincipalComponents:
    """Mean (D,), K orthonormal components (K, D) and their variances (K,), highest first, float64.

    `total` is the variance of all D dimensions together; variances divide by n − 1. The entry of
    largest magnitude is positive in every component.
    """

    mean: Tensor
    components: Tensor
    variance: Tensor
    total: float


class StreamingPCA:
    """Principal components of rows that come in batches, and the regression of targets on them.

    Chan, Golub and LeVeque (1979): for batches of n and m rows with means a and b, the sums of
    squares about the common mean are S_a + S_b + n·m/(n + m)·(b − a)(b − a)ᵀ, in float64.

    Memory is that of the (D, D) covariance, whatever the number of rows. When fewer rows than
    dimensions will come (`n` ≤ D), the rows themselves are smaller: they are kept, and their (n, n)
    Gram matrix has the same eigenvalues.

    Args:
        n: how many rows will come, if known.
    """

    def __init__(self, n: int | None = None) -> None:
        self._expected = n
        self.n = 0

    def update(self, rows: Tensor, targets: Tensor | None = None) -> StreamingPCA:
        """Add rows (B, D), with targets (B, d) in every call or in none.

        Raises:
            ValueError: shapes that do not fit those before, NaN, or moments beyond `MAX_BYTES`.
        """
        targets = rows[:, :0] if targets is None else targets
        if not self.n:
            self._start(rows, targets)
        expected = (len(rows), *self._mean.shape), (len(rows), *self._target_mean.shape)
        given = tuple(rows.shape), tuple(targets.shape)
        if len(rows) == 0 or given != expected:
            raise ValueError(
                f"StreamingPCA: expected rows and targets of shapes (B, {self._mean.numel()}) and "
                f"(B, {self._target_mean.numel()}), given {given[0]} and {given[1]}."
            )
        rows, targets = (t.detach().to(self._mean.device) for t in (rows, targets))
        shift = (self.n * len(rows) / (self.n + len(rows))) ** 0.5
        centred, mean = self._centre(rows, self._mean, shift)
        centred_targets, target_mean = self._centre(targets, self._target_mean, shift)
        self._mean, self._target_mean = mean, target_mean
        self.n += len(rows)
        self._cross += centred_targets.T @ centred
        self._target_scatter += centred_targets.T @ centred_targets
        if self._kept is None:
            _add_upper(self._scatter, centred.T, centred)
        else:
            self._kept.append(rows.clone())
        return self

    def solve(self, k: int) -> PrincipalComponents:
        """The first `k` principal components of all rows so far.

        Raises:
            ValueError: more components than dimensions, than rows allow, or than the rank.
        """
        d = self._mean.numel() if self.n else 0
        most = max(0, min(self.n - 1, d))
        if not 1 <= k <= most:
            raise ValueError(
                f"components: expected 1 to {most} ({d} dimensions, {self.n} samples), given {k}."
            )
        if self._kept is None:
            values, vectors = _top(self._scatter, k)
            components, total = vectors.T, self._scatter.trace()
        else:
            centred = torch.cat(self._kept).to(self._mean).sub_(self._mean)
            gram = centred.new_zeros(self.n, self.n)
            _add_upper(gram, centred, centred.T)
            values, vectors = _top(gram, k)
            components, total = vectors.T @ centred, gram.trace()
        rank = int((values > _FLOOR * values[0]).sum())
        if rank < k:
            raise ValueError(
                f"components: the data have rank {rank}, given {k}. Ask for {rank} or fewer."
            )
        components = fix_signs(components / components.norm(dim=1, keepdim=True))
        scale = 1 / (self.n - 1)
        return PrincipalComponents(
            self._mean.cpu(), components.cpu(), (values * scale).cpu(), float(total) * scale
        )

    def regress(self, found: PrincipalComponents) -> Tensor:
        """Least squares from the coordinates x (K,) of a row to its target: U (K, d) of
        minimal Σ ‖t̄ + Uᵀx − t‖².

        The coordinates of principal components are uncorrelated, so that every row of U stands
        alone: cov(x_k, t) / var(x_k).
        """
        covariance = found.components @ self._cross.T.cpu() / (self.n - 1)
        return covariance / found.variance[:, None]

    def target_moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) of the targets."""
        return self._target_mean.cpu(), (self._target_scatter / (self.n - 1)).cpu()

    def _start(self, rows: Tensor, targets: Tensor) -> None:
        """Allocate for the shapes of the first batch."""
        if rows.ndim != 2 or targets.ndim != 2 or not rows.is_floating_point():
            raise ValueError(
                f"StreamingPCA: expected floating rows (B, D) and targets (B, d), given "
                f"{rows.dtype} {tuple(rows.shape)} and {tuple(targets.shape)}."
            )
        d, d_targets = rows.shape[1], targets.shape[1]
        keep = self._expected is not None and self._expected <= d
        needed = 8 * (self._expected if keep else d) * d
        if needed > MAX_BYTES:
            raise ValueError(
                f"StreamingPCA: {d:,} dimensions need {needed / 2**30:.1f} GiB, expected at most "
                f"{MAX_BYTES / 2**30:.0f}. Take {MAX_BYTES // (8 * d):,} samples or fewer, or a "
                "layer with fewer dimensions."
            )
        device = "cpu" if rows.device.type == "mps" else rows.device  # float64 is needed
        zeros = torch.zeros(d_targets, d, dtype=torch.float64, device=device)
        self._cross, self._mean = zeros, zeros.new_zeros(d)
        self._target_mean = zeros.new_zeros(d_targets)
        self._target_scatter = zeros.new_zeros(d_targets, d_targets)
        self._kept: list[Tensor] | None = [] if keep else None
        self._scatter = zeros.new_zeros(0 if keep else d, 0 if keep else d)  # upper triangle

    def _centre(self, rows: Tensor, mean: Tensor, shift: float) -> tuple[Tensor, Tensor]:
        """Rows about their own mean with the shift of the means as one more; the new mean."""
        batch_mean = rows.mean(dim=0, dtype=torch.float64)
        if not batch_mean.isfinite().all():  # cheaper than a look at every entry
            check_finite(rows, "samples")
        moved = batch_mean - mean
        centred = mean.new_empty(len(rows) + 1, len(mean))
        torch.sub(rows, batch_mean, out=centred[:-1])
        torch.mul(moved, shift, out=centred[-1])
        return centred, mean + moved * (len(rows) / (self.n + len(rows)))


def fix_signs(vectors: Tensor) -> Tensor:
    """The vectors (K, d), each with the sign that makes its largest entry positive."""
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * largest.sign()


def _add_upper(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right for a symmetric product, in blocks on and above the diagonal alone."""
    step = max(64, -(-len(total) // 8))
    for i in range(0, len(total), step):
        total[i : i + step, i:].addmm_(left[i : i + step], right[:, i:])


def _top(upper: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest eigenvalues (k,) and eigenvectors (D, k), from the upper triangle."""
    if len(upper) > _DENSE and 10 * k < len(upper):
        full = upper.triu()
        full += upper.triu(1).T
        random = torch.Generator().manual_seed(0)
        start = torch.randn(len(full), k + 8, generator=random, dtype=torch.float64).to(full.device)
        values, vectors = torch.lobpcg(full, X=start, niter=200, tol=1e-13)
        values, vectors = values[:k], vectors[:, :k]
        residual = (full @ vectors - vectors * values).norm(dim=0)
        if residual.max() <= 1e-11 * values[0]:
            return values, vectors
    values, vectors = torch.linalg.eigh(upper, UPLO="U")
    return values.flip(0)[:k], vectors.flip(1)[:, :k]
