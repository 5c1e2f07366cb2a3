"""Tables of judged edits: every measure by hand, paired intervals, and two opinions."""

import pytest
import torch

from facenb.errors import UnknownNameError
from facenb.metrics.bench import Cell
from facenb.metrics.judged import Judged
from facenb.metrics.judged_table import FEWEST, MEASURES, Opinion, sides_changed

NAMES = ("smile", "age", "hat", "quality", "independent smile", "independent age", "person")
N = 40


def columns(rows):
    return torch.tensor(rows, dtype=torch.float32)


def world(**after):
    """N faces that do not smile, two calibration faces; methods by name: judged columns."""
    before = columns([[-1, 0, 0, 1, -1, 0, 1]] * (2 + N))
    cells = {}
    for name, rows in after.items():
        few = columns([[1, 2, 0, 1, 1, 2, 1]] * 2)[None]
        if isinstance(rows, str):
            cells[name, "smile"] = Cell(
                1.0, torch.tensor([1.0]), -few, torch.zeros(0, 7), 0.1, rows
            )
        else:
            strengths = torch.tensor([1.0, 2.0])
            cells[name, "smile"] = Cell(1.0, strengths, few.repeat(2, 1, 1), columns(rows), 0.1)
    facts = {name: {"labels": 0, "seconds": None, "told": "", "editors": {}} for name in after}
    thresholds, deviations = torch.zeros(6), torch.tensor([1.0, 2.0, 0.5, 1, 1, 1])
    return Judged(tuple(after), ("smile",), NAMES, before, thresholds, deviations, 0.5, cells, {},
                  facts, {})  # fmt: skip


GOOD = [1, 1, 0.25, 1, 1, 0.5, 0.9]  # turned; half a deviation of age and of hat; the same person
BAD = [-0.5, 4, 0, -1, -0.5, 2, 0.1]  # not; two deviations of age; another person, broken


def test_measures_by_hand():
    opinion = Opinion(world(half=[GOOD, BAD] * (N // 2)))
    value = {m: float(opinion.value(m, "half", "smile")[0]) for m in MEASURES}
    assert value["success"] == 0.5 and value["person"] == 0.5 and value["quality"] == 0.5
    assert value["side effects"] == pytest.approx((0.5 + 1.0) / 2)  # means over age and hat
    assert value["worst"] == pytest.approx((0.5 + 2) / 2)
    assert value["attributes"] == pytest.approx((1 + 0.5) / 2)
    # (0, 1) → (.5, 1), then the calibration faces: all turned, no score by more than a deviation
    assert value["mds"] == pytest.approx(0.5 + 0.5)
    assert opinion.worst_attribute("half", "smile") == "age"


def test_the_independent_opinion_counts_faces_on_which_both_agreed():
    rows = [GOOD, BAD] * (N // 2)
    judged = world(half=rows)
    judged.before[2 : 2 + N // 2, 4] = 1  # half of the faces smile already, they say
    judged.before[2 : 2 + N // 2, 1] = 0
    opinion = Opinion(judged, independent=True)
    assert opinion.names == ("smile", "age")
    assert float(opinion.value("success", "half", "smile")[0]) == 0.5
    judged.cells["half", "smile"].judged[N // 2 :, 4] = 1
    assert float(Opinion(judged, True).value("success", "half", "smile")[0]) == 1.0
    assert float(Opinion(judged).value("success", "half", "smile")[0]) == 0.5


def test_differences_are_paired():
    judged = world(a=[GOOD, BAD] * (N // 2), b=[GOOD, BAD] * (N // 2), c=[BAD] * N)
    opinion = Opinion(judged)
    assert opinion.difference("success", "a", "b", "smile") == (0, 0, 0)
    estimate, low, high = opinion.difference("success", "a", "c", "smile")
    assert estimate == 0.5 and 0.3 < low < 0.5 < high < 0.7
    assert opinion.ranked("smile") == ["a", "b", "c"]
    assert opinion.best("smile") == ["a", "b"]


def test_few_faces_have_no_interval_and_no_place_in_the_ranking():
    judged = world(a=[GOOD] * N, few=[GOOD] * (FEWEST - 1))
    opinion = Opinion(judged)
    estimate, low, high = opinion.interval("success", "few", "smile")
    assert estimate == 1 and low != low and high != high
    assert opinion.ranked("smile") == ["a"]


def test_a_cell_without_hope_has_the_success_of_the_calibration_faces_alone():
    opinion = Opinion(world(a=[GOOD] * N, none="turns over 0 of 2 faces"))
    assert float(opinion.value("success", "none", "smile")[0]) == 0
    assert opinion.value("person", "none", "smile").isnan().all()
    assert opinion.worst_attribute("none", "smile") == "" and opinion.faces("none", "smile") == 2
    assert opinion.mean("person", "none")[0] != opinion.mean("person", "none")[0]


def test_sides_are_compared_with_significance():
    better, worse = list(GOOD), list(BAD)
    better[4], worse[4] = -1, 1  # the independent scorers say the contrary
    judged = world(a=[better] * N, b=[worse] * N)
    found = sides_changed(Opinion(judged), Opinion(judged, independent=True))
    assert found[["better", "worse", "verdict"]].to_numpy().tolist() == [["a", "b", "reversed"]]
    assert found["difference"].item() == 1 and found["independent"].item() == -1
    judged = world(a=[GOOD] * N, b=[BAD] * N)
    assert sides_changed(Opinion(judged), Opinion(judged, True))["verdict"].tolist() == ["same"]


def test_unknown_names_are_told():
    opinion = Opinion(world(a=[GOOD] * N))
    with pytest.raises(UnknownNameError, match="success"):
        opinion.value("sucess", "a", "smile")
    with pytest.raises(UnknownNameError, match="a: smile"):
        opinion.value("success", "z", "smile")
