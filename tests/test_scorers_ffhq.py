"""The scores of images framed like FFHQ's, on faces of the FFHQ generator that were labelled."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from facenb.data import load_json
from facenb.drawing import draw
from facenb.scorers import ATTRIBUTES, load_independent_scorers, load_scorers
from facenb.scorers.framing import CROPS, Crop
from facenb.scorers.nets.face_mesh import PAIRS, corners_down, mouth_opening, pose
from facenb.scorers.registry import NETS, PROBES
from facenb.scorers.suite import _CHUNK
from scripts import train_probes

PROBED = [a.name for a in ATTRIBUTES["ffhq"] if a.formula.startswith("logistic probe")]
FEW = 4  # faces with and without each attribute


@pytest.fixture(scope="module")
def suite():
    return load_scorers()


@pytest.fixture(scope="module")
def generator():
    return train_probes.faces("ffhq", 1)[0]


@pytest.fixture(scope="module")
def chosen():
    """Indices of some labelled faces, with each probed attribute and without."""
    agreed = load_json("ffhq_labels.json")["agreed"]
    names = [train_probes._LABEL.get(name, name) for name in PROBED]
    with_it = {i for name in names for i in agreed[name]["yes"][:FEW]}
    return sorted(with_it | set(agreed["hat"]["no"][:FEW]))


@pytest.fixture(scope="module")
def images(generator, chosen):
    _, latents = train_probes.faces("ffhq", 432)
    with torch.no_grad():
        return draw(generator, latents[torch.tensor(chosen)], generator.scoring_size)


@pytest.fixture(scope="module")
def scores(suite, images):
    with torch.no_grad():
        return suite(images)


def column(suite, scores, name):
    return scores[:, suite.names.index(name)]


# ---- the suite ----------------------------------------------------------------------------------


def test_the_suite_has_its_groups_and_action_units(suite, scores):
    groups = {}
    for attribute in suite.attributes:
        groups.setdefault(attribute.group, []).append(attribute.name)
    assert groups["pose"] == ["yaw", "pitch", "roll"]
    assert len(groups["action units"]) == 12 and groups["action units"][7] == "AU12"
    assert {a.name: a.description for a in suite.attributes}["AU12"] == "lip corner puller"
    assert groups["hair"] == ["beard", "fringe", "bald", "grey_hair", "long_hair", "wavy_hair"]
    assert scores.shape[1] == len(suite.names) == 33 and scores.isfinite().all()


def test_scores_do_not_depend_on_the_batch(suite, images, scores):
    assert len(images) > _CHUNK
    with torch.no_grad():
        few = suite(images[_CHUNK - 2 : _CHUNK + 3])
    spread = scores.std(0)
    assert ((few - scores[_CHUNK - 2 : _CHUNK + 3]).abs() < 1e-3 * spread).all()


def test_no_net_sees_more_than_a_chunk_and_each_crop_is_made_once(suite, images, monkeypatch):
    seen, cut = [], []
    handles = [
        net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        for net in suite.nets.values()
    ]
    make = Crop.__call__
    monkeypatch.setattr(
        Crop, "__call__", lambda s, x, size=None: (cut.append((s, size)), make(s, x, size))[1]
    )
    with torch.no_grad():
        suite(images[: _CHUNK + 1])
    for handle in handles:
        handle.remove()
    assert sorted(seen) == sorted([_CHUNK, 1] * len(suite.nets))
    assert len(cut) == 2 * len(set(cut)) == 2 * len(suite.nets)  # two chunks


def test_the_same_nets_and_crops_whatever_the_size_of_the_image(suite, images, scores):
    large = torch.nn.functional.interpolate(images[:6], scale_factor=2, mode="bilinear")
    with torch.no_grad():
        found = suite(large.clamp(-1, 1))
    for name in ("yaw", "age", "glasses", "smile"):
        away = column(suite, found, name) - column(suite, scores[:6], name)
        assert (away.abs() < 0.5 * column(suite, scores, name).std()).all(), name


# ---- exact cases and invariances ----------------------------------------------------------------


def test_pose_of_a_mesh_that_was_turned_by_hand():
    # a face in its own plane, then turned about the vertical and in the picture's plane
    flat = torch.zeros(1, 478, 3)
    flat[:, :, 0] = torch.linspace(-1, 1, 478)
    flat[0, 10], flat[0, 152] = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    for left, right in PAIRS:
        flat[0, left], flat[0, right] = torch.tensor([-1.0, 0, 0]), torch.tensor([1.0, 0, 0])
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turns = {
        "yaw": torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]]),
        "pitch": torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "roll": torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }
    assert all(abs(float(angle)) < 1e-4 for angle in pose(flat).values())
    for name, turn in turns.items():
        found = pose(flat @ turn.T.float())
        for other, angle in found.items():
            assert float(angle) == pytest.approx(20.0 if other == name else 0.0, abs=1e-3)


def test_mouth_opening_in_its_own_unit():
    points = torch.zeros(1, 478, 3)
    points[0, 14], points[0, 152] = torch.tensor([0.0, 3.0, 4.0]), torch.tensor([0.0, 20.0, 0.0])
    assert float(mouth_opening(points)) == pytest.approx(0.25)
    assert float(mouth_opening(points * 7)) == pytest.approx(0.25)


def test_a_mirror_turns_and_tilts_the_head_the_other_way(suite, images, scores):
    with torch.no_grad():
        mirrored = suite(images.flip(3))
    for name, least in (("yaw", 0.98), ("roll", 0.7)):
        a, b = column(suite, scores, name), column(suite, mirrored, name)
        assert np.corrcoef(a, b)[0, 1] < -least, name
    for name in ("brightness", "warmth"):
        a, b = column(suite, scores, name), column(suite, mirrored, name)
        assert torch.allclose(a, b, atol=1e-5)
    for name in ("pitch", "smile", "AU12", "teeth", "mouth_open", "age", "gender", "hat", "beard"):
        a, b = column(suite, scores, name), column(suite, mirrored, name)
        assert np.corrcoef(a, b)[0, 1] > 0.85, name


def test_a_head_that_is_tilted_reads_as_tilted(suite, images):
    half = float(np.radians(8))
    turn = torch.tensor([[np.cos(half), np.sin(half), 0], [-np.sin(half), np.cos(half), 0]])
    grid = torch.nn.functional.affine_grid(
        turn.float()[None].expand(8, -1, -1), images[:8].shape, align_corners=False
    )
    tilted = torch.nn.functional.grid_sample(
        images[:8], grid, padding_mode="reflection", align_corners=False
    )
    with torch.no_grad():
        away = column(suite, suite(tilted), "roll") - column(suite, suite(images[:8]), "roll")
    assert (away > 4).all() and (away < 12).all()  # clockwise: to the viewer's right


def test_a_darker_image_is_darker_and_shows_the_same_face(suite, images, scores):
    with torch.no_grad():
        dark = suite((images + 1) * 0.6 - 1)
    brightness = column(suite, scores, "brightness")
    assert torch.allclose(column(suite, dark, "brightness"), 0.6 * brightness, atol=1e-5)
    for name in ("yaw", "pitch", "smile", "mouth_open", "age", "gender", "glasses"):
        a, b = column(suite, scores, name), column(suite, dark, name)
        assert np.corrcoef(a, b)[0, 1] > 0.9, name


def test_corners_of_the_mouth_below_its_middle():
    points = torch.zeros(1, 478, 3)
    points[0, 152] = torch.tensor([0.0, 10.0, 0.0])
    points[0, 61], points[0, 291] = torch.tensor([-4.0, 6, 0]), torch.tensor([4.0, 8, 0])
    points[0, 13], points[0, 14] = torch.tensor([0.0, 4, 0]), torch.tensor([0.0, 5, 0])
    assert float(corners_down(points)) == pytest.approx((7 - 4.5) / 10)
    turned = points[:, :, [1, 0, 2]] * torch.tensor([1.0, -1.0, 1.0])  # head and mouth together
    assert float(corners_down(turned)) == pytest.approx((7 - 4.5) / 10)


# ---- against the labels -------------------------------------------------------------------------


def labelled(name, chosen):
    agreed = load_json("ffhq_labels.json")["agreed"][name]
    yes, no = set(agreed["yes"]), set(agreed["no"])
    clear = [k for k, i in enumerate(chosen) if i in yes or i in no]
    return clear, [chosen[k] in yes for k in clear]


@pytest.mark.parametrize("name", PROBED)
def test_probes_separate_the_labelled_faces(suite, scores, chosen, name):
    clear, positive = labelled(train_probes._LABEL.get(name, name), chosen)
    assert sum(positive) >= FEW
    assert roc_auc_score(positive, column(suite, scores, name)[clear]) > 0.95


def test_age_and_teeth_agree_with_labels_that_they_were_not_made_from(suite, scores, chosen):
    clear, child = labelled("child", chosen)
    assert sum(child) >= FEW and roc_auc_score(child, -column(suite, scores, "age")[clear]) > 0.95
    clear, teeth = labelled("teeth", chosen)
    assert roc_auc_score(teeth, column(suite, scores, "teeth")[clear]) > 0.93


def test_recorded_areas_are_of_probes_that_had_not_seen_the_faces():
    from scripts.model_cards import probes_provenance

    for suite, least in (("ffhq", 0.93), ("independent", 0.87)):
        facts = probes_provenance(suite)
        for name in PROBED:
            assert float(facts[f"{name}_auc_agreed"]) > least, (suite, name)
    assert probes_provenance("ffhq")["labels"] != probes_provenance("independent")["labels"]


def test_training_writes_both_files_with_their_probes(tmp_path, monkeypatch):
    # embeddings in which the first coordinates are the labels of either pass, and noise
    random = np.random.default_rng(0)
    planted = {net: random.normal(size=(2, 432, 150)) for net in ("faceres", "efficientnet")}
    for k, name in enumerate(PROBED):
        for suite in ("ffhq", "independent"):
            found = train_probes.labels_of(suite, name)
            for embedding in planted.values():
                embedding[:, found.index, k] += 4 * found.positive
    monkeypatch.setattr(
        train_probes,
        "embeddings",
        lambda framing, count: {n: torch.tensor(e) for n, e in planted.items()},
    )
    facts = train_probes.train("ffhq", lambda name: tmp_path / f"{name}.safetensors")
    for suite in ("ffhq", "independent"):
        written = load_file(tmp_path / f"{suite}.safetensors")
        shipped = load_file(PROBES[suite])
        assert set(written) == set(shipped)
        assert all(float(facts[suite][f"{name}_auc"]) > 0.9 for name in PROBED)


# ---- gradients ----------------------------------------------------------------------------------


def test_gradient_reaches_the_image_for_every_score(suite, images):
    x = images[:1].clone().requires_grad_()
    values = suite(x)[0]
    for name, value in zip(suite.names, values, strict=True):
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0, name


def test_a_step_along_the_gradient_raises_the_score(suite, images):
    for name in ("yaw", "AU12", "teeth", "hat", "beard", "quality"):
        x = images[3:4].clone().requires_grad_()
        value = column(suite, suite(x), name)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        with torch.no_grad():
            step = 1e-3 * gradient / gradient.norm()
            moved = column(suite, suite((x + step).clamp(-1, 1)), name)
        assert moved > value, name


# ---- independent scores -------------------------------------------------------------------------


def test_independent_scores_share_no_net_with_the_scores_of_the_same_name():
    ours = {a.name: NETS["ffhq"][a.net] for a in ATTRIBUTES["ffhq"]}
    for a in ATTRIBUTES["independent"]:
        other = NETS["independent"][a.net]
        assert not set(other.assets + other.converted + other.data) & set(
            ours[a.name].assets + ours[a.name].converted + ours[a.name].data
        ), a.name
        assert (a.low, a.high) == next(
            (o.low, o.high) for o in ATTRIBUTES["ffhq"] if o.name == a.name
        )


def test_independent_scores_agree_with_the_suite(suite, images, scores):
    judges = load_independent_scorers()
    with torch.no_grad():
        found = judges(images)
    for name, least in (("age", 0.75), ("gender", 0.75), ("smile", 0.6), ("hat", 0.5)):
        r = np.corrcoef(column(judges, found, name), column(suite, scores, name))[0, 1]
        assert r > least, name
    assert load_independent_scorers(["hair", "age"]).names[-1] == "age"
    assert judges.framing == "ffhq" and judges.fingerprint != suite.fingerprint


def test_every_net_has_a_crop():
    for suite, nets in NETS.items():
        assert set(nets) <= set(CROPS["digiface" if suite == "digiface" else "ffhq"])
