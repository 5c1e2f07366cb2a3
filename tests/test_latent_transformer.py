"""The latent transformer: its equations by hand, joint against separate training, one real edit."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from tiny import TinyGenerator

import facenb
from facenb.editors import Editor, Editors, compose, load_editors, traversal
from facenb.errors import UnknownNameError
from facenb.latents import Latents
from facenb.methods.latent_transformer import (
    SLOPE,
    LatentClassifier,
    LatentTransformer,
    TransformerEditor,
    fit_classifier,
    fit_side_by_side,
    fit_transformers,
    scaling_factors,
    two_sided,
)
from facenb.metrics.attribute_correlation import celeba_correlation, label_correlation
from facenb.sampling import ScoredSamples, score
from facenb.scorers import ATTRIBUTES
from facenb.widgets.explorer.engine import Engine
from facenb.widgets.explorer.state import EditState
from scripts.train_transformers import TARGETS, halved

NAMES = ("first", "second", "third")


def linear_classifier(weight, names=NAMES):
    """A classifier whose log-odds are exactly z @ weight.T."""
    state = {"0.weight": weight, "0.bias": weight.new_zeros(len(weight)), "history": torch.zeros(1)}
    return LatentClassifier(hidden=None).restore(state, names)


def world(n=64, d=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=random, dtype=torch.float64)
    return z, linear_classifier(torch.eye(d, dtype=torch.float64)[:3] * 2), torch.eye(3)


def test_scaling_factors_are_those_of_the_paper():
    probability = torch.tensor([[0.1, 0.4, 0.6, 0.9]])
    found = scaling_factors(torch.logit(probability))
    torch.testing.assert_close(found, torch.tensor([[0.9, 0.6, -0.6, -0.9]]))


def test_the_edit_is_equation_1_by_hand():
    weights = {
        "weight_in": torch.tensor([[[1.0, 0.0], [0.0, -1.0]]]),
        "bias_in": torch.tensor([[0.5, 0.0]]),
        "weight_out": torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]),
        "bias_out": torch.tensor([[0.0, 3.0]]),
    }
    editor = TransformerEditor("by hand", weights)
    assert isinstance(editor, Editor)
    z = Latents(torch.tensor([[1.0, 2.0]]), "z")
    # hidden (1.5, −2) → LeakyReLU (1.5, −0.4) → H = (3, −0.4 + 3)
    h = torch.tensor([[3.0, -2 * SLOPE + 3]])
    torch.testing.assert_close(editor.displacement(z.values), h)
    torch.testing.assert_close(editor.edit(z, -0.5).values, z.values - 0.5 * h)
    assert torch.equal(editor.edit(z, 0).values, z.values)
    moved = traversal(editor, z, [0.0, 2.0]).values
    torch.testing.assert_close(moved, torch.cat([z.values, z.values + 2 * h]))


@pytest.mark.parametrize("features", ["logit", "probability"])
@pytest.mark.parametrize("reconstruction", ["norm", "squared"])
def test_the_losses_are_equations_2_to_5_by_hand(reconstruction, features):
    z, classifier, _ = world(n=5)
    gamma = torch.tensor([[1.0, -0.25, 0.5], [-0.25, 1.0, 0.0], [0.5, 0.0, 1.0]])
    model = LatentTransformer(
        reconstruction=reconstruction,
        features=features,
        reconstruction_weight=7.0,
        epochs=1,
        batch=5,
        learning_rate=1e-12,
    )
    found = model.fit_networks(z, classifier, gamma).history_[0]  # (3, K), at the first weights
    before = classifier.logits(z)
    for j, name in enumerate(NAMES):
        alpha = scaling_factors(before)[:, j]
        moved = model.editors()[name].edit(Latents(z, "z"), alpha).values
        after = classifier.logits(moved)
        verdict = F.binary_cross_entropy_with_logits(after[:, j], (alpha > 0).double())
        shown, unedited = after, before
        if features == "probability":
            shown, unedited = after.sigmoid(), before.sigmoid()
        others = sum(
            (1 - abs(float(gamma[j, i]))) * (shown[:, i] - unedited[:, i]).abs().mean()
            for i in range(3)
            if i != j
        )
        length = (moved - z).norm(dim=1).mean()
        if reconstruction == "squared":
            length = (moved - z).square().mean()
        expected = torch.stack([verdict, others, length])
        torch.testing.assert_close(found[:, j], expected, atol=1e-8, rtol=1e-6)
    whole = (found[0] + 1.0 * found[1] + 7.0 * found[2]).sum()
    torch.testing.assert_close(model._loss(found), whole)


def test_trained_together_is_trained_alone():
    z, classifier, gamma = world()
    settings = {"epochs": 4, "batch": 8, "learning_rate": 1e-2}
    model = LatentTransformer(**settings, targets=["first", "third"])
    together = model.fit_networks(z, classifier, gamma).editors()
    history = model.history_
    start = model._start(z, torch.tensor([0, 2]))
    for i, name in enumerate(("first", "third")):
        alone = clone(model).set_params(targets=[name]).fit_networks(z, classifier, gamma)
        for key, weight in alone.weights_.items():
            joint = together[name].weights[key]
            assert (joint - start[key][i]).abs().max() > 1e-2  # it did train
            torch.testing.assert_close(joint, weight, atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(history[:, :, i], alone.history_[:, :, 0])


def test_it_turns_the_verdict_on_its_target_and_keeps_the_others():
    z, classifier, gamma = world(n=512)
    model = LatentTransformer(epochs=20, batch=32, learning_rate=1e-2, reconstruction_weight=0.1)
    transformers = model.fit_networks(z, classifier, gamma).editors()
    unseen = Latents(world(n=200, seed=1)[0], "z")
    before = classifier.logits(unseen.values) > 0
    for j, editor in enumerate(transformers.values()):
        strength = torch.where(before[:, j], -1.5, 1.5)
        after = classifier.logits(editor.edit(unseen, strength).values) > 0
        changed = (after != before).double().mean(dim=0)
        assert changed[j] > 0.9
        assert changed[[i for i in range(3) if i != j]].max() < 0.15


def test_a_correlated_attribute_is_allowed_to_follow():
    z, _, _ = world(n=512)
    weight = torch.zeros(3, 6, dtype=torch.float64)
    weight[0, 0], weight[1, 0], weight[1, 1], weight[2, 2] = 2, 1.6, 1.2, 2
    classifier = linear_classifier(weight)
    follows = {}
    for value in (0.0, 1.0):
        gamma = torch.eye(3)
        gamma[0, 1] = gamma[1, 0] = value
        model = LatentTransformer(epochs=10, batch=32, learning_rate=1e-2, targets=["first"])
        model.fit_networks(z, classifier, gamma)
        h = model.editors()["first"].displacement(z)
        follows[value] = float((h @ weight[1]).mean() / (h @ weight[0]).mean())
    assert abs(follows[0.0]) < 0.1
    assert follows[1.0] > 0.5


def test_in_sequence_every_edit_starts_where_the_last_one_ended():
    z, classifier, gamma = world()
    editors = LatentTransformer(epochs=1).fit_networks(z, classifier, gamma).editors()
    latents = Latents(z, "z")
    step = editors["first"].edit(latents, 1.0)
    expected = step.values + 0.5 * editors["second"].displacement(step.values)
    both = compose([(editors["first"], 1.0), (editors["second"], 0.5)]).edit(latents, 1.0)
    torch.testing.assert_close(both.values, expected)


def test_correlations():
    labels = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 1]]).bool()
    expected = -(0.5**2) / math.sqrt(0.5 * 0.5 * 0.75 * 0.25) / 2
    assert float(label_correlation(labels)[0, 1]) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"two classes.*column 1"):
        label_correlation(torch.tensor([[0, 1], [1, 1]]))
    gamma = celeba_correlation(["yaw", "gender", "beard", "age"])
    assert gamma[0].tolist() == [1, 0, 0, 0]  # CelebA does not annotate yaw
    assert gamma[1, 2] > 0.4 and gamma[2, 3] > 0  # men have beards, and so have the old
    assert torch.equal(gamma, gamma.T)
    with pytest.raises(UnknownNameError, match="Known: smile"):
        celeba_correlation(["yaw"])


def test_saved_and_loaded_it_is_the_same(tmp_path):
    z, _, gamma = world()
    model = LatentTransformer(hidden=9, epochs=1).fit_networks(
        z.float(), linear_classifier(torch.eye(6)[:3]), gamma
    )
    transformers = model.editors().with_provenance(generator="none", seed=3)
    transformers.save(tmp_path / "t.safetensors")
    again = Editors.load(tmp_path / "t.safetensors")
    assert again.names == NAMES and again.space == "z"
    assert again.provenance == transformers.provenance and again.provenance["generator"] == "none"
    latents = Latents(z.float(), "z")
    assert torch.equal(again["second"].edit(latents, 1).values,
                       transformers["second"].edit(latents, 1).values)  # fmt: skip
    restored = LatentTransformer(hidden=9).restore(model.state(), NAMES).editors()
    assert torch.equal(restored["third"].weights["bias_in"], again["third"].weights["bias_in"])


def test_bad_input_names_expected_and_given():
    z, classifier, gamma = world()
    with pytest.raises(UnknownNameError, match=r"unknown target 'forth'.*Known: first"):
        LatentTransformer(targets=["forth"]).fit_networks(z, classifier, gamma)
    with pytest.raises(ValueError, match=r"gamma \(3, 3\), given \(64, 6\) and \(2, 2\)"):
        LatentTransformer().fit_networks(z, classifier, torch.eye(2))
    with pytest.raises(ValueError, match=r"gamma.*NaN"):
        LatentTransformer().fit_networks(z, classifier, gamma * torch.nan)
    with pytest.raises(UnknownNameError, match="unknown features 'image'"):
        LatentTransformer(features="image").fit_networks(z, classifier, gamma)
    with pytest.raises(UnknownNameError, match="unknown reconstruction 'cubed'"):
        LatentTransformer(reconstruction="cubed").fit_networks(z, classifier, gamma)
    with pytest.raises(ValueError, match="epochs ≥ 1 and batch ≥ 1, given 10 and 0"):
        LatentTransformer(batch=0).fit_networks(z, classifier, gamma)
    with pytest.raises(ValueError, match=r"losses of epoch 1 \(lower the learning rate\)"):
        LatentTransformer(learning_rate=1e300, epochs=1).fit_networks(z, classifier, gamma)
    with pytest.warns(UserWarning, match="says yes to 'first' on all 64 latents"):
        model = LatentTransformer(epochs=1, targets=["first"])
        model.fit_networks(z.abs(), classifier, gamma)
    editor = LatentTransformer(epochs=1).fit_networks(z, classifier, gamma).editors()["first"]
    with pytest.raises(ValueError, match=r"first: expected latents \(N, 6\), given shape \(2, 5\)"):
        editor.edit(Latents(torch.zeros(2, 5), "z"), 1.0)
    with pytest.raises(facenb.errors.SpaceError, match=r"'z'.*'w'"):
        editor.edit(Latents(torch.zeros(2, 6), "w"), 1.0)
    weights = editor.weights | {"bias_in": torch.zeros(1, 3)}
    with pytest.raises(ValueError, match=r"first: expected weights .*\(1, h\).* given"):
        TransformerEditor("first", weights)


@pytest.fixture(scope="module")
def light():
    """Generator, scorer, codes, scores: brightness and warmth need no network."""
    generator = facenb.load_generator("digiface-dcgan-64")
    scorers = facenb.load_scorers("light", generator.framing)
    latents = generator.sample(1500, seed=0)
    return generator, scorers, latents, score(generator, scorers, latents)


def test_end_to_end_an_edit_moves_its_target_and_holds_the_rest(light):
    generator, scorers, latents, scores = light
    labels = scores > scores.median(dim=0).values
    classifier = LatentClassifier(64, epochs=15, batch=64).fit(
        latents.values, labels, scorers.names
    )
    model = LatentTransformer(epochs=10, batch=32, learning_rate=1e-3)
    model.fit_networks(latents.values, classifier, label_correlation(labels))
    fresh = generator.sample(64, seed=1)
    before = score(generator, scorers, fresh)
    editors = model.editors()
    for target, name in enumerate(scorers.names):
        after = score(generator, scorers, editors[name].edit(fresh, 1.5))
        change = (after - before).mean(dim=0) / scores.std(dim=0)
        assert change[target] > 0.8
        assert change[1 - target].abs() < 0.35 * change[target]


def test_in_the_explorer_beside_a_linear_editor(light):
    generator, _, latents, _ = light
    classifier = linear_classifier(torch.eye(100)[:3])
    model = LatentTransformer(epochs=1, batch=512).fit_networks(
        latents.values, classifier, torch.eye(3)
    )
    editors = {
        "smile": load_editors("interfacegan", "digiface-dcgan-64")["smile"],
        **model.editors(),
    }
    engine = Engine(generator, editors)
    state = EditState(strengths={"smile": 1.0, "second": 1.2})
    step = editors["smile"].edit(generator.sample(1), 1.0)
    expected = editors["second"].edit(step, 1.2).values
    torch.testing.assert_close(engine.edited(state).values, expected)
    assert engine.frame(state).after.shape == (1, 3, 64, 64)
    held = engine.edited(EditState(strengths={"second": 1.0}, held=frozenset({"smile"})))
    distances = editors["smile"].distance
    torch.testing.assert_close(distances(held), distances(generator.sample(1)))


def test_what_was_trained_before_comes_from_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("facenb.storage.cache.cache_dir", lambda: tmp_path)
    z = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    labels = z[:, :3] > 0
    classifier = fit_classifier(z, labels, NAMES, epochs=5, batch=16, learning_rate=1e-2, hidden=8)
    model = fit_transformers(z, classifier, torch.eye(3), epochs=1)

    def refuse(*_args, **_settings):
        raise AssertionError("trained again")

    monkeypatch.setattr(LatentTransformer, "fit_networks", refuse)
    again = fit_transformers(
        z,
        fit_classifier(z, labels, NAMES, epochs=5, batch=16, learning_rate=1e-2, hidden=8),
        torch.eye(3),
        epochs=1,
    )
    for key, weight in model.weights_.items():
        assert torch.equal(again.weights_[key], weight)
    assert torch.equal(again.history_, model.history_) and again.targets_ == NAMES
    for changed in ({"gamma": torch.ones(3, 3)}, {"learning_rate": 1e-3}, {"targets": ["first"]}):
        with pytest.raises(AssertionError, match="trained again"):
            fit_transformers(
                **{"values": z, "classifier": classifier, "gamma": torch.eye(3), "epochs": 1}
                | changed
            )


def test_the_shipped_transformers_turn_glasses_on():
    transformers = load_editors("transformers", "digiface-dcgan-64")
    assert transformers.provenance["generator"] == "digiface-dcgan-64"
    assert len(transformers) == 10 and set(transformers.names) >= {"smile", "glasses", "age"}
    generator = facenb.load_generator("digiface-dcgan-64")
    scorers = facenb.load_scorers("glasses", generator.framing)
    fresh = generator.sample(24, seed=11)
    before, after = (
        score(generator, scorers, codes)
        for codes in (fresh, transformers["glasses"].edit(fresh, 1.5))
    )
    assert (after > before).float().mean() > 0.9
    assert (after > 0).float().mean() > (before > 0).float().mean() + 0.4


def test_the_shipped_transformers_of_the_ffhq_generator_put_glasses_on():
    transformers = load_editors("transformers")
    assert transformers.space == "w" and transformers.names == TARGETS
    assert transformers.provenance["features"] == "probability"
    generator = facenb.load_generator()
    transformers.check(generator)
    scorers = facenb.load_scorers(["glasses"], generator.framing)
    fresh = generator.sample(8, seed=11, space="w")
    before, after = (
        score(generator, scorers, codes)
        for codes in (fresh, transformers["glasses"].edit(fresh, 1.5))
    )
    assert (after > before).float().mean() > 0.8
    assert (after > 0).float().mean() > (before > 0).float().mean() + 0.4


def test_halved_they_compute_in_the_precision_of_the_latents():
    z, classifier, gamma = world(n=64)
    model = LatentTransformer(epochs=1).fit_networks(z, classifier, gamma)
    whole, half = model.editors()["first"], halved(model.editors())["first"]
    assert half.weights["weight_in"].dtype == torch.float16
    moved = half.edit(Latents(z, "z"), 1.0).values
    assert moved.dtype == z.dtype
    torch.testing.assert_close(moved, whole.edit(Latents(z, "z"), 1.0).values, atol=1e-3, rtol=0)


def test_attributes_that_all_samples_have_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("facenb.storage.cache.cache_dir", lambda: tmp_path)
    z = torch.randn(1200, 6, generator=torch.Generator().manual_seed(0))
    scores = torch.stack([3 * z[:, 0], 10 + z[:, 1], z[:, 2], z[:, 3]], dim=1)
    samples = ScoredSamples(Latents(z, "z"), scores, ("smile", "hat", "age", "brightness"))
    known = [a for name in samples.names for a in ATTRIBUTES["digiface"] if a.name == name]
    assert [a.name for a in two_sided(samples, known)] == ["smile", "age"]  # all wear hats
    generator = TinyGenerator()
    generator.framing = "digiface"
    model = LatentTransformer(learning_rate=1e-3, seed=1).fit(generator, samples)
    assert model.targets_ == ("smile", "age")
    move = model.editors()["smile"].displacement(z[:100])
    assert (move[:, 0] > 0).all()


def test_side_by_side_they_are_those_of_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    monkeypatch.setattr("facenb.parallel.WORTHWHILE", 1)
    z = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    classifier = fit_classifier(
        z, z[:, :3] > 0, NAMES, epochs=5, batch=16, learning_rate=1e-2, hidden=8
    )
    settings = {
        "all": {"classifier": classifier, "epochs": 1},
        "dear": {"classifier": classifier, "epochs": 1, "targets": ["first"],
                 "reconstruction_weight": 100.0},
    }  # fmt: skip
    found = fit_side_by_side(z, torch.eye(3), settings)
    assert found["all"].targets_ == NAMES and found["dear"].targets_ == ("first",)
    alone = LatentTransformer(epochs=1).fit_networks(z, classifier, torch.eye(3))
    torch.testing.assert_close(found["all"].history_, alone.history_)
    monkeypatch.setattr(LatentTransformer, "fit_networks", None)  # from disk now, or it fails
    again = fit_side_by_side(z, torch.eye(3), settings)
    assert torch.equal(again["dear"].history_, found["dear"].history_)
