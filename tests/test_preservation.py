"""What edits keep, on cases small enough to count by hand; one real identity net at the end."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facenb.generators import load_generator
from facenb.latents import Latents
from facenb.metrics.mds import crossed, moved
from facenb.metrics.preservation import embed, false_acceptance_threshold, preservation, same_person
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


# Four faces, three attributes, cut 0 everywhere, the first is edited. Faces 0, 1 and 2 succeed;
# face 1 loses its identity and one attribute; face 3 fails, and all that it lost counts nowhere.
BEFORE = torch.tensor([[-1.0, 1, 1], [-1, 1, 1], [1, 1, 1], [1, 1, 1]])
AFTER = torch.tensor([[1.0, 1, 1], [1, -1, 1], [-1, 1, 1], [1, -1, -1]])
IDENTITIES = angles(0, 0, 0, 0), angles(5, 80, 20, 170)
THRESHOLD = math.cos(math.radians(30))


def test_a_row_of_the_table_by_hand():
    row = preservation(BEFORE, AFTER, 0, 0.0, crossed(torch.zeros(3)), IDENTITIES, THRESHOLD)
    assert (row.n, row.successes) == (4, 3)
    assert row.accuracy[0] == pytest.approx(3 / 4)
    assert row.identity[0] == pytest.approx(2 / 3)
    assert row.attributes[0] == pytest.approx((1 + 1 / 2 + 1) / 3)
    for estimate, low, high in (row.accuracy, row.identity, row.attributes):
        assert 0 <= low < estimate < high <= 1


def test_changed_is_the_callers():
    hardly = preservation(BEFORE, AFTER, 0, 0.0, moved(torch.full((3,), 5.0)), IDENTITIES, 0.0)
    assert hardly.attributes[0] == 1
    assert hardly.identity[0] == 1  # 80 degrees is above a threshold of 0


def test_the_interval_is_the_textbook_one():
    n = 2_000
    reached = torch.rand(n, generator=torch.Generator().manual_seed(0)) < 0.8
    before = torch.full((n, 2), -1.0)
    after = torch.stack([torch.where(reached, 1.0, -1.0), before[:, 1]], 1)
    same = angles(*[0] * n)
    row = preservation(before, after, 0, 0.0, crossed(torch.zeros(2)), (same, same), 0.5)
    share, low, high = row.accuracy
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    assert share - low == pytest.approx(half, rel=0.15)
    assert high - share == pytest.approx(half, rel=0.15)
    assert row.identity == row.attributes == (1, 1, 1)


def test_no_success_is_not_a_number_and_no_error():
    row = preservation(BEFORE, BEFORE, 0, 0.0, crossed(torch.zeros(3)), IDENTITIES, THRESHOLD)
    assert row.accuracy == (0, 0, 0) and row.successes == 0
    assert all(math.isnan(x) for x in (*row.identity, *row.attributes))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="unit vectors, given lengths 2 to 2"):
        same_person(2 * IDENTITIES[0], IDENTITIES[1], 0.5)
    with pytest.raises(ValueError, match=r"two batches \(N, d\)"):
        same_person(IDENTITIES[0][:2], IDENTITIES[1], 0.5)
    with pytest.raises(ValueError, match="as many identities as scores, given 2 and 4"):
        few = angles(0, 0), angles(0, 0)
        preservation(BEFORE, AFTER, 0, 0.0, crossed(torch.zeros(3)), few, 0.5)
    with pytest.raises(ValueError, match=r"scores \(N, A\) before and after"):
        preservation(BEFORE, AFTER[:2], 0, 0.0, crossed(torch.zeros(3)), IDENTITIES, 0.5)
    with pytest.raises(ValueError, match=r"a rate in 0\.\.1, given 1"):
        false_acceptance_threshold(IDENTITIES[0], 1)


def test_a_small_change_keeps_the_person_and_another_seed_does_not(tmp_path, monkeypatch):
    generator, identity = load_generator("digiface-dcgan-64"), load_identity(framing="digiface")
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    z = generator.sample(100, seed=5)
    people = embed(generator, identity, z)
    threshold = false_acceptance_threshold(people)
    nudged = embed(generator, identity, z[:16] + 0.02 * torch.ones_like(z.values[:16]))
    assert same_person(people[:16], nudged, threshold).all()
    assert not same_person(people[:16], people[16:32], threshold).any()

    def never(*_):
        raise AssertionError("embedded again")

    monkeypatch.setattr(nn.Module, "__call__", never)
    assert torch.equal(embed(generator, identity, Latents(z.values.clone(), "z")), people)
