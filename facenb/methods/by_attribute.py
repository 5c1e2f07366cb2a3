"""The directions that stand for attributes, of a method that knows none.

GANSpace, SeFa and discovery name no attribute. The papers that compare with them look at many
directions and pick by eye; here the samples' scores pick: the direction that a score follows best.
"""

from __future__ import annotations

from facenb.editors import Editors, reverse
from facenb.metrics.statistics import pearson
from facenb.sampling import ScoredSamples


def by_attribute(editors: Editors, samples: ScoredSamples) -> Editors:
    """For each score the linear editor it follows best, turned so that strength raises the score.

    Followed best: the largest correlation, by magnitude, of the samples' scores with their
    coordinates along the direction. Units and layers are those of the editor, whose name stays.

    Raises:
        ValueError: an editor without a direction, or samples of another space or dimension.
    """
    vectors, values = editors.vectors, samples.latents.values
    if samples.latents.space != editors.space.rstrip("+") or values.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"by_attribute: expected samples of space {editors.space.rstrip('+')!r} and dimension "
            f"{vectors.shape[1]}, given {samples.latents!r}."
        )
    follows = pearson(values.double() @ vectors.double().T, samples.scores)
    found, chosen = {}, list(editors.values())
    for column, (name, row) in enumerate(
        zip(samples.names, follows.abs().argmax(dim=0).tolist(), strict=True)
    ):
        editor = chosen[row]
        found[name] = editor if follows[row, column] >= 0 else reverse(editor)
    return Editors(found, editors.provenance)
