"""Niu et al. (2023): discover directions, then disentangle them by a penalty; and its rivals.

One trainer for the paper's five experiments (§4.1):

    SDD  discovery alone (Voynov)                                 cls + 0.25·reg       (Eq. 1)
    SHP  the Hessian penalty alone, from a random A (Peebles)     penalty              (Eq. 7)
    HDP  both at once                                             cls + 0.25·reg + 0.5·penalty (8)
    DTJ  second stage: SDD's A, adjusted by OroJaR alone          penalty
    DTH  second stage: SDD's A, adjusted by the Hessian penalty   penalty     (the paper's method)

The penalty is one of the directions' coefficients: f(c) = G(z + A·c) around c = shift·e_k, every
coefficient perturbed. Where paper and public code part, the paper is followed; the code's way is
`matrix="expm"`, which keeps the second stage exactly orthogonal, and `reduction="mean"`.

The trap of the second stage: where nothing but unit length is asked of A, the penalty is also small
for directions that hardly change the image, and nothing keeps two of them apart. `history_` has the
smallest angle between two directions at every step; `rotation_angles` gives each one's turn.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from facenb.editors import Editors, LinearEditor
from facenb.generators import Generator
from facenb.methods.base import Method
from facenb.methods.two_stage.configs import CONFIGS, METHODS, VARIANTS, Config, load_config
from facenb.methods.two_stage.direction_matrix import smallest_angle
from facenb.methods.two_stage.discovery import held_out
from facenb.methods.two_stage.training import Training, as_tensors, penalty_of, variant_for
from facenb.sampling import ScoredSamples
from facenb.seeds import random_for
from facenb.storage.files import sha256_tensor

__all__ = [
    "CONFIGS",
    "METHODS",
    "VARIANTS",
    "Config",
    "DirectionLearner",
    "held_out_penalty",
    "load_config",
]


class DirectionLearner(Method):
    """Trains one of the five experiments on a generator.

    Args:
        config: the experiment.
        first: stage one's, for a second stage that is fitted without a start; by default SDD at the
            same sizes, with discovery's own batch and learning rate, and as many steps.

    Attributes:
        vectors_: (m, d) the directions, of length 1.
        history_: name → (steps,) float64: "loss", "smallest_angle" (degrees), and what the method
            has of "classification", "regression", "accuracy" and "penalty".
        reconstructor_: of SDD and HDP, in evaluation mode; None otherwise.
        held_out_: its answers on fresh pairs (`discovery.HeldOut`); None otherwise.
        start_: the directions that a second stage started from; None otherwise.
    """

    def __init__(self, config: Config, first: Config | None = None) -> None:
        self.config = config
        self.first = first

    def fit(
        self,
        generator: Generator,
        samples: ScoredSamples | None = None,
        start: Editors | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: int = 250,
        seconds: float = math.inf,
    ) -> DirectionLearner:
        """Learn, or go on learning where `checkpoint` was left.

        Args:
            samples: not needed; the latents are drawn step by step.
            start: stage one's directions, for DTJ and DTH; without them stage one is trained first.
            checkpoint: the file that keeps the state, written every `every` steps and at the end. A
                run that was killed resumes from it and ends with the same bits as one that was not;
                a finished one goes on when `steps` is raised. Stage one's is beside it.
            seconds: stop after so many, at a whole step; a fit with the same checkpoint goes on.

        Raises:
            CheckpointError: the checkpoint is of another configuration, generator or start.
            FacenbError: the loss is no longer finite.
            ValueError: a start is not wanted, or of another shape or space.
        """
        if METHODS[self.config.method].second_stage and start is None:
            start = self._first_stage(generator, checkpoint, every)
        run = Training(self.config, generator, start, checkpoint)
        run.train(every, seconds)
        config, self.vectors_ = self.config, run.matrix.vectors()
        self.history_, self.start_ = as_tensors(run.history), start
        self.reconstructor_, self.held_out_ = run.reconstructor, None
        if run.reconstructor is not None:
            run.reconstructor.eval()
            self.held_out_ = held_out(
                run.generator,
                run.reconstructor,
                self.vectors_,
                config.task(),
                config.held_out_batches,
                seed=config.seed,
                size=config.size,
            )
        return self._fitted_to(generator)

    def editors(self) -> Editors:
        """The directions, named "SDD 0", "SDD 1", …; a strength of 1 moves a latent by 1."""
        config = self.config
        facts: dict[str, object] = {
            "method": config.method,
            "torch": torch.__version__,
            "smallest_angle": smallest_angle(self.vectors_),
        }
        if self.start_ is not None:
            facts["start"] = {"sha256": sha256_tensor(self.start_.vectors)} | self.start_.provenance
        if self.held_out_ is not None:
            facts["held_out"] = asdict(self.held_out_)
        names = [f"{config.method} {i}" for i in range(config.count)]
        rows = zip(names, self.vectors_, strict=True)
        return self._named({n: LinearEditor(n, v, config.space) for n, v in rows}, **facts)

    def _first_stage(
        self, generator: Generator, checkpoint: str | PathLike[str] | None, every: int
    ) -> Editors:
        config = self.first or replace(
            self.config,
            method="SDD",
            batch=32,
            matrix="gram-schmidt",
            matrix_rate=self.config.reconstructor_rate,
        )
        if checkpoint is not None:
            checkpoint = Path(checkpoint).with_suffix(f".first{Path(checkpoint).suffix}")
        learner = DirectionLearner(config)
        return learner.fit(generator, checkpoint=checkpoint, every=every).editors()


@torch.no_grad()
def held_out_penalty(
    config: Config, generator: Generator, vectors: Tensor, batches: int = 32
) -> Tensor:
    """The penalty of `config`'s method for directions (m, d) on fresh draws, (batches,) float64.

    The draws depend on the seed alone, so that two sets of directions are compared at the same
    latents, shifts and perturbations.
    """
    matrix, found = vectors.T.to(generator.device), []
    task = replace(config, count=len(vectors)).task()
    generator = variant_for(config, generator)
    for i in range(batches):
        random = random_for(config.seed, "held-out penalty", i)
        pairs = task.draw(generator, config.batch, random)
        found.append(penalty_of(config, generator, matrix, pairs, random, not i))
    return torch.stack(found).cpu().to(torch.float64)
