"""MDC and MDS: the rows that the paper prints, and edits small enough to count by hand."""

import pytest
import torch

from facenb.metrics.mds import (
    curve,
    harmonic_mean,
    label_change,
    larger_change,
    mds,
    outcomes,
    running_trapezoid,
    towards_other_side,
)
from facenb.metrics.statistics import resample_counts

# Li et al. 2021, Table 3: accuracy, disentanglement, accumulated MDS, harmonic mean
SGF = torch.tensor(
    [
        [0.18, 0.986, 0.179, 0.304],
        [0.48, 0.915, 0.464, 0.630],
        [0.79, 0.890, 0.744, 0.837],
        [0.93, 0.872, 0.867, 0.900],
        [0.99, 0.859, 0.919, 0.920],
        [0.98, 0.842, 0.910, 0.906],
    ]
)
INTERFACEGAN = torch.tensor(
    [
        [0.13, 0.993, 0.129, 0.230],
        [0.32, 0.942, 0.312, 0.478],
        [0.41, 0.883, 0.394, 0.560],
        [0.55, 0.822, 0.513, 0.659],
        [0.85, 0.612, 0.728, 0.712],
        [0.99, 0.469, 0.804, 0.636],
        [1.00, 0.398, 0.808, 0.569],
    ]
)


@pytest.mark.parametrize(
    ("rows", "tolerance", "score"), [(SGF, 0.001, 0.919), (INTERFACEGAN, 0.002, 0.808)]
)
def test_the_table_that_the_paper_prints(rows, tolerance, score):
    accuracy, disentanglement, accumulated, harmonic = rows.T
    running = running_trapezoid(accuracy, disentanglement)
    assert (running - accumulated).abs().max() < tolerance
    assert mds(accuracy, disentanglement) == pytest.approx(score, abs=tolerance)
    assert (harmonic_mean(accuracy, disentanglement) - harmonic).abs().max() < 0.0006  # rounding


def test_the_score_is_the_maximum_and_not_the_end():
    accuracy, disentanglement = SGF[:, 0], SGF[:, 1]
    assert mds(accuracy, disentanglement) == pytest.approx(0.919, abs=0.001)
    assert float(running_trapezoid(accuracy, disentanglement)[-1]) == pytest.approx(0.910, abs=1e-3)


def test_perfect_and_useless_edits():
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert mds(torch.tensor([0.3, 0.6, 1.0]), ones) == pytest.approx(1)
    assert mds(zeros, ones) == 0
    assert mds(ones[:1], zeros[:1]) == pytest.approx(0.5)  # the line from (0, 1) to (1, 0)
    assert harmonic_mean(zeros, zeros).tolist() == [0, 0, 0]


# Two samples, three attributes, the first is edited over the cut 0: sample 0 has to rise, sample 1
# to fall. Weak: neither arrives. Middle: sample 0 does and changes one of two others. Strong: both
# do, sample 1 with nothing else.
BEFORE = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
AFTER = torch.tensor(
    [
        [[-0.5, 9.0, 9.0], [0.5, 0.0, 2.0], [2.0, 3.0, 2.0]],
        [[0.5, 0.0, 0.0], [0.1, 9.0, 9.0], [-1.0, 0.5, -0.5]],
    ]
)
THRESHOLDS = torch.ones(3)


def manipulation_curve(before, after, target, cut, changed, denominator=None):
    return curve(outcomes(before, after, target, cut, changed, denominator))


def test_a_curve_counted_by_hand():
    accuracy, disentanglement = manipulation_curve(BEFORE, AFTER, 0, 0.0, larger_change(THRESHOLDS))
    assert accuracy.tolist() == [0, 0.5, 1]
    assert disentanglement.tolist() == [1, 0.5, 0.5]  # failures never count as entangled
    assert mds(accuracy, disentanglement) == pytest.approx(0.5 * 0.75 + 0.5 * 0.5)


def test_changed_and_the_denominator_are_the_callers():
    of_three = manipulation_curve(BEFORE, AFTER, 0, 0.0, larger_change(THRESHOLDS), denominator=3)[
        1
    ]
    assert of_three[1] == pytest.approx(1 - 1 / 3)
    assert (
        manipulation_curve(BEFORE, AFTER, 0, 0.0, larger_change(10 * THRESHOLDS))[1].tolist()
        == [1] * 3
    )
    cuts = torch.tensor([0.0, -0.1, 0.1])  # sample 1 strong: 0 → 0.5 and 0 → −0.5 cross neither
    assert manipulation_curve(BEFORE, AFTER, 0, 0.0, label_change(cuts))[1].tolist() == [
        1,
        0.5,
        0.75,
    ]
    with pytest.raises(ValueError, match="expected 2 or more"):
        outcomes(BEFORE, AFTER, 0, 0.0, larger_change(THRESHOLDS), denominator=1)


def test_the_target_itself_is_not_one_of_the_others():
    after = BEFORE[:, None] + torch.tensor([[[-100.0, 0.0, 0.0]], [[-100.0, 0.0, 0.0]]])
    accuracy, disentanglement = manipulation_curve(BEFORE, after, 0, 0.0, larger_change(THRESHOLDS))
    assert (accuracy.tolist(), disentanglement.tolist()) == ([0.5], [1])


def test_goals_of_their_own_for_each_sample():
    goals = torch.tensor([1.5, 0.2])
    accuracy, _ = manipulation_curve(BEFORE, AFTER, 0, goals, larger_change(THRESHOLDS))
    assert accuracy.tolist() == [0, 0.5, 1]  # in the middle only sample 1 (0.1) has passed its goal


def test_every_sample_is_sent_to_its_other_side():
    assert towards_other_side(torch.tensor([-1.0, 2.0, 0.0]), 0.0).tolist() == [1, -1, 1]


def test_resampled_curves_are_those_of_the_samples_drawn():
    random = torch.Generator().manual_seed(0)
    found = torch.rand(9, 3, 4, 2, generator=random, dtype=torch.float64)
    found[..., 0] = (found[..., 0] < 0.5).double()
    accuracy, kept = curve(found, resample_counts(9, draws=20, seed=3))
    assert accuracy.shape == kept.shape == (20, 3, 4)
    rows = torch.randint(9, (20, 9), generator=torch.Generator().manual_seed(3))
    for draw, row in enumerate(rows):
        for k in range(3):
            expected = curve(found[row][:, k])
            assert torch.allclose(accuracy[draw, k], expected[0])
            assert torch.allclose(kept[draw, k], expected[1])
    half = torch.tensor([1.0] * 4 + [0.0] * 5)  # accuracy is of the first four
    few = found * half[:, None, None, None]
    fewer, same = curve(few, torch.ones(1, 9), half)
    expected = curve(found[:4, 0])
    assert torch.allclose(fewer[0, 0], expected[0]) and torch.allclose(same[0, 0], expected[1])
    areas = running_trapezoid(accuracy, kept)
    assert torch.allclose(areas[7, 2], running_trapezoid(accuracy[7, 2], kept[7, 2]))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"before \(N, A\) and after \(N, S, A\)"):
        manipulation_curve(BEFORE, BEFORE, 0, 0.0, larger_change(THRESHOLDS))
    with pytest.raises(ValueError, match=r"column 0\.\.2, given 3"):
        manipulation_curve(BEFORE, AFTER, 3, 0.0, larger_change(THRESHOLDS))
    with pytest.raises(ValueError, match="NaN"):
        manipulation_curve(BEFORE, AFTER * float("nan"), 0, 0.0, larger_change(THRESHOLDS))
    with pytest.raises(ValueError, match="above 0"):
        larger_change(torch.zeros(3))
    with pytest.raises(ValueError, match=r"values in 0\.\.1"):
        running_trapezoid(torch.tensor([18.0]), torch.tensor([0.9]))
    with pytest.raises(ValueError, match="S ≥ 1"):
        running_trapezoid(torch.empty(0), torch.empty(0))
