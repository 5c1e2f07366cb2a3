"""A fitted field as tensors and plain values, for files of editors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Self

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
    names_: tuple[str, ...]
    mean_: Tensor
    scale_: Tensor
    limit_: float
    range_: ConditionRange

    def to_fields(self) -> dict[str, object]:
        """See `facenb.editors.storage.Savable`."""
        return {
            "config": asdict(self.config or MappingConfig()),
            "mapping": self.mapping_.state_dict(),
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
