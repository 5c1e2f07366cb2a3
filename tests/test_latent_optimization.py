"""Plain latent-code optimisation: the baseline of Li et al. 2021, appendix A."""

from __future__ import annotations

import pytest
import torch

from facenb import Latents, load_generator, load_scorers
from facenb.methods.latent_optimization import optimise_latents
from facenb.methods.sgf import ALREADY_MET, DIVERGED, OUT_OF_STEPS, REACHED

MIX = torch.eye(2, 6) + 0.5 * torch.eye(2, 6).roll(1, 1)
MEAN, SCALE = torch.zeros(2), torch.ones(2)


def world(z: torch.Tensor) -> torch.Tensor:
    return z @ MIX.T


def start(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    codes = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return codes, world(codes)


def test_the_first_step_of_adam_is_the_learning_rate_against_the_gradient():
    codes, before = start()
    target = before + torch.tensor([1.0, 0.0])
    found = optimise_latents(
        codes, before, target, world, MEAN, SCALE, learning_rate=0.1, max_steps=1
    )
    gradient = torch.tensor([-1.0, 0.0]) @ MIX
    assert torch.allclose(found.latents, codes - 0.1 * gradient.sign(), atol=1e-5)


def test_it_is_what_torch_s_adam_does():
    codes, before = start(3)
    target = before + torch.tensor([3.0, -3.0])
    found = optimise_latents(
        codes, before, target, world, MEAN, SCALE, learning_rate=0.05, max_steps=8
    )
    z = codes.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=0.05)
    for _ in range(8):
        adam.zero_grad()
        (world(z) - target).square().mean(dim=1).sum().backward()
        adam.step()
    assert set(found.status) == {OUT_OF_STEPS}
    assert torch.allclose(found.latents, z.detach(), atol=1e-5)


def test_statuses_and_independence():
    codes, before = start(4)
    target = before + torch.tensor([0.6, 0.0])
    target[1] = before[1]
    target[2] += 1e4
    together = optimise_latents(
        codes, before, target, world, MEAN, SCALE, learning_rate=0.2, max_steps=60, limit=10.0
    )
    assert together.status == (REACHED, ALREADY_MET, DIVERGED, REACHED)
    assert torch.equal(together.latents[1], codes[1])
    assert together.latents.norm(dim=1).max() <= 10
    for i in range(4):
        row = slice(i, i + 1)
        alone = optimise_latents(
            codes[row], before[row], target[row], world, MEAN, SCALE, 0.2, 60, limit=10.0
        )
        assert torch.allclose(alone.latents, together.latents[row], atol=1e-5)
        assert alone.steps[0] == together.steps[i]


def test_units_do_not_matter():
    codes, before = start(3)
    target = before + torch.tensor([1.0, 0.0])
    units = torch.tensor([100.0, 0.01])
    plain = optimise_latents(codes, before, target, world, MEAN, SCALE, max_steps=5)
    scaled = optimise_latents(
        codes, before * units, target * units, lambda z: world(z) * units, MEAN, units, max_steps=5
    )
    assert torch.allclose(plain.latents, scaled.latents, atol=1e-4)


def test_on_the_generator_it_finds_brightness():
    generator = load_generator("digiface-dcgan-64")
    scorers = load_scorers("light", generator.framing)
    latents = generator.sample(6, seed=3)

    def look(z: torch.Tensor) -> torch.Tensor:
        return scorers(generator.synthesize(Latents(z, "z")))

    before = look(latents.values)
    target = before + torch.tensor([0.15, 0.0])
    mean, scale = before.mean(0), torch.tensor([0.1, 0.05])
    found = optimise_latents(latents.values, before, target, look, mean, scale, max_steps=30)
    assert found.counts()[REACHED] == 6
    assert (look(found.latents) - before)[:, 0].min() > 0.12


def test_errors():
    codes, before = start(2)
    with pytest.raises(ValueError, match=r"a target \(N, C\), given .* and \(2, 1\)"):
        optimise_latents(codes, before, before[:, :1], world, MEAN, SCALE)
    with pytest.raises(ValueError, match="target: expected finite"):
        optimise_latents(codes, before, before * torch.nan, world, MEAN, SCALE)
    with pytest.raises(ValueError, match="no gradient"):
        optimise_latents(codes, before, before + 1, lambda z: world(z).detach(), MEAN, SCALE)
