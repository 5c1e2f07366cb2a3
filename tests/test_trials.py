"""Edits at equal side effects, on a world where scores are the latents: all of it by hand."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from facenb.editors import Editors, LinearEditor
from facenb.editors.storage import savable
from facenb.generators.base import Generator
from facenb.methods.compare_all import LEVEL, PROTOCOL
from facenb.methods.entry import best_labelled
from facenb.metrics.faces import Faces
from facenb.metrics.linear_probe import LinearProbe
from facenb.metrics.measurements import (
    Measurements,
    MeasurementsError,
    check,
    read_measurements,
)
from facenb.metrics.trials import measure, measure_iterative, strengths_around
from facenb.scorers import conditions_of, load_identity, load_independent_scorers, load_scorers
from facenb.scorers.joint import JointScorers, load_joint_scorers

NAMES = ("smile", "age", "quality")


class Plain(Generator):
    """z of 3 as a plain colour."""

    name, resolution, latent_dim, spaces, fingerprint = "plain", 4, 3, ("z",), "plain-1"

    def __init__(self):
        super().__init__()
        self.where = nn.Parameter(torch.zeros(1), False)

    def _synthesize(self, latents):
        return (latents.values / 8)[:, :, None, None].expand(-1, 3, 4, 4).contiguous()


class PlainScorers(JointScorers):
    """Scores that are the latents; one independent score, smile less age; the person is the age."""

    framing, fingerprint = "ffhq", "plain-scorers-1"
    names = (*NAMES, "independent smile", "person 0", "person 1")

    def __init__(self):
        nn.Module.__init__(self)
        self.suite, self.others = SimpleNamespace(names=NAMES), SimpleNamespace(names=("smile",))

    def forward(self, images):
        z = 8 * images.mean((2, 3))
        person = torch.stack([z[:, 1].cos(), z[:, 1].sin()], 1)
        return torch.cat([z, z[:, :1] - z[:, 1:2], person], 1)


def plain_faces(generator=None, counted=("smile", "age")):
    generator = generator or Plain()
    return Faces.of(generator, PlainScorers(), generator.sample(44, seed=3), torch.zeros(3),
                    torch.ones(3), torch.arange(4), counted)  # fmt: skip


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    return plain_faces(counted=conditions_of(NAMES))


def measured(faces, editor, target="smile", guess=1.0, test=None):
    strengths = strengths_around(faces, editor, target, guess, LEVEL)
    return measure(faces, editor, target, strengths, PROTOCOL, faces.calibration, test)


CALLS = []


@savable("walks of a test")
@dataclass(frozen=True)
class Walks:
    name: str = "smile"
    space: str = "z"

    def edit(self, latents, strength):
        CALLS.append(len(latents))
        return latents + torch.stack([strength, 0 * strength, 0 * strength], 1)


SLANTED = LinearEditor("smile", torch.tensor([1.0, 0.5, 0.0]))  # age moves half as far


def test_the_strength_is_the_one_for_the_side_effect(faces):
    edits = measured(faces, SLANTED)
    expected = LEVEL / (0.5 / 1.25**0.5)  # a strength of 1 moves the age by 0.447
    assert edits.strength == pytest.approx(expected, rel=1e-4)
    assert edits.reached and len(edits.test) == 40 and not edits.reason
    rows = faces.test
    effect = faces.side_effects("smile", edits.test, rows)
    assert torch.allclose(effect, torch.full((40,), LEVEL), atol=1e-4)
    z, sign = faces.latents("z").values[rows], faces.signs("smile")[rows]
    assert torch.allclose(edits.test[:, 0], z[:, 0] + sign * 2 * LEVEL, atol=1e-4)
    assert torch.equal(faces.turned("smile", edits.test, rows), z[:, 0].abs() < 2 * LEVEL)
    assert torch.allclose(edits.test[:, -1], torch.full((40,), LEVEL).cos(), atol=1e-4)


def test_a_bad_guess_is_mended(faces):
    for guess in (0.1, 10.0):
        strengths = strengths_around(faces, SLANTED, "smile", guess, LEVEL)
        assert strengths[0] == pytest.approx(LEVEL / (0.5 / 1.25**0.5), rel=1e-3)
        assert strengths[1] == 2 * strengths[0]


def test_fewer_faces_are_the_first_ones(faces):
    some, every = measured(faces, SLANTED, test=10), measured(faces, SLANTED)
    assert torch.equal(some.test, every.test[:10])
    assert not len(measured(faces, SLANTED, test=0).test)


def test_a_direction_that_does_not_turn_the_target_is_not_drawn_and_says_so(faces):
    edits = measured(faces, LinearEditor("x", torch.tensor([1e-4, 1.0, 0.0])), guess=0.5)
    assert len(edits.test) == 0
    assert edits.reason.startswith("turns over 0 of 4 faces at most, at side effects of up to 0.8")


def test_an_editor_that_walks_goes_beyond_each_faces_threshold_and_is_remembered(faces):
    CALLS.clear()
    edits = measure_iterative(faces, Walks(), "smile", 10)
    start = faces.latents("z").values[faces.test[:10]][:, 0]
    assert torch.allclose(edits.test[:, 0], -start.sign(), atol=1e-4)
    again = measure_iterative(faces, Walks(), "smile", 10)
    assert CALLS == [8, 2] and torch.equal(again.test, edits.test)
    measure_iterative(faces, Walks("age"), "smile", 10)  # another editor has other walks
    assert CALLS == [8, 2, 8, 2]


def test_the_label_of_a_direction_is_the_score_that_it_changes_most_of_all():
    latents = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    probe = LinearProbe().fit(latents, latents.clone())
    rows = torch.tensor([[1.0, 1.0, 0.0], [-3.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    editors = Editors.from_vectors(["a", "b", "c"], rows)
    found, ratio = best_labelled(editors, probe, 0)
    assert torch.allclose(found.direction, -editors["b"].direction)  # turned: the score rises
    assert ratio == pytest.approx(3.0, rel=0.1)


def measurements(faces, edits, again=None, methods=("slanted",), targets=("smile",)):
    facts = {m: {"labels": 0, "seconds": 1.0, "training_time": "", "editors": {}} for m in methods}
    return Measurements(methods, targets, faces.names, faces.before(), torch.zeros(4),
                        torch.ones(4), faces.counted, faces.labels, 0.5, PROTOCOL,
                        faces.calibration, faces.calibration, faces.test, edits, again or {},
                        facts, {"command": "make it"})  # fmt: skip


def test_what_is_written_is_read_and_its_edits_can_be_made_again(faces, tmp_path):
    edits = measured(faces, SLANTED)
    data = measurements(faces, {("slanted", "smile"): edits},
                        {("slanted", "smile"): [edits.test[:5]]})  # fmt: skip
    data.write(tmp_path / "data.safetensors")
    found = read_measurements(tmp_path / "data.safetensors")
    assert found.names == data.names and found.facts == data.facts and found.most == 40
    assert found.provenance == data.provenance and found.protocol == PROTOCOL
    kept = found.edits["slanted", "smile"]
    assert torch.allclose(kept.test, edits.test, atol=2e-3) and kept.reached
    assert kept.strength == edits.strength and torch.equal(kept.strengths, edits.strengths)
    assert torch.equal(found.again["slanted", "smile"][0], kept.test[:5])
    assert check(found, faces, {("slanted", "smile"): SLANTED}) < 0.01
    other = LinearEditor("smile", torch.tensor([1.0, 0.0, 0.0]))
    said = r"slanted, smile differs by .*; the mean difference .* Make them again: make it"
    with pytest.raises(MeasurementsError, match=said):
        check(found, faces, {("slanted", "smile"): other})
    found.provenance["scorers"] = "others"
    with pytest.raises(MeasurementsError, match="by the scorers others; given 44 faces"):
        check(found, faces, {("slanted", "smile"): SLANTED})


def test_another_or_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not this")
    with pytest.raises(MeasurementsError, match=r"x\.safetensors"):
        read_measurements(path)
    Editors({"smile": SLANTED}).save(path)
    with pytest.raises(MeasurementsError, match="expected a file of facenb-measurements-2"):
        read_measurements(path)


def test_joint_scorers_say_what_their_parts_say():
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    joint = load_joint_scorers("ffhq")
    suite, others, identity = load_scorers(), load_independent_scorers(), load_identity()
    with torch.no_grad():
        found, again = joint(images), joint(images.flip(0))
        expected = torch.cat([suite(images), others(images)], 1)
        assert torch.allclose(joint.scores(found), expected, atol=1e-5)
        assert torch.allclose(joint.person(found), identity(images), atol=1e-5)
        assert torch.allclose(again.flip(0), found, atol=1e-3)  # nothing of the last batch is left
    assert found.shape == (3, len(joint.names))
    assert joint.independent_names[0] == f"independent {others.names[0]}"


def test_another_precision_keeps_the_sides_that_were_measured(faces):
    sides = faces.sides.clone()
    sides[5, 0] = -sides[5, 0]  # close to the threshold, say
    other = Faces.of(faces.generator, faces.scorers, faces.latents("z"), torch.zeros(3),
                     torch.ones(3), faces.calibration, faces.counted, sides=sides)  # fmt: skip
    assert (other.signs("smile") != faces.signs("smile")).nonzero().tolist() == [[5]]
    rows = torch.tensor([7, 20])  # drawn when they are asked for
    assert torch.equal(other.before(rows), faces.before(rows))
