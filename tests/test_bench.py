"""Edits at equal side effects, on a world where scores are the latents: all of it by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from facenb.editors import Editors, LinearEditor
from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.methods.entry import best_labelled
from facenb.metrics.bench import LEVEL, Bench, conditions_of, judge, judge_walk, strength_at
from facenb.metrics.judged import Judged, JudgedError, check, read_judged
from facenb.metrics.linear_probe import LinearProbe
from facenb.metrics.panel import Panel, load_panel
from facenb.scorers import load_identity, load_independent_scorers, load_scorers

NAMES = ("smile", "age", "quality")


class Plain(Generator):
    """z of 3 as a plain colour."""

    name, resolution, latent_dim, spaces, fingerprint = "plain", 4, 3, ("z",), "plain-1"

    def __init__(self):
        super().__init__()
        self.where = nn.Parameter(torch.zeros(1), False)

    def _synthesize(self, latents):
        return (latents.values / 8)[:, :, None, None].expand(-1, 3, 4, 4).contiguous()


class PlainPanel(nn.Module):
    """Scores that are the latents; one independent score, smile less age; the person is the age."""

    framing, fingerprint = "ffhq", "plain-panel-1"
    names = (*NAMES, "independent smile", "person 0", "person 1")
    scorers = SimpleNamespace(names=NAMES)
    others = SimpleNamespace(names=("smile",))

    def forward(self, images):
        z = 8 * images.mean((2, 3))
        person = torch.stack([z[:, 1].cos(), z[:, 1].sin()], 1)
        return torch.cat([z, z[:, :1] - z[:, 1:2], person], 1)

    suite = staticmethod(lambda c: c[..., :3])
    independent = staticmethod(lambda c: c[..., 3:4])
    people = staticmethod(lambda c: c[..., 4:])


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    generator = Plain()
    faces = generator.sample(44, seed=3)
    return Bench.of(generator, PlainPanel(), faces, torch.zeros(3), torch.ones(3),
                    conditions_of(NAMES), 4)  # fmt: skip


SLANTED = LinearEditor("smile", torch.tensor([1.0, 0.5, 0.0]))  # age moves half as far


def test_the_strength_is_the_one_for_the_side_effect(bench):
    cell = judge(bench, SLANTED, "smile", guess=1.0)
    expected = LEVEL / (0.5 / 1.25**0.5)  # a strength of 1 moves the age by 0.447
    assert cell.strength == pytest.approx(expected, rel=1e-4)
    assert len(cell.judged) == 40 and not cell.reason
    rows = bench.rows()
    effect = bench.effect("smile", cell.judged, rows)
    assert torch.allclose(effect, torch.full((40,), LEVEL), atol=1e-4)
    z, sign = bench.latents["z"].values[rows], bench.signs("smile")[rows]
    assert torch.allclose(cell.judged[:, 0], z[:, 0] + sign * 2 * LEVEL, atol=1e-4)
    assert torch.equal(bench.turned("smile", cell.judged, rows), z[:, 0].abs() < 2 * LEVEL)
    assert torch.allclose(cell.judged[:, -1], torch.full((40,), LEVEL).cos(), atol=1e-4)


def test_fewer_faces_are_the_first_ones(bench):
    some, every = judge(bench, SLANTED, "smile", 1.0, 10), judge(bench, SLANTED, "smile", 1.0)
    assert torch.equal(some.judged, every.judged[:10])


def test_a_direction_that_does_not_turn_the_target_is_not_drawn_and_says_so(bench):
    cell = judge(bench, LinearEditor("x", torch.tensor([1e-4, 1.0, 0.0])), "smile", 0.5)
    assert len(cell.judged) == 0
    assert cell.reason.startswith("turns over 0 of 4 faces at most, at side effects of up to 0.8")


def test_an_editor_that_walks_goes_beyond_each_faces_threshold_and_is_remembered(bench):
    calls = []

    class Walks:
        name, space = "smile", "z"

        def edit(self, latents, strength):
            calls.append(len(latents))
            return latents + torch.stack([strength, 0 * strength, 0 * strength], 1)

    cell = judge_walk(bench, "walker", Walks(), "smile", 10)
    start = bench.latents["z"].values[bench.rows(10)][:, 0]
    assert torch.allclose(cell.judged[:, 0], -start.sign(), atol=1e-4)
    again = judge_walk(bench, "walker", Walks(), "smile", 10)
    assert calls == [8, 2] and torch.equal(again.judged, cell.judged)


@pytest.mark.parametrize(
    ("effects", "strength"),
    [((0.4, 0.8), 1.0), ((0.2, 0.6), 1.5), ((0.8, 1.0), 0.5), ((0.1, 0.3), 2.0)],
)
def test_strength_at_is_linear_between_what_was_tried(effects, strength):
    assert strength_at(0.4, (1.0, 2.0), effects) == pytest.approx(strength)


def test_calibration_faces_leave_faces_to_judge(bench):
    with pytest.raises(ValueError, match="1 to 43 calibration faces of 44, given 44"):
        Bench.of(bench.generator, bench.panel, bench.latents["z"], torch.zeros(3), torch.ones(3),
                 ["smile"], 44)  # fmt: skip


def test_the_label_of_a_direction_is_the_score_that_it_changes_most_of_all():
    latents = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    probe = LinearProbe().fit(latents, latents.clone())
    rows = torch.tensor([[1.0, 1.0, 0.0], [-3.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    editors = Editors.from_vectors(["a", "b", "c"], rows)
    found, ratio = best_labelled(editors, probe, 0)
    assert torch.allclose(found.direction, -editors["b"].direction)  # turned: the score rises
    assert ratio == pytest.approx(3.0, rel=0.1)


def judged_of(bench):
    cell = judge(bench, SLANTED, "smile", 1.0)
    return Judged(("slanted",), ("smile",), (*NAMES, "independent smile", "person"), bench.before(),
                  torch.zeros(4), torch.ones(4), 0.5, {("slanted", "smile"): cell},
                  {("slanted", "smile"): [cell.judged[:5]]},
                  {"slanted": {"labels": 0, "seconds": 1.0, "told": "", "editors": {}}},
                  {"command": "make it"})  # fmt: skip


def test_what_is_written_is_read_and_its_edits_can_be_made_again(bench, tmp_path):
    judged = judged_of(bench)
    judged.write(tmp_path / "judged.safetensors")
    found = read_judged(tmp_path / "judged.safetensors")
    assert found.names == judged.names and found.facts == judged.facts
    assert found.provenance == judged.provenance and found.faces == 40
    cell = found.cells["slanted", "smile"]
    assert torch.allclose(cell.judged, judged.cells["slanted", "smile"].judged, atol=2e-3)
    assert torch.equal(found.again["slanted", "smile"][0], cell.judged[:5])
    assert check(found, bench, {("slanted", "smile"): SLANTED}) < 0.01
    other = LinearEditor("smile", torch.tensor([1.0, 0.0, 0.0]))
    said = r"slanted, smile differs by .*; the mean difference .* Make them again: make it"
    with pytest.raises(JudgedError, match=said):
        check(found, bench, {("slanted", "smile"): other})


def test_another_or_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not this")
    with pytest.raises(JudgedError, match=r"x\.safetensors"):
        read_judged(path)


def test_the_panel_says_what_its_parts_say():
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    panel = load_panel(SimpleNamespace(framing="ffhq", device=torch.device("cpu")))
    parts = (load_scorers(), load_independent_scorers(), load_identity())
    with torch.no_grad():
        found, again = panel(images), panel(images.flip(0))
        for got, part in zip((panel.suite, panel.independent, panel.people), parts, strict=True):
            assert torch.allclose(got(found), part(images), atol=1e-5)
        assert torch.allclose(again.flip(0), found, atol=1e-3)  # nothing of the last batch is left
    assert isinstance(panel, Panel) and found.shape == (3, len(panel.names))


def test_latents_of_the_bench_are_in_every_space(bench):
    assert set(bench.latents) == {"z"} and isinstance(bench.latents["z"], Latents)


def test_another_precision_keeps_the_sides_that_were_measured(bench):
    sides = bench.sides.clone()
    sides[5, 0] = -sides[5, 0]  # close to the threshold, say
    facts = torch.zeros(3), torch.ones(3), conditions_of(NAMES), 4, sides
    other = Bench.of(bench.generator, bench.panel, bench.latents["z"], *facts)
    assert (other.signs("smile") != bench.signs("smile")).nonzero().tolist() == [[5]]
    rows = torch.tensor([7, 20])  # drawn when they are asked for
    assert torch.equal(other.before(rows), bench.before(rows))
