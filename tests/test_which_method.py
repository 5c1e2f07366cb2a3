"""The page of advice: written from the notebook's numbers, each sentence from its own."""

import copy
import json

import pytest

from scripts import which_method
from scripts.which_method import NUMBERS, PAGE, advice

ROW = {"mean": 0.5, "smile": 0.5}
MADE_UP = {
    "faces": 40,
    "best": {"smile": ["A", "B"]},
    "success": {"A": {"mean": 0.8, "smile": 0.9}, "B": {"mean": 0.6, "smile": 0.85},
                "SGF, looking": {"mean": 0.95, "smile": 0.95}},
    "best, with the same person": {"smile": ["B"]},
    "identity": {"A": {"smile": 0.31}, "B": {"smile": 0.7}},
    "both": {"A": {"mean": 0.25, "smile": 0.28}, "B": {"mean": 0.4, "smile": 0.6}},
    "iterative": {"SGF, looking": 25},
    "side effects": {"SGF, looking": {"mean": 0.55}},
    "intervals of success": {"A": {"smile": {"estimate": 0.9, "low": 0.8, "high": 0.95}}},
    "success, independent": {"A": {"smile": 0.77}},
    "costs": {"A": {"ms per edit": "0.1", "labels": "20,000"},
              "B": {"ms per edit": "0.01", "labels": "0"},
              "SGF, looking": {"ms per edit": "2e+03", "labels": "20,000"}},
    "reasons": {"B": {"smile": "turns over 0 of 8 faces at most"}, "C": {"smile": "no editor"}},
    "significant differences of success, by the independent scorers": {"same": 3, "reversed": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "For **a smile** use A: success 0.90 (0.80 to 0.95), of these 31 % the same person "
        "(T2_cells). Not significantly worse: B. The target turned over *and* the same person: "
        "most often B, 60 % of the faces against 28 % (T2_cells). By the independent scorers its "
        "success is 0.77",
        "For all targets at once: A, mean success 0.80; next B, 0.60 (T1_methods).",
        "**These are 40 faces, not 200: the intervals are wide. Not measured yet: age, gender,",
        "To keep the person as well: B, target and person on 40 % of the faces; A on 25 %",
        "Without labels to learn from: B, mean success 0.60; A has 0.80 from 20,000 scored",
        "an edit takes 0.01 ms with B and 2.0 s with SGF, looking",
        "success 0.95 at side effects of 0.55 standard deviations, 2.0 s an edit, on 25 faces",
        "For a smile these turn next to no calibration face over: B (T2_cells)",
        "of 4 significant differences between two methods the independent scorers confirm 3, find "
        "0 not significant and reverse 1",
    ],
)
def test_each_sentence_says_its_numbers(sentence):
    assert sentence in advice(MADE_UP)


def test_a_method_without_rivals_and_a_target_without_a_second_scorer():
    alone = copy.deepcopy(MADE_UP)
    alone["best"]["smile"] = ["A"]
    alone["success, independent"] = {}
    page = advice(alone)
    assert "All others are significantly worse. The target turned over *and*" in page
    assert "28 % (T2_cells). There is no second scorer of it." in page


def test_too_few_faces_are_not_ranked():
    few = copy.deepcopy(MADE_UP) | {"faces": 8, "intervals of success": {}}
    assert "success 0.90, of these" in advice(few) and "too few for a ranking" in advice(few)


def test_the_page_is_what_the_notebooks_numbers_give():
    assert PAGE.read_text() == advice(json.loads(NUMBERS.read_text())["numbers"])
    assert which_method.ROOT / "docs" == PAGE.parent


def test_a_whole_measurement_needs_no_warning():
    whole = copy.deepcopy(MADE_UP) | {"faces": 204}
    whole["best"] |= {target: [] for target in which_method.WORDS if target != "smile"}
    assert "goes on" not in advice(whole)
