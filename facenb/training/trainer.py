"""The training loop of StyleGAN2: one state, its steps, its checkpoints."""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from facenb.errors import FacenbError
from facenb.generators.stylegan2_network import StyleGAN2Network
from facenb.seeds import random_for
from facenb.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from facenb.training.configs import Config
from facenb.training.discriminator import Discriminator
from facenb.training.losses import discriminator_loss, generator_loss, path_lengths, r1_penalty
from facenb.training.pool import as_images
from facenb.training.watch import Watch

_VERSION = 2  # raise when a change here alters what is learned
_PATH_DECAY = 0.01  # of the running mean of path lengths
_RECENT = 100  # steps that the progress bar averages over


class Trainer:
    """The state of one training: what a checkpoint holds, and the steps that change it.

    Everything random comes from the seed and the number of the step, so that a training that was
    killed goes on with the same numbers: on a CPU with as many threads, bit for bit.

    Args:
        config: what to train.
        pool: uint8 (P, 3, R, R), the training pictures.
        folder: where the checkpoint, the grids and the curves go.
        watch: looks at the averaged generator now and then.

    Attributes:
        generator, average, discriminator: the networks; `average` is the running mean to keep.
        history: name → values, one a step, or [step, value] pairs for what is measured rarely.
    """

    def __init__(
        self,
        config: Config,
        pool: Tensor,
        folder: Path,
        watch: Watch | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        _check_pool(pool, config)
        self.config, self.pool, self.watch = config, pool, watch
        self.device, self.checkpoint = torch.device(device), Path(folder) / "training.ckpt"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = StyleGAN2Network(config.layout, config.dtype).to(self.device)
            self.discriminator = Discriminator(config.layout.channels, config.dtype).to(self.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.average.precision = torch.float32
        self.optimisers = {
            "generator": _adam(self.generator, config.rate, config.path_every),
            "discriminator": _adam(self.discriminator, config.rate, config.r1_every),
        }
        self.path_mean = torch.zeros((), device=self.device)
        self.history: dict[str, list[float]] = {}
        self.step, self.saved = 0, None
        # not `steps`: where a run ends does not change what it does before
        shape = asdict(config.layout) | {"channels": list(config.layout.channels)}
        rest = {k: v for k, v in asdict(config).items() if k not in ("steps", "layout")}
        digest = hashlib.sha256(pool.numpy().tobytes()).hexdigest()
        self.identity = {**rest, **shape, "version": _VERSION, "pool": digest}

    def train(self) -> None:
        """All steps that are left, with a progress bar."""
        self._resume()
        config = self.config
        bar = tqdm(total=config.steps, initial=self.step, desc=config.name, unit="step")
        with bar:
            while self.step < config.steps:
                self.advance()
                bar.set_postfix(self._recent(), refresh=False)
                bar.update()
                self._look()
                if self.step % config.save_every == 0 or self.step == config.steps:
                    self._save()

    def advance(self) -> None:
        """One step of both optimisers; neither is taken with a loss that is not finite.

        The pictures that the discriminator learns from are those that the generator is then judged
        by: drawing others would cost a fifth of the time.
        """
        random = self._random()
        fake = self._pictures(self._codes(self.config.batch, random))
        values = self._train_discriminator(fake.detach()) | self._train_generator(fake, random)
        self._update_average()
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        self.step += 1

    def _train_discriminator(self, fake: Tensor) -> dict[str, float]:
        config = self.config
        index = torch.randint(len(self.pool), (config.batch,), generator=self._random("pool"))
        real = as_images(self.pool[index], self.device)
        self.discriminator.requires_grad_(True)
        on_real, on_fake = self.discriminator(real), self.discriminator(fake)
        terms = {"discriminator": discriminator_loss(on_real, on_fake)}
        loss = terms["discriminator"]
        if self.step % config.r1_every == 0:
            terms["r1"] = r1_penalty(self.discriminator, real)
            loss = loss + config.r1_weight * config.r1_every * terms["r1"]
        terms |= {"logit_real": on_real.mean(), "logit_fake": on_fake.mean()}
        return self._optimise("discriminator", loss, terms)

    def _train_generator(self, fake: Tensor, random: torch.Generator) -> dict[str, float]:
        config = self.config
        self.discriminator.requires_grad_(False)
        terms = {"generator": generator_loss(self.discriminator(fake))}
        loss, mean = terms["generator"], self.path_mean
        if self.step % config.path_every == 0:
            w = self._codes(max(config.batch // 2, 1), random)
            lengths = path_lengths(self._pictures(w), w, random)
            mean = mean.lerp(lengths.detach().mean(), _PATH_DECAY if self.step else 1.0)
            terms["path"] = (lengths - mean).square().mean()
            loss = loss + config.path_weight * config.path_every * terms["path"]
        values = self._optimise("generator", loss, terms)
        self.path_mean = mean
        return values

    def _optimise(self, name: str, loss: Tensor, terms: dict[str, Tensor]) -> dict[str, float]:
        values = {key: float(term.detach()) for key, term in terms.items()}
        if not all(map(math.isfinite, values.values())):
            parts = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            raise self._stopped(f"a loss of the {name} is not finite ({parts})")
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return values

    def _codes(self, n: int, random: torch.Generator) -> Tensor:
        """w+ (n, L, w) with style mixing (Karras et al., 2019, §3.1)."""
        layout = self.config.layout
        z = torch.randn(2 * n, layout.z_dim, device=self.device, generator=random)
        first, second = self.generator.map(z).chunk(2)
        draw = torch.rand(2, n, 1, 1, device=self.device, generator=random)
        cut = 1 + (draw[0] * (layout.w_layers - 1)).floor()  # the first layer of the second code
        cut = torch.where(draw[1] < self.config.mixing, cut, layout.w_layers)
        layer = torch.arange(layout.w_layers, device=self.device)[None, :, None]
        return torch.where(layer < cut, first[:, None], second[:, None])

    def _pictures(self, w: Tensor) -> Tensor:
        """Pictures of w+, without noise, whose strengths stay 0: a code decides its picture.

        A first training had noise, as published. After 3,000 steps of "cpu" it covered faces with
        blotches that were gone when it was left out.
        """
        return self.generator.synthesize(w, [None] * len(self.generator.convs))

    @torch.no_grad()
    def _update_average(self) -> None:
        config = self.config
        seen = (self.step + 1) * config.batch
        half_life = min(config.half_life, 0.05 * seen)  # the first weights are soon forgotten
        kept = 0.5 ** (config.batch / max(half_life, 1e-8))
        average, now = list(self.average.parameters()), list(self.generator.parameters())
        torch._foreach_lerp_(average, now, 1 - kept)

    def _random(self, stream: str = "training") -> torch.Generator:
        """The random numbers of this step, on the device; indices into the pool on the CPU."""
        random = random_for(self.config.seed, stream, self.step)
        if stream == "pool" or self.device.type == "cpu":
            return random
        return torch.Generator(self.device).manual_seed(random.initial_seed())

    def _look(self) -> None:
        if self.watch is None:
            return
        config, step = self.config, self.step
        if step % config.grid_every == 0 or step == config.steps:
            self.watch.grid(self.average, step)
        if step % config.distance_every == 0 or step == config.steps:
            distance = self.watch.distance(self.average)
            self.history.setdefault("distance", []).append(distance)
            self.history.setdefault("distance_step", []).append(step)
            tqdm.write(f"step {step}: recognition distance {distance:.4f} {self._recent()}")

    def _recent(self) -> dict[str, str]:
        names = ("discriminator", "generator", "r1", "path")
        recent = {name: self.history.get(name, [])[-_RECENT:] for name in names}
        return {name: f"{sum(v) / len(v):.3g}" for name, v in recent.items() if v}

    def _stopped(self, why: str) -> FacenbError:
        good = "No checkpoint was kept"
        if self.saved is not None:
            good = f"The last good checkpoint is that of step {self.saved}, {self.checkpoint}"
        return FacenbError(
            f"{self.config.name} stopped at step {self.step}: {why}. {good}. Lower rate (given "
            f"{self.config.rate:g}) or raise r1_weight (given {self.config.r1_weight:g})."
        )

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.identity)
        if not state:
            return
        if state["step"] > self.config.steps:
            raise CheckpointError(
                f"{self.checkpoint} has gone further than was asked (steps: {state['step']} in the "
                f"checkpoint, {self.config.steps} given). Raise steps, or name another folder."
            )
        for name, module in self._modules().items():
            module.load_state_dict(state[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[f"{name}_optimiser"])
        self.path_mean = state["path_mean"].to(self.device)
        self.history = {name: values.tolist() for name, values in state["history"].items()}
        self.step = self.saved = state["step"]

    def _save(self) -> None:
        modules = {name: module.state_dict() for name, module in self._modules().items()}
        for name, values in modules.items():
            if bad := [key for key, value in values.items() if not value.isfinite().all()]:
                raise self._stopped(f"the {name} is no longer finite ({bad[0]})")
        curves = {k: torch.tensor(v, dtype=torch.float64) for k, v in self.history.items()}
        optimisers = {f"{k}_optimiser": v.state_dict() for k, v in self.optimisers.items()}
        state = {"step": self.step, "path_mean": self.path_mean, "history": curves}
        save_checkpoint(self.checkpoint, self.identity, state | modules | optimisers)
        self.saved = self.step

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
        }


def _adam(module: nn.Module, rate: float, every: int) -> torch.optim.Adam:
    """Adam for a loss with a regulariser every so many steps (Karras et al., 2020, appendix B).

    Rate and decay are those of one step more in as many: rate·c and β^c, c = every/(every + 1).
    """
    c = every / (every + 1)
    betas = (0.0, 0.99**c)
    return torch.optim.Adam(module.parameters(), rate * c, betas, eps=1e-8, fused=True)


def _check_pool(pool: Tensor, config: Config) -> None:
    side = config.layout.resolution
    if pool.dtype != torch.uint8 or pool.ndim != 4 or pool.shape[1:] != (3, side, side):
        raise ValueError(
            f"pool: expected uint8 pictures (P, 3, {side}, {side}), given {pool.dtype} "
            f"{tuple(pool.shape)}."
        )
