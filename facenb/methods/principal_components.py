"""Principal components of rows that come in batches, by scikit-learn, with every row's coordinates.

Samples of up to `MAX_BYTES` are decomposed at once and exactly. Of more, scikit-learn's
IncrementalPCA keeps as many components between batches as a batch has rows and forgets the rest:
exact where the data have no higher rank than that, else the closer the larger the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from sklearn.decomposition import PCA, IncrementalPCA
from torch import Tensor

from facenb.errors import check_finite

# What the samples may take in float64; or a batch and as many components from those before it, as
# they are and decomposed. The peak is up to four times as much.
MAX_BYTES = 4 * 2**30
_FLOOR = 1e-12  # a variance below this fraction of the first is rounding, not a component
_DENSE = 1024  # up to this size every component is computed; beyond, only those asked for


@dataclass(frozen=True)
class PrincipalComponents:
    """K components of n rows in D dimensions, highest variance first; float64 on the CPU.

    `mean` (D,); `components` (K, D), orthonormal, the entry of largest magnitude positive;
    `variance` (K,), divided by n − 1, and `ratio` (K,), its fraction of all dimensions' variance;
    `coordinates` (n, K) of the rows about their mean, in their order.
    """

    mean: Tensor
    components: Tensor
    variance: Tensor
    ratio: Tensor
    coordinates: Tensor


def principal_components(
    batches: Callable[[], Iterable[Tensor]], n: int, k: int
) -> PrincipalComponents:
    """The first `k` principal components of n rows.

    Args:
        batches: gives the rows as batches (B, D), the same at every call: they are gone through
            once where they fit into `MAX_BYTES`, else twice.

    Raises:
        ValueError: more components than dimensions, than rows allow or than the rank; NaN; rows
            of another kind; a batch beyond `MAX_BYTES` or with fewer rows than components.
    """
    stream = iter(batches())
    first = next(stream)
    if first.ndim != 2 or not first.is_floating_point():
        raise ValueError(
            f"samples: expected floating rows (B, D), given {first.dtype} {tuple(first.shape)}."
        )
    size, d = first.shape
    most = max(0, min(n - 1, d))
    if not 1 <= k <= most:
        raise ValueError(
            f"components: expected 1 to {most} ({d} dimensions, {n} samples), given {k}."
        )
    rows = (_float64(batch) for batch in chain([first], stream))
    del first  # not kept any longer than the batches after it
    if 8 * n * d <= MAX_BYTES:
        found = _at_once(rows, n, d, k)
    else:
        _check_batch(size, n, d, k)
        found = _incrementally(rows, (_float64(batch) for batch in batches()), min(size, d), k)
    rank = int((found.variance > _FLOOR * found.variance[0]).sum())
    if rank < k:
        raise ValueError(
            f"components: the data have rank {rank}, given {k}. Ask for {rank} or fewer."
        )
    return found


def _at_once(batches: Iterator[np.ndarray], n: int, d: int, k: int) -> PrincipalComponents:
    rows, start = np.empty((n, d)), 0
    for batch in batches:
        rows[start : start + len(batch)] = batch
        start += len(batch)
    mean = rows.mean(axis=0)
    rows -= mean  # here and not from the covariance, where a large mean would cost digits
    if min(n, d) > _DENSE and 10 * k < min(n, d):
        solver = "arpack"
    else:
        solver = "covariance_eigh" if n >= d else "full"
    pca = PCA(k, svd_solver=solver, copy=False, random_state=0)
    coordinates = pca.fit_transform(rows)
    return _found(mean, pca, k, coordinates)


def _incrementally(
    batches: Iterator[np.ndarray], again: Iterator[np.ndarray], kept: int, k: int
) -> PrincipalComponents:
    pca = IncrementalPCA(kept)  # which copies: batches may be views of the caller's rows
    for batch in batches:
        pca.partial_fit(batch)
    coordinates = [pca.transform(batch)[:, :k] for batch in again]
    return _found(pca.mean_, pca, k, np.concatenate(coordinates))


def _found(
    mean: np.ndarray, pca: PCA | IncrementalPCA, k: int, coordinates: np.ndarray
) -> PrincipalComponents:
    parts = pca.components_, pca.explained_variance_, pca.explained_variance_ratio_
    arrays = mean, *(part[:k] for part in parts), coordinates
    return PrincipalComponents(*(torch.from_numpy(array.copy()) for array in arrays))


def _float64(batch: Tensor) -> np.ndarray:
    check_finite(batch, "samples")
    return batch.detach().cpu().double().numpy()


def _check_batch(size: int, n: int, d: int, k: int) -> None:
    """Raise ValueError unless batches of `size` rows fit, and hold as many components as asked."""
    limit = (MAX_BYTES // (16 * d) - 1) // 2  # a batch, as many components, and the mean's shift
    if size > limit:
        raise ValueError(
            f"samples: {n:,} of {d:,} dimensions need {8 * n * d / 2**30:.1f} GiB at once, and "
            f"{16 * (2 * size + 1) * d / 2**30:.1f} GiB in batches of {size}; expected at most "
            f"{MAX_BYTES / 2**30:.0f}. Take batches of {max(0, limit)}, or a layer with fewer "
            "dimensions."
        )
    if size < k:
        raise ValueError(
            f"components: {n:,} samples of {d:,} dimensions are taken in batches, expected no more "
            f"components than samples in a batch, {size}, given {k}. Take a larger batch."
        )
