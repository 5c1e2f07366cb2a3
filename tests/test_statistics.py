"""Metrics on cases that can be done by hand."""

import numpy as np
import pytest
import torch

from facenb.metrics.statistics import (
    area_under_curve,
    bootstrap,
    pearson,
    percentile_interval,
    resample,
    resample_counts,
)


def test_pearson_by_hand_and_against_numpy():
    scores = torch.tensor([[1.0, 2.0, -1.0], [2.0, 4.0, -2.0], [3.0, 6.0, -3.0]])
    assert torch.allclose(pearson(scores)[0], torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    random = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert np.allclose(pearson(random), np.corrcoef(random.T), atol=1e-6)
    assert torch.allclose(pearson(random, random[:, :2]), pearson(random)[:, :2])
    with pytest.raises(ValueError, match="N ≥ 2"):
        pearson(random[:1])


def test_area_under_curve_counts_pairs():
    positive = torch.tensor([False, False, True, True])
    assert area_under_curve(torch.tensor([1.0, 2, 3, 4]), positive) == 1
    assert area_under_curve(torch.tensor([1.0, 2, 2, 0]), positive) == (1 + 0.5) / 4
    assert area_under_curve(torch.ones(4), positive) == 0.5
    random = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 20, (300,), generator=random).float()
    positive = torch.rand(300, generator=random) > 0.7
    pairs = scores[positive][:, None] - scores[~positive]
    wins = (pairs > 0).double() + 0.5 * (pairs == 0)
    assert area_under_curve(scores, positive) == pytest.approx(float(wins.mean()), abs=1e-12)
    with pytest.raises(ValueError, match="0 positive and 3 negative"):
        area_under_curve(torch.ones(3), torch.zeros(3, dtype=torch.bool))


def test_bootstrap_interval_of_a_mean_is_the_textbook_one():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap(values, draws=4000)
    half = 1.96 * values.std() / 400**0.5
    assert float(mean) == pytest.approx(float(values.mean()))
    assert float(mean - low) == pytest.approx(float(half), rel=0.1)
    assert float(high - mean) == pytest.approx(float(half), rel=0.1)


def test_resamples_are_the_same_for_the_same_seed_and_counted_as_drawn():
    rows, counts = resample(7, 20, seed=3), resample_counts(7, 20, seed=3)
    assert rows.shape == counts.shape == (20, 7)
    assert torch.equal(rows, resample(7, 20, seed=3))
    assert not torch.equal(rows, resample(7, 20, seed=4))
    values = torch.arange(7.0, dtype=torch.float64)
    assert torch.allclose(counts @ values, values[rows].sum(1))


def test_percentiles_leave_out_resamples_without_a_value():
    steps = torch.arange(101.0)[:, None].repeat(1, 2)
    expected = torch.tensor([[5.0, 5], [95, 95]], dtype=torch.float64)
    assert torch.allclose(torch.stack(percentile_interval(steps, 0.9)), expected)
    holes = torch.cat([steps, torch.full((50, 2), float("nan"))])
    assert torch.allclose(torch.stack(percentile_interval(holes, 0.9)), expected)
