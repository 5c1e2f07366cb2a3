"""The matrix A whose columns are the directions being learned, and three ways to keep it in shape.

Niu et al. (2023), after Voynov & Babenko (2020): A has d rows, one for each latent dimension, and m
columns of length 1. The paper orthogonalises A by Gram-Schmidt after every iteration; all public
code takes the exponential of a skew-symmetric matrix instead; the paper's argument for a second
stage is that directions need not be orthogonal at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facenb.editors import unit
from facenb.errors import check_finite, unknown
from facenb.seeds import seeded

KINDS = ("gram-schmidt", "expm", "free")
_ORTHOGONAL = 1e-4  # how far from the identity AᵀA of a given orthonormal A may be, by rounding


class DirectionMatrix(nn.Module):
    """m unit directions in d dimensions; calling it gives A, (d, m), differentiable.

    Args:
        latent_dim: d.
        count: m; at most d unless `kind` is "free".
        kind: "gram-schmidt": `weight` is A itself, and `restore` orthogonalises it after every
            step of the optimiser (Niu §3.3). "expm": A is the first m columns of B·exp(L − Lᵀ),
            which is orthogonal for every L; `weight` is L (d, d), and B is the identity. "free":
            unit length is all that is asked.
        seed: of the random start, N(0, 1) for every entry of `weight` as in the paper and the code.
        start: (m, d) directions to start from exactly, rows as in `Editors.vectors`; B is then
            an orthogonal completion of them and L starts at zero.

    Raises:
        UnknownNameError: a kind that is none of the three.
        ValueError: more directions than dimensions when orthogonality is asked, or a start of
            another shape, with NaN or zero vectors, or not orthogonal although that is asked.
    """

    def __init__(
        self,
        latent_dim: int,
        count: int,
        kind: str = "gram-schmidt",
        seed: int = 0,
        start: Tensor | None = None,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise unknown("kind of direction matrix", kind, KINDS)
        if count < 1 or (kind != "free" and count > latent_dim):
            allowed = "at least 1" if kind == "free" else f"1 to {latent_dim}, one for a dimension"
            raise ValueError(
                f"DirectionMatrix: {kind!r} allows {allowed}; given {count} directions in "
                f"{latent_dim} dimensions."
                + (" Ask for fewer, or take kind='free'." if count > latent_dim else "")
            )
        self.kind, self.count = kind, count
        columns = None if start is None else _checked(start, latent_dim, count, kind).T
        shape = (latent_dim, latent_dim if kind == "expm" else count)
        weight = torch.randn(shape, generator=seeded(seed))
        if kind == "expm":
            base = torch.eye(latent_dim) if columns is None else _complete(columns)
            self.register_buffer("base", base)
            weight = weight if columns is None else torch.zeros(shape)
        elif columns is not None:
            weight = columns.clone()
        self.weight = nn.Parameter(weight.contiguous())
        if columns is None:
            self.restore()

    def forward(self) -> Tensor:
        """A, (d, m), its columns of length 1."""
        if self.kind == "gram-schmidt":
            return self.weight
        if self.kind == "expm":
            # The public code's form, to which its learning rate belongs: torch's parametrization
            # `orthogonal` has one number for L_ij and L_ji, and Adam's steps turn A half as far.
            return self.base @ torch.matrix_exp(self.weight - self.weight.T)[:, : self.count]
        # The length is divided out inside the graph: most penalties fall when A merely shrinks,
        # and the gradient must not point there.
        return self.weight / self.weight.norm(dim=0)

    @torch.no_grad()
    def restore(self) -> None:
        """Bring `weight` back after a step of the optimiser; "expm" never leaves its manifold."""
        if self.kind == "gram-schmidt":
            self.weight.copy_(gram_schmidt(self.weight))
        elif self.kind == "free":
            self.weight.copy_(unit(self.weight.T).T)

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """The directions as rows (m, d) on the CPU, as `Editors.vectors` has them."""
        columns = self() if self.kind == "expm" else self.weight
        return columns.T.cpu().clone()


def gram_schmidt(columns: Tensor) -> Tensor:
    """The columns of (d, m), m ≤ d, made orthonormal one after the other; the first only scaled.

    A = QR with a positive diagonal of R is unique for independent columns, and column j of Q is
    column j of A without its components along the columns before it, normalised: Gram-Schmidt,
    without its loss of orthogonality in floating point.
    """
    q, r = torch.linalg.qr(columns)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def smallest_angle(vectors: Tensor) -> float:
    """The smallest angle in degrees between any two of the lines along rows (m, d); 90 for one row.

    90 when all are orthogonal, 0 when two directions have become one (a sign does not matter).
    """
    rows = unit(vectors.detach())
    cosines = (rows @ rows.T).abs().fill_diagonal_(0)
    return math.degrees(math.acos(min(float(cosines.max()), 1.0)))


def rotation_angles(start: Tensor, vectors: Tensor) -> Tensor:
    """The angle in degrees, (m,), between each direction of `start` (m, d) and what became of it.

    In double precision: the arc cosine of a number near 1 is a poor measure of a small angle.
    """
    if start.shape != vectors.shape:
        raise ValueError(
            f"rotation_angles: expected two sets (m, d) alike, given {tuple(start.shape)} and "
            f"{tuple(vectors.shape)}."
        )
    before, after = unit(start.detach().double()), unit(vectors.detach().double())
    return 2 * torch.rad2deg(torch.asin(((before - after).norm(dim=1) / 2).clamp(max=1)))


def _checked(start: Tensor, latent_dim: int, count: int, kind: str) -> Tensor:
    """`start` as float32 rows of length 1 on the CPU; rows that are so already keep their bits."""
    if start.ndim != 2 or tuple(start.shape) != (count, latent_dim):
        raise ValueError(
            f"DirectionMatrix: expected a start of shape ({count}, {latent_dim}), one row for a "
            f"direction, given {tuple(start.shape)}."
        )
    check_finite(start, "start directions")
    rows = start.detach().cpu().float()
    if (rows.norm(dim=1) == 0).any():
        raise ValueError("DirectionMatrix: expected directions of length > 0, given a zero row.")
    rows = unit(rows)
    off = float((rows @ rows.T - torch.eye(count)).abs().max())
    if kind != "free" and off > _ORTHOGONAL:
        raise ValueError(
            f"DirectionMatrix: {kind!r} starts from orthogonal directions; the cosine of two of "
            f"those given is {off:.3g}. Orthogonalise them (Editors.orthogonalise), or take "
            "kind='free'."
        )
    return rows


def _complete(columns: Tensor) -> Tensor:
    """An orthogonal (d, d) matrix whose first m columns are `columns`, bit for bit."""
    d, m = columns.shape
    random = torch.Generator().manual_seed(0)
    rest = torch.randn(d, d - m, generator=random)
    basis = gram_schmidt(torch.cat([columns, rest], dim=1))
    return torch.cat([columns, basis[:, m:]], dim=1)
