"""Scored sampling: killed work resumes, damaged work is redone, results never differ."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from facenb.drawing import draw
from facenb.editors import LinearEditor
from facenb.errors import UnknownNameError
from facenb.sampling import PART, sample_scored, score, score_edits, score_paths
from facenb.storage import cache

# A generator and a suite small enough to run in no time; the same file is run as a program below,
# so that a process can be killed in the middle of its work.
PROGRAM = """
import sys, threading, time
import torch
from torch import nn
from facenb.generators.base import Generator
from facenb.sampling import sample_scored

class Tiny(Generator):
    name, resolution, latent_dim, spaces, fingerprint = "tiny", 4, 8, ("z",), "tiny-1"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.to_image = nn.Linear(8, 48)
        self.freeze()
    def _synthesize(self, latents):
        return self.to_image(latents.values).tanh().view(-1, 3, 4, 4)

class Suite(nn.Module):
    names, fingerprint, delay, seen = ("mean", "first"), "suite-1", 0.0, 0
    lock = threading.Lock()
    def forward(self, images):
        time.sleep(self.delay)
        with self.lock:  # batches come from every core
            self.seen += len(images)
        return torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0]], dim=1)

if __name__ == "__main__":
    suite = Suite()
    suite.delay = 0.05
    sample_scored(Tiny(), suite, int(sys.argv[1]), seed=7)
"""
_tiny: dict = {"__name__": "tiny"}
exec(PROGRAM, _tiny)
Tiny, Suite = _tiny["Tiny"], _tiny["Suite"]
N = 5 * PART + 100


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    return tmp_path


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("steps/scores/*/0*.safetensors"))


def test_scores_are_those_of_the_images(own_cache):
    generator, suite = Tiny(), Suite()
    samples = sample_scored(generator, suite, N, seed=7)
    assert torch.equal(samples.latents.values, generator.sample(N, 7).values)
    assert torch.allclose(samples.scores, suite(generator.synthesize(samples.latents)), atol=1e-6)
    assert torch.equal(samples["first"], samples.scores[:, 1])
    assert len(samples.select(samples["mean"] > 0)) == int((samples["mean"] > 0).sum())
    with pytest.raises(UnknownNameError, match="Known: mean, first"):
        samples["smile"]


def test_a_second_run_scores_nothing_and_a_larger_one_only_what_is_new(own_cache):
    generator, suite = Tiny(), Suite()
    first = sample_scored(generator, suite, 2 * PART, seed=7)
    suite.seen = 0
    assert torch.equal(sample_scored(generator, suite, 2 * PART, seed=7).scores, first.scores)
    assert suite.seen == 0
    more = sample_scored(generator, suite, 3 * PART, seed=7)
    assert suite.seen == PART
    assert torch.equal(more.scores[: 2 * PART], first.scores)


def test_another_seed_or_suite_is_another_entry(own_cache):
    generator, suite = Tiny(), Suite()
    first = sample_scored(generator, suite, 100, seed=7)
    assert not torch.equal(sample_scored(generator, suite, 100, seed=8).scores, first.scores)
    suite.seen, suite.fingerprint = 0, "suite-2"
    sample_scored(generator, suite, 100, seed=7)
    assert suite.seen == 100


@pytest.mark.parametrize("after", [1, 3])
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path, monkeypatch, after):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, program, str(N)],
        env={**os.environ, "FACENB_CACHE": str(killed)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(parts(killed)) < after and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = len(parts(killed))
    assert after <= done < 6

    suite = Suite()
    monkeypatch.setenv("FACENB_CACHE", str(killed))
    resumed = sample_scored(Tiny(), suite, N, seed=7)
    assert suite.seen == N - done * PART
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "fresh"))
    # Two processes may round a product of matrices differently (alignment of its memory).
    fresh = sample_scored(Tiny(), Suite(), N, seed=7)
    assert torch.equal(resumed.latents.values, fresh.latents.values)
    assert torch.allclose(resumed.scores, fresh.scores, atol=1e-6)


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_part_is_scored_again_with_a_warning(own_cache, damage):
    generator, suite = Tiny(), Suite()
    expected = sample_scored(generator, suite, N, seed=7).scores
    victim = parts(own_cache)[2]
    content = bytearray(victim.read_bytes())
    content[-3] ^= 0xFF
    victim.write_bytes({"truncated": content[:-9], "altered": content, "empty": b""}[damage])
    suite.seen = 0
    with pytest.warns(UserWarning, match=f"{victim.name} is damaged .* computing it again"):
        found = sample_scored(generator, suite, N, seed=7).scores
    assert suite.seen == PART
    assert torch.equal(found, expected)


def test_scores_can_be_used_with_autograd_afterwards():
    found = score(Tiny(), Suite(), Tiny().sample(40))
    weight = torch.ones(2, requires_grad=True)
    (found @ weight).sum().backward()
    assert torch.allclose(weight.grad, found.sum(dim=0))


def test_a_cached_step_is_computed_once_and_keyed_by_its_inputs(own_cache):
    calls = []

    def compute():
        calls.append(1)
        return {"a": torch.arange(3), "b": torch.ones(2, 2)}

    for inputs in ({"seed": 0}, {"seed": 0}, {"seed": 1}):
        found = cache.cached("step", inputs, compute)
        assert found["a"].tolist() == [0, 1, 2] and found["b"].shape == (2, 2)
    assert len(calls) == 2
    with pytest.raises(TypeError):
        cache.key({"seed": object()})


def test_paths_share_the_unedited_codes(own_cache):
    generator, suite = Tiny(), Suite()
    latents, strengths = generator.sample(3), [-2.0, 0.0, 1.0]
    editors = [LinearEditor(str(i), torch.eye(8)[i]) for i in range(4)]
    whole = torch.stack(
        [score_edits(generator, suite, e, latents, strengths) for e in editors], dim=1
    )
    suite.seen = 0
    scores = score_paths(generator, suite, editors, latents, [-2.0, 0.0, 1.0])
    assert scores.shape == (3, 4, 3, 2)
    assert torch.allclose(scores, whole, atol=1e-6)
    assert suite.seen == 3 * (4 * 2 + 1)  # not 3 · 4 · 3


class TwoSizes(Tiny):
    """Draws 4 or 2 pixels a side, is scored at 2, and counts what it draws by size."""

    sizes, scoring_size = (2, 4), 2
    drawn = None

    def synthesize(self, latents, size=None):
        if size == 2:
            self.drawn = (*(self.drawn or ()), len(latents))
        images = super().synthesize(latents, 4 if size == 2 else size)
        return images[:, :, ::2, ::2] if size == 2 else images


def test_the_size_that_is_scored_is_the_generators_or_the_one_asked_for(own_cache):
    generator, suite = TwoSizes(), Suite()
    latents = generator.sample(5, 7)
    images = generator.synthesize(latents, 4)
    small = images[:, :, ::2, ::2]
    editor = LinearEditor("a", torch.eye(8)[0])
    assert torch.allclose(score(generator, suite, latents), suite(small), atol=1e-6)
    assert torch.allclose(score(generator, suite, latents, size=4), suite(images), atol=1e-6)
    for size, seen in ((None, small), (2, small), (4, images)):
        samples = sample_scored(generator, suite, 5, 7, size=size)
        assert torch.allclose(samples.scores, suite(seen), atol=1e-6)
        edited = score_edits(generator, suite, editor, latents, [0.0], size)
        assert torch.allclose(edited[:, 0], suite(seen), atol=1e-6)
        paths = score_paths(generator, suite, [editor], latents, [0.0, 1.0], size)
        assert torch.allclose(paths[:, 0, 0], suite(seen), atol=1e-6)
    suite.seen = 0
    sample_scored(generator, suite, 5, 7, size=2)  # the default, by its number: the same entry
    assert suite.seen == 0
    with pytest.raises(ValueError, match="expected a size among 2, 4, given 3"):
        score(generator, suite, latents, size=3)


def test_scorers_for_another_framing_are_refused():
    generator, suite = Tiny(), Suite()
    suite.framing = "digiface"
    with pytest.raises(ValueError, match="tiny frames its images as 'ffhq', the scorers expect"):
        score(generator, suite, generator.sample(3))


def test_large_images_are_drawn_a_few_at_a_time(monkeypatch):
    generator = TwoSizes()
    latents = generator.sample(7, 7)
    whole = draw(generator, latents, 2)
    monkeypatch.setattr("facenb.drawing._PIXELS", 3 * 2**2)
    generator.drawn = ()
    assert torch.allclose(draw(generator, latents, 2), whole, atol=1e-6)
    assert generator.drawn == (3, 3, 1)


def test_paths_without_an_unedited_step(own_cache):
    generator, suite = Tiny(), Suite()
    editors = [LinearEditor("a", torch.eye(8)[0])]
    scores = score_paths(generator, suite, editors, generator.sample(2), [1.0, -1.0])
    expected = score_edits(generator, suite, editors[0], generator.sample(2), [1.0, -1.0])
    assert torch.equal(scores[:, 0], expected)
