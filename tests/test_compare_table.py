"""Tables of measured edits: every measure by hand, paired intervals, two sets of scorers."""

from dataclasses import replace

import pytest
import torch

from facenb.errors import UnknownNameError
from facenb.metrics.compare_table import FEWEST, MEASURES, Comparison
from facenb.metrics.measurements import Measurements
from facenb.metrics.ranking import best, discoveries, ranked, sides_changed, success_of_trainings
from facenb.metrics.trials import Edits, Protocol

NAMES = ("smile", "age", "hat", "quality", "independent smile", "independent age", "person")
N = 40


def columns(rows):
    return torch.tensor(rows, dtype=torch.float32)


def world(again=None, **after):
    """N faces that do not smile, two calibration faces; methods by name: test columns."""
    before = columns([[-1, 0, 0, 1, -1, 0, 1]] * (2 + N))
    edits = {}
    few = columns([[1, 2, 0, 1, 1, 2, 1]] * 2)[None]
    for name, rows in after.items():
        if isinstance(rows, str):
            found = Edits(1.0, True, torch.tensor([1.0]), -few, torch.zeros(0, 7), 0.1, rows)
        else:
            strengths = torch.tensor([1.0, 2.0])
            found = Edits(1.0, True, strengths, few.repeat(2, 1, 1), columns(rows), 0.1)
        edits[name, "smile"] = found
    thresholds, deviations = torch.zeros(6), torch.tensor([1.0, 2.0, 0.5, 1, 1, 1])
    two = torch.arange(2)
    return Measurements(tuple(after), ("smile",), NAMES, before, thresholds, deviations,
                        ("smile", "age", "hat"), False, 0.5, Protocol("side effects", 0.4), two,
                        two, torch.arange(2, 2 + N), edits, again or {})  # fmt: skip


def value(tables, measure, method="half"):
    return tables.intervals(measure).loc[(method, "smile"), measure]


GOOD = [1, 1, 0.25, 1, 1, 0.5, 0.9]  # turned; half a deviation of age and of hat; the same person
BAD = [-0.5, 4, 0, -1, -0.5, 2, 0.1]  # not; two deviations of age; another person, broken


def test_measures_by_hand():
    tables = Comparison(world(half=[GOOD, BAD] * (N // 2)))
    found = {measure: value(tables, measure) for measure in MEASURES}
    assert found["success"] == 0.5 and found["quality"] == 0.5
    assert found["identity"] == 1  # of the successes
    assert found["side effects"] == pytest.approx((0.5 + 1.0) / 2)  # means over age and hat
    assert found["side effects / change"] == pytest.approx(0.75 / ((2 + 0.5) / 2))
    assert found["worst"] == pytest.approx((0.5 + 2) / 2)
    assert found["attributes"] == 1
    # (0, 1) → (.5, 1), then the calibration faces: all turned, no score by more than a deviation
    assert found["mds"] == pytest.approx(0.5 + 0.5)
    assert tables.changes_most("half", "smile") == "age"
    effects = tables.side_effects().loc[("smile", "half")]
    assert effects["age"] == pytest.approx(1.25 / 1.25) and effects["hat"] == pytest.approx(0.2)


def test_measures_of_successes_that_are_other_people():
    turned = [1, 4, 0.25, 1, 1, 2, 0.1]  # and two deviations of age
    tables = Comparison(world(half=[GOOD, turned] * (N // 2)))
    assert value(tables, "success") == 1 and value(tables, "identity") == 0.5
    assert value(tables, "both") == 0.5
    assert value(tables, "attributes") == pytest.approx((1 + 0.5) / 2)


def test_the_best_by_another_measure():
    other = [1, 0, 0.25, 1, 1, 0, 0.1]  # turned, and another person
    tables = Comparison(world(good=[GOOD, BAD] * (N // 2), other=[other] * N))
    assert best(tables, "smile") == ["other"]
    assert best(tables, "smile", "both") == ["good"]


def test_independent_scorers_count_faces_on_which_both_agreed():
    data = world(half=[GOOD, BAD] * (N // 2))
    data.before[2 : 2 + N // 2, 4] = 1  # half of the faces smile already, they say
    tables = Comparison(data, independent=True)
    assert tables.scores == ("smile", "age")
    assert value(tables, "success") == 0.5
    data.edits["half", "smile"].test[N // 2 :, 4] = 1
    assert value(Comparison(data, True), "success") == 1.0
    assert value(Comparison(data), "success") == 0.5


def test_differences_are_paired():
    data = world(a=[GOOD, BAD] * (N // 2), b=[GOOD, BAD] * (N // 2), c=[BAD] * N)
    tables = Comparison(data)
    row = tables.difference("a", "b", "success").loc["smile"]
    assert row.tolist() == [0, 0, 0, False]
    row = tables.difference("a", "c", "success").loc["smile"]
    assert row["difference"] == 0.5 and 0.3 < row["low"] < 0.5 < row["high"] < 0.7
    assert ranked(tables, "smile") == ["a", "b", "c"]
    assert best(tables, "smile") == ["a", "b"]


def test_few_faces_have_no_interval_and_no_place_in_the_ranking():
    tables = Comparison(world(a=[GOOD] * N, few=[GOOD] * (FEWEST - 1)))
    row = tables.intervals("success").loc[("few", "smile")]
    assert row["success"] == 1 and row[["low", "high"]].isna().all()
    assert ranked(tables, "smile") == ["a"]


def test_a_method_without_hope_has_the_success_of_the_calibration_faces_alone():
    tables = Comparison(world(a=[GOOD] * N, none="turns over 0 of 2 faces"))
    assert value(tables, "success", "none") == 0
    assert all(value(tables, m, "none") != value(tables, m, "none") for m in ("identity", "worst"))
    assert value(tables, "both", "none") == 0
    assert tables.changes_most("none", "smile") == ""
    assert tables.faces("success", "none", "smile") == 2
    assert tables.table().loc["none", "targets"] == "0 of 1"
    assert ranked(tables, "smile") == ["a"]


def test_sides_are_compared_with_significance():
    better, worse = list(GOOD), list(BAD)
    better[4], worse[4] = -1, 1  # the independent scorers say the contrary
    data = world(a=[better] * N, b=[worse] * N)
    found = sides_changed(Comparison(data), Comparison(data, independent=True))
    assert found[["better", "worse", "verdict"]].to_numpy().tolist() == [["a", "b", "reversed"]]
    assert found["difference"].item() == 1 and found["independent"].item() == -1
    data = world(a=[GOOD] * N, b=[BAD] * N)
    assert sides_changed(Comparison(data), Comparison(data, True))["verdict"].tolist() == ["same"]


def test_further_trainings_are_compared_on_their_faces():
    again = {("a", "smile"): [columns([BAD] * 10), columns([GOOD, BAD] * 5)]}
    tables = Comparison(world(again, a=[GOOD] * 10 + [BAD] * (N - 10)))
    assert success_of_trainings(tables, "a", "smile") == [1, 0, 0.5]


def test_unknown_names_are_told():
    tables = Comparison(world(a=[GOOD] * N))
    with pytest.raises(UnknownNameError, match="success"):
        tables.values("sucess", "a", "smile")
    with pytest.raises(UnknownNameError, match="unknown method 'z'"):
        tables.values("success", "z", "smile")
    with pytest.raises(UnknownNameError, match="unknown curve 'z: smile'"):
        tables.curve("z", "smile")


def test_intervals_need_faces_that_the_measure_is_of():
    few = [GOOD] * (FEWEST - 1) + [BAD] * (N - FEWEST + 1)
    tables = Comparison(world(few=few, enough=[GOOD] * FEWEST + [BAD] * (N - FEWEST)))
    low = {m: tables.intervals(m)["low"].xs("smile", level="target") for m in MEASURES}
    assert low["success"].notna().all() and low["side effects"].notna().all()
    assert low["identity"].isna().tolist() == low["attributes"].isna().tolist() == [True, False]


def test_an_editor_that_walks_has_no_curve_and_no_place_in_the_ranking():
    data = world(a=[GOOD] * N, walks=[GOOD] * N)
    iterative = replace(data.edits["walks", "smile"], strength=torch.nan, reached=False,
                     strengths=torch.zeros(0), swept=torch.zeros(0, 2, 7))  # fmt: skip
    tables = Comparison(replace(data, edits={**data.edits, ("walks", "smile"): iterative}))
    assert value(tables, "success", "walks") == 1
    assert value(tables, "mds", "walks") != value(tables, "mds", "walks")
    assert ranked(tables, "smile") == ["a"]
    assert tables.table().loc["walks", "targets"] == "1 of 1"
    assert tables.difference("a", "walks", "success")["difference"].isna().all()


def test_pairs_by_an_exact_test_corrected_for_their_number():
    alike = [GOOD] * 14 + [BAD] * (N - 14)
    other = [BAD] * 2 + [GOOD] * 9 + [BAD] * (N - 11)  # succeeds on nothing that `alike` does not
    found = discoveries(Comparison(world(a=[GOOD] * N, b=alike, c=other)))
    assert found[["better", "worse"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    p = 2 * 0.5 ** torch.tensor([N - 14.0, N - 9.0, 5.0], dtype=torch.float64)  # all one-sided
    torch.testing.assert_close(torch.tensor(found["p"].to_numpy()), p)
    # sorted they are a–c, a–b, b–c: the i-th of three times 3 / i, and none below a later one
    q = torch.stack([p[1] * 3, p[0] * 3 / 2, p[2]])
    assert found["q"].tolist() == pytest.approx([q[1].item(), q[0].item(), q[2].item()])
    same = discoveries(Comparison(world(a=[GOOD] * N, b=[GOOD] * N)))
    assert same["p"].tolist() == same["q"].tolist() == [1.0]
    assert len(discoveries(Comparison(world(a=[GOOD] * N)))) == 0
