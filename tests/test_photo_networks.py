"""What is learned from pictures: the shared loop, an encoder with its decoder, distilled edits."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.drawing import images_of
from facenb.errors import UnknownNameError
from facenb.latents import Latents
from facenb.methods.interfacegan import InterFaceGAN
from facenb.photos.budget import Spent, learn, spend
from facenb.photos.distill import Distilled, ImageToImage, distill, distill_from
from facenb.photos.encoder_decoder import (
    EncoderDecoder,
    encoder_afterwards,
    learn_from,
    train_together,
)
from facenb.sampling import ScoredSamples
from facenb.storage import cache


def blobs(n: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Discs of a brightness, a place and a size: images (N, 3, S, S), and the three numbers."""
    facts = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    line = torch.linspace(-1, 1, side)
    bright, across, large = (column[:, None, None] for column in facts.T)
    far = torch.hypot(line[:, None].expand(n, -1, -1), line - 0.5 * across)
    disc = torch.sigmoid(20 * (0.5 + 0.2 * large - far)) * (0.5 + 0.5 * bright)
    return (disc - 0.5)[:, None].repeat(1, 3, 1, 1), facts


# --- the loop


def test_a_budget_of_steps_counts_earlier_ones_and_tells_how_far_it_is():
    seen, spent = [], Spent()

    def step(done: float) -> float:
        seen.append(done)
        return 0.0

    spend("x", step, spent, steps=2, quiet=True)
    spend("x", step, spent, steps=5, quiet=True)
    assert seen == [0, 0.5, 0.4, 0.6, 0.8] and spent.steps == 5
    spend("x", step, spent, steps=5, quiet=True)
    assert spent.steps == 5 and spent.seconds >= 0


def test_a_budget_of_seconds_leaves_out_what_comes_after_a_step():
    clock, spent, after = iter(range(100)), Spent(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facenb.photos.budget.time.monotonic", lambda: float(next(clock)))
        spend("x", lambda _: 0.0, spent, seconds=3, after=lambda: after.append(next(clock)),
              quiet=True)  # fmt: skip
    assert spent == Spent(3, 3.0) and len(after) == 3


def test_an_interrupt_or_stop_ends_it():
    stop, spent = threading.Event(), Spent()

    def interrupted(done: float) -> float:
        if spent.steps == 3:
            raise KeyboardInterrupt
        return done

    spend("x", interrupted, spent, steps=10, quiet=True)
    assert spent.steps == 3
    stop.set()
    spend("x", lambda _: 0.0, spent, steps=10, stop=stop, quiet=True)
    assert spent.steps == 4


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "seconds": 1.0}])
def test_a_budget_is_steps_or_seconds(budget):
    with pytest.raises(ValueError, match="x: expected either seconds or steps"):
        spend("x", lambda _: 0.0, Spent(), **budget)
    with pytest.raises(ValueError, match="above 0, given 0"):
        spend("x", lambda _: 0.0, Spent(), steps=0)


def test_learning_finds_a_minimum_and_depends_on_its_seed_alone():
    def run(seed: int) -> Tensor:
        x = torch.nn.Parameter(torch.zeros(3))
        target = torch.tensor([1.0, -2.0, 0.5])

        def loss(random: torch.Generator) -> Tensor:
            return (x - target + 0.01 * torch.randn(3, generator=random)).square().sum()

        learn("x", [x], loss, 300, 0.05, seed, quiet=True)
        torch.testing.assert_close(x.detach(), target, atol=0.02, rtol=0)
        return x.detach()

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


# --- an encoder and a decoder


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    return train_together(blobs(512, 64)[0], steps=100, quiet=True)


def test_what_was_not_seen_comes_back(model):
    images, _ = blobs(64, 64, seed=9)
    again = model.synthesize(model.encode(images))
    left = (again - images).square().mean() / (images - images.mean(0)).square().mean()
    assert left < 0.25
    # images of any multiple of 64 are taken
    large = F.interpolate(images[:2], (128, 128))
    torch.testing.assert_close(model.encode(large).values, model.encode(images[:2]).values)


def test_the_invertible_map_gives_standard_latents_and_goes_back(model):
    z = model.encode(blobs(512, 64)[0]).values
    assert z.mean(0).abs().max() < 1e-2
    torch.testing.assert_close(model.whiten @ model.colour, torch.eye(128), atol=1e-2, rtol=0)
    kept = torch.linalg.eigvalsh(torch.cov(z.T))
    assert kept[-1] < 1.05 and kept[-3] > 0.95  # the three numbers that there are, at least


def test_its_latents_have_boundaries(model):
    images, facts = blobs(512, 64, seed=3)
    samples = ScoredSamples(model.encode(images), facts, ("bright", "across", "large"))
    found = InterFaceGAN(confident=0.25).fit(model, samples)
    assert found.boundaries_["bright"].accuracy_["validation"] > 0.95
    codes = model.encode(images[:8])
    edited = found.editors()["bright"].edit(codes, 2.0)
    change = (model.synthesize(edited) - model.synthesize(codes)).mean((1, 2, 3))
    assert (change > 0).all()


def test_an_encoder_learned_afterwards_belongs_to_the_same_decoder(model):
    other = encoder_afterwards(model, steps=80, quiet=True)
    assert other.fingerprint != model.fingerprint
    z = model.sample(4, seed=1)
    assert torch.equal(other.synthesize(z), model.synthesize(z))
    drawn = model.synthesize(model.sample(64, seed=2))
    untrained = encoder_afterwards(model, steps=1, quiet=True)
    truth = model.sample(64, seed=2).values
    errors = [(e.encode(drawn).values - truth).square().mean() for e in (other, untrained)]
    assert errors[0] < errors[1]


def test_it_is_frozen_saved_and_refuses_other_images(model):
    assert not any(p.requires_grad for p in model.parameters())
    again = EncoderDecoder(model.state_dict())
    assert again.fingerprint == model.fingerprint
    with pytest.raises(ValueError, match="multiple of 64"):
        model.encode(torch.zeros(1, 3, 100, 100))


def test_what_was_learned_from_a_generator_is_kept(tmp_path, monkeypatch, model):
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)
    latents = model.sample(16, seed=5)
    first = learn_from(model, latents, steps=4)
    monkeypatch.setattr("facenb.photos.encoder_decoder.train_together", None)
    second = learn_from(model, latents, steps=4)
    assert [m.fingerprint for m in first[:2]] == [m.fingerprint for m in second[:2]]
    assert torch.equal(first[2].values, second[2].values)
    again = first[0].encode(images_of(model, latents, 64)).values
    torch.testing.assert_close(again, first[2].values)


# --- distilled edits


def test_an_edit_of_pixels_is_learned_and_interpolated():
    before, _ = blobs(48, 128)
    blue = torch.tensor([0, 0, 0.2])[:, None, None]
    after = {"darker": before * 0.5 - 0.25, "blue": (before + blue).clamp(-1, 1)}
    found = distill(before, after, steps=50, quiet=True)
    unseen, _ = blobs(8, 128, seed=4)
    plain = found("darker", unseen, 0.0)
    assert (plain - unseen).abs().mean() < 0.04
    assert torch.equal(plain, found("blue", unseen, 0.0))  # both begin at the identity
    full = found("darker", unseen)
    assert (full - (unseen * 0.5 - 0.25)).abs().mean() < 0.04
    half = found("darker", unseen, 0.5).mean()
    assert min(plain.mean(), full.mean()) < half < max(plain.mean(), full.mean())
    with pytest.raises(UnknownNameError, match="distilled edit 'green'"):
        found("green", unseen)
    with pytest.raises(ValueError, match="128, 128"):
        found("blue", torch.zeros(1, 3, 64, 64))


def test_interpolated_weights_are_those_of_the_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = ImageToImage(), ImageToImage()
    found = Distilled({"identity": first.state_dict(), "x": second.state_dict()})
    images, _ = blobs(2, 128)
    middle = ImageToImage()
    pairs = zip(middle.parameters(), first.parameters(), second.parameters(), strict=True)
    with torch.no_grad():
        for parameter, a, b in pairs:
            parameter.copy_(0.75 * a + 0.25 * b)
        expected = middle(images).clamp(-1, 1)
    torch.testing.assert_close(found("x", images, 0.25), expected)


def test_pairs_of_a_generator_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)

    class Twice:
        fingerprint, device = "twice", torch.device("cpu")

        def synthesize(self, latents: Latents, size: int) -> Tensor:
            return latents.values.tanh()[:, :1, None, None].expand(-1, 3, size, size)

    class Add:
        def edit(self, latents: Latents, strength: float) -> Latents:
            return latents + strength

    latents = Latents(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), "w")
    first = distill_from(Twice(), {"up": (Add(), 0.1)}, latents, steps=2)
    monkeypatch.setattr("facenb.photos.distill._learn", None)
    again = distill_from(Twice(), {"up": (Add(), 0.1)}, latents, steps=2)
    assert set(again.states) == {"identity", "up"}
    for name, weight in first.states["up"].items():
        assert torch.equal(again.states["up"][name], weight)
    with pytest.raises(TypeError):  # of another strength it is another edit
        distill_from(Twice(), {"up": (Add(), 0.2)}, latents, steps=2)
