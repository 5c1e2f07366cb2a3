"""Training StyleGAN2 with tiny settings: losses in closed form, resume bit for bit, NaN."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from facenb import train_stylegan2
from facenb.errors import FacenbError, UnknownNameError
from facenb.generators import pretrained as checkpoints
from facenb.generators.stylegan2_network import Layout, StyleGAN2Network
from facenb.latents import Latents
from facenb.storage.checkpoints import CheckpointError
from facenb.training.configs import CONFIGS, Config, load_config
from facenb.training.discriminator import Discriminator, with_deviation
from facenb.training.frechet import frechet_distance
from facenb.training.losses import path_lengths, r1_penalty
from facenb.training.pool import as_images, make_pool
from facenb.training.report import draw_curves, smoothed
from facenb.training.trainer import Trainer
from facenb.training.watch import Watch, save_grid

TINY = Config(
    name="tiny",
    layout=Layout((6, 5), z_dim=4, w_dim=4, mapping_layers=2),
    steps=6,
    batch=4,
    pool=16,
    r1_weight=0.1,
    r1_every=2,
    path_every=3,
    save_every=2,
    grid_every=3,
    distance_every=3,
)


class StubWatch:
    """Notes what it is shown; stops the training as a kill would, after the look at a step."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.grids = stop, []

    def grid(self, network: StyleGAN2Network, step: int) -> None:
        self.grids.append(step)
        if step == self.stop:
            raise KeyboardInterrupt

    def distance(self, network: StyleGAN2Network) -> float:
        return float(network.constant.sum())

    def floor(self) -> float:
        return 0.1


@pytest.fixture(scope="module")
def pool() -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8, generator=random)


def finished(config: Config, pool: Tensor, folder: Path, watch: StubWatch | None = None) -> Trainer:
    trainer = Trainer(config, pool, folder, watch or StubWatch())
    trainer.train()
    return trainer


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    modules = {"g": trainer.generator, "a": trainer.average, "d": trainer.discriminator}
    return {f"{m}.{k}": v for m, module in modules.items() for k, v in module.state_dict().items()}


def test_a_killed_training_resumes_bit_for_bit(pool: Tensor, tmp_path: Path) -> None:
    whole = finished(TINY, pool, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):  # at step 3: the checkpoint is that of step 2
        finished(TINY, pool, tmp_path / "killed", StubWatch(stop=3))
    torch.manual_seed(123)  # nothing may depend on torch's own state
    resumed = Trainer(TINY, pool, tmp_path / "killed", StubWatch())
    resumed.train()
    assert resumed.step == whole.step == 6
    for name, value in state_of(whole).items():
        assert torch.equal(value, state_of(resumed)[name]), name
    assert resumed.history == whole.history
    assert not any(bool(conv.noise_strength) for conv in whole.average.convs)
    assert len(whole.history["generator"]) == 6 and len(whole.history["r1"]) == 3
    assert len(whole.history["path"]) == 2 and whole.history["distance_step"] == [3, 6]


def test_a_longer_training_goes_on_from_a_shorter_one(pool: Tensor, tmp_path: Path) -> None:
    whole = finished(TINY, pool, tmp_path / "whole")
    finished(replace(TINY, steps=3), pool, tmp_path / "parts")
    longer = finished(TINY, pool, tmp_path / "parts")
    for name, value in state_of(whole).items():
        assert torch.equal(value, state_of(longer)[name]), name
    with pytest.raises(CheckpointError, match="gone further"):
        finished(replace(TINY, steps=2), pool, tmp_path / "parts")
    with pytest.raises(CheckpointError, match=r"rate: 0\.0025 in the checkpoint, 0\.1 given"):
        finished(replace(TINY, rate=0.1), pool, tmp_path / "parts")
    with pytest.raises(CheckpointError, match="pool"):
        finished(TINY, pool.flip(0), tmp_path / "parts")


def test_both_networks_learn_and_the_average_follows(pool: Tensor, tmp_path: Path) -> None:
    trainer = Trainer(TINY, pool, tmp_path)
    before = {name: value.clone() for name, value in state_of(trainer).items()}
    trainer.advance()
    moved = {n for n, v in state_of(trainer).items() if not torch.equal(v, before[n])}
    still = {n for n in before if n not in moved}
    assert all(n.endswith(("noise", "noise_strength", "w_avg")) for n in still), still
    kept = 0.5 ** (4 / (0.05 * 4))  # the half-life grows with what was seen
    for name, value in trainer.average.named_parameters():
        old, new = before[f"g.{name}"], trainer.generator.state_dict()[name]
        torch.testing.assert_close(value, kept * old + (1 - kept) * new)


def test_it_stops_at_nan(pool: Tensor, tmp_path: Path) -> None:
    trainer = finished(replace(TINY, steps=2), pool, tmp_path)
    trainer.config = TINY
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    with torch.no_grad():
        trainer.discriminator.logit.bias.fill_(math.nan)
    with pytest.raises(FacenbError, match=r"step 2.*discriminator nan.*checkpoint is that of st"):
        trainer.advance()
    for name, value in trainer.generator.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(FacenbError, match=r"discriminator is no longer finite \(logit.bias\)"):
        trainer._save()
    assert Trainer(TINY, pool, tmp_path).step == 0  # a new one, then resumed from the good one
    resumed = finished(TINY, pool, tmp_path)
    assert resumed.step == 6


def test_wrong_pools_and_settings_are_refused(pool: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"uint8 pictures \(P, 3, 8, 8\), given torch.float32"):
        Trainer(TINY, pool.float(), tmp_path)
    with pytest.raises(UnknownNameError, match="float16"):
        replace(TINY, precision="float16")
    with pytest.raises(UnknownNameError, match="cpu, gpu"):
        load_config("tpu")
    with pytest.raises(ValueError, match="at least 2"):
        replace(TINY, batch=1)


def test_r1_of_a_linear_discriminator_is_its_weights() -> None:
    weight = torch.randn(3, 4, 4)
    penalty = r1_penalty(lambda x: (x * weight).sum((1, 2, 3)), torch.randn(5, 3, 4, 4))
    torch.testing.assert_close(penalty, 0.5 * weight.square().sum())


def test_path_lengths_of_an_orthogonal_map() -> None:
    """images = a·w reshaped: ‖Jᵀy‖ = a·‖y‖, of expected square a²·d/(H·W)."""
    w = torch.randn(2000, 1, 12, requires_grad=True)
    images = 3 * w.reshape(2000, 3, 2, 2)
    lengths = path_lengths(images, w, torch.Generator().manual_seed(0))
    assert lengths.shape == (2000,)
    assert float(lengths.detach().square().mean()) == pytest.approx(9 * 12 / 4, rel=0.03)


def test_regularisers_differentiate_twice() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator((4, 4), precision=torch.float64).double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: discriminator(x), (images,), atol=1e-4)
    penalty = r1_penalty(discriminator, images.detach())
    weight = discriminator.blocks[0].down.weight
    (gradient,) = torch.autograd.grad(penalty, weight)
    step = torch.zeros_like(weight)
    step[0, 0, 1, 1] = 1e-5
    with torch.no_grad():
        weight += step
    after = r1_penalty(discriminator, images.detach())
    assert float((after - penalty).detach() / 1e-5) == pytest.approx(
        float(gradient[0, 0, 1, 1]), rel=1e-3
    )


def test_the_minibatch_deviation() -> None:
    x = torch.randn(8, 2, 3, 3)
    y = with_deviation(x)
    assert torch.equal(y[:, :2], x)
    group = x[[0, 2, 4, 6]]  # 8 pictures are two groups of four
    expected = (group.var(dim=0, correction=0) + 1e-8).sqrt().mean()
    torch.testing.assert_close(y[[0, 2, 4, 6], 2], expected.expand(4, 3, 3))
    same = with_deviation(torch.ones(4, 2, 3, 3))[:, 2]
    torch.testing.assert_close(same, torch.full_like(same, 1e-4))


def test_the_discriminator_starts_near_unit_variance() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator((64, 64, 32))
    x = torch.randn(64, 3, 16, 16)
    seen = []
    for block in discriminator.blocks:
        block.register_forward_hook(lambda m, a, out: seen.append(float(out.detach().std())))
    assert discriminator(x).shape == (64,)
    assert all(0.4 < s < 1.6 for s in seen), seen


def test_frechet_distance_of_normal_distributions() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=random, dtype=torch.float64)
    shift = torch.arange(6.0).double()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift.square().sum()))
    # Σ and 9Σ commute: Tr(Σ + 9Σ − 2·3Σ) = 4·Tr Σ, and the mean moves by 2μ
    expected = 4 * torch.cov(x.T).trace() + 4 * x.mean(0).square().sum()
    assert frechet_distance(x, 3 * x) == pytest.approx(float(expected))
    with pytest.raises(ValueError, match="N ≥ 2"):
        frechet_distance(x[:1], x)


class StubScores:
    """As many scores as `sample_scored` gives, the quality rising from −3 to 7."""

    def __init__(self, n: int) -> None:
        self.latents, self.quality = Latents(torch.arange(1.0, n + 1)[:, None], "z"), None
        self.quality = torch.linspace(-3, 7, n)

    def __getitem__(self, name: str) -> Tensor:
        assert name == "quality"
        return self.quality

    def select(self, index: Tensor) -> StubScores:
        chosen = StubScores(len(self.latents))
        chosen.latents = self.latents[index]
        return chosen


class StubGenerator:
    name, resolution, device, fingerprint = "stub", 8, "cpu", "abc"

    def synthesize(self, latents: Latents) -> Tensor:
        value = (latents.values / 127.5 - 1)[..., None, None].expand(-1, 3, 8, 8).clone()
        value[:, :, ::2] += 0.01  # averages out over squares with the next line
        value[:, :, 1::2] -= 0.01
        return value


def test_the_pool_leaves_out_what_the_gate_rejects(monkeypatch) -> None:
    monkeypatch.setattr("facenb.training.pool.sample_scored", lambda g, s, n, seed: StubScores(n))
    found = make_pool(StubGenerator(), None, 101, 4)
    assert found.dtype == torch.uint8 and found.shape[1:] == (3, 4, 4)
    # quality −3 + 0.1·i above 2.1972: samples 52 … 100, whose pixels are 53 … 101
    assert found[:, 0, 0, 0].tolist() == list(range(53, 102))
    torch.testing.assert_close(as_images(found, torch.device("cpu"))[0, 0, 0, 0],
                               torch.tensor(53 / 127.5 - 1))  # fmt: skip
    with pytest.raises(ValueError, match="divides 8, given 3"):
        make_pool(StubGenerator(), None, 10, 3)
    with pytest.raises(FacenbError, match="none of 10"):
        monkeypatch.setattr("facenb.training.pool.QUALITY_GATE", 8.0)
        make_pool(StubGenerator(), None, 10, 4)


class StubIdentity:
    """Features that are the mean colour."""

    mean = torch.zeros(3)

    def net(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_the_watch_draws_the_same_codes_every_time(pool: Tensor, tmp_path: Path) -> None:
    from PIL import Image

    torch.manual_seed(0)
    network = StyleGAN2Network(TINY.layout).requires_grad_(False)
    watch = Watch(pool, StubIdentity(), tmp_path, samples=8)
    assert watch.distance(network) == watch.distance(network) > 0
    first = watch.grid(network, 7)
    assert first.name == "grid_000007.png"
    with Image.open(first) as picture:
        assert picture.size == (12 * 8 * 2, 8 * 8 * 2)
    assert watch.grid(network, 8).read_bytes() == first.read_bytes()
    real = as_images(pool, torch.device("cpu")).mean((2, 3))
    assert watch.floor() == pytest.approx(frechet_distance(real[:8], real[8:]))


def test_a_grid_has_its_pictures_in_reading_order(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    images = torch.linspace(-1, 1, 6)[:, None, None, None].expand(-1, 3, 2, 2)
    save_grid(images, tmp_path / "g.png", columns=3, scale=1)
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture)[::2, ::2, 0]
    assert pixels.tolist() == [[0, 51, 102], [153, 204, 255]]


def test_what_is_exported_loads_as_a_generator(pool: Tensor, tmp_path: Path) -> None:
    trainer = finished(TINY, pool, tmp_path)
    path = tmp_path / "tiny.safetensors"
    train_stylegan2.export(trainer, path)
    generator = checkpoints.load(path, "tiny")
    w = generator.sample(3, space="w")
    expected = trainer.average.synthesize(w.values)
    torch.testing.assert_close(generator.network.synthesize(w.values), expected, atol=5e-3, rtol=0)
    z = generator.sample(4096)
    torch.testing.assert_close(
        generator.network.w_avg, generator.map(z, "w").values.mean(0), atol=0.05, rtol=0
    )
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert facts["steps"] == 6 and facts["pictures"] == 24 and facts["hardware"] == "cpu"
    assert facts["configuration"]["rate"] == 0.0025


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    names = ("generator", "discriminator", "logit_real", "logit_fake")
    history = {name: [1.0] * 250 for name in names}
    history |= {"distance": [2.0, 1.0], "distance_step": [100, 250]}
    draw_curves(history, TINY, 0.5, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes()[1:4] == b"PNG"
    assert smoothed([1.0] * 100 + [3.0] * 50) == [1.0, 3.0]


def test_the_configurations_say_their_resolution() -> None:
    for config in CONFIGS.values():
        assert config.name == f"facenb-stylegan2-{config.layout.resolution}"
