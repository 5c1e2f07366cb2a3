"""Scores as a linear map of the code: exact where the world is linear."""

import pytest
import torch

from facenb.metrics.linear_probe import LinearProbe

N, D, C = 200, 6, 3
random = torch.Generator().manual_seed(0)
codes = torch.randn(N, D, generator=random).double() + 2
true = torch.randn(C, D, generator=random).double()
scores = codes @ true.T + torch.tensor([5.0, -1.0, 0.0])


class Field:
    """Answers a change of the scores with the shortest move that makes it, times `share`."""

    def __init__(self, share=1.0, stray=0.0):
        self.scale_ = scores.std(0)
        self.share, self.stray = share, stray

    def field(self, values, conditions, change, order):
        assert order == 1
        assert values.shape == (len(change), D) and conditions.shape == change.shape
        change = change * self.share + self.stray * change.norm(dim=1, keepdim=True)
        return torch.linalg.lstsq(true, change.T).solution.T


@pytest.fixture(scope="module")
def probe():
    return LinearProbe().fit(codes, scores)


def test_a_linear_world_is_known_exactly(probe):
    standard = (scores - probe.mean_) / probe.scale_
    assert torch.allclose(probe.change(codes - codes.mean(0)), standard)
    assert torch.allclose(probe.r2(codes[:50], scores[:50]), torch.ones(C).double())


def test_of_noise_that_the_code_does_not_tell_it_explains_its_share():
    noisy = scores + scores.std(0) * torch.randn(N, C, generator=random).double()
    explained = LinearProbe().fit(codes, noisy).r2(codes, noisy)
    assert ((0.4 < explained) & (explained < 0.6)).all()


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_field_that_moves_one_score_alone_changes_it_without_side_effects(probe, share):
    heard = probe.responses(Field(share), codes[:4], scores[:4])
    expected = share * torch.eye(C).double()[:, None].expand(C, 4, C)
    assert torch.allclose(heard, expected, atol=1e-9)
    found = probe.evaluate(Field(share), codes[:4], scores[:4])
    assert found["change"] == pytest.approx(share)
    assert found["side effect / change"] == pytest.approx(0, abs=1e-9)


def test_side_effects_are_measured(probe):
    assert probe.evaluate(Field(stray=0.3), codes[:4], scores[:4])["side effect / change"] > 0.05


def test_shapes_and_nan_are_refused():
    with pytest.raises(ValueError, match=r"latents \(N, d\) and scores \(N, C\), given"):
        LinearProbe().fit(codes, scores[:-1])
    with pytest.raises(ValueError, match="scores"):
        LinearProbe().fit(codes, scores * torch.nan)
