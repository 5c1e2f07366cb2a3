"""Fields that are fitted once: to the same data they come from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from facenb.methods.sgf.estimator import SurrogateGradientField
from facenb.methods.sgf.training import MappingConfig, checkpoint_of
from facenb.parallel import side_by_side


def fit_sgf(
    config: MappingConfig, values: Tensor, conditions: Tensor, names: Sequence[str]
) -> SurrogateGradientField:
    """`SurrogateGradientField(config)` fitted, or as it was fitted to the same before.

    The state of the training is in the cache: what was interrupted goes on.
    """
    checkpoint = checkpoint_of(config, values, conditions)
    return SurrogateGradientField(config).fit_latents(values, conditions, names, checkpoint)


def fit_fields(
    configs: Mapping[str, MappingConfig], values: Tensor, conditions: Tensor, names: Sequence[str]
) -> dict[str, SurrogateGradientField]:
    """`fit_sgf` of several configurations; those not begun before are trained side by side."""
    new = [c for c in configs.values() if not checkpoint_of(c, values, conditions).exists()]
    data = {"values": values, "conditions": conditions, "names": names}
    steps = sum(config.steps for config in new)
    side_by_side(fit_sgf, [{"config": config, **data} for config in new], "mappings F", steps)
    return {label: fit_sgf(config, **data) for label, config in configs.items()}
