"""The sample set: what ships agrees with fresh scores; a larger set begins with a smaller one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import facenb
from facenb import samples as module
from facenb.data import data_path
from facenb.samples import SamplesError, compare, load_samples, shipped_scores
from facenb.sampling import ScoredSamples, score

FFHQ = "mobilestylegan-ffhq-1024"


@pytest.fixture(scope="module")
def dcgan():
    return facenb.load_generator("digiface-dcgan-64")


@pytest.fixture(scope="module")
def pixels():
    return facenb.load_scorers("light", framing="digiface")


def test_what_ships_is_what_it_says() -> None:
    path = data_path(f"samples_{FFHQ}.safetensors")
    with safe_open(path, "pt") as file:
        scores, facts = file.get_tensor("scores"), json.loads(file.metadata()["provenance"])
    assert scores.shape[1] == len(facts["names"]) and scores.dtype == torch.float16
    assert len(scores) >= 20_000 and len(scores) % facts["shard"] == 0
    assert torch.isfinite(scores).all() and path.stat().st_size < 3e6
    assert {"generator", "framing", "size", "seeds", "shard", "command"} <= facts.keys()
    assert facts["names"] == list(facenb.load_scorers().names)


def test_what_ships_agrees_with_fresh_scores() -> None:
    generator, scorers = facenb.load_generator(FFHQ), facenb.load_scorers()
    found = load_samples(generator, scorers, 3000, space="w")  # raises where it does not
    assert len(found) == 3000 and found.latents.space == "w"
    z = load_samples(generator, scorers, 1500, check=False).latents
    assert torch.equal(z.values[1000:1016], generator.sample(16, seed=1).values)
    part = load_samples(generator, facenb.load_scorers(["smile", "age"]), 100, check=False)
    few = load_samples(generator, facenb.load_scorers("age"), 10**9, more=False, check=False)
    assert len(few) == len(shipped_scores(generator, facenb.load_scorers("age")))
    assert torch.equal(part["age"], found["age"][:100])


def test_bfloat16_changes_scores_by_little() -> None:
    scorers = facenb.load_scorers()
    samples = load_samples(facenb.load_generator(), scorers, 20_000, check=False)
    few = samples.select(slice(32))
    found = score(facenb.load_generator(dtype=torch.bfloat16), scorers, few.latents)
    away = (found - few.scores).abs() / samples.scores.std(0)
    assert 0 < float(away.mean()) < 0.05


def test_scores_of_other_images_are_found_out(dcgan, pixels) -> None:
    good = load_samples(dcgan, pixels, 64)
    assert compare(dcgan, pixels, good) < module.TOLERANCE
    half = ScoredSamples(good.latents, good.scores.half().float(), good.names)
    assert compare(dcgan, pixels, half) < module.TOLERANCE
    shifted = ScoredSamples(good.latents, good.scores.roll(1, 0), good.names)
    with pytest.raises(SamplesError, match=r"scored again: .*expected at most .*--out FILE"):
        compare(dcgan, pixels, shifted)


def test_samples_of_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = facenb.load_generator(FFHQ)
    monkeypatch.setattr(generator, "fingerprint", "another")
    with pytest.raises(SamplesError, match=r"were made with generator .*, expected another"):
        shipped_scores(generator, facenb.load_scorers("light"))


def test_a_larger_set_begins_with_a_smaller_one(dcgan, pixels, monkeypatch) -> None:
    monkeypatch.setattr(module, "SHARD", 32)
    small, large = (load_samples(dcgan, pixels, n) for n in (40, 80))
    assert torch.equal(small.latents.values, large.latents.values[:40])
    torch.testing.assert_close(small.scores, large.scores[:40], atol=1e-5, rtol=0)
    assert shipped_scores(dcgan, pixels) is None


def test_the_command_writes_what_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dcgan, pixels
) -> None:
    monkeypatch.setattr(facenb, "load_scorers", lambda **_: pixels)
    out = tmp_path / "samples_digiface-dcgan-64.safetensors"
    asked = ["--generator", "digiface-dcgan-64", "--n", "70", "--out", str(out)]
    assert module.main(asked) == 0
    monkeypatch.setattr(module, "data_path", lambda name: tmp_path / name)
    found = load_samples(dcgan, pixels, 70)
    expected = load_samples(dcgan, pixels, 70, check=False)
    assert torch.equal(found.scores, expected.scores)
    assert module.main(["check", "--generator", "digiface-dcgan-64"]) == 0
    assert module.main(["--generator", "stylegan9"]) == 1
