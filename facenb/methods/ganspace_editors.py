"""The principal component that stands for an attribute: GANSpace as an editor of named things.

GANSpace knows no attributes. The papers that compare with it look at many components and pick by
eye; here the samples' scores pick: the component that a score follows best.
"""

from __future__ import annotations

from facenb.editors import LinearEditor
from facenb.generators import Generator
from facenb.methods.ganspace import GANSpace
from facenb.metrics.statistics import pearson
from facenb.sampling import ScoredSamples
from facenb.storage.cache import cached

_VERSION = 1  # raise when a change to GANSpace alters its directions


def component_editors(
    generator: Generator, samples: ScoredSamples, n: int, components: int = 80, seed: int = 0
) -> dict[str, LinearEditor]:
    """For each score the component it follows best, signed so that strength raises the score.

    Args:
        samples: in the space that the components are carried back to.
        n: codes that the components are taken of; from disk when they were taken before.
        components: at most; never more than the latents have dimensions.
    """
    space = samples.latents.space
    count = min(components, samples.latents.values.shape[1])
    inputs = {
        "version": _VERSION,
        "generator": generator.fingerprint,
        "device": generator.device.type,
        "components": count,
        "space": space,
        "n": n,
        "seed": seed,
    }
    model = GANSpace(count, space=space, n=n, seed=seed)
    learned = cached("ganspace", inputs, lambda: {"directions": model.fit(generator).directions_})
    directions = learned["directions"]
    follows = pearson(samples.latents.values.double() @ directions.T, samples.scores)
    best = follows.abs().argmax(dim=0)
    return {
        name: LinearEditor(f"PC{k + 1}", (directions[k] * follows[k, i].sign()).float(), space)
        for i, (name, k) in enumerate(zip(samples.names, best.tolist(), strict=True))
    }
