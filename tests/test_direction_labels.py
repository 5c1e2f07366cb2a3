"""Correlation along a path, responses as the public code computes them, names: by hand."""

import math

import numpy as np
import pytest
import torch

from facenb.editors import Editors
from facenb.metrics.direction_labels import (
    best_directions,
    entanglement,
    l1_normalise,
    name_directions,
    path_correlations,
    path_responses,
    rename,
)

STEPS = torch.arange(21.0)
CENTRED = STEPS - 10
V_SHAPE = CENTRED.abs()


def column(*paths):
    """One attribute a path: (S, A)."""
    return torch.stack(paths, dim=1)


def noisy(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_known_correlations():
    scores = column(torch.full((21,), 0.3), 5 + 2 * STEPS, -0.01 * STEPS, V_SHAPE, CENTRED**3)
    r = path_correlations(scores)
    assert r[:4].tolist() == pytest.approx([0, 1, -1, 0], abs=1e-12)
    assert float(r[4]) == pytest.approx(np.corrcoef(STEPS.numpy(), CENTRED.numpy() ** 3)[0, 1])


def test_a_constant_score_is_no_response_even_with_rounding_noise():
    scores = (50 + 1e-6 * noisy(8, 3, 21, 2)).float()
    assert torch.equal(path_correlations(scores), torch.zeros(8, 3, 2, dtype=torch.float64))


def test_correlation_equals_numpy_on_every_path():
    scores = noisy(4, 3, 9, 2)
    r = path_correlations(scores)
    assert r.shape == (4, 3, 2) and r.abs().max() <= 1
    for n, k, a in np.ndindex(4, 3, 2):
        expected = np.corrcoef(scores[n, k, :, a].double().numpy(), np.arange(9))[0, 1]
        assert float(r[n, k, a]) == pytest.approx(expected, abs=1e-12)


def test_a_v_shaped_index_for_scores_that_fall_off_on_both_sides():
    identity = 1 - 0.05 * V_SHAPE
    assert path_correlations(column(identity))[0] == pytest.approx(0, abs=1e-12)
    assert path_correlations(column(identity), V_SHAPE)[0] == pytest.approx(-1)
    mixed = path_correlations(column(STEPS, identity), column(STEPS, V_SHAPE))
    assert mixed.tolist() == pytest.approx([1, -1])


def test_reversing_the_path_flips_the_sign_of_both_measures():
    scores, ends = noisy(5, 2, 21, 3), (torch.full((3,), -3.0), torch.full((3,), 3.0))
    back = scores.flip(-2)
    assert torch.allclose(path_correlations(back), -path_correlations(scores))
    assert torch.allclose(path_responses(back, *ends), -path_responses(scores, *ends))


def test_response_is_covariance_over_the_deviation_of_the_index():
    """What the public code computes, in numpy, sample by sample."""
    scores, low, high = noisy(4, 3, 21, 2), torch.tensor([-1.0, -0.5]), torch.tensor([1.5, 0.5])
    found = path_responses(scores, low, high)
    for n, k, a in np.ndindex(4, 3, 2):
        scaled = 2 * (scores[n, k, :, a].double() - low[a]) / (high[a] - low[a]) - 1
        covariance = np.cov(scaled.clamp(-1, 1).numpy(), np.arange(21))
        expected = covariance[0, 1] / np.sqrt(covariance[1, 1])
        assert float(found[n, k, a]) == pytest.approx(expected, abs=1e-12)


def test_response_is_correlation_times_deviation_and_knows_small_from_large():
    scores, ends = column(STEPS / 20, STEPS / 2000), (torch.zeros(2), torch.ones(2))
    assert path_correlations(scores).tolist() == pytest.approx([1, 1])
    large, small = path_responses(scores, *ends).tolist()
    assert large == pytest.approx(float((2 * STEPS / 20).std()))
    assert small == pytest.approx(large / 100)


def test_responses_are_clipped_to_the_range():
    ends = torch.tensor([0.0]), torch.tensor([1.0])
    beyond = path_responses(column(100.0 * CENTRED), *ends)
    assert float(beyond) == pytest.approx(float(path_responses(column(1e6 * CENTRED), *ends)))
    assert float(path_responses(column(7 + STEPS), *ends)) == 0


TABLE = torch.tensor([[0.0, -0.8, 0.0], [0.3, 0.3, 0.3], [0.9, 0.1, -0.2], [0.0, 0.0, 0.0]])


def test_share_of_row_and_entanglement():
    shares = l1_normalise(TABLE)
    assert shares[:3].sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert shares[3].tolist() == [0, 0, 0]
    index = entanglement(TABLE)
    assert index[:3].tolist() == pytest.approx([0, 2 / 3, 1 - 0.9 / 1.2])
    assert math.isnan(index[3])


def test_best_direction_of_each_attribute_by_size_with_its_sign():
    best, values = best_directions(TABLE)
    assert best.tolist() == [2, 0, 1]
    assert values.tolist() == pytest.approx([0.9, -0.8, 0.3])


ATTRIBUTES = ("yaw", "smile", "age")


def paths():
    """200 samples of five directions: clear, clear and falling, weaker, torn, and nothing."""
    mean = torch.tensor(
        [[0.9, 0.1, 0.0], [0.0, -0.8, 0.1], [0.6, 0.0, 0.0], [0.0, 0.5, 0.501], [0.02, 0.0, 0.01]]
    )
    return mean + 0.1 * noisy(200, 5, 3)


def test_names_with_their_confidence():
    names = name_directions(paths(), ATTRIBUTES)
    assert [name.text for name in names] == ["yaw", "smile", "yaw 2", None, None]
    assert [name.confidence for name in names[:3]] == [1, 1, 1]
    assert 0.2 < names[3].confidence < 0.9 and names[3].margin < 0.05
    assert names[1].strength == pytest.approx(-0.8, abs=0.03)
    assert names[1].margin == pytest.approx(0.7, abs=0.03)
    assert names == name_directions(paths(), ATTRIBUTES)


def test_the_bars_for_a_name_can_be_moved():
    assert name_directions(paths(), ATTRIBUTES, least=0.7)[2].text is None
    assert name_directions(paths(), ATTRIBUTES, sure=0.0)[3].text in ("smile 2", "age")


def test_confidence_falls_where_the_sign_is_unsure():
    flips = torch.zeros(100, 1, 2)
    flips[:, 0, 0] = torch.tensor([0.9, -0.9]).repeat(50)
    flips[0, 0, 0] = 0.9 + 1e-3
    assert name_directions(flips, ("yaw", "age"))[0].confidence < 0.7


def test_renaming_turns_falling_directions_and_keeps_what_was_known():
    vectors, intercepts = torch.eye(5, 8), torch.arange(5.0)
    names, facts = [f"PC{i}" for i in range(5)], {"method": "GANSpace"}
    old = Editors.from_vectors(names, vectors, "z", intercepts, facts)
    new = rename(old, name_directions(paths(), ATTRIBUTES))
    assert new.names == ("yaw", "smile", "yaw 2", "PC3", "PC4")
    assert torch.equal(new.vectors.diagonal(), torch.tensor([1.0, -1, 1, 1, 1]))
    assert [editor.intercept for editor in new.values()] == [0, -1, 2, 3, 4]
    assert new["smile"].name == "smile"
    assert new.provenance["method"] == "GANSpace"
    assert new.provenance["names"]["smile"]["was"] == "PC1"
    assert new.provenance["names"]["PC3"]["confidence"] < 0.9


def test_bad_input_says_what_was_given_and_what_is_allowed():
    with pytest.raises(ValueError, match=r"at least two steps, given \(1, 3\)"):
        path_correlations(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="NaN"):
        path_correlations(torch.full((21, 2), torch.nan))
    with pytest.raises(ValueError, match=r"expected shape \(21,\) or \(21, 2\), given \(20,\)"):
        path_correlations(torch.zeros(21, 2), torch.arange(20))
    with pytest.raises(ValueError, match=r"low < high of shape \(2,\)"):
        path_responses(torch.zeros(21, 2), torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match=r"\(N, K, 2\) for 2 attributes, given \(4, 3, 5\)"):
        name_directions(torch.zeros(4, 3, 5), ("yaw", "age"))
    with pytest.raises(ValueError, match="two samples and two attributes, given 1 and 2"):
        name_directions(torch.zeros(1, 3, 2), ("yaw", "age"))
    with pytest.raises(ValueError, match="expected 1 names, given 0"):
        rename(Editors.from_vectors(["a"], torch.eye(1, 4)), [])
