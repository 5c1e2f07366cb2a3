"""Several latent transformers of the same latents, trained in several processes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from facenb.methods.latent_transformer.transformer import (
    LatentTransformer,
    cache_inputs,
    fit_transformers,
)
from facenb.parallel import side_by_side
from facenb.storage.cache import folder

_DATA = ("values", "gamma", "classifier")


def fit_side_by_side(
    values: Tensor, gamma: Tensor, settings: Mapping[str, Mapping[str, object]]
) -> dict[str, LatentTransformer]:
    """`fit_transformers` of several settings by name, `classifier` among them.

    Those that are not on disk are trained in several processes.
    """
    calls = {n: {"values": values, "gamma": gamma, **each} for n, each in settings.items()}
    new, steps = [], 0
    for call in calls.values():
        model = LatentTransformer(**{k: v for k, v in call.items() if k not in _DATA})
        inputs = cache_inputs(model, values, call["classifier"], gamma)
        if not folder("latent-transformers", inputs).with_suffix(".safetensors").exists():
            new.append(call)
            steps += model.epochs * -(-len(values) // model.batch)
    side_by_side(fit_transformers, new, "latent transformers", steps)
    return {name: fit_transformers(**call) for name, call in calls.items()}
