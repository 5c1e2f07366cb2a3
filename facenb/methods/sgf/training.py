"""Training of the auxiliary mapping by reconstruction (Li et al., 2021, §3.2), resumable."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from facenb.errors import FacenbError, unknown
from facenb.methods.sgf.mapping import AuxiliaryMapping
from facenb.parallel import one_thread
from facenb.seeds import random_for
from facenb.storage.cache import folder
from facenb.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint

_VERSION = 2  # raise when a change here, or in the mapping, alters what is learned
_EVERY = 500  # steps from checkpoint to checkpoint


@dataclass(frozen=True)
class MappingConfig:
    """What decides a trained mapping.

    The paper's own numbers of pairs, steps, batch and learning rate are lost. "paper" has those
    that both public re-implementations agree on, or the smaller of theirs (reimplementation
    consensus: 6 blocks in Z and 15 in W, 100,000 pairs or more, 25 epochs of batch 8, Adam at 2e-4,
    LeakyReLU 0.2, a learning rate that falls by 0.998 an epoch).

    Args:
        layers: n blocks; 6 for Z, 15 for W.
        components: F works in the coordinates of so many principal axes of the latents, and edits
            stay within their span. None, as in the paper: in the latents themselves.
        modulation, coefficient: see `AuxiliaryMapping`.
        noise: standard deviation of noise that is added to z at the input, and not to what is
            reconstructed. 0 in the paper; with noise F cannot copy z and has to read c.
        steps, batch, learning_rate: of Adam.
        decay: the fraction of the learning rate that is left at the end; it falls exponentially.
        seed: of the weights, the batches and the noise.
    """

    layers: int = 6
    components: int | None = None
    modulation: str = "feature"
    coefficient: float = 1.0
    noise: float = 0.0
    steps: int = 3000
    batch: int = 256
    learning_rate: float = 2e-3
    decay: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.noise < 0:
            raise ValueError(
                "MappingConfig: expected steps ≥ 1, batch ≥ 1 and noise ≥ 0, "
                f"given {self.steps}, {self.batch} and {self.noise}."
            )
        if not self.learning_rate > 0 or not 0 < self.decay <= 1:
            raise ValueError(
                "MappingConfig: expected learning_rate > 0 and 0 < decay ≤ 1, given "
                f"{self.learning_rate} and {self.decay}."
            )


CONFIGS = {
    "smoke": MappingConfig(layers=3, steps=150, batch=64, learning_rate=4e-3),
    "laptop": MappingConfig(),
    "paper": MappingConfig(steps=312_500, batch=8, learning_rate=2e-4, decay=0.95),
}


def load_config(profile: str, space: str = "z") -> MappingConfig:
    """The configuration of a profile; UnknownNameError lists the known ones.

    In "w" there are 15 blocks, as in the paper; but in "paper" they work in 128 principal
    coordinates, which hold 88 % of the variance of StyleGAN2-FFHQ's W and take a sixteenth of the
    time.
    """
    if profile not in CONFIGS:
        raise unknown("profile", profile, CONFIGS)
    config = CONFIGS[profile]
    if space != "w":
        return config
    return replace(config, layers=15, components=None if profile == "paper" else 128)


def train_mapping(
    config: MappingConfig,
    values: Tensor,
    conditions: Tensor,
    checkpoint: str | PathLike[str] | None = None,
) -> tuple[AuxiliaryMapping, Tensor]:
    """F with F(z, c) ≈ z in the mean square, and the loss (steps,) on the way.

    Args:
        values: (N, d) latents.
        conditions: (N, C), standardised.
        checkpoint: a file to keep the state in. A run that was stopped goes on from it, bit for
            bit; one that had ended is read back at once. One of another configuration or other data
            is refused.

    Raises:
        FacenbError: the loss is not finite.
        CheckpointError: the checkpoint belongs to another run.
    """
    mapping = AuxiliaryMapping(
        values.shape[1],
        conditions.shape[1],
        config.layers,
        config.modulation,
        config.coefficient,
        config.seed,
    ).to(values)
    mapping.train()
    optimiser = torch.optim.Adam(mapping.parameters(), lr=config.learning_rate, fused=True)
    identity = run_identity(config, values, conditions)
    losses: list[float] = []
    if checkpoint is not None and (state := load_checkpoint(checkpoint, identity)):
        mapping.load_state_dict(state["mapping"])
        optimiser.load_state_dict(state["optimiser"])
        losses = state["losses"].tolist()
    bar = tqdm(total=config.steps, initial=len(losses), desc="mapping F", unit="step", leave=False)
    with bar, one_thread():
        for step in range(len(losses), config.steps):
            losses.append(_advance(mapping, optimiser, config, values, conditions, step))
            bar.update()
            if (step + 1) % _EVERY == 0 or step + 1 == config.steps:
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                if checkpoint is not None:
                    _save(checkpoint, identity, mapping, optimiser, losses)
    mapping.requires_grad_(False).eval()
    return mapping, torch.tensor(losses, dtype=torch.float64)


def run_identity(config: MappingConfig, values: Tensor, conditions: Tensor) -> dict[str, object]:
    """What decides a training: a checkpoint of anything else is refused."""
    return asdict(config) | {"version": _VERSION, "data": _digest(values, conditions)}


def checkpoint_of(config: MappingConfig, values: Tensor, conditions: Tensor) -> Path:
    """Where the cache keeps the state of this training: what was interrupted goes on."""
    return folder("sgf", run_identity(config, values, conditions)).with_suffix(".checkpoint")


def _advance(
    mapping: AuxiliaryMapping,
    optimiser: torch.optim.Optimizer,
    config: MappingConfig,
    values: Tensor,
    conditions: Tensor,
    step: int,
) -> float:
    """One step of the optimiser on one batch; the loss, mean over samples and dimensions."""
    random = random_for(config.seed, "sgf", step)
    rows = torch.randint(len(values), (config.batch,), generator=random).to(values.device)
    target = source = values[rows]
    if config.noise:
        noise = torch.randn(source.shape, generator=random).to(values)
        source = source + config.noise * noise
    loss = (mapping(source, conditions[rows]) - target).square().mean()
    found = float(loss.detach())
    if not math.isfinite(found):
        raise FacenbError(
            f"SGF: the reconstruction loss is not finite at step {step}. A learning rate that is "
            f"too high is the usual cause: given {config.learning_rate:g}."
        )
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate * config.decay ** (step / config.steps)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return found


def _save(
    path: str | PathLike[str],
    identity: dict[str, object],
    mapping: AuxiliaryMapping,
    optimiser: torch.optim.Optimizer,
    losses: list[float],
) -> None:
    state = {
        "mapping": mapping.state_dict(),
        "optimiser": optimiser.state_dict(),
        "losses": torch.tensor(losses, dtype=torch.float64),
    }
    if any(not torch.isfinite(t).all() for t in state["mapping"].values()):
        raise CheckpointError(f"{path}: the mapping is no longer finite; it was not saved.")
    save_checkpoint(path, identity, state)


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
