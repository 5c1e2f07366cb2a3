"""Streaming PCA of 100,000 codes against scikit-learn's IncrementalPCA, taking turns.

IncrementalPCA keeps k components between batches. Where those are all of them, or the rest is
small, both agree; where the spectrum falls off slowly it drifts from the truth, which the angles
to one SVD of all rows show.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch
from sklearn.decomposition import IncrementalPCA
from torch import Tensor

from facenb.generators import load_generator
from facenb.methods.streaming_pca import StreamingPCA

CODES = 100_000
COMPONENTS = 80  # what GANSpace's published code keeps
BATCH = 2_000  # its smallest batch for IncrementalPCA, with which that is fastest too
ROUNDS = 3


def bench_streaming_pca() -> dict[str, str]:
    """All components of the DCGAN's z, and 80 of codes as wide as a StyleGAN's w."""
    rows = {}
    for label, codes, k in (
        ("z of 100", load_generator("digiface-dcgan-64").sample(CODES).values, 100),
        ("w-like of 512, 80 strong", _codes(512, strong=COMPONENTS), COMPONENTS),
        ("w-like of 512, slow fall", _codes(512, strong=0), COMPONENTS),
    ):
        ours, theirs, between, to_svd = _compare(codes, k)
        what = f"PCA of {CODES:,} codes, {label}, {k} components"
        rows[f"{what}: against IncrementalPCA"] = (
            f"{theirs / ours:.1f} × ({ours:.2f} s, {theirs:.2f} s)"
        )
        rows[f"{what}: angle between them; ours, theirs to one SVD"] = (
            f"{between:.1e}; {to_svd[0]:.1e}, {to_svd[1]:.1e}"
        )
    return rows


def _codes(d: int, strong: int) -> Tensor:
    """CODES float32 codes in a random basis, standard deviations falling by e in 50 dimensions; if
    `strong`, those after the first so many are a thousand times smaller."""
    random = torch.Generator().manual_seed(0)
    size = torch.exp(-torch.arange(d) / 50)
    if strong:
        size[strong:] /= 1000
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=random))
    return (torch.randn(CODES, d, generator=random) * size) @ turn + 1


def _compare(codes: Tensor, k: int) -> tuple[float, float, float, tuple[float, float]]:
    """Median seconds of ours and theirs, the angle between them, and of each to one SVD."""
    array, spent = codes.numpy(), ([], [])
    for _ in range(ROUNDS):
        start = time.perf_counter()
        pca = StreamingPCA()
        for batch in codes.split(BATCH):
            pca.update(batch)
        ours = pca.solve(k).components
        middle = time.perf_counter()
        theirs = IncrementalPCA(k, batch_size=BATCH).fit(array).components_
        spent[0].append(middle - start)
        spent[1].append(time.perf_counter() - middle)
    centred = codes.double() - codes.double().mean(dim=0)
    factor = torch.linalg.qr(centred, mode="r").R  # its right singular vectors are the rows' own
    truth = torch.linalg.svd(factor).Vh[:k]
    found = torch.from_numpy(np.asarray(theirs)).double()
    return (
        median(spent[0]),
        median(spent[1]),
        largest_angle(ours, found),
        (largest_angle(ours, truth), largest_angle(found, truth)),
    )


def largest_angle(left: Tensor, right: Tensor) -> float:
    """Largest principal angle in radians between the row spaces of two sets of rows (K, d)."""
    left, right = (torch.linalg.qr(rows.T).Q for rows in (left, right))
    outside = left - right @ (right.T @ left)
    return float(torch.linalg.matrix_norm(outside, 2).clamp(max=1).asin())


if __name__ == "__main__":
    for name, value in bench_streaming_pca().items():
        print(f"{name}: {value}")
