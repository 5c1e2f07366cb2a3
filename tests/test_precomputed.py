"""Scores that ship: found by latents that are alike, checked, and made from a run's cache."""

import json

import pytest
import torch

import facenb
from facenb import precomputed
from facenb.generators import DEFAULT
from facenb.latents import Latents
from facenb.precomputed import Group, group_of, scored_once, sketch
from facenb.sampling import score, scored_by
from scripts import precompute

FACTS = {"generator": "g1", "scorers": "s1", "device": "cpu"}


class Scoring:
    """A linear score of latents that counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.to = torch.randn(64, 3, generator=torch.Generator().manual_seed(3))

    def __call__(self, latents: Latents) -> torch.Tensor:
        self.asked += len(latents)
        return latents.values.flatten(1) @ self.to


@pytest.fixture
def scoring(tmp_path, monkeypatch) -> Scoring:
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACENB_FRESH", raising=False)
    monkeypatch.setattr(precomputed, "_failed", set())
    return Scoring()


def latents(n: int, seed: int = 0) -> Latents:
    return Latents(torch.randn(n, 64, generator=torch.Generator().manual_seed(seed)), "w")


def ship(monkeypatch, known: Latents, scores: torch.Tensor, checked: float) -> None:
    group = Group(sketch(known.values), scores.half())
    name = group_of(FACTS | {"space": known.space})
    monkeypatch.setattr(precomputed, "shipped", lambda generator: {name: group})
    monkeypatch.setattr(precomputed, "CHECKED", checked)


def test_nothing_ships_for_most_generators(scoring) -> None:
    asked = latents(5)
    first = scored_once("edit-scores", "of nobody", FACTS, asked, scoring)
    again = scored_once("edit-scores", "of nobody", FACTS, asked, scoring)
    assert scoring.asked == 5 and torch.equal(first, again)


def test_what_ships_is_not_computed(scoring, monkeypatch) -> None:
    known = latents(200)
    ship(monkeypatch, known, scoring(known), checked=0.0)
    new, scoring.asked = latents(3, seed=1), 0
    rounded = known.values[:10] * (1 + 2e-7)  # as another processor's
    asked = Latents(torch.cat([rounded, new.values]), "w")
    found = scored_once("edit-scores", "tiny", FACTS | {"device": "cuda"}, asked, scoring)
    assert scoring.asked == 3
    torch.testing.assert_close(found, asked.values @ scoring.to, atol=0.02, rtol=1e-3)
    assert torch.equal(found[10:], new.values @ scoring.to), "computed ones are not rounded"
    # another space, other scorers, a small step of an edit: not what ships
    scoring.asked = 0
    scored_once("edit-scores", "tiny", FACTS, Latents(asked.values, "z"), scoring)
    scored_once("edit-scores", "tiny", FACTS | {"scorers": "s2"}, asked, scoring)
    step = torch.nn.functional.normalize(torch.ones(64), dim=0) * 0.1
    scored_once("edit-scores", "tiny", FACTS, Latents(known.values[:10] + step, "w"), scoring)
    assert scoring.asked == 13 + 13 + 10


def test_layers_of_w_plus(scoring, monkeypatch) -> None:
    known = Latents(latents(50).values.view(50, 4, 16), "w+")
    ship(monkeypatch, known, scoring(known), checked=0.0)
    asked = known.values[:4].clone()
    asked[2] = asked[2].roll(1, 0)  # the same layers in another order
    scoring.asked = 0
    scored_once("edit-scores", "tiny", FACTS, Latents(asked, "w+"), scoring)
    assert scoring.asked == 1


def test_a_part_is_computed_again(scoring, monkeypatch) -> None:
    known = latents(200)
    right = scoring(known)
    ship(monkeypatch, known, right, checked=1.0)
    scoring.asked = 0
    found = scored_once("edit-scores", "tiny", FACTS, known[:20], scoring)
    assert scoring.asked == 20 and torch.equal(found, right[:20].half().float())
    # among them some that are not known
    mixed = Latents(
        torch.cat([latents(2, 5).values, known.values[30:33], latents(2, 6).values]), "w"
    )
    found = scored_once("edit-scores", "tiny", FACTS, mixed, scoring)
    expected = mixed.values @ scoring.to
    expected[2:5] = right[30:33].half().float()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("away, fails", [(0.05, False), (0.2, True), (torch.nan, True)])
def test_what_is_not_right_is_not_taken(scoring, monkeypatch, recwarn, away, fails) -> None:
    known = latents(200)
    right = scoring(known)
    wrong = right.clone()
    wrong[30, 1] += away * right[:, 1].std()
    ship(monkeypatch, known, wrong, checked=1.0)
    found = scored_once("edit-scores", "tiny", FACTS, known[25:35], scoring)
    assert torch.equal(found, right[25:35] if fails else wrong[25:35].half().float())
    assert fails == ("a score differs by" in "".join(str(w.message) for w in recwarn))
    scoring.asked = 0  # nothing more is taken from that group
    scored_once("edit-scores", "tiny", FACTS, known[50:60], scoring)
    monkeypatch.setattr(precomputed, "CHECKED", 0.0)
    scored_once("edit-scores", "tiny", FACTS, known[60:70], scoring)
    assert scoring.asked == (20 if fails else 10)


def test_nothing_is_taken_where_one_says_so(scoring, monkeypatch) -> None:
    known = latents(20)
    ship(monkeypatch, known, scoring(known), checked=0.0)
    monkeypatch.setenv("FACENB_FRESH", "1")
    scoring.asked = 0
    scored_once("edit-scores", "tiny", FACTS, known, scoring)
    assert scoring.asked == 20


def test_the_file_is_made_from_a_cache(scoring, monkeypatch, tmp_path) -> None:
    asked = latents(6)
    for part in (asked[:4], asked[2:]):  # two rows are in both
        scored_once("edit-scores", "nothing ships", FACTS, part, scoring)
    scored_once("identities", "nothing ships", FACTS | {"size": 512}, asked, scoring)
    scored_once("edit-scores", "nothing ships", {"generator": "other"}, asked, scoring)
    tensors = precompute.gathered("g1")
    assert len(tensors) == 4
    name = group_of(FACTS | {"space": "w"})
    assert tensors[f"{name}/scores"].shape == (6, 3)
    path = tmp_path / precomputed.file_name("g1")
    precompute.write(tensors, {}, path)
    group = precomputed.read(path)[name]
    rows, there = group.find(sketch(asked.values))
    assert there.all() and torch.equal(group.scores[rows], (asked.values @ scoring.to).half())


def test_a_damaged_file_is_not_taken(scoring, monkeypatch, tmp_path) -> None:
    asked = latents(6)
    scored_once("edit-scores", "nothing ships", FACTS, asked, scoring)
    path = tmp_path / "file"
    precompute.write(precompute.gathered("g1"), {}, path)
    monkeypatch.setattr(precomputed, "data_path", lambda name: path)
    content = path.read_bytes()
    for damaged in (content[:-3], content[:-1] + bytes([content[-1] ^ 1]), content[:4]):
        path.write_bytes(damaged)
        precomputed.shipped.cache_clear()
        with pytest.warns(UserWarning, match="is damaged"):
            assert precomputed.shipped("g1") == {}
    path.write_bytes(content)
    precomputed.shipped.cache_clear()
    assert len(precomputed.shipped("g1")) == 1
    precomputed.shipped.cache_clear()


def test_a_part_of_what_ships_for_the_default_generator() -> None:
    G = facenb.load_generator(DEFAULT)
    scorers = facenb.load_scorers(framing=G.framing)
    asked = G.sample(64, seed=3)  # whose quantiles notebooks 03 and 05 take
    group = precomputed.shipped(DEFAULT)[group_of(scored_by(G, scorers) | {"space": "z"})]
    rows, there = group.find(sketch(asked.values))
    assert there.all()
    fresh = score(G, scorers, asked[:8])
    away = (fresh - group.scores[rows[:8]].float()) / group.scores.float().std(0)
    assert away.abs().max() < precomputed.TOLERANCE
    assert away.abs().mean() < 0.005, "another face is two hundred times as far away"


def test_provenance_of_what_ships() -> None:
    with precompute.safe_open(precompute.OUT, "pt") as file:
        facts = json.loads(file.metadata()["provenance"])
        images = sum(file.get_slice(k).get_shape()[0] for k in file.keys() if "scores" in k)
    assert facts["images"] == images > 10_000 and "dirty" not in facts["commit"]
    assert facts["generator"] == facenb.load_generator(DEFAULT).fingerprint
    assert facts["command"] == "python -m scripts.precompute"
    assert precompute.OUT.stat().st_size < 6e6
