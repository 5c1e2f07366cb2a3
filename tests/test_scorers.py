"""The DCGAN's scores, and what every suite has in common: exact cases, consistency, errors."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from facenb.data import load_json
from facenb.errors import UnknownNameError
from facenb.generators import load_generator
from facenb.scorers import ATTRIBUTES, QUALITY_GATE, load_identity, load_scorers
from facenb.scorers.nets.layers import resize
from facenb.scorers.registry import PROBES
from scripts import model_cards as cards
from scripts.train_probes import Labels, _labels, cross_validated, fold, labels_of, recipe

NAMES = ("yaw", "pitch", "smile", "surprise", "mouth_open", "gender", "age", "glasses", "hat",
         "beard", "brightness", "warmth", "quality")  # fmt: skip


@pytest.fixture(scope="module")
def suite():
    return load_scorers(framing="digiface")


@pytest.fixture(scope="module")
def generator():
    return load_generator("digiface-dcgan-64")


@pytest.fixture(scope="module")
def images(generator):
    with torch.no_grad():
        return generator.synthesize(generator.sample(20, seed=3))


@pytest.fixture(scope="module")
def scores(suite, images):
    with torch.no_grad():
        return suite(images)


# ---- the suite ----------------------------------------------------------------------------------


def test_columns_are_the_attributes_in_order(suite, scores):
    assert suite.names == NAMES == tuple(a.name for a in ATTRIBUTES["digiface"])
    assert tuple(a.name for a in suite.attributes) == suite.names
    assert scores.shape == (20, 13) and scores.dtype == torch.float32
    assert scores.isfinite().all()
    for a in (a for attributes in ATTRIBUTES.values() for a in attributes):
        assert a.unit and a.low and a.high and a.low != a.high and a.group and a.formula, a


def test_a_subset_runs_only_its_nets_and_gives_the_same_numbers(suite, images, scores):
    some = load_scorers(["warmth", "quality", "yaw"], "digiface")
    assert set(some.nets) == {"pixels", "facemesh"}
    with torch.no_grad():
        found = some(images)
    columns = [suite.names.index(name) for name in some.names]
    assert torch.equal(found, scores[:, columns])
    assert some.fingerprint != suite.fingerprint


def test_a_picture_scores_the_same_in_any_batch(suite, images, scores):
    with torch.no_grad():
        alone = torch.cat([suite(images[i : i + 1]) for i in (0, 7, 19)])
        reversed_order = suite(images.flip(0)).flip(0)
    assert torch.allclose(alone, scores[[0, 7, 19]], rtol=1e-4, atol=1e-4)
    assert torch.allclose(reversed_order, scores, rtol=1e-4, atol=1e-4)


def test_nothing_to_train_and_inputs_left_alone(suite, images):
    assert not suite.training and not any(p.requires_grad for p in suite.parameters())
    before = images.clone()
    with torch.no_grad():
        suite(images)
    assert torch.equal(images, before)


def test_fingerprint_is_stable(suite):
    assert suite.fingerprint == load_scorers(framing="digiface").fingerprint
    assert len(suite.fingerprint) == 64


@pytest.mark.parametrize("side", [32, 100, 256])
def test_any_square_size(suite, images, scores, side):
    with torch.no_grad():
        found = suite(resize(images, side).clamp(-1, 1))
    assert found.shape == scores.shape
    # the same faces, only blurred: the head stays turned the way it was
    r = np.corrcoef(found[:, 0], scores[:, 0])[0, 1]
    assert r > 0.9


# ---- exact cases --------------------------------------------------------------------------------


def test_brightness_and_warmth_in_closed_form():
    suite = load_scorers(["brightness", "warmth"])
    colour = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1)
    image = (colour * 2 - 1).expand(1, 3, 64, 64).clone()
    image[:, :, :32] = -1  # half the picture black
    luma = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2
    expected = torch.tensor([[luma / 2, (0.8 - 0.2) / 2]])
    assert torch.allclose(suite(image), expected, atol=1e-6)
    white = torch.ones(1, 3, 64, 64)
    assert torch.allclose(suite(white), torch.tensor([[1.0, 0.0]]), atol=1e-6)


def test_a_mirror_turns_the_head_the_other_way(suite, images, scores):
    with torch.no_grad():
        mirrored = suite(images.flip(3))
    clear = scores[:, suite.names.index("quality")] > QUALITY_GATE
    yaw = torch.stack([scores[clear, 0], mirrored[clear, 0]])
    assert np.corrcoef(yaw)[0, 1] < -0.95
    for exact in ("brightness", "warmth"):
        column = suite.names.index(exact)
        assert torch.allclose(mirrored[:, column], scores[:, column], atol=1e-5)


def test_resize_has_half_pixel_centres():
    # doubling [0, 1] samples at -0.25, 0.25, 0.75, 1.25 of the input's pixels, clamped
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 2, 2)
    assert resize(row, 4)[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


# ---- gradients ----------------------------------------------------------------------------------


def test_gradient_reaches_the_picture_for_every_score(suite, images):
    x = images[:1].clone().requires_grad_()
    values = suite(x)[0]
    for name, value in zip(suite.names, values, strict=True):
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0, name


@pytest.mark.parametrize("name", ["yaw", "smile", "mouth_open", "gender", "glasses"])
def test_gradient_is_the_finite_difference(images, name):
    # in double precision, past the public call, which works in float32
    suite = load_scorers(name, "digiface").double()
    image = images[5:6].double().clamp(-0.9, 0.9)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).double()
    x = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(suite._score(x).sum(), x)
    step = 1e-8  # short enough to cross no kink of the rectifiers
    with torch.no_grad():
        ahead, behind = (suite._score(image + s * step * direction) for s in (1, -1))
    difference = ((ahead - behind) / (2 * step)).item()
    assert (gradient * direction).sum().item() == pytest.approx(difference, rel=1e-4)


# ---- errors -------------------------------------------------------------------------------------


def test_a_name_is_one_attribute_and_never_its_letters():
    assert load_scorers("warmth").names == ("warmth",)
    assert load_scorers("light").names == ("brightness", "warmth")
    with pytest.raises(UnknownNameError, match="'l'"):
        load_scorers(list("light"))


def test_groups_and_attributes_mix_and_each_comes_once():
    names = load_scorers(["warmth", "light", "quality"], "digiface").names
    assert names == ("warmth", "brightness", "quality")
    assert load_scorers(("light",)).names == load_scorers(iter(["light"])).names


@pytest.mark.parametrize("framing", ["ffhq", "digiface"])
def test_unknown_attribute_suggests_the_nearest(framing):
    known = r"unknown attribute .*'smlie'.*'smile'.*yaw, pitch.*quality, pose, expression"
    with pytest.raises(UnknownNameError, match=known):
        load_scorers(["smlie"], framing)
    with pytest.raises(UnknownNameError, match="race"):
        load_scorers("race", framing)
    for names in ([], "", ["yaw", "yaw"]):
        error = UnknownNameError if names == "" else ValueError
        with pytest.raises(error, match=r"distinct attributes and groups, at least one|''"):
            load_scorers(names, framing)


def test_unknown_framing_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown framing 'independent'.*digiface, ffhq"):
        load_scorers("smile", "independent")
    with pytest.raises(UnknownNameError, match="AU12"):
        load_scorers("AU12", "digiface")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3, 64, 64), r"\(N, 3, H, W\)"),
        (torch.zeros(1, 1, 64, 64), r"\(N, 3, H, W\)"),
        (torch.zeros(0, 3, 64, 64), "empty batch"),
        (torch.full((1, 3, 64, 64), float("nan")), "NaN"),
        (torch.full((1, 3, 64, 64), 255.0), r"\[-1, 1\]"),
        (torch.zeros(1, 3, 64, 48), "square"),
        (torch.zeros(1, 3, 16, 16), "at least 32"),
    ],
)
def test_bad_images_are_refused(bad, message):
    suite = load_scorers(["brightness"])
    with pytest.raises(ValueError, match=message):
        suite(bad)
    with pytest.raises(ValueError, match=message):
        load_identity(framing="digiface")(bad)


def test_eight_bit_images_are_refused():
    with pytest.raises(TypeError, match="uint8"):
        load_scorers(["brightness"])(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


# ---- probes -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embeddings():
    from scripts.train_probes import embeddings

    count = load_json("digiface_dcgan_labels.json")["count"]
    return embeddings("digiface", count)["faceres"].double().numpy()[0]


@pytest.mark.parametrize("name", ["glasses", "hat", "beard"])
def test_training_again_gives_the_shipped_probe(embeddings, name):
    labels = labels_of("digiface", name)
    weight, bias = fold(recipe().fit(embeddings[labels.index], labels.positive))
    shipped = load_file(PROBES["digiface"])
    logits = embeddings @ shipped[f"{name}/weight"].double().numpy()
    logits = logits + shipped[f"{name}/bias"].item()
    assert np.abs(embeddings @ weight + bias - logits).max() < 1e-3
    # and the figure on record for labels that the probe had not seen
    with safe_open(PROBES["digiface"], "pt") as file:
        recorded = float(json.loads(file.metadata()["provenance"])[f"{name}_auc"])
    areas, agreed = cross_validated(embeddings[None], labels)
    assert areas.mean() == pytest.approx(recorded, abs=0.005) and recorded > 0.96
    assert agreed is None


def test_probe_scores_are_the_logits_of_the_embedding(suite, generator, embeddings):
    with torch.no_grad():
        scores = suite(generator.synthesize(generator.sample(8, seed=0))).double().numpy()
    shipped = load_file(PROBES["digiface"])
    for name in ("glasses", "hat", "beard"):
        logits = embeddings[:8] @ shipped[f"{name}/weight"].double().numpy()
        logits = logits + shipped[f"{name}/bias"].item()
        assert np.abs(scores[:, suite.names.index(name)] - logits).max() < 1e-4


def test_unsure_samples_are_left_out():
    labels = {"positive": {"hat": [1, 4]}, "unsure": {"hat": [0, 5]}}
    found = _labels(6, labels, "hat", None)
    assert found.index.tolist() == [1, 2, 3, 4] and found.positive.tolist() == [1, 0, 0, 1]
    assert not found.agreed.any()
    agreed = _labels(6, labels, "hat", {"yes": [4], "no": [2, 5]})
    assert agreed.agreed.tolist() == [False, True, False, True]


def test_each_face_is_scored_by_a_probe_that_has_not_seen_it():
    # labels that the features say nothing about: a probe knows the faces that it was fitted to
    random = np.random.default_rng(0)
    features, positive = random.normal(size=(300, 120)), np.arange(300) % 3 == 0
    labels = Labels(np.arange(300), positive.astype(int), np.arange(300) < 200)
    areas, agreed = cross_validated(features[None], labels)
    assert areas.shape == (5,) and abs(areas.mean() - 0.5) < 0.15 and abs(agreed - 0.5) < 0.15
    features[:, 0] += 6 * positive
    areas, agreed = cross_validated(np.stack([features, features + 1]), labels)
    assert areas.min() > 0.97 and agreed > 0.97


def test_folding_is_the_pipeline():
    random = np.random.default_rng(0)
    features = random.normal(size=(150, 120)) * random.uniform(0.1, 9, 120) + 3
    positive = (features[:, 0] + random.normal(size=150) > 3).astype(int)
    fitted = recipe().fit(features, positive)
    assert isinstance(fitted[-1], LogisticRegression)
    weight, bias = fold(fitted)
    assert np.allclose(features @ weight + bias, fitted.decision_function(features), atol=1e-9)


# ---- identity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dimension"), [("face_recognition", 128), ("faceres", 1024)])
def test_identity_tells_persons_apart(images, name, dimension):
    identity = load_identity(name=name)
    with torch.no_grad():
        vectors = identity(images)
        changed = identity((images + 1) * 0.6 - 1)
    assert vectors.shape == (20, dimension)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(20), atol=1e-5)
    cosine = (vectors @ changed.T).numpy()
    same = np.eye(20, dtype=bool)
    assert roc_auc_score(same.ravel(), cosine.ravel()) > 0.99
    assert abs(cosine[~same].mean()) < 0.1  # centred: strangers are at right angles


def test_identity_is_differentiable_and_names_are_checked(images):
    identity = load_identity(framing="digiface")
    assert identity.name == "face_recognition"
    x = images[:1].clone().requires_grad_()
    identity(x)[0, 0].backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    with pytest.raises(UnknownNameError, match="facenet"):
        load_identity(name="facenet")


# ---- cards --------------------------------------------------------------------------------------


def test_cards_name_every_score_with_its_unit_and_ends(repository):
    for framing, path in cards.CARDS.items():
        text = (repository / path).read_text()
        for a in ATTRIBUTES[framing]:
            row = f"| {a.name} | {a.unit} | {a.low} | {a.high} |"
            assert row in text, f"run scripts.model_cards --framing {framing}"


def test_the_ends_of_every_score_are_pictured_in_small_files(repository):
    text = (repository / cards.CARDS["ffhq"]).read_text()
    for group in dict.fromkeys(a.group for a in ATTRIBUTES["ffhq"]):
        name = f"{group.replace(' ', '_')}.jpg"
        assert f"(scores/{name})" in text
        assert 10_000 < (repository / cards.ENDS / name).stat().st_size < 600_000


def test_replacing_the_measured_part_keeps_the_rest():
    text = f"before\n{cards.BEGIN}\nold\n{cards.END}\nafter\n"
    assert cards.replace_measured(text, "new") == text.replace("old", "new")


def test_predictability_of_a_linear_and_of_a_random_score():
    random = np.random.default_rng(0)
    z = random.normal(size=(cards.TRAIN + cards.TEST, 20))
    r2, auc = cards.predictability(z, z @ random.normal(size=20) + 5)
    assert r2 > 0.999 and auc > 0.999
    r2, auc = cards.predictability(z, random.normal(size=len(z)))
    assert abs(r2) < 0.05 and abs(auc - 0.5) < 0.1
