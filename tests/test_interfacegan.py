"""InterFaceGAN against the authors' published boundaries, closed forms, and hand-made data."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from facenb.editors import Editors, condition
from facenb.methods.interfacegan import Boundary

PUBLISHED = Path(__file__).parents[2] / "shared" / "fixtures" / "interfacegan_pggan_celebahq"


def published(name: str) -> torch.Tensor:
    path = PUBLISHED / f"pggan_celebahq_{name}_boundary.npy"
    if not path.exists():
        pytest.skip(f"the published boundaries are not beside this checkout ({path.name})")
    return torch.from_numpy(np.load(path))[0]


PAIRS = list(itertools.permutations(("age", "eyeglasses", "gender"), 2))


@pytest.mark.parametrize(("target", "held"), PAIRS)
def test_published_boundaries_with_one_condition(target, held):
    ours = condition(published(target), published(held)[None])
    assert (ours - published(f"{target}_c_{held}")).abs().max() < 1e-12


@pytest.mark.parametrize("target", ["age", "eyeglasses", "gender"])
def test_published_boundaries_with_two_conditions(target):
    held = [name for name in ("age", "gender", "eyeglasses") if name != target]
    ours = condition(published(target), torch.stack([published(name) for name in held]))
    difference = ours - published(f"{target}_c_{'_'.join(held)}")
    assert difference.abs().max() < 1e-12


def test_published_entanglement():
    names = ("age", "gender", "eyeglasses")
    found = Editors.from_vectors(names, torch.stack([published(n) for n in names])).cosines()
    assert found[0, 1] == pytest.approx(0.49, abs=0.005)
    assert found[0, 2] == pytest.approx(0.38, abs=0.005)
    assert found[1, 2] == pytest.approx(0.52, abs=0.005)


def linear_world(n=4000, d=64, noise=0.3, seed=0):
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=random)
    truth = torch.zeros(d)
    truth[:2] = torch.tensor([0.6, 0.8])
    return z, z @ truth + noise * torch.randn(n, generator=random), truth


def test_it_finds_the_normal_of_a_linear_score():
    z, scores, truth = linear_world()
    model = Boundary(confident=0.1).fit(z, scores)
    assert model.normal_.norm() == pytest.approx(1)
    assert float(model.normal_.float() @ truth) > 0.95
    assert model.accuracy_["validation"] > 0.99
    assert model.accuracy_["all"] > 0.85
    assert model.predict(z).float().mean() == pytest.approx(0.5, abs=0.05)


def test_the_confident_samples_are_the_ends_of_the_scores():
    z, scores, _ = linear_world(n=1000)
    positive, negative = Boundary(confident=0.02).fit(z, scores).support_
    assert set(positive.tolist()) == set(scores.argsort()[-20:].tolist())
    assert set(negative.tolist()) == set(scores.argsort()[:20].tolist())


def test_the_intercept_is_dropped_unless_kept():
    z, scores, _ = linear_world()
    z = z + 1.0  # the boundary no longer passes through the origin
    assert Boundary(confident=0.1).fit(z, scores).intercept_ == 0
    kept = Boundary(confident=0.1, keep_intercept=True).fit(z, scores)
    assert kept.intercept_ == pytest.approx(-1.4, abs=0.2)  # −(0.6 + 0.8)·1
    assert kept.predict(z).float().mean() == pytest.approx(0.5, abs=0.05)


def test_same_seed_same_boundary_and_sklearn_contract():
    z, scores, _ = linear_world(n=1000)
    model = Boundary(confident=0.05, seed=3)
    first, second = model.fit(z, scores).normal_, clone(model).fit(z, scores).normal_
    assert torch.equal(first, second)
    assert not torch.equal(first, Boundary(confident=0.05, seed=4).fit(z, scores).normal_)


def test_too_few_samples_say_how_many_there_are_and_how_many_are_needed():
    z, scores, _ = linear_world(n=100)
    with pytest.raises(ValueError, match=r"100 samples .* give 2 of each class, at least 10"):
        Boundary(confident=0.02).fit(z, scores)


def test_a_class_with_too_few_members_is_counted():
    z, _, _ = linear_world(n=200)
    labels = torch.zeros(200)
    labels[:7] = 1.0
    with pytest.raises(ValueError, match=r"20 samples of each class are needed.* 7 above"):
        Boundary(confident=0.1).fit(z, labels)


def test_bad_input_names_expected_and_given():
    z, scores, _ = linear_world(n=200)
    with pytest.raises(ValueError, match=r"expected latents \(N, d\) and scores \(N,\)"):
        Boundary().fit(z, scores[:100])
    with pytest.raises(ValueError, match="NaN"):
        Boundary(confident=0.1).fit(z, scores.index_fill(0, torch.tensor([3]), torch.nan))
    with pytest.raises(ValueError, match=r"0 < confident ≤ 0.5, given 0.7"):
        Boundary(confident=0.7).fit(z, scores)
