"""Latents → images → scores in batches: memory-bounded, cached, resumable.

The images are never kept: at any time one batch of them is alive on each core. Scores go to disk
in parts, so that a run that is killed goes on where it stopped, and a larger run begins with what a
smaller one of the same seed has done.

Generators of several sizes are scored at `generator.scoring_size` where no `size` is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import shorten

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.drawing import draw
from facenb.editors import Editor, traversal
from facenb.errors import unknown
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.parallel import on_all_cores
from facenb.precomputed import scored_once
from facenb.scorers import ScorerSuite
from facenb.scorers.conditions import Condition
from facenb.storage import cache

PART = 256  # latents to a file on disk: what a kill can cost at most
BATCH = 16  # latents to a pass on a core: more, and the scorers' feature maps are far from it
_DEVICE_BATCH = 64  # … on another device, of which there is one
_VERSION = 2  # raise when a change here alters the scores


@dataclass(frozen=True)
class ScoredSamples:
    """N latents with their scores (N, A); `samples["smile"]` is the column (N,) of that score."""

    latents: Latents
    scores: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise unknown("score", name, self.names)
        return self.scores[:, self.names.index(name)]

    def select(self, index: Tensor | slice) -> ScoredSamples:
        """The samples at `index` (a mask, indices or a slice)."""
        return ScoredSamples(self.latents[index], self.scores[index], self.names)


def sample_scored(
    generator: Generator,
    scorers: ScorerSuite,
    n: int,
    seed: int = 0,
    space: str = "z",
    size: int | None = None,
) -> ScoredSamples:
    """`n` scored samples of the generator, from disk where they were scored before.

    Deterministic: the same arguments give the same numbers, however often the work was
    interrupted. Entries that are damaged are scored again with a warning.

    Args:
        size: of the images, one of `generator.sizes`; `generator.scoring_size` by default.

    Raises:
        ValueError: a size that the generator does not have.
    """
    latents = generator.sample(n, seed, space)
    inputs = scored_by(generator, scorers, size) | {"seed": seed, "space": space}
    parts = cache.folder("scores", inputs)
    scores = []
    with tqdm(total=n, desc=f"scoring {generator.name}", unit="img", leave=False) as bar:
        for start in range(0, n, PART):
            stop = min(start + PART, n)
            part = cache.stored(
                parts / f"{start:07d}-{stop:07d}.safetensors",
                lambda a=start, b=stop: {
                    "scores": score(generator, scorers, latents[a:b], size=size)
                },
            )
            scores.append(part["scores"])
            bar.update(stop - start)
    return ScoredSamples(latents.to("cpu"), torch.cat(scores), scorers.names)


@torch.no_grad()  # not inference mode: its tensors could not take part in autograd later
def score(
    generator: Generator,
    scorers: ScorerSuite,
    latents: Latents,
    progress: str | None = None,
    size: int | None = None,
) -> Tensor:
    """Scores (N, A) on the CPU of the images of `latents`, a batch at a time on every core.

    Args:
        progress: a description turns a progress bar on.
        size: of the images, one of `generator.sizes`; `generator.scoring_size` by default.

    Raises:
        ValueError: a size that the generator does not have, or scorers for another framing.
    """
    framing = getattr(scorers, "framing", generator.framing)
    if framing != generator.framing:
        raise ValueError(
            f"score: {generator.name} frames its images as {generator.framing!r}, the scorers "
            f"expect {framing!r}. Load them with framing=generator.framing."
        )
    latents = latents.to(generator.device)
    size = generator.scoring_size if size is None else size

    @torch.no_grad()  # this holds for one thread: of() runs in several
    def of(batch: Latents) -> Tensor:
        return scorers(draw(generator, batch, size)).cpu()

    if generator.device.type == "cpu":
        batches = _batches(latents, BATCH, torch.get_num_threads())
        found = on_all_cores(of, batches)
    else:
        batches = _batches(latents, _DEVICE_BATCH)
        found = map(of, batches)
    bar = tqdm(found, progress, len(batches), unit="batch", leave=False, disable=progress is None)
    return torch.cat(list(bar))


def _batches(latents: Latents, size: int, cores: int = 1) -> list[Latents]:
    """Batches of like sizes, `size` latents at most, as many for each core as for the others."""
    count = min(cores * math.ceil(len(latents) / (size * cores)), len(latents))
    edges = [len(latents) * i // count for i in range(count + 1)]
    return [latents[start:stop] for start, stop in pairwise(edges)]


def score_edits(
    generator: Generator,
    scorers: ScorerSuite,
    editor: Editor,
    latents: Latents,
    strengths: Sequence[float],
    size: int | None = None,
) -> Tensor:
    """Scores (N, S, A) of every latent edited to every strength, from disk where they are known.

    The cache is keyed by the edited latents themselves, so that any editor can be asked. `size` is
    that of `score`.
    """
    codes = traversal(editor, latents.to("cpu"), strengths)
    what = shorten(f"scoring {editor.name}", 40, placeholder="…")  # a bar has to fit beside it
    found = score_once(generator, scorers, codes, what, size)
    return found.unflatten(0, (len(latents), len(strengths)))


def score_once(
    generator: Generator,
    scorers: ScorerSuite,
    latents: Latents,
    progress: str | None = None,
    size: int | None = None,
) -> Tensor:
    """`score`, from disk where these very latents were scored before, or from what ships."""
    return scored_once(
        "edit-scores",
        generator.name,
        scored_by(generator, scorers, size),
        latents.to("cpu"),
        lambda codes: score(generator, scorers, codes, progress, size),
    )


def score_paths(
    generator: Generator,
    scorers: ScorerSuite,
    editors: Sequence[Editor],
    latents: Latents,
    strengths: Sequence[float],
    size: int | None = None,
) -> Tensor:
    """Scores (N, K, S, A) along the path of each of K editors, to be labelled.

    At strength 0 every path is at the unedited code: it is scored once, not once an editor. `size`
    is that of `score`.
    """
    moved = [strength for strength in strengths if strength]
    paths = [score_edits(generator, scorers, e, latents, moved, size) for e in editors]
    scores = torch.stack(paths, dim=1)
    if len(moved) < len(strengths):
        still = score_edits(generator, scorers, editors[0], latents, [0.0], size)
        still = still[:, None].expand(-1, len(editors), -1, -1)
        order = [0 if not strength else 1 + moved.index(strength) for strength in strengths]
        scores = torch.cat([still, scores], dim=2)[:, :, order]
    return scores


def observe(
    generator: Generator, condition: Condition, space: str = "z"
) -> Callable[[Tensor], Tensor]:
    """A function that says which condition latents (N, d) have now: (N, C), on the latents' device.

    It draws and judges the images in batches, without gradients: what Li et al.'s algorithm asks
    at every step (2021, §3.4).
    """

    def conditions_of(values: Tensor) -> Tensor:
        return score(generator, condition, Latents(values.detach(), space)).to(values)

    return conditions_of


def scored_by(
    generator: Generator, scorers: ScorerSuite, size: int | None = None
) -> dict[str, object]:
    """What decides the scores of a latent, for keys: plain values. `size` is that of `score`."""
    size = generator.scoring_size if size is None else size
    return {
        "version": _VERSION,
        "generator": generator.fingerprint,
        "scorers": scorers.fingerprint,
        "names": scorers.names,
        "size": size,
        "device": generator.device.type,
    }
