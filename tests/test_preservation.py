"""What edits keep, on cases small enough to count by hand; one real identity net at the end."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facenb.generators import load_generator
from facenb.latents import Latents
from facenb.metrics.preservation import embed, false_acceptance_threshold
from facenb.scorers import load_identity


def angles(*degrees: float) -> torch.Tensor:
    """Unit vectors (N, 2) at these angles."""
    radians = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([radians.cos(), radians.sin()], 1)


def test_threshold_by_hand():
    people = angles(0, 10, 30, 60, 100)  # pairs 10, 20, 30, 30, 40, 50, 60, 70, 90, 100 degrees
    cosine = torch.cos(torch.deg2rad(torch.tensor([20.0, 30.0])))
    assert false_acceptance_threshold(people, 0.1) == pytest.approx(float(cosine[0]))
    assert false_acceptance_threshold(people, 0.2) == pytest.approx(float(cosine[1]))


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05])
def test_threshold_lets_through_that_share_and_no_more(rate):
    people = F.normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)))
    threshold = false_acceptance_threshold(people, rate)
    pairs = torch.tril(torch.ones(400, 400), -1).bool()
    accepted = ((people @ people.T)[pairs] > threshold).double().mean()
    assert rate - 2 / pairs.sum() < accepted <= rate


def test_too_few_people_for_the_rate():
    people = F.normalize(torch.randn(46, 8, generator=torch.Generator().manual_seed(0)))
    assert false_acceptance_threshold(people) < 1  # 1,035 pairs
    with pytest.raises(ValueError, match=r"20 people make 190 pairs.*46 people or more"):
        false_acceptance_threshold(people[:20])


def test_bad_input_is_named():
    people = angles(0, 0, 0, 0)
    with pytest.raises(ValueError, match="unit vectors, given lengths 2 to 2"):
        false_acceptance_threshold(2 * people)
    with pytest.raises(ValueError, match=r"expected vectors \(N, d\)"):
        false_acceptance_threshold(people[0])
    with pytest.raises(ValueError, match=r"a rate in 0\.\.1, given 1"):
        false_acceptance_threshold(people, 1)


def test_a_small_change_keeps_the_person_and_another_seed_does_not(tmp_path, monkeypatch):
    generator, identity = load_generator("digiface-dcgan-64"), load_identity(framing="digiface")
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    z = generator.sample(100, seed=5)
    people = embed(generator, identity, z)
    threshold = false_acceptance_threshold(people)
    nudged = embed(generator, identity, z[:16] + 0.02 * torch.ones_like(z.values[:16]))
    assert ((people[:16] * nudged).sum(1) > threshold).all()
    assert not ((people[:16] * people[16:32]).sum(1) > threshold).any()

    def never(*_):
        raise AssertionError("embedded again")

    monkeypatch.setattr(nn.Module, "__call__", never)
    assert torch.equal(embed(generator, identity, Latents(z.values.clone(), "z")), people)
