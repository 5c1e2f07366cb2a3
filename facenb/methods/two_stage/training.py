"""The training loop of the five experiments: one state, its steps, its checkpoints.

`two_stage` says what they are and is what notebooks call.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from os import PathLike

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.editors import Editors
from facenb.errors import FacenbError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.two_stage.configs import METHODS, Config
from facenb.methods.two_stage.direction_matrix import DirectionMatrix, smallest_angle
from facenb.methods.two_stage.discovery import Pairs, ask
from facenb.methods.two_stage.reconstructors import make_reconstructor
from facenb.penalties import hessian_penalty
from facenb.seeds import random_for
from facenb.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from facenb.storage.files import sha256_tensor

_VERSION = 1  # raise when a change here alters what is learned
_RECENT = 100  # steps that the progress bar averages over


class Training:
    """The state of one training: what a checkpoint holds, and the steps that change it."""

    def __init__(
        self,
        config: Config,
        generator: Generator,
        start: Editors | None,
        checkpoint: str | PathLike[str] | None,
    ) -> None:
        _check_start(config, start)
        self.config, self.checkpoint = config, checkpoint
        self.generator = generator = variant_for(config, generator)
        self.method, self.task = METHODS[config.method], config.task()
        self.matrix = DirectionMatrix(
            generator.dim(config.space),
            config.count,
            config.matrix,
            config.seed,
            None if start is None else start.vectors,
        ).to(generator.device)
        groups = [{"params": list(self.matrix.parameters()), "lr": config.matrix_rate}]
        self.reconstructor = None
        if self.method.discovers:
            self.reconstructor = make_reconstructor(
                config.reconstructor,
                config.count,
                config.reconstructor_width,
                config.seed,
                config.normalise,
            ).to(generator.device)
            rate = config.reconstructor_rate
            groups.append({"params": list(self.reconstructor.parameters()), "lr": rate})
        self.optimiser = torch.optim.Adam(groups, fused=True)
        self.history: dict[str, list[float]] = {}
        self.step = 0
        self.saved: int | None = None
        # not `steps`: where a run ends does not change what it does before
        self.identity = {k: v for k, v in asdict(config).items() if k != "steps"} | {
            "version": _VERSION,
            "generator": generator.fingerprint,
            "start": None if start is None else sha256_tensor(start.vectors),
        }

    def train(self, every: int, seconds: float = math.inf) -> None:
        """All steps that are left, or those that begin within `seconds` (one at least)."""
        if every < 1:
            raise ValueError(f"every: expected at least 1 step to a checkpoint, given {every}.")
        self._resume()
        first, last, end = self.step, self.config.steps, time.monotonic() + seconds
        bar = tqdm(total=last, initial=first, desc=self.config.method, unit="step", leave=False)
        # On CUDA: convolutions that give the same bits twice, and not in TF32, whose rounding the
        # second differences of the penalty would divide by ε².
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with bar, exact:
            while self.step < last:
                self._advance(check=self.step == first)
                bar.set_postfix(self._recent(), refresh=False)
                bar.update()
                over = time.monotonic() >= end
                if self.step % every == 0 or self.step == last or over:
                    self._save()
                if over:
                    break

    def _advance(self, check: bool) -> None:
        """One step of the optimiser; nothing is changed when the loss is not finite."""
        random = random_for(self.config.seed, "training", self.step)
        pairs = self.task.draw(self.generator, self.config.batch, random)
        terms = self._terms(pairs, random, check)
        values = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(values["loss"]):
            parts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise self._stopped(f"the loss is not finite ({parts})")
        self.optimiser.zero_grad()
        terms["loss"].backward()
        self.optimiser.step()
        if not torch.isfinite(self.matrix.weight).all():
            raise self._stopped("the loss is finite, but its gradient to A is not")
        self.matrix.restore()
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        self.step += 1

    def _terms(self, pairs: Pairs, random: torch.Generator, check: bool) -> dict[str, Tensor]:
        """The loss and its parts, by the names that `history_` has."""
        config, matrix = self.config, self.matrix()
        terms = {"smallest_angle": torch.tensor(smallest_angle(matrix.T))}
        loss = torch.zeros((), device=matrix.device)
        if self.reconstructor is not None:
            answers = ask(self.generator, self.reconstructor, matrix, pairs, config.size)
            terms["classification"] = answers.classification()
            terms["regression"] = answers.regression()
            terms["accuracy"] = answers.accuracy()
            loss = terms["classification"] + config.regression_weight * terms["regression"]
        if self.method.penalty is not None:
            try:
                penalty = penalty_of(config, self.generator, matrix, pairs, random, check)
            except ValueError as error:
                raise self._stopped(str(error).rstrip(".")) from error
            terms["penalty"] = penalty
            loss = loss + config.penalty_weight * penalty
        return {"loss": loss} | terms

    def _stopped(self, why: str) -> FacenbError:
        config, good = self.config, "No checkpoint was kept"
        if self.saved is not None:
            good = f"The last good checkpoint is that of step {self.saved}, {self.checkpoint}"
        rates = ["matrix_rate"] + ["reconstructor_rate"] * self.method.discovers
        given = " or ".join(f"{rate} (given {getattr(config, rate):g})" for rate in rates)
        return FacenbError(
            f"{config.method} stopped at step {self.step}: {why}. {good}. A rate that is too "
            f"high is the usual cause: {given}."
        )

    def _recent(self) -> dict[str, str]:
        shown = {}
        for name in ("accuracy", "penalty"):
            if values := self.history.get(name, [])[-_RECENT:]:
                shown[name] = f"{sum(values) / len(values):.3g}"
        return shown

    def _resume(self) -> None:
        state = self.checkpoint and load_checkpoint(self.checkpoint, self.identity)
        if not state:
            return
        if state["step"] > self.config.steps:
            raise CheckpointError(
                f"{self.checkpoint} has gone further than was asked (steps: {state['step']} in the "
                f"checkpoint, {self.config.steps} given). Raise steps, or name another file."
            )
        self.matrix.load_state_dict(state["matrix"])
        if self.reconstructor is not None:
            self.reconstructor.load_state_dict(state["reconstructor"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = {name: values.tolist() for name, values in state["history"].items()}
        self.step = self.saved = state["step"]

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "step": self.step,
            "matrix": self.matrix.state_dict(),
            "reconstructor": self.reconstructor.state_dict() if self.reconstructor else {},
            "optimiser": self.optimiser.state_dict(),
            "history": as_tensors(self.history),
        }
        bad = [k for k, v in state["reconstructor"].items() if not torch.isfinite(v).all()]
        if bad:
            raise self._stopped(f"the reconstructor is no longer finite ({bad[0]})")
        save_checkpoint(self.checkpoint, self.identity, state)
        self.saved = self.step


def variant_for(config: Config, generator: Generator) -> Generator:
    """The generator with the truncation and precision of `config`."""
    if config.truncation == 1 and not config.bfloat16:
        return generator
    precision = torch.bfloat16 if config.bfloat16 else None
    return generator.variant(truncation=config.truncation, precision=precision)


def penalty_of(
    config: Config,
    generator: Generator,
    matrix: Tensor,
    pairs: Pairs,
    random: torch.Generator,
    check_deterministic: bool = True,
) -> Tensor:
    """The penalty of `config`'s method for A (d, m), at the pairs' coefficients shift·e_k.

    What is perturbed is the coefficients, all m of them, by Rademacher vectors from `random`.
    """
    penalty = METHODS[config.method].penalty
    reduction = {"reduction": config.reduction} if penalty is hessian_penalty else {}

    def image(coefficients: Tensor, codes: Tensor) -> Tensor:
        moved = Latents(codes + coefficients @ matrix.T, config.space)
        return generator.synthesize(moved, config.size)

    return penalty(
        image,
        pairs.coefficients(matrix.shape[1]),
        config.draws,
        config.epsilon,
        context=(pairs.latents.require(config.space),),
        seed=random,
        check_deterministic=check_deterministic,
        **reduction,
    )


def _check_start(config: Config, start: Editors | None) -> None:
    wanted = METHODS[config.method].second_stage
    if wanted and start is None:
        raise ValueError(
            f"{config.method} is a second stage: expected the directions of stage one (SDD) as "
            "start, given none."
        )
    if not wanted and start is not None:
        raise ValueError(f"{config.method} starts from a random A: expected no start, given one.")
    if start is not None and start.space != config.space:
        raise ValueError(
            f"{config.method}: expected a start in space {config.space!r}, given directions in "
            f"space {start.space!r}."
        )


def as_tensors(history: dict[str, list[float]]) -> dict[str, Tensor]:
    """Each curve as (steps,) float64."""
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in history.items()}
