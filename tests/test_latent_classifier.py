"""The latent classifier: exact measures, a world that no line can separate, and bad input."""

import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from facenb.methods.latent_transformer import LatentClassifier, label_thresholds
from facenb.scorers.attributes import ATTRIBUTES, select


def curved_world(n=3000, d=8, seed=0):
    """Two attributes: a half-space, and the outside of a cylinder, which no plane cuts off."""
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return z, torch.stack([z[:, 0] > 0, z[:, 1] ** 2 + z[:, 2] ** 2 > 1.4], dim=1)


def test_thresholds_are_zero_for_log_odds_and_the_median_otherwise():
    scores = torch.tensor([[1.0, -3.0], [2.0, 5.0], [9.0, 7.0]])
    yaw, smile = select(["yaw", "smile"], ATTRIBUTES["digiface"])
    found = label_thresholds(scores, [yaw, smile])
    assert found.tolist() == [2.0, 0.0]
    with pytest.raises(ValueError, match=r"expected scores \(N, 1\).*given \(3, 2\)"):
        label_thresholds(scores, [yaw])


def test_a_linear_layer_fails_where_three_layers_do_not():
    (z, labels), (unseen, truth) = curved_world(), curved_world(seed=1)
    reports = {
        hidden: LatentClassifier(hidden, epochs=30, batch=64, learning_rate=5e-3)
        .fit(z, labels, ["half", "ring"])
        .report(unseen, truth)
        for hidden in (None, 32)
    }
    assert reports[None]["half"]["AUC"] > 0.99 and reports[32]["half"]["AUC"] > 0.99
    assert reports[None]["ring"]["AUC"] < 0.6
    assert reports[32]["ring"]["AUC"] > 0.95


def test_measures_are_those_of_sklearn():
    z, labels = curved_world(n=400)
    model = LatentClassifier(16, epochs=3).fit(z, labels, ["half", "ring"])
    report, predicted, odds = model.report(z, labels), model.predict(z), model.logits(z)
    for i, name in enumerate(("half", "ring")):
        expected = precision_recall_fscore_support(
            labels[:, i], predicted[:, i], average="binary", zero_division=0
        )[:3]
        found = [report[name][measure] for measure in ("precision", "recall", "F1")]
        assert found == pytest.approx(expected)
        assert report[name]["AUC"] == pytest.approx(roc_auc_score(labels[:, i], odds[:, i]))


def test_it_is_a_differentiable_scorer():
    z, labels = curved_world(n=400)
    model = LatentClassifier(16, epochs=5, batch=32, learning_rate=5e-3).fit(z, labels)
    codes = z[:5].clone().requires_grad_()
    model.logits(codes)[:, 0].sum().backward()
    assert (codes.grad[:, 0] > 0).all()  # towards the positive side of the half-space
    assert torch.equal(model.predict_proba(z) > 0.5, model.predict(z))


def test_same_seed_same_weights_and_torchs_own_numbers_are_left_alone():
    z, labels = curved_world(n=300)
    model = LatentClassifier(16, epochs=2, seed=5)
    before = torch.get_rng_state()
    first, second = model.fit(z, labels), clone(model).fit(z, labels)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.logits(z), second.logits(z))
    other = LatentClassifier(16, epochs=2, seed=6).fit(z, labels)
    assert not torch.equal(first.logits(z), other.logits(z))


@pytest.mark.parametrize("hidden", [None, 16])
def test_state_and_back(hidden):
    z, labels = curved_world(n=300)
    model = LatentClassifier(hidden, epochs=2).fit(z, labels, ["half", "ring"])
    state = dict(sorted(model.state().items()))  # as a file gives it back: another order
    again = LatentClassifier(hidden).restore(state, ["half", "ring"])
    assert torch.equal(again.logits(z), model.logits(z))
    assert again.names_ == ("half", "ring") and torch.equal(again.history_, model.history_)


def test_an_attribute_with_one_class_is_named():
    z, labels = curved_world(n=100)
    labels[:, 1] = False
    with pytest.raises(
        ValueError, match=r"two classes.*given one of ring \(all 0\) in 100 samples"
    ):
        LatentClassifier().fit(z, labels, ["half", "ring"])


def test_bad_input_names_expected_and_given():
    z, labels = curved_world(n=100)
    with pytest.raises(
        ValueError, match=r"latents \(N, d\) and labels \(N, A\).*\(100, 8\).*\(99, 2\)"
    ):
        LatentClassifier().fit(z, labels[:99])
    with pytest.raises(ValueError, match="NaN"):
        LatentClassifier().fit(z.index_fill(0, torch.tensor([3]), torch.nan), labels)
    with pytest.raises(ValueError, match="labels 0 and 1; compare scores"):
        LatentClassifier().fit(z, labels * 2.5)
    with pytest.raises(ValueError, match=r"2 different names.*given half, half"):
        LatentClassifier().fit(z, labels, ["half", "half"])
    with pytest.raises(ValueError, match="epochs ≥ 1 and batch ≥ 1, given 0 and 256"):
        LatentClassifier(epochs=0).fit(z, labels)
    model = LatentClassifier(8, epochs=1).fit(z, labels)
    with pytest.raises(ValueError, match=r"latents \(N, 8\), given \(100, 3\)"):
        model.logits(z[:, :3])
    with pytest.raises(ValueError, match=r"expected 2 labels \(0, 1\), given 1"):
        model.report(z, labels[:, :1])
