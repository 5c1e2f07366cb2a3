"""A fitted field as tensors and plain values, for files of editors, and its coordinates."""

from __future__ import annotations

from dataclasses import asdict
from typing import Self

import torch
from torch import Tensor

from facenb.editors import Context
from facenb.methods.sgf.mapping import AuxiliaryMapping
from facenb.methods.sgf.training import MappingConfig
from facenb.scorers.conditions import ConditionRange

_RANGE = ("low_", "high_", "mean_", "scale_", "precision_", "limit_")


class StoredField:
    """What a `SurrogateGradientField` needs for its walks: F, its conditions and their range.

    `loss_` and `radius_` are of the training and stay behind.
    """

    config: MappingConfig | None
    mapping_: AuxiliaryMapping
    centre_: Tensor | None
    axes_: Tensor | None
    names_: tuple[str, ...]
    mean_: Tensor
    scale_: Tensor
    limit_: float
    range_: ConditionRange

    @property
    def dimension(self) -> int:
        """d, of the latents."""
        return self.mapping_.dimension if self.axes_ is None else self.axes_.shape[1]

    def coordinates(self, values: Tensor) -> Tensor:
        """What F takes of latents (N, d): (N, k), or the latents themselves."""
        return values if self.axes_ is None else (values - self.centre_) @ self.axes_.T

    def to_fields(self) -> dict[str, object]:
        """See `facenb.editors.storage.Savable`."""
        return {
            "config": asdict(self.config or MappingConfig()),
            "mapping": self.mapping_.state_dict(),
            "centre": self.centre_,
            "axes": self.axes_,
            "names": tuple(self.names_),
            "mean": self.mean_,
            "scale": self.scale_,
            "limit": self.limit_,
            "range": {name: getattr(self.range_, name) for name in _RANGE},
        }

    @classmethod
    def from_fields(cls, values: dict[str, object], context: Context) -> Self:
        """See `facenb.editors.storage.Savable`."""
        field = cls(MappingConfig(**values["config"]))
        field.names_, field.limit_ = values["names"], values["limit"]
        field.mean_, field.scale_ = values["mean"], values["scale"]
        field.centre_, field.axes_ = (
            None if values[key] is None else values[key].to(field.mean_)
            for key in ("centre", "axes")
        )
        weights, config = values["mapping"], field.config
        mapping = AuxiliaryMapping(
            weights["linear.weight"].shape[-1],
            len(field.names_),
            config.layers,
            config.modulation,
            config.coefficient,
        ).to(field.mean_)
        mapping.load_state_dict(weights)
        field.mapping_ = mapping.requires_grad_(False).eval()
        field.range_ = ConditionRange()
        field.range_.names_ = field.names_
        for name, value in values["range"].items():
            setattr(field.range_, name, value)
        return field


def principal_axes(
    values: Tensor, components: int | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """The mean (d,) of latents (N, d) and their first principal axes (components, d), orthonormal.

    None twice where `components` is None or not below d.
    """
    if components is None or components >= values.shape[1]:
        return None, None
    centre = values.mean(dim=0)
    apart = (values - centre).double()
    axes = torch.linalg.eigh(apart.T @ apart).eigenvectors[:, -components:].flip(1).T
    return centre, axes.to(values).contiguous()
