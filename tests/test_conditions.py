"""Conditions as vectors: landmarks, joint ones, what codes have now, and what is out of range."""

import math

import pytest
import torch
from torch import nn

from facenb.generators import load_generator
from facenb.sampling import BATCH, observe, sample_scored
from facenb.scorers import load_scorers
from facenb.scorers.conditions import ConditionRange, Landmarks, joint


@pytest.fixture(scope="module")
def generator():
    return load_generator("digiface-dcgan-64")


@pytest.fixture(scope="module")
def landmarks():
    return Landmarks("digiface")


@pytest.fixture(scope="module")
def images(generator):
    return generator.synthesize(generator.sample(4, seed=3))


class Means(nn.Module):
    """Three numbers that can be checked by eye; counts the batches that it sees."""

    names = ("red", "green", "blue")
    fingerprint = "means"

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return images.mean((2, 3))


def test_landmarks_are_where_a_face_has_them(landmarks, images):
    points = landmarks(images)
    assert points.shape == (4, 136) and len(landmarks.names) == 136
    named = dict(zip(landmarks.names, points.mean(0), strict=True))
    assert landmarks.names[60:62] == ("x30", "y30")
    assert named["x36"] < named["x30"] < named["x45"]  # outer eye, tip of the nose, outer eye
    assert named["y27"] < named["y30"] < named["y57"] < named["y8"]  # nose, lower lip, chin
    assert named["x0"] < 0.3 and named["x16"] > 0.7 and named["y8"] > 0.8  # of the whole picture


def test_landmarks_do_not_depend_on_the_resolution_and_follow_the_mirror(landmarks, images):
    large = nn.functional.interpolate(images, scale_factor=2, mode="bilinear").clamp(-1, 1)
    assert (landmarks(large) - landmarks(images)).abs().max() < 2 / 64
    mirrored = landmarks(images.flip(-1)).view(-1, 68, 2)
    points = landmarks(images).view(-1, 68, 2)
    assert ((1 - mirrored[:, 8, 0]) - points[:, 8, 0]).abs().mean() < 2 / 64  # the chin


def test_landmarks_agree_with_the_score_that_is_read_from_them(landmarks, images):
    points = landmarks(images).view(-1, 68, 2)
    opening = (points[:, 62] - points[:, 66]).norm(dim=1) / (points[:, 27] - points[:, 8]).norm(
        dim=1
    )
    assert torch.allclose(load_scorers("mouth_open", "digiface")(images)[:, 0], opening, atol=1e-5)


def test_landmarks_have_gradients_and_refuse_what_is_no_picture(landmarks, images):
    leaf = images[:1].clone().requires_grad_()
    landmarks(leaf).sum().backward()
    assert leaf.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        landmarks(images * 255)


def test_joint_puts_conditions_side_by_side(landmarks, images):
    smile = load_scorers(["smile", "brightness"], "digiface")
    both = joint(smile, landmarks)
    assert both.names == smile.names + landmarks.names
    assert torch.equal(both(images), torch.cat([smile(images), landmarks(images)], 1))
    assert both.fingerprint == joint(smile, landmarks).fingerprint
    assert both.fingerprint != joint(landmarks, smile).fingerprint
    assert len(list(both.buffers())) == len(list(smile.buffers())) + len(list(landmarks.buffers()))
    with pytest.raises(ValueError, match="smile twice"):
        joint(smile, load_scorers("smile", "digiface"))
    with pytest.raises(ValueError, match="given none"):
        joint()


def test_observe_says_what_codes_have_now_in_batches_without_gradients(generator):
    means = Means()
    codes = generator.sample(BATCH + 3, seed=1)
    values = codes.values.clone().requires_grad_()
    found = observe(generator, means)(values)
    assert torch.allclose(found, generator.synthesize(codes).mean((2, 3)), atol=1e-5)
    assert not found.requires_grad
    assert sum(means.seen) == BATCH + 3 and max(means.seen) <= BATCH


def test_any_condition_can_be_sampled_and_cached(generator, landmarks, tmp_path, monkeypatch):
    assert landmarks.fingerprint  # built before the cache moves
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    samples = sample_scored(generator, landmarks, 4, seed=3)
    again = sample_scored(generator, landmarks, 4, seed=3)
    assert torch.equal(samples.scores, again.scores) and samples["x30"].shape == (4,)


@pytest.fixture(scope="module")
def known():
    """Two entries of variance 1 and 100 that go together, and one on its own."""
    noise = torch.randn(4_000, 3, generator=torch.Generator().manual_seed(0))
    first = noise[:, 0]
    return torch.stack([first, 10 * (0.95 * first + 0.3122 * noise[:, 1]), noise[:, 2] + 5], 1)


def test_range_lets_the_training_conditions_pass(known):
    reach = ConditionRange(share=0.95).fit(known, ("a", "b", "c"))
    report = reach.check(known)
    in_ranges, near = (report.beyond == 0).all(1), report.distance <= report.limit
    assert in_ranges.double().mean() == pytest.approx(0.95, abs=0.005)
    assert near.double().mean() == pytest.approx(0.95, abs=0.001)
    assert torch.equal(report.outside, ~(in_ranges & near))
    fresh = torch.randn(4_000, 3, generator=torch.Generator().manual_seed(1))
    fresh = torch.stack([fresh[:, 0], 10 * (0.95 * fresh[:, 0] + 0.3122 * fresh[:, 1]),
                         fresh[:, 2] + 5], 1)  # fmt: skip
    assert reach.check(fresh).outside.double().mean() < 0.11


def test_range_says_what_is_outside_and_by_how_much(known):
    reach = ConditionRange().fit(known, ("a", "b", "c"))
    targets = torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 11.0], [1.8, -18.0, 5.0]])
    report = reach.check(targets)
    assert report.outside.tolist() == [False, True, True]
    expected = (11 - reach.high_[2]) / known[:, 2].double().std()
    assert report.beyond[1].tolist() == pytest.approx([0, 0, float(expected)])
    assert (report.beyond[2] == 0).all()  # ordinary entries, in a combination that nobody has
    assert report.distance[2] > 2 * report.limit
    low = reach.check(torch.tensor([[-6.0, -60.0, 5.0]])).beyond[0]
    assert low[0] < -1 and low[1] < -1 and low[2] == 0
    assert "2 of 3 targets" in str(report) and f"c by {expected:.1f} σ" in str(report)


def test_rounding_takes_nothing_out_of_its_range(known):
    reach = ConditionRange().fit(known, ("a", "b", "c"))
    edge = torch.stack([reach.high_[:1], 9.5 * reach.high_[:1], torch.full((1,), 5.0)], 1)
    assert not reach.check(edge + 1e-6).outside.any()
    assert reach.check(edge + 1e-2).outside.all()


def test_mahalanobis_distance_is_the_textbook_one(known):
    reach = ConditionRange().fit(known, ("a", "b", "c"))
    target = torch.tensor([[1.0, -5.0, 7.0]])
    offset = (target - known.mean(0)).double()[0]
    expected = math.sqrt(offset @ torch.cov(known.double().T).inverse() @ offset)
    assert float(reach.check(target).distance) == pytest.approx(expected, rel=0.02)  # shrinkage


def test_warning_only_when_something_is_outside(known, recwarn):
    reach = ConditionRange().fit(known, ("a", "b", "c"))
    reach.warn(torch.tensor([[0.0, 0.0, 5.0]]))
    assert not recwarn.list
    with pytest.warns(UserWarning, match="1 of 1 targets are outside.*c by"):
        reach.warn(torch.tensor([[0.0, 0.0, 50.0]]))


def test_bad_input_is_named(known):
    reach = ConditionRange().fit(known, ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"conditions \(M, 3\).*given shape \(1, 2\)"):
        reach.check(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="NaN"):
        reach.check(torch.full((1, 3), float("nan")))
    with pytest.raises(ValueError, match="as many entries as names"):
        ConditionRange().fit(known, ("a", "b"))
    with pytest.raises(ValueError, match="b never vary"):
        ConditionRange().fit(torch.stack([known[:, 0], torch.ones(4_000)], 1), ("a", "b"))
    with pytest.raises(ValueError, match=r"share in 0\.\.1"):
        ConditionRange(share=1.5).fit(known, ("a", "b", "c"))
