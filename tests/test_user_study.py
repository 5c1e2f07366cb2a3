"""The blind comparison: what is asked, what is written, and where it goes on."""

import csv
import io

import pytest
import torch
from PIL import Image

from facenb.errors import FacenbError
from facenb.widgets import live
from facenb.widgets import user_study as preference
from facenb.widgets.user_study import PreferenceStudy, read_answers, summarise

N = 12
GREY = {"original": 0.0, "first": -1.0, "second": 1.0}  # black and white pictures tell who is who


def pictures(kind, n=N):
    return torch.full((n, 3, 8, 8), GREY[kind])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "preferences.csv"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(preference, "GLANCE", 0.0)


def study(path, seed=0, **changes):
    given = {
        "originals": pictures("original"),
        "edits": {"first": pictures("first"), "second": pictures("second")},
        "goals": [f"goal {i}" for i in range(N)],
    }
    return PreferenceStudy(**(given | changes), path=path, seed=seed, size=16)


def shown(s):
    """The methods on the left and on the right, told from the pictures themselves."""
    greys = [Image.open(io.BytesIO(image.value)).getpixel((3, 3))[0] for image in s._pair]
    return tuple("first" if grey == 0 else "second" for grey in greys)


def test_each_item_once_and_each_method_left_in_half():
    order, sides = zip(*((s.order, s.sides) for s in map(study, "ab", (0, 1))), strict=True)
    assert sorted(order[0]) == list(range(N)) and order[0] != order[1]
    assert [left for left, _ in sides[0]].count("first") == N // 2
    assert sides[0] != sides[1]
    assert study("c").order == order[0] and study("c").sides == sides[0]


def test_answers_are_on_disk_before_the_next_question(path):
    s = study(path)
    assert not path.exists()
    expected = []
    for side in ("left", "right", "right"):
        item, (left, right) = s.item, shown(s)
        assert (left, right) == s.sides[item] and f"<b>goal {item}</b>" in s.question.value
        s.buttons[side].click()
        expected.append([str(item), left, right, left if side == "left" else right])
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["item", "left", "right", "choice"] and rows == expected
    assert "Question 4 of 12" in s.question.value


def test_it_goes_on_where_it_stopped_and_ends(path):
    first = study(path)
    for _ in range(5):
        first.choose("left")
    again = study(path)
    assert again.item == again.order[5] == first.item
    assert "Question 6 of 12" in again.question.value
    for _ in range(7):
        again.choose("right")
    assert again.item is None and all(button.disabled for button in again.buttons.values())
    assert "All 12 questions are answered" in again.question.value
    assert len(read_answers(path)) == 12
    with pytest.raises(FacenbError, match="all 12 questions are answered"):
        again.choose("left")
    assert study(path).item is None


def test_nothing_shown_tells_the_methods(path):
    s = study(path)
    texts = [s.question.value, s.status.value, *(b.description for b in s.buttons.values())]
    assert not any(name in text for name in ("first", "second") for text in texts)


def test_a_line_that_was_cut_short_is_asked_again(path):
    s = study(path)
    s.choose("left")
    s.choose("left")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.warns(UserWarning, match="cut short"):
        again = study(path)
    assert again.item == s.order[1]
    again.choose("left")
    assert path.read_bytes() == whole


def test_a_double_click_answers_once(path, monkeypatch):
    monkeypatch.setattr(preference, "GLANCE", 60.0)
    s = study(path)
    s._since -= 61
    s.buttons["left"].click()
    s.buttons["left"].click()
    assert len(read_answers(path)) == 1


def test_an_answer_that_cannot_be_saved_keeps_the_question(path, monkeypatch):
    s = study(path)
    item = s.item

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(preference, "_append", full)
    s.buttons["left"].click()
    assert s.item == item and "no space left" in s.status.value


def test_the_file_of_another_study_is_refused_and_kept(path):
    study(path).choose("left")
    before = path.read_bytes()
    edits = {"first": pictures("first"), "third": pictures("second")}
    with pytest.raises(FacenbError, match="other questions"):
        study(path, edits=edits)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(FacenbError, match="expected rows of item, left, right, choice"):
        study(path)
    path.write_bytes(before)
    assert study(path).item == study(path).order[1]


def test_summary_with_the_textbook_interval(path):
    s = study(path)
    assert s.summary()["share"].isna().all() and (s.summary()["high"] == 1).all()
    for _ in range(N):
        s.choose("left" if s.sides[s.item][0] == "first" else "right")
    assert s.summary().loc["first", ["chosen", "share"]].tolist() == [12, 1]
    # Wilson's intervals as scipy's binomtest gives them
    table = summarise(["SGF"] * 61 + ["InterFaceGAN"] * 39, ["SGF", "InterFaceGAN"])
    assert table["share"].tolist() == [0.61, 0.39]
    assert table.loc["SGF", ["low", "high"]].tolist() == pytest.approx([0.51203, 0.69983], abs=1e-4)
    assert table["low"].iloc[0] + table["high"].iloc[1] == pytest.approx(1)
    assert summarise(["a"] * 10, ["a", "b"]).loc["a", "low"] == pytest.approx(0.7225, abs=1e-4)


def test_it_shows_a_picture_and_the_widget(path, monkeypatch):
    displayed = []
    monkeypatch.setattr(live, "display", lambda what, **_: displayed.append(what))
    s = study(path)
    s._ipython_display_()
    picture, bundle = displayed
    assert Image.open(io.BytesIO(picture.data)).size == (3 * 16 + 2 * 8, 16)
    assert "JupyterLab" in bundle["text/plain"]
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == s.root.model_id


def test_bad_input_is_named(path):
    with pytest.raises(ValueError, match="two methods, given"):
        study(path, edits={"first": pictures("first")})
    with pytest.raises(ValueError, match="as many pictures"):
        study(path, edits={"first": pictures("first"), "second": pictures("second", 3)})
    with pytest.raises(ValueError, match="12 texts"):
        study(path, goals="smiling")
    with pytest.raises(ValueError, match='"left" or "right"'):
        study(path).choose("middle")
